"""The buckets of quantile sketches as parts, each with its range and count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.parts import Parts
from pipeline.summaries.quantile_sketch import QuantileSketch
from pipeline.summaries.statistics import Statistics

__all__ = ["parts_of_sketches"]


def parts_of_sketches(
    sketches: Sequence[QuantileSketch],
    cell: NDArray[np.int64],
    whole: NDArray[np.bool_],
    share: NDArray[np.float64],
    size: int,
) -> Parts:
    """Return what sketches tell of the readings of cells.

    Parameters
    ----------
    sketches
        Sketches of any accuracy.
    cell, whole, share
        Shape (sketches,): the cell of each, whether all readings of it lie there, and else about
        which share of them.
    size
        Number of cells.

    Returns
    -------
    Parts
        One part a bucket, of ``float64`` and without moments.
    """
    none = np.zeros(0)
    buckets = [sketch.buckets() for sketch in sketches]
    low = np.concatenate([none, *(found[0] for found in buckets)])
    high = np.concatenate([none, *(found[1] for found in buckets)])
    counts = [found[2] for found in buckets]
    count = np.concatenate([np.zeros(0, np.int64), *counts])
    repeats = np.array([len(found) for found in counts], np.int64)
    unknown = np.full(len(count), np.nan)
    states = Statistics(count, low, high, low, high, unknown, unknown)
    every = Parts(
        np.repeat(cell, repeats),
        states,
        np.repeat(whole, repeats),
        np.repeat(share, repeats),
        size,
        np.zeros(len(count), np.int64),
    )
    return Parts.joined([every], size, np.dtype(np.float64))
