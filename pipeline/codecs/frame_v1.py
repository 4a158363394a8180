"""Version 1 of a block's header, which is read but no longer written.

All numbers are little-endian; `w` is the width of the column's dtype in bytes (1, 2, 4 or 8).

========  =====  ==========================================================================
offset    bytes  meaning
========  =====  ==========================================================================
0         4      magic, ``IOTB``
4         1      format version, 1
5         1      dtype code (`pipeline.codecs.frame`)
6         1      transform id        (`pipeline.codecs.transforms`)
7         1      predictor id        (`pipeline.codecs.predictors`)
8         1      entropy stage id    (`pipeline.codecs.entropy`)
9         1      flags, 0
10        4      rows
14        4      missing: rows without a value, or NaN
18        4      bytes of payload
22        4      crc32c of the payload
26        8      sum of the values, float64
34        8      sum of squared deviations from the mean, float64
42        w      smallest value, in the column's dtype
42 + w    w      largest value
42 + 2w   w      first value
42 + 3w   w      last value
42 + 4w   4      crc32c of everything before
========  =====  ==========================================================================

Where no row has a value, the statistics are zeros.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c

from pipeline.codecs.header import DTYPES, LETTERS, MAX_ROWS, BlockHeader, BlockStatistics
from pipeline.errors import CorruptBlockError

__all__ = ["HEADER_BYTES_V1", "parse_header_v1"]

_FIXED: Final = struct.Struct("<5x5B4I2d")
_BOUNDS: Final = {code: struct.Struct(f"<4{letter}") for code, letter in LETTERS.items()}
_CHECKSUM: Final = struct.Struct("<I")
HEADER_BYTES_V1: Final = _FIXED.size + 4 * 8 + _CHECKSUM.size
"""Bytes of the longest header of version 1."""


def parse_header_v1(data: bytes) -> BlockHeader:
    """Read and verify a header of version 1; magic and version are known to be right.

    Parameters
    ----------
    data : bytes
        At least the header, if the block is whole.

    Raises
    ------
    CorruptBlockError
        If the header is cut short, fails its checksum or cannot be.
    """
    if len(data) < _FIXED.size:
        raise CorruptBlockError(f"the header is cut short after {len(data)} bytes")
    code, *stages, flags, rows, missing, size, crc, total, m2 = _FIXED.unpack_from(data)
    if code not in DTYPES:
        raise CorruptBlockError(f"has unknown dtype code {code}")
    end = _FIXED.size + _BOUNDS[code].size
    if len(data) < end + _CHECKSUM.size:
        raise CorruptBlockError(f"the header is cut short after {len(data)} bytes")
    if _CHECKSUM.unpack_from(data, end)[0] != google_crc32c.value(data[:end]):
        raise CorruptBlockError("the header fails its checksum")
    if flags or missing > rows or rows > MAX_ROWS:
        raise CorruptBlockError(f"says {rows} rows, {missing} missing, flags {flags}: impossible")
    bounds = _BOUNDS[code].unpack_from(data, _FIXED.size) if missing < rows else (None,) * 4
    smallest, largest, first, last = bounds
    statistics = BlockStatistics(rows - missing, missing, smallest, largest, total, m2, first, last)
    return BlockHeader(1, rows, DTYPES[code], statistics, end + _CHECKSUM.size, size, crc, *stages)
