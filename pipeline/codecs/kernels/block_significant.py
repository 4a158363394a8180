"""Loops between whole numbers and floats of so many significant digits, decade after decade."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["from_significant", "to_significant"]

_TILE = 1024


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
    rest, divisor, factor = np.empty(_TILE, np.uint64), np.empty(_TILE), np.empty(_TILE)
    for first in range(0, numbers.size, _TILE):
        tile = numbers[first : first + _TILE]
        out = values[first : first + _TILE]
        for j in range(used):
            start, each, every = starts[j] - unit, over[j], times[j]
            floor = starts[j] if j else zero
            for i in range(tile.size):
                number = zero - tile[i] if tile[i] >> sign else tile[i]
                above = number >= floor
                rest[i] = number - start if above else rest[i]
                divisor[i] = each if above else divisor[i]
                factor[i] = every if above else factor[i]
        for i in range(tile.size):
            number = zero - tile[i] if tile[i] >> sign else tile[i]
            value = np.float64(rest[i]) / divisor[i] * factor[i]
            value = value if number < last else np.nan
            out[i] = -value if tile[i] >> sign else value


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
    unit, end = np.int64(starts[0]), tops[tops.size - 1]
    most = 0.0
    for i in range(values.size):
        size = abs(values[i])
        most = size if most < size < end else most
    used = 0
    while most >= tops[used]:
        used += 1
    start, divisor, factor = np.empty(_TILE, np.int64), np.empty(_TILE), np.empty(_TILE)
    for first in range(0, values.size, _TILE):
        tile = values[first : first + _TILE]
        start[:], divisor[:], factor[:] = 0, over[0], times[0]
        for j in range(1, used + 1):
            top, skipped = tops[j - 1], np.int64(starts[j]) - unit
            each, every = over[j], times[j]
            for i in range(tile.size):
                above = abs(tile[i]) >= top
                start[i] = skipped if above else start[i]
                divisor[i] = each if above else divisor[i]
                factor[i] = every if above else factor[i]
        for i in range(tile.size):
            size = abs(tile[i])
            size = size if size < end else 0.0
            number = start[i] + np.int64(np.rint(size * divisor[i] / factor[i]))
            numbers[first + i] = -number if tile[i] < 0.0 else number
