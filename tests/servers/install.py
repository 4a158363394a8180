"""Fetches the servers that tests need: ``python -m tests.servers.install``.

Fast where they are installed already. A server that cannot be fetched is told, and does not end
the command with an error: tests that need it are skipped with the reason.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "INSTALLERS", "main"]

CACHE: Final = Path.home() / ".cache" / "iot-archive-servers"
"""Where servers are unpacked that cannot be installed."""

INSTALLERS: Final[Mapping[str, str]] = {"mosquitto": "tests.servers.mosquitto:install"}
"""Functions that return the path of a server, fetching it first if it is not there."""


def main() -> int:
    """Install every server, and print where it is."""
    for name, place in INSTALLERS.items():
        module, _, function = place.partition(":")
        try:
            found = getattr(import_module(module), function)()
        except (OSError, ImportError, RuntimeError) as error:
            print(f"{name}: not installed: {error}", file=sys.stderr)
        else:
            print(f"{name}: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
