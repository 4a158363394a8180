"""Loops over floats that lie on a grid: decimal digits, fractions and scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = [
    "estimate_scale",
    "from_arithmetic",
    "from_significant",
    "grid_misfits",
    "to_arithmetic",
    "to_significant",
]

_TIMES, _OVER, _PLUS, _DECIMALS, _SINGLE = 1, 2, 3, 4, 6
_TILE = 1024
_EXACT = 9007199254740992.0
"""2**53: every whole number up to here is exact in float64."""

_LOWEST = -30
"""Exponent of the first entry of a table of powers of ten."""


@loop
def _round_significant(
    values: NDArray[np.float64], digits: int, tens: NDArray[np.float64], powers: NDArray[np.float64]
) -> None:
    """Round to significant digits in place.

    `tens` are the powers of ten from ``10**-30``; `powers` those from ``10**0`` that are exact.
    A value's power is counted among those that occur, without branches: values that cross a
    power of ten back and forth made the obvious search three times as slow.
    """
    low, high = tens.size - 2, 0
    for i in range(values.size):
        size = abs(values[i])
        if tens[0] <= size < tens[-1]:
            while size < tens[low]:
                low -= 1
            while size >= tens[high + 1]:
                high += 1
    for i in range(values.size):
        value = values[i]
        size = abs(value)
        if not tens[0] <= size < tens[-1]:
            continue
        at = low
        for j in range(low + 1, high + 1):
            at += size >= tens[j]
        exponent = digits - 1 - (at + _LOWEST)
        if 0 <= exponent < powers.size:
            values[i] = np.rint(value * powers[exponent]) / powers[exponent]
        elif -powers.size < exponent < 0:
            values[i] = np.rint(value / powers[-exponent]) * powers[-exponent]


@loop
def _round_decimals(values: NDArray[np.float64], power: float) -> None:
    for i in range(values.size):
        values[i] = np.rint(values[i] * power) / power


@loop
def _apply(
    values: NDArray[np.float64],
    kinds: NDArray[np.int64],
    parameters: NDArray[np.float64],
    tens: NDArray[np.float64],
    powers: NDArray[np.float64],
) -> None:
    """Take `values` through the steps of `pipeline.codecs.arithmetic`, in place."""
    for j in range(kinds.size):
        kind, parameter = kinds[j], parameters[j]
        if kind == _TIMES:
            for i in range(values.size):
                values[i] = values[i] * parameter
        elif kind == _OVER:
            for i in range(values.size):
                values[i] = values[i] / parameter
        elif kind == _PLUS:
            for i in range(values.size):
                values[i] = values[i] + parameter
        elif kind == _SINGLE:
            for i in range(values.size):
                values[i] = np.float64(np.float32(values[i]))
        elif kind == _DECIMALS:
            _round_decimals(values, powers[np.int64(parameter)])
        else:
            _round_significant(values, np.int64(parameter), tens, powers)


@loop
def _undo(
    values: NDArray[np.float64], kinds: NDArray[np.int64], parameters: NDArray[np.float64]
) -> None:
    """Take `values` back through the steps, but for rounding errors, in place."""
    for j in range(kinds.size - 1, -1, -1):
        kind, parameter = kinds[j], parameters[j]
        if kind == _TIMES:
            for i in range(values.size):
                values[i] = values[i] / parameter
        elif kind == _OVER:
            for i in range(values.size):
                values[i] = values[i] * parameter
        elif kind == _PLUS:
            for i in range(values.size):
                values[i] = values[i] - parameter


@loop
def from_arithmetic(
    numbers: NDArray[np.int64],
    kinds: NDArray[np.int64],
    parameters: NDArray[np.float64],
    tens: NDArray[np.float64],
    powers: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """Write what the steps make of `numbers`, in tiles that stay in the first cache."""
    for start in range(0, numbers.size, _TILE):
        tile = values[start : start + _TILE]
        for i in range(tile.size):
            tile[i] = np.float64(numbers[start + i])
        _apply(tile, kinds, parameters, tens, powers)


@loop
def to_arithmetic(
    values: NDArray[np.float64],
    kinds: NDArray[np.int64],
    parameters: NDArray[np.float64],
    numbers: NDArray[np.int64],
) -> None:
    """Write the numbers from which the steps lead nearest to `values`; 0 where there is none."""
    buffer = np.empty(_TILE)
    for start in range(0, values.size, _TILE):
        tile = buffer[: min(_TILE, values.size - start)]
        for i in range(tile.size):
            tile[i] = values[start + i]
        _undo(tile, kinds, parameters)
        for i in range(tile.size):
            whole = np.rint(tile[i])
            numbers[start + i] = np.int64(whole if abs(whole) < _EXACT else 0.0)


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
    sign = np.uint64(63)
    unit = starts[0]
    last = starts[starts.size - 1]
    most = zero
    for i in range(numbers.size):
        number = numbers[i]
        number = zero - number if number >> sign else number
        most = max(most, number if number < last else zero)
    used = 1
    while most >= starts[used]:
        used += 1
    for i in range(numbers.size):
        number = numbers[i]
        number = zero - number if number >> sign else number
        at = 0
        for j in range(1, used):
            at += number >= starts[j]
        value = np.float64(number - starts[at] + unit) / over[at] * times[at]
        if number >= last:
            value = np.nan
        values[i] = -value if numbers[i] >> sign else value


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
    most = 0.0
    for i in range(values.size):
        size = abs(values[i])
        most = max(most, size if size < tops[-1] else 0.0)
    used = 0
    while most >= tops[used]:
        used += 1
    for i in range(values.size):
        size = abs(values[i])
        at = 0
        for j in range(used):
            at += size >= tops[j]
        if size < tops[-1]:
            steps = np.int64(np.rint(size * over[at] / times[at]) - unit)
            number = np.int64(starts[at]) + steps
            numbers[i] = -number if values[i] < 0.0 else number
        else:
            numbers[i] = 0


@loop
def grid_misfits(
    ways: NDArray[np.float64],
    powers: NDArray[np.float64],
    divisors: NDArray[np.float64],
    single: bool,
    tolerance: float,
    limit: float,
    most: int,
    misfits: NDArray[np.int64],
) -> None:
    """Count the values that are no multiple of a divisor's reciprocal, for ways and divisors.

    `ways` is (ways, values), `misfits` (ways, divisors). A multiple is divided, rounded to
    ``1 / powers[i]`` where that is not zero, and to float32 if `single`; it may then be off by
    `tolerance` (relative), and must be below `limit`, from where anything would fit. Counting
    ends at ``most + 1``.
    """
    for way in range(ways.shape[0]):
        values = ways[way]
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
            misfits[way, j] = count


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
