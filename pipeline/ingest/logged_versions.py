"""Which version of a fleet's schema the rows of a log have that are not in the archive yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa

from pipeline.ingest.segments import list_segments, read_segment

__all__ = ["logged_versions", "version_metadata", "version_of"]

_KEY: Final = b"schema_version"


def version_metadata(version: int) -> Mapping[bytes, bytes] | None:
    """Return what the Arrow schema of rows tells of their version; of the first, nothing."""
    return None if version == 1 else {_KEY: str(version).encode()}


def version_of(schema: pa.Schema) -> int:
    """Return the version that the Arrow schema of rows tells."""
    return int((schema.metadata or {}).get(_KEY, b"1"))


def logged_versions(folder: Path, position: Callable[[str], int]) -> list[int]:
    """Return the versions of rows that are not in the archive yet, in the order of the log.

    Parameters
    ----------
    folder
        Of the log.
    position
        Returns the number of the last entry of a log, by its id, that is in the archive.

    Raises
    ------
    InvalidInputError, CorruptBlockError, StorageError
        If the folder is no log, or cannot be read.
    """
    found: dict[int, None] = {}
    for segment in list_segments(folder):
        data = read_segment(segment)
        if data.head is not None and data.tail()[0] > position(data.head.log):
            found[version_of(data.head.schema)] = None
    return list(found)
