"""Counts of readings between given edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["histogram_counts"]


def histogram_counts(
    cells: NDArray[np.int64], values: NDArray[Any], edges: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the counts that are not zero, by cell and bucket.

    Parameters
    ----------
    cells
        ``int64``, shape (rows,): cell of each value.
    values
        Numbers without NaN, shape (rows,).
    edges
        Ascending, shape (buckets + 1,): buckets are half-open, the last one closed. 64-bit
        integers are compared with them as doubles.

    Returns
    -------
    tuple of ndarray
        ``int64``: distinct ``cell * buckets + bucket``, ascending, and their counts.
    """
    buckets = len(edges) - 1
    bucket = np.searchsorted(edges, values, side="right").astype(np.int64) - 1
    bucket[values == edges[-1]] = buckets - 1
    inside = (bucket >= 0) & (bucket < buckets)
    found, counts = np.unique(cells[inside] * buckets + bucket[inside], return_counts=True)
    return found, counts.astype(np.int64)
