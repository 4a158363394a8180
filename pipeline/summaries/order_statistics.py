"""Percentiles and numbers of distinct values of groups of readings, exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.merging import runs_of

__all__ = ["distinct_pairs", "percentiles"]

_FEW: Final = 16
"""Runs so few that they are sorted one by one."""


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
    ordered, sorted_values, starts = _sorted(cells, values)
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
    ordered, sorted_values, _ = _sorted(cells, values)
    starts = runs_of(ordered, sorted_values)
    return ordered[starts], sorted_values[starts]


def _sorted(
    cells: NDArray[np.int64], values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.int64]]:
    """Return cells and values sorted by both, and where the run of each cell starts."""
    if (cells[1:] < cells[:-1]).any():
        order = np.argsort(cells, kind="stable")
        cells, values = cells[order], values[order]
    starts = runs_of(cells)
    return cells, _sorted_runs(values, starts, np.diff(starts, append=len(cells))), starts


def _sorted_runs(
    values: NDArray[Any], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[Any]:
    """Return values with every run sorted.

    Runs of about one length are sorted as the rows of a matrix, for which NumPy has vector
    instructions; sorting rows by cell and value together took five times as long.
    """
    result = values.copy()
    classes = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    top = values.dtype.type(np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).max)
    for size in np.unique(classes[lengths > 1]).tolist():
        members = np.flatnonzero(classes == size)
        if len(members) < _FEW:
            for start, length in zip(starts[members], lengths[members], strict=True):
                result[start : start + length].sort()
            continue
        columns = np.arange(int(lengths[members].max()))
        inside = columns < lengths[members][:, None]
        at = starts[members][:, None] + columns
        matrix = np.where(inside, values[np.minimum(at, len(values) - 1)], top)
        matrix.sort(axis=1)
        result[at[inside]] = matrix[inside]
    return result


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
