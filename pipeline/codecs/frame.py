"""The frame of a block: what stands before its payload, byte by byte.

A block is one column of up to `MAX_ROWS` rows. It begins with a header that can be fetched and
trusted by itself, so that statistics are answered without touching the payload. All numbers
are little-endian; `w` is the width of the column's dtype in bytes (1, 2, 4 or 8).

========  =====  ==========================================================================
offset    bytes  meaning
========  =====  ==========================================================================
0         4      magic, ``IOTB``
4         1      format version, 1
5         1      dtype code: 1 bool; 2 to 5 int8 to int64; 6 to 9 uint8 to uint64; 16 float32;
                 17 float64
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

Where no row has a value, the statistics are zeros. The payload follows at once and fills the
block to its end; `pipeline.codecs.block` describes it.

References
----------
CRC-32C (Castagnoli): RFC 3720, appendix B.4.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np

from pipeline.errors import CorruptBlockError

__all__ = [
    "DTYPES",
    "DTYPE_CODES",
    "HEADER_BYTES",
    "MAX_ROWS",
    "VERSION",
    "BlockHeader",
    "BlockStatistics",
    "join_frame",
    "parse_header",
    "split_frame",
]

MAX_ROWS: Final = 65_536 * 16
"""Most rows a block may hold; bounds what a decoder will ever allocate."""

VERSION: Final = 1
_MAGIC: Final = b"IOTB"

_DTYPES: Final = {
    1: ("bool", "B"), 2: ("int8", "b"), 3: ("int16", "h"), 4: ("int32", "i"), 5: ("int64", "q"),
    6: ("uint8", "B"), 7: ("uint16", "H"), 8: ("uint32", "I"), 9: ("uint64", "Q"),
    16: ("float32", "f"), 17: ("float64", "d"),
}  # fmt: skip
DTYPES: Final = {code: np.dtype(name) for code, (name, _) in _DTYPES.items()}
"""Dtypes by their code in the header."""

DTYPE_CODES: Final = {dtype: code for code, dtype in DTYPES.items()}
"""Codes by dtype."""

_FIXED: Final = struct.Struct("<4s6B4I2d")
_BOUNDS: Final = {code: struct.Struct(f"<4{letter}") for code, (_, letter) in _DTYPES.items()}
_CHECKSUM: Final = struct.Struct("<I")
HEADER_BYTES: Final = _FIXED.size + max(b.size for b in _BOUNDS.values()) + _CHECKSUM.size
"""Bytes to fetch from the front of a block to be sure of its whole header."""


@dataclass(frozen=True)
class BlockStatistics:
    """What a block's header knows about its values.

    Attributes
    ----------
    count : int
        Rows with a value that is not NaN.
    missing : int
        All other rows.
    min, max, first, last : int or float or None
        Exact, in the column's dtype; None when `count` is 0.
    sum, m2 : float
        Sum of the values, and of their squared deviations from the mean.
    """

    count: int
    missing: int
    min: int | float | None
    max: int | float | None
    sum: float
    m2: float
    first: int | float | None
    last: int | float | None


@dataclass(frozen=True)
class BlockHeader:
    """Everything a block says about itself before its payload.

    Attributes
    ----------
    version : int
        Format version.
    rows : int
        Rows, with or without a value.
    dtype : numpy.dtype
        The column's own dtype, native byte order.
    statistics : BlockStatistics
    payload_bytes, payload_crc32c : int
        Length and checksum of the payload.
    transform, predictor, entropy : int
        Ids of the stages; their parameters stand in the payload.
    """

    version: int
    rows: int
    dtype: np.dtype[np.generic]
    statistics: BlockStatistics
    payload_bytes: int
    payload_crc32c: int
    transform: int
    predictor: int
    entropy: int

    @property
    def size(self) -> int:
        """Bytes the header itself takes."""
        return _FIXED.size + 4 * self.dtype.itemsize + _CHECKSUM.size


def join_frame(
    dtype: np.dtype[np.generic],
    statistics: BlockStatistics,
    stages: tuple[int, int, int],
    payload: bytes,
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
    """
    code = DTYPE_CODES[dtype]
    head = _FIXED.pack(
        _MAGIC, VERSION, code, *stages, 0,
        statistics.count + statistics.missing, statistics.missing,
        len(payload), google_crc32c.value(payload), statistics.sum, statistics.m2,
    )  # fmt: skip
    bounds = (statistics.min, statistics.max, statistics.first, statistics.last)
    head += _BOUNDS[code].pack(*(0 if bound is None else bound for bound in bounds))
    return b"".join((head, _CHECKSUM.pack(google_crc32c.value(head)), payload))


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
    if len(data) < _FIXED.size:
        raise CorruptBlockError(f"the header is cut short after {len(data)} bytes")
    magic, version, code, *stages, flags, rows, missing, size, crc, total, m2 = _FIXED.unpack_from(
        data
    )
    if magic != _MAGIC:
        raise CorruptBlockError(f"starts with {magic!r} instead of {_MAGIC!r}")
    if version != VERSION:
        raise CorruptBlockError(f"has format version {version} where this release reads {VERSION}")
    if code not in DTYPES:
        raise CorruptBlockError(f"has unknown dtype code {code}")
    end = _FIXED.size + _BOUNDS[code].size
    if len(data) < end + _CHECKSUM.size:
        raise CorruptBlockError(f"the header is cut short after {len(data)} bytes")
    if _CHECKSUM.unpack_from(data, end)[0] != _crc32c(data[:end]):
        raise CorruptBlockError("the header fails its checksum")
    if flags or missing > rows or rows > MAX_ROWS:
        raise CorruptBlockError(f"says {rows} rows, {missing} missing, flags {flags}: impossible")
    bounds = _BOUNDS[code].unpack_from(data, _FIXED.size) if missing < rows else (None,) * 4
    smallest, largest, first, last = bounds
    statistics = BlockStatistics(rows - missing, missing, smallest, largest, total, m2, first, last)
    return BlockHeader(version, rows, DTYPES[code], statistics, size, crc, *stages)


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
    if _crc32c(payload) != header.payload_crc32c:
        raise CorruptBlockError("the payload fails its checksum")
    return header, payload


def _crc32c(data: memoryview) -> int:
    """Return the checksum of `data` without copying it."""
    if not data:
        return 0
    frozen = np.frombuffer(data, np.uint8)
    frozen.flags.writeable = False
    return int(google_crc32c.value(frozen))
