"""Loops that look for the grid on which floats lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["estimate_scale", "grid_misfits"]


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
