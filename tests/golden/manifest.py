"""The manifest of a golden folder, to which entries are added and none is ever changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["open_manifest"]


@contextmanager
def open_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of `folder` by name; what is added to them is written at the end."""
    folder.mkdir(exist_ok=True)
    path = folder / "manifest.json"
    entries: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    yield entries
    path.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
