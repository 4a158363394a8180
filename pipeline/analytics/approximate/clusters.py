"""Stretches of rows that are sampled, and what summaries tell of each beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.approximate.bounded import SAMPLE, Bounded
from pipeline.summaries.cluster_bounds import Clusters, quantile_between
from pipeline.summaries.moment_bounds import Moments
from pipeline.summaries.part_bounds import Bounds
from pipeline.summaries.parts import Parts

__all__ = ["SampledQuantile", "Stretches"]

_MOST_NUMBERS: Final = 256
_LEAST_NUMBERS: Final = 16
_MOST_WORK: Final = 1 << 23
"""Numbers of the grid times parts: some 0.3 s of computing before the first row is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Windows of the fleet, one drawing each.

    Parameters
    ----------
    numbers
        ``int64``, ascending: windows that hold something of the answer.
    gone
        Bool, their shape: windows whose rows were dropped.
    certain
        Bool, their shape: windows that are looked at in any case, since it is not known how many of
        their readings lie in which cell.
    """

    numbers: NDArray[np.int64]
    gone: NDArray[np.bool_]
    certain: NDArray[np.bool_]

    @property
    def random(self) -> NDArray[np.int64]:
        """Positions of the windows that are drawn from."""
        return np.flatnonzero(~self.gone & ~self.certain)


@dataclass(slots=True, eq=False)
class SampledQuantile:
    """A percentile of a channel: bounds so far, and what the sample has told.

    Parameters
    ----------
    parts
        What is known of the channel's readings.
    stretch
        ``int64``, shape (parts,): position of each part's window among the stretches.
    stretches
        Windows that are drawn from.
    known
        The answer from summaries.
    quantile
        0 to 1.
    """

    parts: Parts
    stretch: NDArray[np.int64]
    stretches: Stretches
    known: Bounded
    quantile: float
    _key: NDArray[np.int64] = field(init=False)
    _clusters: Clusters = field(init=False)
    _grid: NDArray[np.float64] = field(init=False)
    _counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        parts, width = self.parts, len(self.stretches.numbers)
        used = np.repeat(np.arange(len(parts.used)), parts.lengths)
        self._key, cluster = np.unique(used * width + self.stretch, return_inverse=True)
        self._grid = self._made_grid()
        counts = np.bincount(cluster, weights=parts.states.count).astype(np.int64)
        self._counts = counts
        least, most = self._before(used, cluster.astype(np.int64))
        position = self._key % width
        none = np.zeros(len(self._key), np.bool_)
        random = np.isin(position, self.stretches.random)
        found = np.zeros(least.shape, np.int64)
        self._clusters = Clusters(self._key // width, least, most, none, found, random)

    @staticmethod
    def fits(parts: Parts) -> bool:
        """Tell whether there are few enough parts to look at each for many numbers."""
        return 0 < len(parts) * _LEAST_NUMBERS <= _MOST_WORK

    def _made_grid(self) -> NDArray[np.float64]:
        parts = self.parts
        low, high = (
            end.reshape(-1)[parts.used] for end in (self.known.bounds.low, self.known.bounds.high)
        )
        size = int(np.clip(_MOST_WORK // len(parts), _LEAST_NUMBERS, _MOST_NUMBERS))
        grid = np.linspace(low, high, size, axis=1)
        # All readings up to the upper bound lie below the last number.
        grid[:, -1] = np.nextafter(high, np.inf)
        return grid

    def _before(
        self, used: NDArray[np.int64], cluster: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many readings of each cluster lie below each number, least and most."""
        parts, moments = self.parts, Moments.of(self.parts)
        below, above = moments.tails(), moments.mirrored().tails()
        shape = len(self._key), self._grid.shape[1]
        least, most = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for at in range(shape[1]):
            numbers = self._grid[used, at]
            fewest = parts.states.count - above.most_below(-numbers)
            fewest = np.where(parts.whole, fewest, 0)
            for target, each in ((least, fewest), (most, below.most_below(numbers))):
                target[:, at] = np.bincount(cluster, weights=each, minlength=shape[0])
        return least, most

    def add(self, stretch: int, cell: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Take the readings of a drawn window.

        Parameters
        ----------
        stretch
            Its position among the stretches.
        cell
            ``int64``, shape (rows,): cells of the answer.
        values
            Shape (rows,): readings, none of them NaN.
        """
        clusters, width = self._clusters, len(self.stretches.numbers)
        row = np.searchsorted(self.parts.used, cell)
        here = np.flatnonzero(self._key % width == stretch)
        clusters.drawn[here] = True
        place = np.searchsorted(self._key[here], row * width + stretch)
        numbers = self._grid.shape[1]
        for at, cluster in enumerate(here.tolist()):
            inside = np.sort(values[place == at].astype(np.float64))
            grid = self._grid[self._key[cluster] // width]
            clusters.found[cluster] = np.searchsorted(inside, grid, side="left")[:numbers]
            self._counts[cluster] = len(inside)

    def answer(self, risk: float, confidence: float) -> Bounded:
        """Return the answer from what was drawn so far.

        Parameters
        ----------
        risk
            How often a value's bounds may fail this time.
        confidence
            How often they hold, whichever of all times it is.
        """
        return self._bounded(self._clusters, risk, confidence)

    def expected(self, drawn: NDArray[np.int64], risk: float) -> Bounded:
        """Return about what the answer will be like when windows at `drawn` have been looked at."""
        before = self._clusters
        looked = np.isin(self._key % len(self.stretches.numbers), drawn)
        middle = (before.least + before.most) // 2
        guess = Clusters(before.cell, before.least, before.most, looked, middle, before.random)
        return self._bounded(guess, risk, 1 - risk)

    def _bounded(self, clusters: Clusters, risk: float, confidence: float) -> Bounded:
        parts = self.parts
        total = np.add.reduceat(
            self._counts, np.searchsorted(clusters.cell, np.arange(len(parts.used)))
        )
        found = quantile_between(clusters, self._grid, total, self.quantile, risk)
        known = self.known.bounds
        value, low, high = (
            part.copy().reshape(-1) for part in (known.value, known.low, known.high)
        )
        sampled = low < high
        for target, new in zip((value, low, high), found, strict=True):
            target[parts.used] = np.where(sampled[parts.used], new, target[parts.used])
        high = np.minimum(high, known.high.reshape(-1))
        shape = known.value.shape
        bounds = Bounds(*(np.minimum(part, high).reshape(shape) for part in (value, low, high)))
        return Bounded(bounds, self.known.present, self.known.seen, SAMPLE, confidence)
