"""Loops over a tile of residuals: outliers, and the predictors of the four lanes.

A predictor has to wait for the row before; those of the four lanes wait at the same time, in one
wide register: a tile holds row after row of all four lanes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import part
from pipeline.codecs.kernels.lanes import missed

__all__ = ["patch", "restore"]

_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)
_SMOOTH_BITS = np.int64(8)
_GRID_BITS = np.int64(10)


@part
def patch(
    rows: NDArray[np.int64],
    residuals: NDArray[np.int64],
    start: int,
    stop: int,
    tile: NDArray[np.int64],
    lane: int,
) -> None:
    """Write the residuals of a lane's rows from `start` up to `stop` that are kept apart."""
    low = 0
    high = rows.size
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < start:
            low = middle + 1
        else:
            high = middle
    while low < rows.size and rows[low] < stop:
        tile[4 * (rows[low] - start) + lane] = residuals[low]
        low += 1


@part
def _sum_up(tile: NDArray[np.int64], steps: int, begins: NDArray[np.int64]) -> None:
    """Undo differences."""
    a = begins[0, 0]
    b = begins[1, 0]
    c = begins[2, 0]
    d = begins[3, 0]
    at = np.uint64(0)
    for _ in range(steps):
        a += tile[at]
        b += tile[at + _ONE]
        c += tile[at + _TWO]
        d += tile[at + _THREE]
        tile[at] = a
        tile[at + _ONE] = b
        tile[at + _TWO] = c
        tile[at + _THREE] = d
        at += _FOUR
    begins[0, 0] = a
    begins[1, 0] = b
    begins[2, 0] = c
    begins[3, 0] = d


@part
def _sum_up_slopes(tile: NDArray[np.int64], steps: int, begins: NDArray[np.int64]) -> None:
    """Undo differences of differences."""
    a = begins[0, 0]
    b = begins[1, 0]
    c = begins[2, 0]
    d = begins[3, 0]
    slope_a = begins[0, 1]
    slope_b = begins[1, 1]
    slope_c = begins[2, 1]
    slope_d = begins[3, 1]
    at = np.uint64(0)
    for _ in range(steps):
        slope_a += tile[at]
        slope_b += tile[at + _ONE]
        slope_c += tile[at + _TWO]
        slope_d += tile[at + _THREE]
        a += slope_a
        b += slope_b
        c += slope_c
        d += slope_d
        tile[at] = a
        tile[at + _ONE] = b
        tile[at + _TWO] = c
        tile[at + _THREE] = d
        at += _FOUR
    begins[0, 0] = a
    begins[1, 0] = b
    begins[2, 0] = c
    begins[3, 0] = d
    begins[0, 1] = slope_a
    begins[1, 1] = slope_b
    begins[2, 1] = slope_c
    begins[3, 1] = slope_d


@part
def _follow(
    tile: NDArray[np.int64],
    steps: int,
    shift: np.int64,
    begins: NDArray[np.int64],
) -> None:
    """Undo smoothing."""
    a = begins[0, 0]
    b = begins[1, 0]
    c = begins[2, 0]
    d = begins[3, 0]
    at = np.uint64(0)
    for _ in range(steps):
        one = tile[at]
        two = tile[at + _ONE]
        three = tile[at + _TWO]
        four = tile[at + _THREE]
        tile[at] = one + (a >> _SMOOTH_BITS)
        tile[at + _ONE] = two + (b >> _SMOOTH_BITS)
        tile[at + _TWO] = three + (c >> _SMOOTH_BITS)
        tile[at + _THREE] = four + (d >> _SMOOTH_BITS)
        a += one << shift
        b += two << shift
        c += three << shift
        d += four << shift
        at += _FOUR
    begins[0, 0] = a
    begins[1, 0] = b
    begins[2, 0] = c
    begins[3, 0] = d


@part
def _gains(
    tile: NDArray[np.int64],
    steps: int,
    shift: np.int64,
    period: np.int64,
    gains: NDArray[np.int64],
) -> None:
    """Write how far a clock advances in every row, by its residual."""
    half = period >> np.int64(1)
    count = np.uint64(4 * steps)
    latest = np.int64(0)
    for i in range(count):
        latest = max(latest, tile[i] << _GRID_BITS)
    if latest <= half:  # nobody has missed a period
        for i in range(count):
            gains[i] = period + ((tile[i] << _GRID_BITS) >> shift)
        return
    for i in range(count):
        late = tile[i] << _GRID_BITS
        missing = missed(late, period) * period
        gains[i] = missing + period + ((late - missing) >> shift)


@part
def _tick(
    tile: NDArray[np.int64],
    steps: int,
    shift: np.int64,
    period: np.int64,
    begins: NDArray[np.int64],
    gains: NDArray[np.int64],
) -> None:
    """Undo the grid."""
    _gains(tile, steps, shift, period, gains)
    a = begins[0, 0]
    b = begins[1, 0]
    c = begins[2, 0]
    d = begins[3, 0]
    at = np.uint64(0)
    for _ in range(steps):
        tile[at] += a >> _GRID_BITS
        tile[at + _ONE] += b >> _GRID_BITS
        tile[at + _TWO] += c >> _GRID_BITS
        tile[at + _THREE] += d >> _GRID_BITS
        a += gains[at]
        b += gains[at + _ONE]
        c += gains[at + _TWO]
        d += gains[at + _THREE]
        at += _FOUR
    begins[0, 0] = a
    begins[1, 0] = b
    begins[2, 0] = c
    begins[3, 0] = d


@part
def restore(
    tile: NDArray[np.int64],
    steps: int,
    predictor: int,
    shift: np.int64,
    period: np.int64,
    begins: NDArray[np.int64],
    spare: NDArray[np.int64],
) -> None:
    """Turn the residuals of a tile into numbers; `begins` holds where the predictors stand."""
    if predictor == 1:
        _sum_up(tile, steps, begins)
    elif predictor == 2:
        _sum_up_slopes(tile, steps, begins)
    elif predictor == 3:
        _follow(tile, steps, shift, begins)
    elif predictor == 4:
        _tick(tile, steps, shift, period, begins, spare)
