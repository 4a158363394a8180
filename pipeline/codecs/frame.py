"""The frame of a block: what stands before its payload.

A block is one column of up to `MAX_ROWS` rows. It begins with a header that can be fetched and
trusted by itself, so that statistics are answered without touching the payload. Every header
begins with the magic ``IOTB``, the format version (1 byte) and the dtype code (1 byte, of which
version 2 has flags in the upper three bits): 1 bool; 2 to 5 int8 to int64; 6 to 9 uint8 to
uint64; 16 float32; 17 float64. Version 2 is written (`pipeline.codecs.frame_v2`), version 1 is
read as well (`pipeline.codecs.frame_v1`). The payload follows at once and fills the block to its
end; `pipeline.codecs.payload` describes it.

References
----------
CRC-32C (Castagnoli): RFC 3720, appendix B.4.
"""

from __future__ import annotations

from typing import Final

import google_crc32c
import numpy as np

from pipeline.codecs.frame_v1 import HEADER_BYTES_V1, parse_header_v1
from pipeline.codecs.frame_v2 import (
    HEADER_BYTES_V2,
    parse_header_v2,
    write_bare_header,
    write_header,
)
from pipeline.codecs.header import (
    DTYPE_CODES,
    DTYPES,
    MAGIC,
    MAX_ROWS,
    BlockHeader,
    BlockStatistics,
)
from pipeline.codecs.header_rows import write_constant, write_linear
from pipeline.errors import CorruptBlockError

__all__ = [
    "DTYPES",
    "DTYPE_CODES",
    "HEADER_BYTES",
    "MAX_ROWS",
    "VERSION",
    "BlockHeader",
    "BlockStatistics",
    "join_constant",
    "join_frame",
    "join_linear",
    "parse_header",
    "payload_checksum",
    "split_frame",
]

VERSION: Final = 2
"""The format version that is written."""

HEADER_BYTES: Final = max(HEADER_BYTES_V1, HEADER_BYTES_V2)
"""Bytes to fetch from the front of a block to be sure of its whole header."""

_PARSERS: Final = {1: parse_header_v1, 2: parse_header_v2}
_NOTHING: Final = (0, 0, 0)


def join_frame(
    dtype: np.dtype[np.generic],
    statistics: BlockStatistics,
    stages: tuple[int, int, int] = _NOTHING,
    payload: bytes = b"",
    *,
    scale: int = 1,
) -> bytes:
    """Return the block made of a header and `payload`.

    Parameters
    ----------
    dtype : numpy.dtype
        One of `DTYPES`.
    statistics : BlockStatistics
    stages : tuple of int
        Ids of transform, predictor and entropy stage.
    payload : bytes
        May be left out if no row has a value.
    scale : int
        At least 1. What all values are whole multiples of apart, if that is known: statistics
        that are counted in it take fewer bytes. They come back the same whatever it is, and it
        does not count for floats, or if largest, first and last value do not fit.
    """
    code, checksum = DTYPE_CODES[dtype], google_crc32c.value(payload)
    return write_header(code, statistics, stages, len(payload), checksum, scale) + payload


def join_constant(dtype: np.dtype[np.generic], rows: int, bits: int) -> bytes:
    """Return the block of a column whose rows all hold the same bits.

    Parameters
    ----------
    dtype : numpy.dtype
        One of `DTYPES`.
    rows : int
        At least 1.
    bits : int
        The bits, as an unsigned number of the dtype's width.
    """
    code = DTYPE_CODES[dtype]
    flags, fields = write_constant(code, bits)
    return write_bare_header(code, flags, rows, fields)


def join_linear(dtype: np.dtype[np.generic], rows: int, first: int, step: int) -> bytes:
    """Return the block of the whole numbers ``first + i * step``.

    Parameters
    ----------
    dtype : numpy.dtype
        Of integers; all rows must lie in it.
    rows : int
        At least 2.
    first : int
    step : int
        Not 0, and from -2**63 to 2**63 - 1.
    """
    code = DTYPE_CODES[dtype]
    flags, fields = write_linear(code, first, step)
    return write_bare_header(code, flags, rows, fields)


def parse_header(data: memoryview) -> BlockHeader:
    """Read and verify the header at the front of `data`.

    Parameters
    ----------
    data : memoryview
        At least the header; what follows is not looked at.

    Raises
    ------
    CorruptBlockError
        If the header is cut short, fails its checksum or cannot be.
    """
    head = bytes(data[:HEADER_BYTES])
    if head[:4] != MAGIC[: len(head)]:
        raise CorruptBlockError(f"starts with {head[:4]!r} instead of {MAGIC!r}")
    if len(head) < 6:
        raise CorruptBlockError(f"the header is cut short after {len(head)} bytes")
    parse = _PARSERS.get(head[4])
    if parse is None:
        raise CorruptBlockError(
            f"has format version {head[4]} where this release reads 1 to {VERSION}"
        )
    return parse(head)


def split_frame(data: memoryview) -> tuple[BlockHeader, memoryview]:
    """Return the header and the verified payload of a whole block.

    Raises
    ------
    CorruptBlockError
        If the header is wrong, or the payload is cut short, too long or fails its checksum.
    """
    header = parse_header(data)
    payload = data[header.size :]
    if len(payload) != header.payload_bytes:
        raise CorruptBlockError(
            f"has {len(payload)} bytes of payload where the header says {header.payload_bytes}"
        )
    if payload_checksum(payload) != header.payload_crc32c:
        raise CorruptBlockError("the payload fails its checksum")
    return header, payload


def payload_checksum(data: memoryview) -> int:
    """Return the checksum of `data` without copying it."""
    if not data:
        return 0
    frozen = np.frombuffer(data, np.uint8)
    frozen.flags.writeable = False
    return int(google_crc32c.value(frozen))
