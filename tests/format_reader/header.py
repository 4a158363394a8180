"""FORMAT.md, "Header": versions 1 and 2."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.format_reader.octets import Octets, crc32c, unfold

__all__ = ["Header", "read_header"]

DTYPES = {
    1: "bool", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "u1", 7: "u2", 8: "u4", 9: "u8",
    16: "f4", 17: "f8",
}  # fmt: skip
MISSING, CONSTANT, PAYLOAD, RAW, SUM, M2, SCALE, ALIGNED, ASCENDING, EVEN = (
    1 << bit for bit in range(10)
)


@dataclass
class Header:
    """What a header says; statistics are None where no row has a value."""

    rows: int
    dtype: np.dtype[Any]
    missing: int = 0
    stages: tuple[int, int, int] = (0, 0, 0)
    payload: bytes = b""
    constant: bytes | None = None
    step: int = 0
    scale: int = 1
    low: Any = None
    high: Any = None
    first: Any = None
    last: Any = None
    sum: float = 0.0
    m2: float = 0.0
    vacant: bool = field(default=False)

    @property
    def count(self) -> int:
        return self.rows - self.missing


def read_header(data: bytes) -> Header:
    """Read the header of a whole block, and cut off its payload."""
    assert data[:4] == b"IOTB"
    return _read_first(data) if data[4] == 1 else _read_second(data)


def _read_first(data: bytes) -> Header:
    code, transform, predictor, entropy, flags = data[5:10]
    rows, missing, size, crc = struct.unpack_from("<4I", data, 10)
    dtype = np.dtype(DTYPES[code])
    end = 42 + 4 * dtype.itemsize
    assert flags == 0
    assert struct.unpack_from("<I", data, end) == (crc32c(data[:end]),)
    header = Header(rows, dtype, missing, (transform, predictor, entropy), data[end + 4 :])
    assert len(header.payload) == size
    assert crc32c(header.payload) == crc
    header.sum, header.m2 = struct.unpack_from("<2d", data, 26)
    if missing < rows:
        bounds = np.frombuffer(data, dtype, 4, 42)
        header.low, header.high, header.first, header.last = bounds.tolist()
    return header


def _read_second(data: bytes) -> Header:
    assert data[4] == 2
    dtype = np.dtype(DTYPES[data[5] & 31])
    flags = data[6] | (data[5] >> 5) << 8
    octets = Octets(data)
    octets.at = 7
    header = Header(octets.number(), dtype)
    size = crc = 0
    if flags & MISSING:
        header.missing = octets.number()
    if flags & PAYLOAD:
        header.stages = (octets.byte(), octets.byte(), octets.byte())
        size = octets.number()
        (crc,) = struct.unpack("<I", octets.take(4))
        if header.count:
            _read_bounds(header, flags, octets)
    elif flags & CONSTANT:
        _read_rows(header, flags, octets)
    else:
        header.missing, header.vacant = header.rows, True
    end = octets.at
    assert struct.unpack("<I", octets.take(4)) == (crc32c(data[:end]),)
    header.payload = octets.rest()
    assert len(header.payload) == size
    assert crc32c(header.payload) == crc
    return header


def _value(number: int, exponent: int, dtype: np.dtype[Any]) -> Any:
    return dtype.type(number / 10.0**exponent).item() if dtype.kind == "f" else number


def _read_rows(header: Header, flags: int, octets: Octets) -> None:
    dtype = header.dtype
    if flags & RAW:
        header.constant = octets.take(dtype.itemsize)
    else:
        exponent = octets.byte() if dtype.kind == "f" else 0
        number = octets.number() if dtype.kind in "bu" else octets.signed()
        header.constant = np.array([_value(number, exponent, dtype)], dtype).tobytes()
    first = np.frombuffer(header.constant, dtype)[0].item()
    first = int(first) if dtype.kind == "b" else first
    if first != first:
        header.missing = header.rows
        return
    rows = header.rows
    if flags & SCALE:
        header.step = octets.signed()
    last = first + header.step * (rows - 1) if header.step else first
    header.first, header.last = first, last
    header.low, header.high = min(first, last), max(first, last)
    if header.step:
        header.sum = float(rows * first + header.step * (rows * (rows - 1) // 2))
        header.m2 = header.step**2 * rows * (rows * rows - 1) / 12
    else:
        header.sum, header.m2 = float(first * rows), float(first - first)


def _read_bounds(header: Header, flags: int, octets: Octets) -> None:
    dtype = header.dtype
    exponent = 0
    if flags & RAW:
        raw = np.frombuffer(octets.take(4 * dtype.itemsize), dtype)
        header.low, header.high, header.first, header.last = raw.tolist()
    else:
        exponent = octets.byte() if dtype.kind == "f" else 0
        if flags & SCALE:
            number = octets.number()
            header.scale = (number >> 4) * 10 ** (number & 15)
        low = octets.number() if dtype.kind in "bu" else octets.signed()
        low *= header.scale if flags & ALIGNED else 1
        span = octets.number()
        first, last = 0, span
        if not flags & ASCENDING:
            first, last = (octets.number(), octets.number()) if span else (0, 0)
        found = [
            _value(low + far * header.scale, exponent, dtype) for far in (0, span, first, last)
        ]
        header.low, header.high, header.first, header.last = found
    if header.low == header.high:
        header.sum = float(header.low * header.count) if flags & SUM else _double(octets)
        header.m2 = float(header.low - header.low) if flags & M2 else _double(octets)
    elif dtype.kind == "f":
        header.sum = octets.signed() / 10.0**exponent if flags & SUM else _double(octets)
        header.m2 = octets.signed() / 10.0**exponent if flags & M2 else _double(octets)
    elif flags & SUM:
        _read_whole_sums(header, flags, octets)
    else:
        header.sum, header.m2 = _double(octets), _double(octets)


def _read_whole_sums(header: Header, flags: int, octets: Octets) -> None:
    low, scale, count = header.low, header.scale, header.count
    span = (header.high - low) // scale
    above = octets.number()
    if flags & EVEN:
        above = (count * span >> 1) + unfold(above)
    header.sum = float(low * count + above * scale)
    if not flags & M2:
        header.m2 = _double(octets)
        return
    rest = -above * above % count
    apart = above + -above * above // count
    if span > 1:
        apart = octets.number()
        if flags & EVEN:
            apart = count * (count + 1) * span * span // (12 * max(1, count - 1)) + unfold(apart)
    header.m2 = scale * scale * (apart * count + rest) / count


def _double(octets: Octets) -> float:
    (value,) = struct.unpack("<d", octets.take(8))
    return float(value)
