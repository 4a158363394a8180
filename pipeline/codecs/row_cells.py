"""Cells of decoded rows: where they begin, and statistics of the values in them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel

__all__ = ["find_cells", "summarise_runs"]

_ALL: Final = np.empty(0, np.bool_)


def find_cells(
    codes: NDArray[np.int32], times: NDArray[np.int64], edges: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of rows of one device and bin begin, and their bins.

    Parameters
    ----------
    codes : ndarray of int32, shape (rows,)
        Device of each row.
    times : ndarray of int64, shape (rows,)
        Time of each row.
    edges : ndarray of int64, shape (bins + 1,)
        Ascending, at least two; they hold all times.

    Returns
    -------
    tuple of ndarray
        ``int64``, shape (runs,): the first row of each run, and its bin.
    """
    starts, bins = np.empty((2, len(times)), np.int64)
    found = 0
    if len(times):
        owned = (np.ascontiguousarray(one) for one in (codes, times, edges))
        found = kernel("row_cells", "find_cells")(*owned, starts, bins)
    return starts[:found], bins[:found]


def summarise_runs(
    values: NDArray[Any], valid: NDArray[np.bool_] | None, starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
    """Summarise consecutive runs of rows; NaN counts as no value.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Numbers.
    valid : ndarray of bool, shape (rows,), or None
        False where there is no value; None if every row has one.
    starts : ndarray of int64, shape (runs,)
        The first row of each run, the first 0.

    Returns
    -------
    counts : ndarray of int64, shape (runs,)
        Rows with a value.
    exact : ndarray of the dtype of `values`, shape (4, runs)
        Smallest, largest, first and last value; 0 where there is none.
    moments : ndarray of float64, shape (2, runs)
        Sum, and sum of squares of the deviations from the mean.
    """
    counts = np.empty(len(starts), np.int64)
    exact = np.zeros((4, len(starts)), values.dtype)
    moments = np.empty((2, len(starts)), np.float64)
    mask = _ALL if valid is None else np.ascontiguousarray(valid)
    owned = (np.ascontiguousarray(values), mask, np.ascontiguousarray(starts))
    kernel("row_cells", "summarise_runs")(*owned, counts, exact, moments)
    return counts, exact, moments
