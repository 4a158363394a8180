"""Installs the servers that tests start; run as ``python -m tests.servers.install [NAME ...]``.

Each goes into a folder of its own below ``~/.cache/iot-archive-servers``. What is there already is
left alone, so that this may run before every test.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

__all__ = ["CACHE", "INSTALLERS", "install", "main"]

CACHE = Path.home() / ".cache" / "iot-archive-servers"
"""Where the servers are."""

INSTALLERS = {"kafka": "tests.servers.kafka:install"}
"""Functions without arguments that install a server and return its folder, by its name."""


def install(name: str) -> Path:
    """Install a server unless it is there; return its folder."""
    module, _, function = INSTALLERS[name].partition(":")
    folder: Path = getattr(import_module(module), function)()
    return folder


def main(names: Sequence[str]) -> int:
    """Install servers, all unless some are named; return how many could not be."""
    failed = 0
    for name in names or tuple(INSTALLERS):
        try:
            print(f"{name}: {install(name)}")
        except Exception as error:  # one that fails must not keep the others away
            failed += 1
            print(f"{name}: not installed: {error}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
