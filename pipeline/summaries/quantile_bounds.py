"""Between which numbers the quantiles of a cell lie, given the states of its parts.

Sorted, the readings of a cell are nowhere below the sorted minima of their parts, each taken as
often as the part has readings: the quantile of these is a lower bound, that of the maxima an
upper one. Means and variances then rule out more, since they tell how many readings of a part
can lie below a number at most. Of parts that may lie outside of the cell those readings count
that make the bound worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.halving import last_that_holds
from pipeline.summaries.moment_bounds import Moments
from pipeline.summaries.parts import Parts

__all__ = ["QuantileBounds", "quantile_bounds"]

_HALVINGS: Final = 10
"""Bounds are sought to a part in 1,024 of what minima and maxima alone leave open."""

_PADDING: Final = 3
_Rank = Callable[[NDArray[np.int64]], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class QuantileBounds:
    """Quantiles of used cells; every array is ``float64`` of shape (used cells,).

    Parameters
    ----------
    estimate
        About the quantile.
    low, high
        The exact quantile lies between them, ends included.
    """

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def quantile_bounds(parts: Parts, quantile: float) -> QuantileBounds:
    """Return bounds of a quantile, interpolated linearly as `percentiles` does.

    Parameters
    ----------
    parts
        What is known of the readings. That a cell has a reading at all is taken for granted.
    quantile
        0 to 1.
    """
    lower, upper = _ranks(quantile)
    low = _from_minima(parts, parts.low, lower)
    high = -_from_minima(parts, -parts.high, upper)
    open_cells = np.isfinite(low) & np.isfinite(high) & (low < high)
    estimate = np.where(
        np.isfinite(low), low, np.where(np.isfinite(high), high, np.clip(0.0, low, high))
    )
    if open_cells.any():
        search = _Search.of(parts, low, high, open_cells)
        found = search.tightened(lower, upper)
        low[open_cells], high[open_cells] = found
        estimate[open_cells] = search.estimated(quantile, *found)
    return QuantileBounds(estimate, low, high)


def _ranks(quantile: float) -> tuple[_Rank, _Rank]:
    """Return how many of so many readings lie below the quantile at most, and how many above."""

    def below(count: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.floor((count - 1) * quantile).astype(np.int64)

    def above(count: NDArray[np.int64]) -> NDArray[np.int64]:
        return count - 1 - np.ceil((count - 1) * quantile).astype(np.int64)

    return below, above


def _may_be_below(
    sure: NDArray[np.int64], perhaps: NDArray[np.int64], rank: _Rank, whole: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell whether a quantile is at least a number.

    Parameters
    ----------
    sure, perhaps
        Most readings below the number, of whole parts and of others. The worst case has all of
        the latter in the cell, and none that lies above.
    rank
        How many may lie below the quantile.
    whole
        Readings of the whole parts.
    """
    fits: NDArray[np.bool_] = sure + perhaps <= np.maximum(rank(whole + perhaps), 0)
    return fits


def _from_minima(parts: Parts, values: NDArray[np.float64], rank: _Rank) -> NDArray[np.float64]:
    """Return the greatest of `values` of each cell that the quantile cannot be below."""
    order = _order_in_cells(parts, values)
    count = parts.states.count[order]
    whole = parts.whole[order]
    in_whole = parts.total(parts.states.count * parts.whole)
    sure = _below(parts, np.where(whole, count, 0))
    perhaps = _below(parts, np.where(whole, 0, count))
    holds = _may_be_below(sure, perhaps, rank, parts.spread(in_whole))
    passed = np.maximum(parts.total(holds.astype(np.int64)), 1)
    greatest: NDArray[np.float64] = values[order][parts.starts + passed - 1]
    return greatest


def _below(parts: Parts, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of what stands before each part in its cell."""
    before = np.cumsum(counts) - counts
    inside: NDArray[np.int64] = before - parts.spread(before[parts.starts])
    return inside


def _order_in_cells(parts: Parts, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the parts by cell and value.

    The cells as rows of a matrix, where they are about equally long, are sorted four times as
    fast as parts by two keys.
    """
    longest = int(parts.lengths.max(initial=0))
    if longest * len(parts.used) > _PADDING * len(parts):
        by_both: NDArray[np.int64] = np.lexsort((values, parts.cell))
        return by_both
    row = np.repeat(np.arange(len(parts.used)), parts.lengths)
    column = np.arange(len(parts)) - parts.spread(parts.starts)
    matrix = np.full((len(parts.used), longest), np.inf)
    matrix[row, column] = values
    order = np.argsort(matrix, axis=1)
    inside = order < parts.lengths[:, None]
    flat: NDArray[np.int64] = (order + parts.starts[:, None])[inside]
    return flat


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """Cells whose bounds are apart, and those of their parts that are not settled.

    A part is settled if all of its readings lie below what the bounds leave open, or all above.
    """

    parts: Parts
    moments: Moments
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: NDArray[np.int64]
    settled: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    above: tuple[NDArray[np.int64], NDArray[np.int64]]
    expected: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        parts: Parts,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        chosen: NDArray[np.bool_],
    ) -> _Search:
        parts, low, high = parts.take(parts.spread(chosen)), low[chosen], high[chosen]
        count, whole = parts.states.count, parts.whole
        sure, perhaps = np.where(whole, count, 0), np.where(whole, 0, count)
        likely = count * parts.share
        below = parts.high < parts.spread(low)
        above = parts.low > parts.spread(high)
        live = parts.take(~(below | above))
        return cls(
            live,
            Moments.of(live),
            low,
            high,
            parts.total(sure),
            (
                parts.total(sure * below),
                parts.total(perhaps * below),
                parts.total(likely * below),
            ),
            (parts.total(sure * above), parts.total(perhaps * above)),
            parts.total(likely),
        )

    def tightened(
        self, lower: _Rank, upper: _Rank
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return better bounds."""
        if np.isnan(self.moments.variance).all():
            return self.low, self.high
        low = self._greatest(self.moments, self.low, self.high, self.settled[:2], lower)
        mirrored = self.moments.mirrored()
        high = -self._greatest(mirrored, -self.high, -self.low, self.above, upper)
        return low, np.maximum(high, low)

    def _greatest(
        self,
        moments: Moments,
        good: NDArray[np.float64],
        end: NDArray[np.float64],
        settled: tuple[NDArray[np.int64], ...],
        rank: _Rank,
    ) -> NDArray[np.float64]:
        """Return about the greatest number between `good` and `end` that bounds the quantile."""
        parts, tails = self.parts, moments.tails()
        only_whole = bool(parts.whole.all())

        def holds(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
            most = tails.most_below(parts.spread(numbers))
            every = parts.total(most).astype(np.int64)
            sure = every if only_whole else parts.total(most * parts.whole).astype(np.int64)
            perhaps = settled[1] + every - sure
            return _may_be_below(settled[0] + sure, perhaps, rank, self.whole)

        return last_that_holds(holds, good, end, _HALVINGS)

    def estimated(
        self, quantile: float, low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where so many readings lie below, if each part is spread as its model says."""
        parts, model = self.parts, self.moments.model()
        likely = parts.states.count * parts.share
        wanted = np.maximum(self.expected - 1, 0) * quantile + np.minimum(self.expected, 1) / 2

        def too_few(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
            share = model.share_below(parts.spread(numbers))
            fewer: NDArray[np.bool_] = self.settled[2] + parts.total(likely * share) < wanted
            return fewer

        return np.clip(last_that_holds(too_few, low, high, _HALVINGS), low, high)
