"""Which periods of which stored statistics answer a question, and what is left: pure arithmetic.

The longest periods are taken first. A period answers if it lies inside the time range and inside
one bin, as far as the fleet has rows, and if its statistics are in step with the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.plan import runs_of_numbers

__all__ = ["Periods", "take_periods"]


class Periods(Protocol):
    """Periods of one length that may be in step with the rows."""

    def touched(self, start: int, stop: int) -> range:
        """Return the periods that a time range touches."""

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where periods start."""

    def is_fresh(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which half-open time ranges are in step with the rows."""


def take_periods(
    level: Periods, ranges: Iterable[tuple[int, int]], bounds: tuple[int, int], bins: Bins
) -> tuple[list[range], list[tuple[int, int]]]:
    """Return the periods of a level that answer, and the time ranges that are left.

    Parameters
    ----------
    level
        Periods of one length.
    ranges
        Half-open time ranges asked for, apart, in microseconds since 1970-01-01 UTC.
    bounds
        Half-open range in which the fleet has rows.
    bins
        Bins that cover the part of the ranges inside `bounds`.
    """
    taken: list[range] = []
    left: list[tuple[int, int]] = []
    for start, stop in ranges:
        first, last = max(start, bounds[0]), min(stop, bounds[1])
        if first >= last:
            continue
        runs = runs_of_numbers(_answering(level, first, last, bounds, bins))
        taken += runs
        for run in runs:
            begin, end = level.starts(np.array([run.start, run.stop])).tolist()
            if first < begin:
                left.append((first, begin))
            first = end
        if first < last:
            left.append((first, last))
    return taken, left


def _answering(
    level: Periods, start: int, stop: int, bounds: tuple[int, int], bins: Bins
) -> NDArray[np.int64]:
    """Return the numbers of the periods that answer for a time range inside the bounds."""
    touched = level.touched(start, stop)
    edges = level.starts(np.arange(touched.start, touched.stop + 1))
    starts, stops = np.maximum(edges[:-1], bounds[0]), np.minimum(edges[1:], bounds[1])
    whole = (starts >= start) & (stops <= stop)
    whole[whole] = bins.hold_whole(starts[whole], stops[whole])
    whole[whole] = level.is_fresh(starts[whole], stops[whole])
    return touched.start + np.flatnonzero(whole)
