"""Loops between whole numbers and the floats that were computed from them.

Arithmetic runs in tiles that stay in the first cache, one step after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_values import quotient
from pipeline.codecs.kernels.bits import load, trailing_zeros
from pipeline.codecs.kernels.block_loop import loop, part
from pipeline.codecs.kernels.block_values import mark_tile, settle_leading

__all__ = [
    "fit_arithmetic",
    "from_arithmetic",
    "from_multiples",
    "to_arithmetic",
]

_TIMES, _OVER, _PLUS, _DECIMALS, _SINGLE = 1, 2, 3, 4, 6
_TILE = 1024
_EXACT = 9007199254740992.0
"""2**53: every whole number up to here is exact in float64."""

_SIGN = np.int64(63)
_ALL_BUT_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)
_GATHER = np.uint64(0x0102040810204080)
"""Times eight bytes of 0 or 1: their bits in the highest byte."""

_SUM = np.uint64(0x0101010101010101)
"""Times eight bytes: their sum in the highest byte."""

_DOZEN = np.uint64(12)

_LOWEST = -30
"""Exponent of the first entry of a table of powers of ten."""


@part
def _round_significant(
    values: NDArray[np.float64], digits: int, tens: NDArray[np.float64], powers: NDArray[np.float64]
) -> None:
    """Round a tile to significant digits in place.

    `tens` are the powers of ten from ``10**-30``; `powers` those from ``10**0`` that are exact.
    Every power of ten that occurs takes one pass of selections, which compilers make vectors
    of: with a search for each value's own power the loop took four times as long.
    """
    bottom, top = tens[0], tens[tens.size - 1]
    least, most = top, bottom
    for i in range(values.size):
        size = abs(values[i])
        least = size if bottom <= size < least else least
        most = size if most < size < top else most
    low, high = 0, 0
    while low < tens.size - 2 and least >= tens[low + 1]:
        low += 1
    while most >= tens[high + 1]:
        high += 1
    times, over = np.zeros(values.size), np.ones(values.size)
    for at in range(low, high + 1):
        exponent = digits - 1 - (at + _LOWEST)
        ten = tens[at]  # a load that a store might change is not taken out of a loop
        factor = divisor = 1.0
        if abs(exponent) >= powers.size:
            factor = 0.0
        elif exponent < 0:
            divisor = powers[-exponent]
        else:
            factor = powers[exponent]
        for i in range(values.size):
            above = abs(values[i]) >= ten
            times[i] = factor if above else times[i]
            over[i] = divisor if above else over[i]
    for i in range(values.size):
        value = values[i]
        rounded = np.rint(value * times[i] / over[i]) / times[i] * over[i]
        values[i] = rounded if times[i] != 0.0 and abs(value) < top else value


@part
def _round_decimals(values: NDArray[np.float64], power: float, inverse: float, rest: float) -> None:
    for i in range(values.size):
        values[i] = np.rint(values[i] * power)
    _divide(values, power, inverse, rest)


@part
def _divide(values: NDArray[np.float64], power: float, inverse: float, rest: float) -> None:
    """Divide whole numbers, by multiplication if there is an inverse."""
    if inverse == 0.0:
        for i in range(values.size):
            values[i] = values[i] / power
    else:
        for i in range(values.size):
            values[i] = quotient(values[i], power, inverse, rest)


@part
def _apply(
    values: NDArray[np.float64],
    kinds: NDArray[np.int64],
    parameters: NDArray[np.float64],
    inverses: NDArray[np.float64],
    tens: NDArray[np.float64],
    powers: NDArray[np.float64],
) -> None:
    """Take `values`, whole numbers, through the steps of `pipeline.codecs.arithmetic`, in place.

    `inverses` has for each step the inverse of what whole numbers are divided by, and what that
    lacks of it; 0 where there is none.
    """
    for j in range(kinds.size):
        kind, parameter = kinds[j], parameters[j]
        if kind == _TIMES:
            for i in range(values.size):
                values[i] = values[i] * parameter
        elif kind == _OVER:
            _divide(values, parameter, inverses[2 * j], inverses[2 * j + 1])
        elif kind == _PLUS:
            for i in range(values.size):
                values[i] = values[i] + parameter
        elif kind == _SINGLE:
            for i in range(values.size):
                values[i] = np.float64(np.float32(values[i]))
        elif kind == _DECIMALS:
            power = powers[np.int64(parameter)]
            _round_decimals(values, power, inverses[2 * j], inverses[2 * j + 1])
        else:
            _round_significant(values, np.int64(parameter), tens, powers)


@part
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
    inverses: NDArray[np.float64],
    tens: NDArray[np.float64],
    powers: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """Write what the steps make of `numbers`, in tiles that stay in the first cache.

    `values` may be the memory of `numbers`.
    """
    buffer = np.empty(_TILE)
    for start in range(0, numbers.size, _TILE):
        column = numbers[start : start + _TILE]  # an index that may be negative takes twice as long
        out = values[start : start + _TILE]
        tile = buffer[: column.size]
        for i in range(tile.size):
            tile[i] = np.float64(column[i])
        _apply(tile, kinds, parameters, inverses, tens, powers)
        for i in range(tile.size):
            out[i] = tile[i]


@loop
def from_multiples(
    numbers: NDArray[np.int64], factor: float, bits: int, exceptions: NDArray[np.uint8]
) -> int:
    """Replace `numbers` by the bits of the float64 that they stand for; return how many are far.

    See `pipeline.codecs.multiples`; -1 if more are marked than there are `exceptions`. Those of a
    tile are found before any is put in its place, a dozen at a time: a branch for each row, or for
    each that is marked, is guessed wrong as often as it is taken in a column of coordinates.
    """
    far = np.zeros(_TILE, np.uint8)
    eights = far.view(np.uint64)
    places = np.empty(_TILE + 12, np.uint64)
    shift, zero, one, eight = np.int64(bits), np.uint64(0), np.uint64(1), np.uint64(8)
    mask = (np.int64(1) << shift) - np.int64(1)
    half = mask >> np.int64(1)
    used = zero
    for start in range(zero, np.uint64(numbers.size), np.uint64(_TILE)):
        rows = min(np.uint64(_TILE), np.uint64(numbers.size) - start)
        for i in range(rows, np.uint64(_TILE)):
            far[i] = 0
        for i in range(rows):
            number = numbers[start + i]
            apart = number & mask
            far[i] = np.uint8(apart == mask)
            product = np.float64(np.float64(number >> shift) * factor).view(np.int64)
            word = (product ^ ((product >> _SIGN) & _ALL_BUT_SIGN)) + apart - half
            numbers[start + i] = word ^ ((word >> _SIGN) & _ALL_BUT_SIGN)
        count = zero
        for group in range(zero, np.uint64(_TILE) // np.uint64(64)):
            marked = sums = zero
            for k in range(eight):
                flags = eights[group * eight + k]
                sums += flags
                marked |= ((flags * _GATHER) >> np.uint64(56)) << (k * eight)
            to = count
            while marked:
                for j in range(_DOZEN):
                    places[to + j] = group * np.uint64(64) + trailing_zeros(marked)
                    marked &= marked - one
                to += _DOZEN
            count += (sums * _SUM) >> np.uint64(56)
        if used + count > np.uint64(exceptions.size) // eight:
            return -1
        for j in range(count):
            numbers[start + places[j]] = np.int64(load(exceptions, eight * (used + j)))
        used += count
    return np.int64(used)  # type: ignore[return-value]


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
def fit_arithmetic(
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
    kinds: NDArray[np.int64],
    parameters: NDArray[np.float64],
    inverses: NDArray[np.float64],
    tens: NDArray[np.float64],
    powers: NDArray[np.float64],
    single: bool,
    tolerance: float,
    numbers: NDArray[np.int64],
    misfits: NDArray[np.int64],
    state: NDArray[np.int64],
) -> bool:
    """Write the numbers of `values` and mark those that do not come back.

    What comes back is rounded to float32 if `single`; the rest is as in
    `pipeline.codecs.kernels.block_values.mark_misfits`.
    """
    buffer = np.empty(_TILE)
    for start in range(0, values.size, _TILE):
        column = values[start : start + _TILE]
        tile = buffer[: column.size]
        for i in range(tile.size):
            tile[i] = column[i]
        _undo(tile, kinds, parameters)
        for i in range(tile.size):
            whole = np.rint(tile[i])
            whole = whole if abs(whole) < _EXACT else 0.0
            numbers[start + i] = np.int64(whole)
            tile[i] = whole + 0.0  # a number has no negative zero
        _apply(tile, kinds, parameters, inverses, tens, powers)
        if single:
            for i in range(tile.size):
                tile[i] = np.float64(np.float32(tile[i]))
        if not mark_tile(column, bits, tile, start, tolerance, numbers, misfits, state):
            return False
    settle_leading(numbers, state)
    return True
