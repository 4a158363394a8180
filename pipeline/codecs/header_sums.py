"""Sum and squared deviations in a block's header.

Each is a float64 unless its flag, SUM or M2, is set. If it is set:

==============  ===================================  ========================================
column          sum                                  squared deviations
==============  ===================================  ========================================
all values      nothing: ``value * count``           nothing: ``value - value``
equal
whole numbers   ``a``, the sum of the distances      ``d``: the sum of the squares of the
                from the smallest, in the scale      distances less ``a * a / count``, rounded
                                                     down; absent if the largest distance is 1
floats          signed ``k`` of ``k / 10**e``        signed ``k`` of ``k / 10**e``
==============  ===================================  ========================================

``e`` is that of the bounds (`pipeline.codecs.header_bounds`), 0 with RAW. Squared deviations of
whole numbers are ``(d * count + r) / count`` squares of the scale, where ``r`` is the remainder
of ``-a * a`` by `count`; they need SUM. With EVEN, ``a`` and ``d`` are the signed differences
from what they are if the values are evenly spread from the smallest to the largest, which
times of readings nearly are (`_evenly`). Whole numbers are exact before they are rounded to a
float64 once.
"""

from __future__ import annotations

from math import isfinite

from pipeline.codecs.header import BlockStatistics
from pipeline.codecs.header_flags import EVEN, M2, SUM
from pipeline.codecs.header_numbers import (
    DOUBLE,
    FLOATS,
    decimal,
    fold,
    leb,
    quotients,
    same,
    take_number,
    unfold,
)
from pipeline.errors import CorruptBlockError

__all__ = ["equal_sums", "read_sums", "write_sums"]


def equal_sums(value: float, count: int) -> tuple[float, float]:
    """Return sum and squared deviations of `count` equal values."""
    return float(value * count), float(value - value)


def write_sums(
    code: int, statistics: BlockStatistics, exponent: int, scale: int
) -> tuple[int, bytes]:
    """Return flags and bytes.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    statistics : BlockStatistics
        Of at least one value.
    exponent, scale : int
        What the bounds are counted in.
    """
    total, m2 = statistics.sum, statistics.m2
    short_total: bytes | None
    short_m2: bytes | None
    even = 0
    if statistics.min == statistics.max:
        equal_total, equal_m2 = equal_sums(statistics.min, statistics.count)  # type: ignore[arg-type]
        short_total = b"" if same(equal_total, total) else None
        short_m2 = b"" if same(equal_m2, m2) else None
    elif code in FLOATS:
        short_total, short_m2 = _short_decimal(total, exponent), _short_decimal(m2, exponent)
    else:
        even, short_total, short_m2 = _whole_sums(statistics, scale)
    flags = even | (0 if short_total is None else SUM) | (0 if short_m2 is None else M2)
    out = DOUBLE.pack(total) if short_total is None else short_total
    return flags, out + (DOUBLE.pack(m2) if short_m2 is None else short_m2)


def _short_decimal(total: float, exponent: int) -> bytes | None:
    number = decimal(total, exponent)
    short = None if number is None else leb(fold(number))
    return short if short is not None and len(short) < DOUBLE.size else None


def _whole_sums(statistics: BlockStatistics, scale: int) -> tuple[int, bytes | None, bytes | None]:
    """Return EVEN or 0, and the bytes of both sums where whole numbers give them again."""
    count, low, high = statistics.count, int(statistics.min), int(statistics.max)  # type: ignore[arg-type]
    total, m2 = statistics.sum, statistics.m2
    if not (isfinite(total) and isfinite(m2)):
        return 0, None, None
    span = (high - low) // scale
    above = (2 * (int(total) - low * count) + scale) // (2 * scale)
    if above < 0 or not same(float(low * count + above * scale), total):
        return 0, None, None
    apart = _apart(count, above, m2, scale)
    known = b"" if span == 1 and apart == _apart_of_bits(count, above) else None
    if apart is not None and span > 1:
        even, shorts = _shorter(count, span, [above, apart])
        if shorts and len(shorts[0]) + len(shorts[1]) < 2 * DOUBLE.size:
            return even, shorts[0], shorts[1]
    even, shorts = _shorter(count, span, [above])
    if shorts and len(shorts[0]) < DOUBLE.size:
        return even, shorts[0], known
    return 0, None, None


def _apart(count: int, above: int, m2: float, scale: int) -> int | None:
    """Return the whole number that gives `m2` again, or None."""
    rest = -above * above % count
    apart = round(m2 / (scale * scale) - rest / count)
    return apart if apart >= 0 and same(_variation(count, above, apart, scale), m2) else None


def _variation(count: int, above: int, apart: int, scale: int) -> float:
    return scale * scale * (apart * count + -above * above % count) / count


def _apart_of_bits(count: int, above: int) -> int:
    """Return what `_apart` is for distances that are 0 or 1, and their own squares."""
    return above + -above * above // count


def _evenly(count: int, span: int) -> tuple[int, int]:
    """Return both numbers of `count` values that are evenly spread over `span`, rounded down."""
    squares = count * (count + 1) * span * span // (12 * max(1, count - 1))
    return count * span >> 1, squares


def _shorter(count: int, span: int, numbers: list[int]) -> tuple[int, list[bytes]]:
    """Return EVEN and the numbers as it has them, or 0 and the numbers, whichever is shorter.

    Nothing is returned of numbers that are too long in either way.
    """
    evenly = _evenly(count, span)
    differences = [fold(number - evenly[at]) for at, number in enumerate(numbers)]
    plain = signed = 0
    for number, difference in zip(numbers, differences, strict=True):
        plain += number.bit_length()
        signed += difference.bit_length()
    flag, chosen = (EVEN, differences) if signed < plain else (0, numbers)
    return flag, [] if max(chosen) >> 63 else [leb(number) for number in chosen]


def read_sums(
    code: int, flags: int, low: float, high: float, count: int,
    exponent: int, scale: int, data: bytes, at: int,
) -> tuple[float, float, int]:  # fmt: skip
    """Read what `write_sums` wrote; return the sum, the squared deviations and the place behind.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If the sums cannot be.
    """
    total = m2 = 0.0
    if low == high:
        total, m2 = equal_sums(low, count)
    elif code in FLOATS:
        if flags & SUM:
            number, at = take_number(data, at)
            (total,) = quotients((unfold(number),), exponent)
    elif flags & SUM:
        span = int(high - low) // scale
        return _read_whole(flags, int(low), span, count, scale, data, at)
    elif flags & M2:
        raise CorruptBlockError("the header has squared deviations of an unknown sum")
    if not flags & SUM:
        (total,) = DOUBLE.unpack_from(data, at)
        at += DOUBLE.size
    if not flags & M2:
        (m2,) = DOUBLE.unpack_from(data, at)
        at += DOUBLE.size
    elif low != high:
        number, at = take_number(data, at)
        (m2,) = quotients((unfold(number),), exponent)
    return total, m2, at


def _read_whole(
    flags: int, low: int, span: int, count: int, scale: int, data: bytes, at: int
) -> tuple[float, float, int]:
    even_above, even_apart = _evenly(count, span) if flags & EVEN else (0, 0)
    above, at = take_number(data, at)
    if flags & EVEN:
        above = even_above + unfold(above)
    if not flags & M2:
        (m2,) = DOUBLE.unpack_from(data, at)
        at += DOUBLE.size
    else:
        apart = _apart_of_bits(count, above)
        if span > 1:
            apart, at = take_number(data, at)
            apart = even_apart + unfold(apart) if flags & EVEN else apart
        if apart < 0:
            raise CorruptBlockError(f"has squared deviations of {apart}: impossible")
        m2 = _variation(count, above, apart, scale)
    if above < 0:
        raise CorruptBlockError(f"says distances from the smallest add up to {above}: impossible")
    return float(low * count + above * scale), m2, at
