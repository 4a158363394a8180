"""Compressed files as plain streams, by the ending of their name.

gzip, bzip2 and xz are unpacked by the standard library, Zstandard and LZ4 frames by Arrow. A
file that was cut off raises; it does not end early in silence.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import InvalidInputError

__all__ = ["is_compressed", "unpack"]

_BUFFER: Final = 1024 * 1024


def _arrow(codec: str, packed: Any) -> Any:
    return pa.CompressedInputStream(packed, codec)


def _zip(packed: Any) -> Any:
    archive = zipfile.ZipFile(packed)
    names = archive.namelist()
    if len(names) != 1:
        msg = f"a zip file has to hold exactly one file to be read as one, not {len(names)}"
        raise InvalidInputError(msg)
    return archive.open(names[0])


_OPENERS: Final[dict[str, Callable[[Any], Any]]] = {
    ".gz": lambda packed: gzip.GzipFile(fileobj=packed),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".lzma": lzma.LZMAFile,
    ".zst": partial(_arrow, "zstd"),
    ".zstd": partial(_arrow, "zstd"),
    ".lz4": partial(_arrow, "lz4"),
    ".zip": _zip,
}


def _opener(name: str) -> Callable[[Any], Any] | None:
    lower = name.lower()
    return next((make for ending, make in _OPENERS.items() if lower.endswith(ending)), None)


def is_compressed(name: str) -> bool:
    """Tell whether a file's name ends like that of a compressed one."""
    return _opener(name) is not None


def unpack(packed: Any, name: str) -> io.BufferedReader:
    """Return a buffered stream of the plain bytes, those of `packed` itself if it is not packed.

    Parameters
    ----------
    packed
        Open for reading bytes; it is closed with the stream that is returned.
    name
        The file's name.
    """
    make = _opener(name)
    return _Stream(packed if make is None else make(packed), packed)


class _Stream(io.BufferedReader):
    """A buffered stream that closes what it reads from; unpacking streams leave it open."""

    def __init__(self, plain: Any, packed: Any) -> None:
        super().__init__(plain, _BUFFER)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()
