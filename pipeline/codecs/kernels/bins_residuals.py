"""Loops over a tile of residuals: outliers, and the predictors of the four lanes.

A predictor has to wait for the row before; those of the four lanes wait at the same time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_planes import STRIDE
from pipeline.codecs.kernels.block_loop import part
from pipeline.codecs.kernels.lanes import missed

__all__ = ["patch", "restore"]

_ONE = np.uint64(1)
_STRIDE = np.uint64(STRIDE)
_STRIDE_TWO = np.uint64(2 * STRIDE)
_STRIDE_THREE = np.uint64(3 * STRIDE)
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
        tile[lane * STRIDE + rows[low] - start] = residuals[low]
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
        b += tile[at + _STRIDE]
        c += tile[at + _STRIDE_TWO]
        d += tile[at + _STRIDE_THREE]
        tile[at] = a
        tile[at + _STRIDE] = b
        tile[at + _STRIDE_TWO] = c
        tile[at + _STRIDE_THREE] = d
        at += _ONE
    begins[0, 0] = a
    begins[1, 0] = b
    begins[2, 0] = c
    begins[3, 0] = d


@part
def _sum_up_slopes(tile: NDArray[np.int64], steps: int, begins: NDArray[np.int64]) -> None:
    """Undo differences of differences."""
    a = begins[0, 1]
    b = begins[1, 1]
    c = begins[2, 1]
    d = begins[3, 1]
    at = np.uint64(0)
    for _ in range(steps):
        a += tile[at]
        b += tile[at + _STRIDE]
        c += tile[at + _STRIDE_TWO]
        d += tile[at + _STRIDE_THREE]
        tile[at] = a
        tile[at + _STRIDE] = b
        tile[at + _STRIDE_TWO] = c
        tile[at + _STRIDE_THREE] = d
        at += _ONE
    begins[0, 1] = a
    begins[1, 1] = b
    begins[2, 1] = c
    begins[3, 1] = d
    _sum_up(tile, steps, begins)


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
        two = tile[at + _STRIDE]
        three = tile[at + _STRIDE_TWO]
        four = tile[at + _STRIDE_THREE]
        tile[at] = one + (a >> _SMOOTH_BITS)
        tile[at + _STRIDE] = two + (b >> _SMOOTH_BITS)
        tile[at + _STRIDE_TWO] = three + (c >> _SMOOTH_BITS)
        tile[at + _STRIDE_THREE] = four + (d >> _SMOOTH_BITS)
        a += one << shift
        b += two << shift
        c += three << shift
        d += four << shift
        at += _ONE
    begins[0, 0] = a
    begins[1, 0] = b
    begins[2, 0] = c
    begins[3, 0] = d


@part
def _advance(value: np.int64, residual: np.int64, shift: np.int64, period: np.int64) -> np.int64:
    """Return where a clock stands that was off by a residual."""
    late = residual << _GRID_BITS
    steps = missed(late, period)
    if steps:
        value += steps * period
        late -= steps * period
    return value + period + (late >> shift)


@part
def _tick(
    tile: NDArray[np.int64],
    steps: int,
    shift: np.int64,
    period: np.int64,
    begins: NDArray[np.int64],
) -> None:
    """Undo the grid."""
    a = begins[0, 0]
    b = begins[1, 0]
    c = begins[2, 0]
    d = begins[3, 0]
    at = np.uint64(0)
    for _ in range(steps):
        one = tile[at]
        two = tile[at + _STRIDE]
        three = tile[at + _STRIDE_TWO]
        four = tile[at + _STRIDE_THREE]
        tile[at] = one + (a >> _GRID_BITS)
        tile[at + _STRIDE] = two + (b >> _GRID_BITS)
        tile[at + _STRIDE_TWO] = three + (c >> _GRID_BITS)
        tile[at + _STRIDE_THREE] = four + (d >> _GRID_BITS)
        a = _advance(a, one, shift, period)
        b = _advance(b, two, shift, period)
        c = _advance(c, three, shift, period)
        d = _advance(d, four, shift, period)
        at += _ONE
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
) -> None:
    """Turn the residuals of a tile into numbers; `begins` holds where the predictors stand."""
    if predictor == 1:
        _sum_up(tile, steps, begins)
    elif predictor == 2:
        _sum_up_slopes(tile, steps, begins)
    elif predictor == 3:
        _follow(tile, steps, shift, begins)
    elif predictor == 4:
        _tick(tile, steps, shift, period, begins)
