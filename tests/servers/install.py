"""Installs the servers that tests start: ``python -m tests.servers.install [NAME ...]``.

Fast where they are there already. A server that cannot be fetched is told, and does not end the
command with an error: tests that need it are skipped with the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "INSTALLERS", "install", "main"]

CACHE: Final = Path.home() / ".cache" / "iot-archive-servers"
"""Where servers are unpacked that the system does not have."""

INSTALLERS: Final[Mapping[str, str]] = {
    "kafka": "tests.servers.kafka:install",
    "mosquitto": "tests.servers.mosquitto:install",
}
"""Functions that return where a server is, fetching it first if it is not there."""


def install(name: str) -> Path:
    """Install a server unless it is there; return where it is."""
    module, _, function = INSTALLERS[name].partition(":")
    place: Path = getattr(import_module(module), function)()
    return place


def main(names: Sequence[str] = ()) -> int:
    """Install servers, all unless some are named, and print where each is."""
    for name in names or INSTALLERS:
        try:
            print(f"{name}: {install(name)}")
        except Exception as error:  # one that fails must not keep the others away
            print(f"{name}: not installed: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
