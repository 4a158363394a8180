"""States of runs of rows, computed by NumPy alone: what the loops of the archive are compared with."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.statistics import Statistics

__all__ = ["chunk"]


def chunk(
    values: NDArray[Any], valid: NDArray[np.bool_] | None, starts: NDArray[np.int64]
) -> Statistics:
    """Return the states of consecutive, non-empty runs of rows that begin at `starts`."""
    states = Statistics.empty(len(starts), values.dtype)
    present = np.ones(len(values), np.bool_) if valid is None else valid
    if values.dtype.kind == "f":
        present = present & ~np.isnan(values)
    for run, (start, stop) in enumerate(pairwise([*starts, len(values)])):
        kept = values[start:stop][present[start:stop]]
        if len(kept):
            one = (len(kept), kept.min(), kept.max(), kept[0], kept[-1], *_moments(kept))
            for array, value in zip(states.arrays(), one, strict=True):
                array[run] = value
    return states


def _moments(values: NDArray[Any]) -> tuple[float, float]:
    """Return the sum, and the sum of squares of the deviations from the mean."""
    numbers = values.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = numbers.mean()
        away = numbers - mean
        total = mean * len(numbers) + away.sum() if np.isfinite(mean) else numbers.sum()
        return float(total), float(np.square(away).sum() - np.square(away.sum()) / len(numbers))
