"""Loops that look for the grid on which floats lie."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["best_divisor", "estimate_scale", "grid_misfits", "scale_misfits"]


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
        for j in range(divisors.size):
            misfits[way, j] = _count_misfits(
                ways[way], powers, divisors[j], single, tolerance, limit, most
            )


@part
def _count_misfits(
    values: NDArray[np.float64],
    powers: NDArray[np.float64],
    divisor: float,
    single: bool,
    tolerance: float,
    limit: float,
    most: int,
) -> int:
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
    return count


@loop
def best_divisor(
    values: NDArray[np.float64],
    powers: NDArray[np.float64],
    divisors: NDArray[np.float64],
    single: bool,
    limit: float,
    most: int,
    misfit_bits: float,
) -> int:
    """Return the place of the divisor that costs the fewest bits a value, or -1 if none fits.

    `divisors` ascend, so that a search ends where a larger one cannot be better.
    """
    best, least = -1, np.inf
    for j in range(divisors.size):
        bits = math.log2(divisors[j])
        if bits >= least:
            break
        count = _count_misfits(values, powers, divisors[j], single, 0.0, limit, most)
        bits += misfit_bits * count / values.size
        if count <= most and bits < least:
            best, least = j, bits
    return best


@loop
def estimate_scale(
    ascending: NDArray[np.float64], distances: NDArray[np.float64], error: float
) -> float:
    """Return the step of a grid through zero on which all values lie, or 0.

    `ascending` are distinct values, each off by at most `error`, and `distances` those between
    neighbours, ascending as well. Euclid's algorithm on the shortest finds a step; the mean of
    all makes it more exact, and longer and longer distances from the first value as exact as
    the values are.
    """
    step, doubt = distances[0], 2.0 * error
    for i in range(1, min(distances.size, 64)):
        rest, blur = distances[i], 2.0 * error
        while rest > 4.0 * blur:
            times = np.rint(step / rest)
            step, rest = rest, abs(step - rest * times)
            doubt, blur = blur, doubt + blur * times
        if step < 16.0 * doubt:
            return 0.0
    length, count = 0.0, 0.0
    for i in range(distances.size):
        length += distances[i]
        count += np.rint(distances[i] / step)
        step = length / count
    for i in range(1, ascending.size):
        distance = ascending[i] - ascending[0]
        step = distance / max(1.0, np.rint(distance / step))
    return step


@loop
def scale_misfits(
    values: NDArray[np.float64],
    scales: NDArray[np.float64],
    single: bool,
    misfits: NDArray[np.int64],
) -> None:
    """Count, for each scale, the values that are none of its multiples bit for bit."""
    for j in range(scales.size):
        scale, count = scales[j], 0
        for i in range(values.size):
            back = np.rint(values[i] / scale) * scale
            if single:
                back = np.float64(np.float32(back))
            if back != values[i]:
                count += 1
        misfits[j] = count
