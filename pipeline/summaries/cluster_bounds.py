"""Bounds of quantiles from a random sample of clusters, of which ranges are known beforehand.

A cluster is all that a cell holds of one stretch of time: its readings resemble each other, and
nothing is assumed of how. Of every cluster it is known how many readings lie below a number at
least and at most; of those in the sample exactly how many do. What is left open in the others
is bounded by the sample's mean distance from the middle of these ranges, for draws without
replacement from a finite population, whatever its distribution.

References
----------
Serfling: "Probability inequalities for the sum in sampling without replacement", The Annals of
Statistics 2(1), 1974. Bardenet, Maillard: "Concentration inequalities for sampling without
replacement", Bernoulli 21(3), 2015. Woodruff: "Confidence intervals for medians and other position
measures", Journal of the American Statistical Association 47, 1952.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clusters", "quantile_between"]


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """How many readings of each cluster lie below each number of a grid.

    Parameters
    ----------
    cell
        ``int64``, shape (clusters,), ascending: the cell of each cluster.
    least, most
        ``int64``, shape (clusters, numbers): readings below each number.
    drawn
        Bool, shape (clusters,): clusters in the sample, for which `least` and `most` are still what
        was known beforehand.
    found
        ``int64``, shape (clusters, numbers): what the sample tells; without meaning for others.
    random
        Bool, shape (clusters,): clusters that could be drawn. Others were looked at in any case, or
        can no more be looked at.
    """

    cell: NDArray[np.int64]
    least: NDArray[np.int64]
    most: NDArray[np.int64]
    drawn: NDArray[np.bool_]
    found: NDArray[np.int64]
    random: NDArray[np.bool_]

    def counts(
        self, risk: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return readings below each number: at least, about, at most.

        Parameters
        ----------
        risk
            How often the first, and the last, may be wrong at one number.

        Returns
        -------
        tuple of ndarray
            ``float64``, shape (used cells, numbers).
        """
        drawn = self.drawn[:, None]
        sure = self._summed(np.where(drawn, self.found, self.least))
        perhaps = self._summed(np.where(drawn, self.found, self.most))
        about, margin = self._estimated(risk)
        low = np.maximum(sure, np.floor(about - margin))
        high = np.minimum(perhaps, np.ceil(about + margin))
        return low, np.clip(about, low, high), high

    def _estimated(self, risk: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return estimates, and how far from the truth they may be."""
        middle, half = (self.least + self.most) / 2, (self.most - self.least) / 2
        known = self.drawn & ~self.random
        middle[known], half[known] = self.found[known], 0.0
        fixed = self._summed(np.where(self.random[:, None], 0.0, half))
        open_ones = (half > 0) & self.random[:, None]
        chosen = open_ones & self.drawn[:, None]
        population, sample = self._summed(open_ones), self._summed(chosen)
        rest = self._summed(np.where(chosen, self.found - middle, 0.0))
        safe = np.maximum(sample, 1)
        about = self._summed(middle) + population * (rest / safe)
        widest = self._greatest(np.where(open_ones, half, 0.0))
        left = np.where(
            sample > population / 2,
            (1 - sample / np.maximum(population, 1)) * (1 + 1 / safe),
            1 - (safe - 1) / np.maximum(population, 1),
        )
        margin = population * widest * np.sqrt(2 * left * math.log(1 / risk) / safe)
        return about, fixed + np.where((sample == 0) & (population > 0), np.inf, margin)

    def _summed(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        return np.add.reduceat(values.astype(np.float64), self._starts, axis=0)

    def _greatest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum.reduceat(values, self._starts, axis=0)

    @property
    def _starts(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.flatnonzero(np.diff(self.cell)) + 1])


def quantile_between(
    clusters: Clusters,
    grid: NDArray[np.float64],
    total: NDArray[np.int64],
    quantile: float,
    risk: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return about what a quantile is, and between which numbers of a grid it lies.

    The grid is given beforehand and bounds move in from its ends only as far as every number on the
    way passes. For the lower one to be wrong the first number above the quantile has to pass,
    which is one event of the stated risk, whatever happens at others.

    Parameters
    ----------
    clusters
        Clusters of cells.
    grid
        ``float64``, shape (used cells, numbers), ascending: the quantile lies between the first and
        the last.
    total
        ``int64``, shape (used cells,): readings.
    quantile
        0 to 1.
    risk
        How often the true quantile may lie outside.

    Returns
    -------
    tuple of ndarray
        ``float64``, shape (used cells,): estimate, low, high.
    """
    least, about, most = clusters.counts(risk / 2)
    rank = (total - 1) * quantile
    below = most <= np.floor(rank)[:, None]
    above = least >= np.ceil(rank)[:, None] + 1
    last = np.maximum(_first(~below) - 1, 0)
    first = grid.shape[1] - 1 - np.maximum(_first(~above[:, ::-1]) - 1, 0)
    row = np.arange(len(grid))
    low, high = grid[row, last], grid[row, np.maximum(first, last)]
    at = np.array(
        [np.interp(wanted, np.maximum.accumulate(counts), numbers)
         for wanted, counts, numbers in zip(rank + 0.5, about, grid, strict=True)]
    )  # fmt: skip
    return np.clip(at, low, high), low, high


def _first(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where the first True of each row stands, its length without one."""
    found: NDArray[np.int64] = np.where(mask.any(axis=1), mask.argmax(axis=1), mask.shape[1])
    return found
