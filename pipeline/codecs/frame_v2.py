"""Version 2 of a block's header: as few bytes as the block needs.

Numbers without a width are LEB128.

=====  =================================================================================
bytes  meaning
=====  =================================================================================
4      magic, ``IOTB``
1      format version, 2
1      dtype code (`pipeline.codecs.frame`)
1      flags: 1 MISSING, 2 CONSTANT, 4 PAYLOAD; 8, 16 and 32 belong to the statistics
       (`pipeline.codecs.header_numbers`)
-      rows
-      if MISSING: rows without a value, or NaN
3      if PAYLOAD: ids of transform, predictor and entropy stage
-      if PAYLOAD: bytes of payload
4      if PAYLOAD: crc32c of the payload
-      if CONSTANT: the value; if PAYLOAD, and a row has a value: the statistics
4      crc32c of everything before, little-endian
=====  =================================================================================

With CONSTANT all rows hold the same bits, none is missing (though the bits may be a NaN's), and
the statistics follow from the value. With neither CONSTANT nor PAYLOAD no row has a value.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c

from pipeline.codecs.header import DTYPES, MAGIC, MAX_ROWS, BlockHeader, BlockStatistics, build
from pipeline.codecs.header_numbers import (
    RAW,
    constant_statistics,
    put_number,
    read_constant,
    read_statistics,
    take_number,
    write_constant,
    write_statistics,
)
from pipeline.errors import CorruptBlockError

__all__ = ["HEADER_BYTES_V2", "parse_header_v2", "write_header"]

_MISSING, _CONSTANT, _PAYLOAD = 1, 2, 4
_FLAGS: Final = {0, *(_CONSTANT | raw for raw in (0, RAW))} | {
    _PAYLOAD | flags for flags in range(64) if not flags & _CONSTANT
}
_CHECKSUM: Final = struct.Struct("<I")

HEADER_BYTES_V2: Final = 7 + 3 + 3 + 3 + 5 + 4 + 4 * 8 + 2 * 8 + 4
"""Bytes of the longest header of version 2: float64 of any bits, some missing."""


def write_header(
    code: int,
    statistics: BlockStatistics,
    stages: tuple[int, int, int],
    payload_bytes: int,
    payload_crc32c: int,
    constant: int | None = None,
) -> bytes:
    """Return a header.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    statistics : BlockStatistics
    stages : tuple of int
        Ids of transform, predictor and entropy stage.
    payload_bytes, payload_crc32c : int
        Length and checksum of the payload.
    constant : int, optional
        The bits of the value that every row holds, instead of a payload.
    """
    flags, numbers = 0, bytearray()
    payload = constant is None and (payload_bytes > 0 or statistics.count > 0)
    if constant is not None:
        flags, numbers = write_constant(code, constant)
        flags |= _CONSTANT
    elif statistics.count:
        flags, numbers = write_statistics(code, statistics)
    if payload:
        flags |= _PAYLOAD | (_MISSING if statistics.missing else 0)
    out = bytearray(MAGIC)
    out += bytes((2, code, flags))
    put_number(out, statistics.count + statistics.missing)
    if flags & _MISSING:
        put_number(out, statistics.missing)
    if payload:
        out += bytes(stages)
        put_number(out, payload_bytes)
        out += _CHECKSUM.pack(payload_crc32c)
    out += numbers
    return bytes(out) + _CHECKSUM.pack(google_crc32c.value(bytes(out)))


def parse_header_v2(data: bytes) -> BlockHeader:
    """Read and verify a header of version 2; magic and version are known to be right.

    Parameters
    ----------
    data : bytes
        At least the header, if the block is whole.

    Raises
    ------
    CorruptBlockError
        If the header is cut short, fails its checksum or cannot be.
    """
    try:
        return _parse(data)
    except (IndexError, struct.error):
        raise CorruptBlockError(f"the header is cut short after {len(data)} bytes") from None


def _parse(data: bytes) -> BlockHeader:
    code, flags = data[5], data[6]
    if code not in DTYPES or flags not in _FLAGS:
        raise CorruptBlockError(f"has unknown dtype code {code} or flags {flags}")
    rows, at = take_number(data, 7)
    missing, size, crc, stages, constant = 0, 0, 0, b"\0\0\0", None
    if flags & _MISSING:
        missing, at = take_number(data, at)
    if rows > MAX_ROWS or missing > rows or (flags & _CONSTANT and not rows):
        raise CorruptBlockError(f"says {rows} rows, {missing} missing, flags {flags}: impossible")
    if flags & _PAYLOAD:
        stages = data[at : at + 3]
        size, at = take_number(data, at + 3)
        (crc,) = _CHECKSUM.unpack_from(data, at)
        at += 4
    if flags & _PAYLOAD and missing < rows:
        statistics, at = read_statistics(code, flags, rows - missing, missing, data, at)
    elif flags & _CONSTANT:
        value, constant, at = read_constant(code, flags, data, at)
        statistics = constant_statistics(value, rows)
    else:
        statistics = BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    if _CHECKSUM.unpack_from(data, at)[0] != google_crc32c.value(data[:at]):
        raise CorruptBlockError("the header fails its checksum")
    return build(
        BlockHeader,
        version=2, rows=rows, dtype=DTYPES[code], statistics=statistics, size=at + 4,
        payload_bytes=size, payload_crc32c=crc,
        transform=stages[0], predictor=stages[1], entropy=stages[2],
        constant=constant, vacant=not flags,
    )  # fmt: skip
