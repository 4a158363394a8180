"""Cells of decoded rows: where they begin, and statistics of the values in them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel

__all__ = ["count_buckets", "count_rows", "find_cells", "summarise_runs"]

_ALL: Final = np.empty(0, np.bool_)


def find_cells(
    codes: NDArray[np.int32],
    times: NDArray[np.int64],
    ends: NDArray[np.int64],
    edges: NDArray[np.int64],
    wanted: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of rows of one device and bin lie, and their bins.

    Parameters
    ----------
    codes : ndarray of int32, shape (rows,)
        Device of each row.
    times : ndarray of int64, shape (rows,)
        Time of each row.
    ends : ndarray of int64, shape (parts,)
        Where parts end, the last with the last row: the rows of each are sorted by device and time.
    edges : ndarray of int64, shape (bins + 1,)
        Ascending, at least two.
    wanted : ndarray of int64
        Devices.
    asked : ndarray of int64, shape (4, parts)
        Of each part: the half-open range of times whose rows count, as far as the edges reach, and
        where the devices whose rows count begin and end in `wanted`; there they ascend.

    Returns
    -------
    tuple of ndarray
        ``int64``, shape (runs,): the first row of each run, the one behind its last, and its bin.
    """
    starts, stops, bins = scratch.empty(3 * len(times), np.int64).reshape(3, -1)
    owned = (np.ascontiguousarray(one) for one in (codes, times, ends, edges, wanted))
    inside = np.concatenate([np.clip(asked[:2], edges[0], edges[-1]), asked[2:]])
    found = kernel("row_cells", "find_cells")(*owned, inside, starts, stops, bins)
    return starts[:found].copy(), stops[:found].copy(), bins[:found].copy()


def count_rows(
    chosen: NDArray[np.bool_], starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many rows of each run are chosen; ``int64``, shape (runs,).

    Parameters
    ----------
    chosen : ndarray of bool, shape (rows,)
    starts, stops : ndarray of int64, shape (runs,)
        The first row of each run, and the one behind its last.
    """
    counts = np.empty(len(starts), np.int64)
    kernel("row_cells", "count_rows")(np.ascontiguousarray(chosen), starts, stops, counts)
    return counts


def count_buckets(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    edges: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return how many rows of each run lie between edges; ``int64``, shape (runs, buckets).

    Parameters
    ----------
    values, valid, starts, stops
        As for `summarise_runs`.
    edges : ndarray of float64, shape (buckets + 1,)
        Ascending and few: every row is compared with one after the other. Buckets are half-open,
        the last one closed; 64-bit integers are compared as doubles.
    """
    counts = np.zeros((len(starts), len(edges) - 1), np.int64)
    mask = _ALL if valid is None else np.ascontiguousarray(valid)
    owned = (np.ascontiguousarray(one) for one in (starts, stops, edges))
    kernel("row_cells", "count_buckets")(np.ascontiguousarray(values), mask, *owned, counts)
    return counts


def summarise_runs(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    *,
    sums_only: bool = False,
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float64]]:
    """Summarise runs of rows; NaN counts as no value.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Numbers.
    valid : ndarray of bool, shape (rows,), or None
        False where there is no value; None if every row has one.
    starts, stops : ndarray of int64, shape (runs,)
        The first row of each run, and the one behind its last.
    sums_only : bool, optional
        Whether only counts and sums are wanted; all else is 0. Both are the same to the last bit.

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
    exact = np.zeros((len(starts), 4), values.dtype)
    moments = np.empty((2, len(starts)), np.float64)
    mask = _ALL if valid is None else np.ascontiguousarray(valid)
    owned = (np.ascontiguousarray(one) for one in (starts, stops))
    kernel("row_cells", "summarise_runs")(
        np.ascontiguousarray(values), mask, *owned, counts, exact, moments, sums_only
    )
    return counts, exact.T, moments
