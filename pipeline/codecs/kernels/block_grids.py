"""Loops over floats that lie on a grid: decimal digits, fractions and scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = [
    "estimate_scale",
    "from_significant",
    "grid_misfits",
    "round_significant",
    "to_significant",
]

_LOWEST = -30
"""Exponent of the first entry of a table of powers of ten."""


@loop
def round_significant(
    values: NDArray[np.float64],
    digits: int,
    tens: NDArray[np.float64],
    powers: NDArray[np.float64],
) -> None:
    """Round to significant digits in place.

    `tens` are the powers of ten from ``10**-30``; `powers` those from ``10**0`` that are exact.
    The search for the next value's power starts at the last one's, because neighbours are
    alike.
    """
    at = 0
    for i in range(values.size):
        value = values[i]
        size = abs(value)
        if not tens[0] <= size < tens[-1]:
            continue
        while size >= tens[at + 1]:
            at += 1
        while size < tens[at]:
            at -= 1
        exponent = digits - 1 - (at + _LOWEST)
        if 0 <= exponent < powers.size:
            values[i] = np.rint(value * powers[exponent]) / powers[exponent]
        elif -powers.size < exponent < 0:
            values[i] = np.rint(value / powers[-exponent]) * powers[-exponent]


@loop
def from_significant(
    numbers: NDArray[np.uint64],
    starts: NDArray[np.uint64],
    over: NDArray[np.float64],
    times: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """Write the values that `numbers`, int64 by their bits, stand for.

    `starts`, `over` and `times` describe the decades; `starts` has one entry more. Its first
    is the number of the first full decade, below which numbers count in the same step.
    """
    zero = np.uint64(0)
    unit = starts[0]
    last = starts[starts.size - 1]
    at = 0
    for i in range(numbers.size):
        number = numbers[i]
        negative = number >> np.uint64(63) != zero
        if negative:
            number = zero - number
        if number >= last:
            values[i] = np.nan
            continue
        while number >= starts[at + 1]:
            at += 1
        while at > 0 and number < starts[at]:
            at -= 1
        value = np.float64(number - starts[at] + unit) / over[at] * times[at]
        values[i] = -value if negative else value


@loop
def to_significant(
    values: NDArray[np.float64],
    starts: NDArray[np.uint64],
    tops: NDArray[np.float64],
    over: NDArray[np.float64],
    times: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> None:
    """Write the number nearest to each value, or 0 where there is none.

    `tops` holds the smallest value above each decade; the others are as in `from_significant`.
    """
    unit = np.float64(starts[0])
    at = 0
    for i in range(values.size):
        size = abs(values[i])
        if not size < tops[-1]:
            numbers[i] = 0
            continue
        while size >= tops[at]:
            at += 1
        while at > 0 and size < tops[at - 1]:
            at -= 1
        steps = np.int64(np.rint(size * over[at] / times[at]) - unit)
        number = np.int64(starts[at]) + steps
        numbers[i] = -number if values[i] < 0.0 else number


@loop
def grid_misfits(
    values: NDArray[np.float64],
    powers: NDArray[np.float64],
    divisors: NDArray[np.float64],
    single: bool,
    tolerance: float,
    limit: float,
    most: int,
    misfits: NDArray[np.int64],
) -> None:
    """Count for every divisor the values that are no multiple of its reciprocal.

    A multiple is divided, rounded to ``1 / powers[i]`` where that is not zero, and to float32
    if `single`; it may then be off by `tolerance` (relative), and must be below `limit`, from
    where anything would fit. Counting ends at ``most + 1``.
    """
    for j in range(divisors.size):
        divisor = divisors[j]
        count = 0
        for i in range(values.size):
            value = values[i]
            whole = np.rint(value * divisor)
            back = whole / divisor
            if powers[i] != 0.0:
                back = np.rint(back * powers[i]) / powers[i]
            if single:
                back = np.float64(np.float32(back))
            if not (abs(back - value) <= tolerance * abs(value) and abs(whole) < limit):
                count += 1
                if count > most:
                    break
        misfits[j] = count


@loop
def estimate_scale(ascending: NDArray[np.float64], error: float) -> float:
    """Return the step of a grid through zero on which all values lie, or 0.

    Euclid's algorithm on the distances between neighbours finds a step; longer and longer
    distances from the first value then make it exact. `ascending` are distinct values, each off
    by at most `error`.
    """
    step = ascending[-1] - ascending[0]
    for i in range(1, ascending.size):
        rest = ascending[i] - ascending[i - 1]
        while rest > 8.0 * error:
            step, rest = rest, abs(step - rest * np.rint(step / rest))
        if step < 64.0 * error:
            return 0.0
    for i in range(1, ascending.size):
        distance = ascending[i] - ascending[0]
        step = distance / max(1.0, np.rint(distance / step))
    return step
