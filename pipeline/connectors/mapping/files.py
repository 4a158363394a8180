"""Finding and opening the files of a source, on any file system that fsspec knows."""

from __future__ import annotations

import os
from typing import IO, cast

import fsspec

from pipeline.errors import NotFoundError

__all__ = ["file_size", "find_files", "open_file"]


def find_files(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the files of a path, a URL or a glob pattern, sorted by name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    url = os.fspath(path)
    system, inner = fsspec.core.url_to_fs(url)
    names = [inner] if system.isfile(inner) else sorted(system.glob(inner))
    files = [name for name in names if system.isfile(name)]
    if not files:
        msg = f"no file found at {url!r}; check the path, or that the pattern matches something"
        raise NotFoundError(msg)
    if "file" in system.protocol:
        return tuple(files)
    return tuple(str(system.unstrip_protocol(name)) for name in files)


def open_file(path: str) -> IO[bytes]:
    """Open a file for reading bytes, unpacked if its name ends like a compressed file's."""
    return cast("IO[bytes]", fsspec.open(path, "rb", compression="infer").open())


def file_size(path: str) -> int | None:
    """Return the size of a file in bytes, None if it is compressed and so cannot be split."""
    opened = fsspec.open(path, "rb", compression="infer")
    return None if opened.compression else int(opened.fs.size(opened.path))
