"""Differences of readings that do not overflow, and statistics that are differences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.statistics import Statistics

__all__ = ["delta", "difference", "value_range"]


def difference(later: NDArray[Any], earlier: NDArray[Any]) -> NDArray[Any]:
    """Return ``later - earlier``.

    Parameters
    ----------
    later, earlier
        Numbers of one dtype and shape.

    Returns
    -------
    ndarray
        ``float64`` for floats; ``int64`` for integers of up to 32 bits, exact; ``float64`` for
        64-bit integers, whose differences may need 65 bits: the nearest double, exact up to 2**53.
    """
    if later.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):
            return later.astype(np.float64) - earlier.astype(np.float64)
    if later.dtype.itemsize < 8:
        return later.astype(np.int64) - earlier.astype(np.int64)
    # Modulo 2**64 the larger minus the smaller is exact, whatever the signs.
    one, two = later.astype(np.uint64), earlier.astype(np.uint64)
    rises = later >= earlier
    size = np.where(rises, one - two, two - one).astype(np.float64)
    return np.where(rises, size, -size)


def delta(states: Statistics) -> NDArray[Any]:
    """Return last minus first; dtype as of `difference`, without meaning where count is 0."""
    return difference(states.last, states.first)


def value_range(states: Statistics) -> NDArray[Any]:
    """Return max minus min; dtype as of `difference`, without meaning where count is 0."""
    return difference(states.max, states.min)
