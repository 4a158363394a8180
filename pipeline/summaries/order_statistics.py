"""Percentiles and numbers of distinct values of groups of readings, exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.merging import runs_of

__all__ = ["distinct_pairs", "percentiles"]


def percentiles(
    cells: NDArray[np.int64], values: NDArray[Any], size: int, quantiles: Sequence[float]
) -> NDArray[np.float64]:
    """Return percentiles of the values of each cell, by linear interpolation.

    The definition is number 7 of Hyndman and Fan, the default of NumPy and pandas.

    Parameters
    ----------
    cells
        ``int64``, shape (rows,), in any order: cell of each value.
    values
        Numbers without NaN, shape (rows,).
    size
        Number of cells.
    quantiles
        0 to 1.

    Returns
    -------
    ndarray
        ``float64``, shape (quantiles, size); NaN for cells without a value. Between two
        infinities of different sign, or between an infinity and a number, the nearer is taken.
    """
    result = np.full((len(quantiles), size), np.nan)
    if len(cells) == 0:
        return result
    order = np.lexsort((values, cells))
    ordered, sorted_values = cells[order], values[order]
    starts = runs_of(ordered)
    last = np.diff(starts, append=len(ordered)) - 1
    filled = ordered[starts]
    for at, quantile in enumerate(quantiles):
        rank = last * quantile
        below = np.floor(rank).astype(np.int64)
        low = sorted_values[starts + below].astype(np.float64)
        high = sorted_values[starts + np.minimum(below + 1, last)].astype(np.float64)
        result[at, filled] = _between(low, high, rank - below)
    return result


def distinct_pairs(
    cells: NDArray[np.int64], values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return each pair of cell and value once, sorted; 0.0 and -0.0 are one value.

    Parameters
    ----------
    cells, values
        Shape (rows,), in any order; values without NaN.
    """
    order = np.lexsort((values, cells))
    ordered, sorted_values = cells[order], values[order]
    starts = runs_of(ordered, sorted_values)
    return ordered[starts], sorted_values[starts]


def _between(
    low: NDArray[np.float64], high: NDArray[np.float64], part: NDArray[np.float64]
) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):
        width = high - low
        # From the nearer end, as NumPy does, so that it never leaves the two values.
        inner = np.where(part < 0.5, low + width * part, high - width * (1 - part))
    nearer = np.where(part < 0.5, low, high)
    return np.where(np.isfinite(width), inner, _weighted(low, high, part, nearer))


def _weighted(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    part: NDArray[np.float64],
    nearer: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Interpolate where the width overflows though both ends are finite; infinities stay."""
    finite = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        return np.where(finite, low * (1 - part) + high * part, nearer)
