"""The statistics in a block's header: exact, in as few bytes as they need.

Lengths and distances are LEB128, and signed numbers are zigzagged first
(`pipeline.codecs.cursor`). Three bits of the header's flags (`pipeline.codecs.frame_v2`) tell
how the statistics are stored:

===  =========================================================================================
bit  meaning
===  =========================================================================================
8    RAW: smallest, largest, first and last value are the bytes of the dtype, little-endian
16   SUM: the sum is stored by a whole number
32   M2: the squared deviations are stored by a whole number
===  =========================================================================================

Without RAW, the smallest value is a number, and the others follow by their distances from it:
the largest, and if that is not 0, the first and the last. For a column of whole numbers the
number is the value; for one of floats it is ``k`` of the decimal ``k / 10**e`` (rounded to
float32 if the column is), and ``e`` (1 byte, 0 to 10) stands before it.

Then come sum and squared deviations, each as a float64 unless its bit is set. If it is set:

==============  ===================================  ========================================
column          sum                                  squared deviations
==============  ===================================  ========================================
all values      nothing: ``value * count``           nothing: ``value - value``
equal
whole numbers   ``a``, the sum of the distances      ``b``, that of the squares of the
                from the smallest                    distances, absent (``b = a``) if the
                                                     largest is 1:
                                                     ``(count * b - a * a) / count``
floats          signed ``k`` of ``k / 10**e``        ``k`` of ``k / 10**e``
==============  ===================================  ========================================

Quotients are exact before they are rounded to a float64 once; ``e`` is 0 if RAW. M2 of whole
numbers needs SUM.
"""

from __future__ import annotations

import struct
from math import copysign, isfinite
from typing import Final

from pipeline.codecs.header import DTYPES, LETTERS, BlockStatistics, build
from pipeline.errors import CorruptBlockError

__all__ = [
    "M2",
    "RAW",
    "SUM",
    "constant_statistics",
    "put_number",
    "read_constant",
    "read_statistics",
    "take_number",
    "write_constant",
    "write_statistics",
]

RAW, SUM, M2 = 8, 16, 32

_EXPONENTS: Final = 11
_POWERS: Final = tuple(float(10**e) for e in range(_EXPONENTS))
_EXACT: Final = 9007199254740992.0  # 2**53: whole numbers up to here are exact in float64
_SHORT: Final = 1 << 49  # from here on, LEB128 takes as many bytes as a float64

_VALUE: Final = {code: struct.Struct(f"<{letter}") for code, letter in LETTERS.items()}
_VALUES: Final = {code: struct.Struct(f"<4{letter}") for code, letter in LETTERS.items()}
_DOUBLE: Final = struct.Struct("<d")
_SINGLE: Final = struct.Struct("<f")

_FLOAT: Final = frozenset(code for code, dtype in DTYPES.items() if dtype.kind == "f")
_SIGNED: Final = frozenset(code for code, dtype in DTYPES.items() if dtype.kind == "i")
_FLOAT32: Final = next(code for code in _FLOAT if DTYPES[code].itemsize == 4)
_LOWEST: Final = {code: -(1 << 8 * DTYPES[code].itemsize - 1) for code in _SIGNED}
_HIGHEST: Final = {
    code: 1 if dtype.kind == "b" else (1 << 8 * dtype.itemsize - (dtype.kind == "i")) - 1
    for code, dtype in DTYPES.items()
    if dtype.kind != "f"
}


def put_number(out: bytearray, number: int) -> None:
    """Append `number`, at least 0, as LEB128."""
    while number > 127:
        out.append((number & 127) | 128)
        number >>= 7
    out.append(number)


def take_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and the place behind it.

    Raises
    ------
    IndexError
        If `data` ends before the number does.
    CorruptBlockError
        If it has more than 64 bits.
    """
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    number, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if number >> 64:
        raise CorruptBlockError("the header holds a number of more than 64 bits")
    return number, at


def _fold(number: int) -> int:
    return number << 1 if number >= 0 else ~(number << 1)


def _unfold(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


def _same(one: float, other: float) -> bool:
    return one == other and copysign(1.0, one) == copysign(1.0, other)


def _decimal(value: float, exponent: int, single: bool) -> int | None:
    """Return ``k`` of the decimal that `value` is bit for bit, or None."""
    scaled = value * _POWERS[exponent]
    if not -_EXACT < scaled < _EXACT:
        return None
    number = round(scaled)
    return number if _same(_quotient(number, exponent, single), value) else None


def _quotient(number: int, exponent: int, single: bool) -> float:
    value = number / _POWERS[exponent]
    return _SINGLE.unpack(_SINGLE.pack(value))[0] if single else value


def _numbers(code: int, values: tuple[float, ...]) -> tuple[int, list[int]] | None:
    """Return an exponent, and the whole numbers that stand for all `values`, or None."""
    if code not in _FLOAT:
        return 0, list(values)  # type: ignore[arg-type]
    for exponent in range(_EXPONENTS):
        numbers = []
        for value in values:
            number = _decimal(value, exponent, code == _FLOAT32)
            if number is None:
                break
            numbers.append(number)
        else:
            return exponent, numbers
    return None


def _bounds(code: int, values: tuple[float, ...]) -> tuple[int, int, bytearray]:
    """Return flags, exponent and bytes of the smallest, largest, first and last value."""
    found = _numbers(code, values)
    if found is not None:
        exponent, (low, high, first, last) = found
        out = bytearray((exponent,)) if code in _FLOAT else bytearray()
        put_number(out, low if code not in _SIGNED and code not in _FLOAT else _fold(low))
        put_number(out, high - low)
        if high != low:
            put_number(out, first - low)
            put_number(out, last - low)
        if len(out) <= _VALUES[code].size:
            return 0, exponent, out
    return RAW, 0, bytearray(_VALUES[code].pack(*values))


def write_statistics(code: int, statistics: BlockStatistics) -> tuple[int, bytearray]:
    """Return flags and bytes of statistics of at least one value.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    statistics : BlockStatistics
    """
    low, high, total, m2 = statistics.min, statistics.max, statistics.sum, statistics.m2
    values = (low, high, statistics.first, statistics.last)
    flags, exponent, out = _bounds(code, values)  # type: ignore[arg-type]
    short_total: bytes | None
    if low == high:
        equal_total, equal_m2 = _equal_sums(low, statistics.count)  # type: ignore[arg-type]
        short_total = b"" if _same(equal_total, total) else None
        short_m2 = b"" if _same(equal_m2, m2) else None
    elif code in _FLOAT:
        short_total, short_m2 = _short_decimal(total, exponent), _short_decimal(m2, exponent)
    else:
        short_total, short_m2 = _whole_sums(statistics)
    flags |= (0 if short_total is None else SUM) | (0 if short_m2 is None else M2)
    out += _DOUBLE.pack(total) if short_total is None else short_total
    out += _DOUBLE.pack(m2) if short_m2 is None else short_m2
    return flags, out


def _equal_sums(value: float, count: int) -> tuple[float, float]:
    return float(value * count), float(value - value)


def _short_decimal(total: float, exponent: int) -> bytes | None:
    number = _decimal(total, exponent, False)
    return None if number is None or abs(number) >= _SHORT // 2 else _leb(_fold(number))


def _leb(number: int) -> bytes:
    out = bytearray()
    put_number(out, number)
    return bytes(out)


def _whole_sums(statistics: BlockStatistics) -> tuple[bytes | None, bytes | None]:
    """Return the sums of distances and of their squares, where they give the sums again."""
    count, low, total, m2 = statistics.count, statistics.min, statistics.sum, statistics.m2
    if not (isfinite(total) and isfinite(m2)):
        return None, None
    above = int(total) - int(low) * count  # type: ignore[arg-type]
    if not (0 <= above < _SHORT and _same(float(int(low) * count + above), total)):  # type: ignore[arg-type]
        return None, None
    whole, rest = divmod(above * above, count)
    squares = whole + round(m2 + rest / count)
    if not (0 <= squares < _SHORT and _same(_variation(count, above, squares), m2)):
        return _leb(above), None
    if statistics.max - low == 1:  # type: ignore[operator]
        return _leb(above), b"" if squares == above else None
    return _leb(above), _leb(squares)


def _variation(count: int, above: int, squares: int) -> float:
    return (count * squares - above * above) / count


def read_statistics(
    code: int, flags: int, count: int, missing: int, data: bytes, at: int
) -> tuple[BlockStatistics, int]:
    """Read what `write_statistics` wrote, and return the place behind it.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If the statistics cannot be.
    """
    if flags & RAW:
        (low, high, first, last), exponent = _VALUES[code].unpack_from(data, at), 0
        at += _VALUES[code].size
    else:
        (low, high, first, last), exponent, at = _read_bounds(code, data, at)
    if not (low <= first <= high and low <= last <= high and high <= _HIGHEST.get(code, high)):
        raise CorruptBlockError(f"says {first} and {last} lie within {low} and {high}: impossible")
    if low == high:
        at, sums = _read_doubles(flags, data, at, _equal_sums(low, count))
    elif code in _FLOAT:
        at, sums = _read_float_sums(flags, exponent, data, at)
    else:
        at, sums = _read_whole_sums(flags, low, high, count, data, at)
    statistics = build(
        BlockStatistics,
        count=count, missing=missing, min=low, max=high,
        sum=sums[0], m2=sums[1], first=first, last=last,
    )  # fmt: skip
    return statistics, at


def _read_bounds(
    code: int, data: bytes, at: int
) -> tuple[tuple[float, float, float, float], int, int]:
    exponent, real = 0, code in _FLOAT
    if real:
        exponent, at = _read_exponent(data, at)
    low, at = take_number(data, at)
    span, at = take_number(data, at)
    if real or code in _SIGNED:
        low = _unfold(low)
        if not real and low < _LOWEST[code]:
            raise CorruptBlockError(f"says the smallest {DTYPES[code]} is {low}: impossible")
    first = last = 0
    if span:
        first, at = take_number(data, at)
        last, at = take_number(data, at)
    values = (low, low + span, low + first, low + last)
    if real:
        return _quotients(values, exponent, code == _FLOAT32), exponent, at
    return values, 0, at


def _read_exponent(data: bytes, at: int) -> tuple[int, int]:
    if data[at] >= _EXPONENTS:
        raise CorruptBlockError(f"the header has decimals of {data[at]} digits")
    return data[at], at + 1


def _quotients(
    numbers: tuple[int, int, int, int], exponent: int, single: bool
) -> tuple[float, float, float, float]:
    power = _POWERS[exponent]
    a, b, c, d = numbers
    values = (a / power, b / power, c / power, d / power)
    if single:
        return struct.unpack("<4f", struct.pack("<4f", *values))
    return values


def _read_doubles(
    flags: int, data: bytes, at: int, sums: tuple[float, float]
) -> tuple[int, tuple[float, float]]:
    """Replace what is not flagged as known by the float64 that is stored."""
    total, m2 = sums
    if not flags & SUM:
        (total,) = _DOUBLE.unpack_from(data, at)
        at += 8
    if not flags & M2:
        (m2,) = _DOUBLE.unpack_from(data, at)
        at += 8
    return at, (total, m2)


def _read_float_sums(
    flags: int, exponent: int, data: bytes, at: int
) -> tuple[int, tuple[float, float]]:
    sums = []
    for flag in (SUM, M2):
        if flags & flag:
            number, at = take_number(data, at)
            sums.append(_unfold(number) / _POWERS[exponent])
        else:
            sums += _DOUBLE.unpack_from(data, at)
            at += 8
    return at, (sums[0], sums[1])


def _read_whole_sums(
    flags: int, low: float, high: float, count: int, data: bytes, at: int
) -> tuple[int, tuple[float, float]]:
    if not flags & SUM:
        if flags & M2:
            raise CorruptBlockError("the header has squared deviations of an unknown sum")
        return _read_doubles(flags, data, at, (0.0, 0.0))
    m2 = 0.0
    above, at = take_number(data, at)
    total = float(int(low) * count + above)
    if flags & M2:
        squares = above
        if high - low > 1:
            squares, at = take_number(data, at)
        m2 = _variation(count, above, squares)
    return _read_doubles(flags, data, at, (total, m2))


def write_constant(code: int, bits: int) -> tuple[int, bytearray]:
    """Return flags and bytes of one value.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    bits : int
        The bits of the value, as an unsigned number.
    """
    raw = bits.to_bytes(_VALUE[code].size, "little")
    (value,) = _VALUE[code].unpack(raw)
    found = _numbers(code, (value,))
    if found is not None:
        number = found[1][0]
        short = _leb(_fold(number) if code in _SIGNED or code in _FLOAT else number)
        short = bytes((found[0],)) + short if code in _FLOAT else short
        if len(short) < len(raw):
            return 0, bytearray(short)
    return RAW, bytearray(raw)


def read_constant(code: int, flags: int, data: bytes, at: int) -> tuple[float, int, int]:
    """Read what `write_constant` wrote; return the value, its bits and the place behind it.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If there is no such value.
    """
    layout = _VALUE[code]
    if flags & RAW:
        (value,) = layout.unpack_from(data, at)
        end = at + layout.size
        raw = data[at:end]
    else:
        exponent = 0
        if code in _FLOAT:
            exponent, at = _read_exponent(data, at)
        value, end = take_number(data, at)
        if code in _FLOAT:
            value = _unfold(value) / _POWERS[exponent]
        elif code in _SIGNED:
            value = _unfold(value)
        if not _LOWEST.get(code, value) <= value <= _HIGHEST.get(code, value):
            raise CorruptBlockError(f"every row is {value}, which is no {DTYPES[code]}")
        raw = layout.pack(value)
        (value,) = layout.unpack(raw)
    if value > _HIGHEST.get(code, value):
        raise CorruptBlockError(f"every row is {value}, which is no {DTYPES[code]}")
    return value, int.from_bytes(raw, "little"), end


def constant_statistics(value: float, rows: int) -> BlockStatistics:
    """Return the statistics of `rows` equal values; NaN counts as missing."""
    if value != value:
        return BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    total, m2 = _equal_sums(value, rows)
    return BlockStatistics(rows, 0, value, value, total, m2, value, value)
