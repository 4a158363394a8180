"""Version 2 of a block's header: as few bytes as the block needs.

Numbers without a width are LEB128.

=====  =================================================================================
bytes  meaning
=====  =================================================================================
4      magic, ``IOTB``
1      format version, 2
1      dtype code (`pipeline.codecs.frame`) plus 32 if ASCENDING, 64 if EVEN
1      flags: 1 MISSING, 2 CONSTANT, 4 PAYLOAD, 8 RAW, 16 SUM, 32 M2, 64 SCALE, 128 ALIGNED
-      rows
-      if MISSING: rows without a value, or NaN
3      if PAYLOAD: ids of transform, predictor and entropy stage
-      if PAYLOAD: bytes of payload
4      if PAYLOAD: crc32c of the payload
-      if CONSTANT: the value, and if SCALE the step (`pipeline.codecs.header_rows`)
-      if PAYLOAD, and a row has a value: smallest, largest, first and last value
       (`pipeline.codecs.header_bounds`), sum and squared deviations
       (`pipeline.codecs.header_sums`)
4      crc32c of everything before, little-endian
=====  =================================================================================

With CONSTANT all rows hold the same bits, or with SCALE, too, each row is the one before it plus
the step. None is missing (though the bits may be a NaN's), and the statistics follow from that.
With neither CONSTANT nor PAYLOAD no row has a value.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import google_crc32c

from pipeline.codecs.header import DTYPES, MAGIC, MAX_ROWS, BlockHeader, BlockStatistics, build
from pipeline.codecs.header_bounds import read_bounds, write_bounds
from pipeline.codecs.header_flags import CONSTANT, MISSING, PAYLOAD, POSSIBLE, REAL
from pipeline.codecs.header_numbers import FLOATS, put_number, take_number
from pipeline.codecs.header_rows import LINEAR, constant_statistics, read_constant, read_linear
from pipeline.codecs.header_sums import read_sums, write_sums
from pipeline.errors import CorruptBlockError

__all__ = [
    "CHECKSUM",
    "HEADER_BYTES_V2",
    "Prefix",
    "parse_header_v2",
    "read_prefix",
    "write_bare_header",
    "write_header",
]

_CODE: Final = 31
CHECKSUM: Final = struct.Struct("<I")
"""A checksum's own bytes."""

_FLAGS: Final = {code: REAL if code in FLOATS else POSSIBLE for code in DTYPES}

HEADER_BYTES_V2: Final = 7 + 3 + 3 + 3 + 5 + 4 + 4 * 8 + 2 * 8 + 4
"""Bytes of the longest header of version 2: float64 of any bits, some missing."""


def write_header(
    code: int,
    statistics: BlockStatistics,
    stages: tuple[int, int, int],
    payload_bytes: int,
    payload_crc32c: int,
    scale: int = 1,
) -> bytes:
    """Return the header of a payload, or of no value and no payload.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    statistics : BlockStatistics
    stages : tuple of int
        Ids of transform, predictor and entropy stage.
    payload_bytes, payload_crc32c : int
        Length and checksum of the payload.
    scale : int
        What distances are counted in, at least 1; as 1 where the bounds do not fit.
    """
    fields = bytearray()
    if not payload_bytes and not statistics.count:
        return _sealed(code, 0, statistics.missing, fields)
    flags = PAYLOAD | (MISSING if statistics.missing else 0)
    if statistics.missing:
        put_number(fields, statistics.missing)
    fields += bytes(stages)
    put_number(fields, payload_bytes)
    fields += CHECKSUM.pack(payload_crc32c)
    if statistics.count:
        values = (statistics.min, statistics.max, statistics.first, statistics.last)
        flag, exponent, scale, bounds = write_bounds(code, values, scale)  # type: ignore[arg-type]
        fields += bounds
        flags |= flag
        flag, sums = write_sums(code, statistics, exponent, scale)
        fields += sums
        flags |= flag
    return _sealed(code, flags, statistics.count + statistics.missing, fields)


def write_bare_header(code: int, flags: int, rows: int, fields: bytes) -> bytes:
    """Return the header of rows that follow from it (`pipeline.codecs.header_rows`)."""
    return _sealed(code, flags, rows, fields)


def _sealed(code: int, flags: int, rows: int, fields: bytes | bytearray) -> bytes:
    out = bytearray(MAGIC)
    out += bytes((2, code | flags >> 8 << 5, flags & 255))
    put_number(out, rows)
    out += fields
    return bytes(out) + CHECKSUM.pack(google_crc32c.value(bytes(out)))


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


class Prefix(NamedTuple):
    """What a header says before its statistics.

    Attributes
    ----------
    code, flags : int
        Of the dtype; as the header has them.
    rows, missing : int
    stages : bytes
        Ids of transform, predictor and entropy stage.
    payload_bytes, payload_crc32c : int
    end : int
        Place of what follows.
    """

    code: int
    flags: int
    rows: int
    missing: int
    stages: bytes
    payload_bytes: int
    payload_crc32c: int
    end: int


def read_prefix(data: bytes) -> Prefix:
    """Read what stands before the statistics; nothing tells yet whether it is undamaged.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If it cannot be.
    """
    code, flags = data[5] & _CODE, data[6] | data[5] >> 5 << 8
    if code not in DTYPES or flags not in _FLAGS[code]:
        raise CorruptBlockError(f"has unknown dtype code {code} or flags {flags}")
    rows, at = take_number(data, 7)
    missing, size, crc, stages = 0, 0, 0, b"\0\0\0"
    if flags & MISSING:
        missing, at = take_number(data, at)
    if rows > MAX_ROWS or missing > rows or (flags & CONSTANT and not rows):
        raise CorruptBlockError(f"says {rows} rows, {missing} missing, flags {flags}: impossible")
    if flags & PAYLOAD:
        stages = data[at : at + 3]
        size, at = take_number(data, at + 3)
        (crc,) = CHECKSUM.unpack_from(data, at)
        at += 4
    return Prefix(code, flags, rows, missing, stages, size, crc, at)


def _parse(data: bytes) -> BlockHeader:
    code, flags, rows, missing, stages, size, crc, at = read_prefix(data)
    constant, step, scale = None, 0, 1
    if flags & PAYLOAD and missing < rows:
        statistics, scale, at = _read_statistics(code, flags, rows - missing, missing, data, at)
    elif flags & LINEAR == LINEAR:
        statistics, step, at = read_linear(code, flags, rows, data, at)
    elif flags & CONSTANT:
        value, constant, at = read_constant(code, flags, data, at)
        statistics = constant_statistics(value, rows)
    else:
        statistics = BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    if CHECKSUM.unpack_from(data, at)[0] != google_crc32c.value(data[:at]):
        raise CorruptBlockError("the header fails its checksum")
    return build(
        BlockHeader,
        version=2, rows=rows, dtype=DTYPES[code], statistics=statistics, size=at + 4,
        payload_bytes=size, payload_crc32c=crc,
        transform=stages[0], predictor=stages[1], entropy=stages[2],
        constant=constant, vacant=not flags, scale=scale, step=step,
    )  # fmt: skip


def _read_statistics(
    code: int, flags: int, count: int, missing: int, data: bytes, at: int
) -> tuple[BlockStatistics, int, int]:
    """Return the statistics, the scale and the place behind them."""
    (low, high, first, last), exponent, scale, at = read_bounds(code, flags, data, at)
    total, m2, at = read_sums(code, flags, low, high, count, exponent, scale, data, at)
    statistics = build(
        BlockStatistics,
        count=count, missing=missing, min=low, max=high,
        sum=total, m2=m2, first=first, last=last,
    )  # fmt: skip
    return statistics, scale, at
