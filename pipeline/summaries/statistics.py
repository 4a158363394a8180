"""Mergeable statistics of groups of readings: combine, reduce, finalise.

A `Statistics` value holds one state per group (a device in a period, say). States of the same
groups in consecutive times combine into one, states of several groups reduce into fewer, and
`finalise` turns states into what a user asked for. Sums are compensated and second moments are
taken about the mean, so that a year of readings merges as accurately as it would sum at once.

References
----------
Chan, Golub, LeVeque: "Updating formulae and a pairwise algorithm for computing sample
variances", COMPSTAT 1982.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

__all__ = ["STATISTICS", "Statistics", "finalise"]

STATISTICS = ("count", "min", "max", "sum", "mean", "std", "var", "first", "last")
"""Names `finalise` knows. ``std`` and ``var`` are of the population (``ddof=0``)."""


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """States of groups; every array has the same shape.

    Parameters
    ----------
    count
        ``int64``: readings that are present and not NaN.
    min, max, first, last
        The column's dtype, exact; without meaning where `count` is 0. ``first`` and ``last``
        are in time order.
    total, m2
        ``float64``: the sum, and the sum of squared deviations from the mean.
    """

    count: NDArray[np.int64]
    min: NDArray[Any]
    max: NDArray[Any]
    first: NDArray[Any]
    last: NDArray[Any]
    total: NDArray[np.float64]
    m2: NDArray[np.float64]

    @classmethod
    def empty(cls, shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> Statistics:
        """Return states of groups that have no reading."""
        extremes = [np.zeros(shape, dtype) for _ in range(4)]
        moments = [np.zeros(shape, np.float64) for _ in range(2)]
        return cls(np.zeros(shape, np.int64), *extremes, *moments)

    @classmethod
    def constant(cls, count: NDArray[np.int64], value: Any, dtype: np.dtype[Any]) -> Statistics:
        """Return states of groups in which so many readings all have one value."""
        point = np.full(count.shape, value, dtype)
        total = count.astype(np.float64) * float(value)
        return cls(count, point, point, point, point, total, np.zeros(count.shape))

    @classmethod
    def concat(cls, states: Sequence[Statistics]) -> Statistics:
        """Return one-dimensional states, at least one, one after the other."""
        return cls(*map(np.concatenate, zip(*(part.arrays() for part in states), strict=True)))

    def __getitem__(self, key: Any) -> Statistics:
        return Statistics(*(array[key] for array in self.arrays()))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays in the order of the fields."""
        return (self.count, self.min, self.max, self.first, self.last, self.total, self.m2)

    def ravel(self) -> Statistics:
        """Return the states in one dimension."""
        return Statistics(*(array.reshape(-1) for array in self.arrays()))

    def replaced(self, key: Any, states: Statistics) -> Statistics:
        """Return a copy with the states at `key` replaced by `states`."""
        copy = Statistics(*(array.copy() for array in self.arrays()))
        copy.put(key, states)
        return copy

    def put(self, key: Any, states: Statistics) -> None:
        """Set the states at `key`."""
        for array, values in zip(self.arrays(), states.arrays(), strict=True):
            array[key] = values

    def combine(self, later: Statistics) -> Statistics:
        """Merge with the states of the same groups at a later time."""
        mine, theirs = self.count > 0, later.count > 0
        count = self.count + later.count
        total, m2 = _merged_moments(self, later, count)
        return Statistics(
            count,
            np.where(mine & theirs, np.minimum(self.min, later.min), _either(self.min, later.min, mine)),
            np.where(mine & theirs, np.maximum(self.max, later.max), _either(self.max, later.max, mine)),
            _either(self.first, later.first, mine),
            _either(later.last, self.last, theirs),
            total,
            m2,
        )  # fmt: skip

    def reduce(self, groups: NDArray[np.int64], size: int) -> Statistics:
        """Merge one-dimensional states into `size` groups.

        Parameters
        ----------
        groups
            ``int64``, shape (states,): the group of each state. States of one group are taken
            to be in time order.
        size
            Number of groups of the result; groups without a state have count 0.
        """
        filled = np.flatnonzero(self.count > 0)
        result = Statistics.empty(size, self.min.dtype)
        if len(filled) == 0:
            return result
        order = filled[np.argsort(groups[filled], kind="stable")]
        states, ordered = self[order], groups[order]
        starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
        return result.replaced(ordered[starts], states._merge_runs(starts))

    def _merge_runs(self, starts: NDArray[np.int64]) -> Statistics:
        stops = np.append(starts[1:], len(self.count))
        count = np.add.reduceat(self.count, starts)
        with np.errstate(invalid="ignore", over="ignore"):
            means = self.total / self.count
            rough = np.add.reduceat(self.total, starts) / count
            deviations = means - np.repeat(rough, stops - starts)
            drift = np.add.reduceat(self.count * deviations, starts)
            between = np.add.reduceat(self.count * np.square(deviations), starts)
            # Squares of finite readings may be beyond every double; their moment is infinite then.
            excess = np.where(between == np.inf, 0.0, np.square(drift) / count)
            m2 = np.add.reduceat(self.m2, starts) + between - excess
            total = _corrected(rough * count, drift)
        return Statistics(
            count,
            np.minimum.reduceat(self.min, starts),
            np.maximum.reduceat(self.max, starts),
            self.first[starts],
            self.last[stops - 1],
            total,
            np.maximum(m2, 0.0),
        )


def finalise(states: Statistics, statistic: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of a statistic and which groups have one.

    Parameters
    ----------
    states
        The states.
    statistic
        One of `STATISTICS`.

    Returns
    -------
    tuple of ndarray
        The values (``int64`` for count, the column's dtype for min, max, first and last,
        ``float64`` otherwise) and a bool array that is False where there is no reading
        (count and sum always have a value: 0).

    Raises
    ------
    InvalidInputError
        If `statistic` is unknown.
    """
    some = states.count > 0
    divisor = np.maximum(states.count, 1)
    if statistic in ("count", "sum"):
        return (states.count if statistic == "count" else states.total), np.ones_like(some)
    if statistic in ("min", "max", "first", "last"):
        return getattr(states, statistic), some
    if statistic == "mean":
        return states.total / divisor, some
    if statistic == "var":
        return states.m2 / divisor, some
    if statistic == "std":
        return np.sqrt(states.m2 / divisor), some
    msg = f"unknown statistic {statistic!r}; use one of {', '.join(STATISTICS)}"
    raise InvalidInputError(msg)


def _corrected(rough: NDArray[np.float64], drift: NDArray[np.float64]) -> NDArray[np.float64]:
    # An infinite reading makes the deviations NaN, yet the sum is that infinity.
    return np.where(np.isfinite(rough), rough + drift, rough)


def _either(preferred: NDArray[Any], other: NDArray[Any], has: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(has, preferred, other)


def _merged_moments(
    one: Statistics, two: Statistics, count: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    safe = np.maximum(count, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = two.total / np.maximum(two.count, 1) - one.total / np.maximum(one.count, 1)
        both = (one.count > 0) & (two.count > 0)
        weight = one.count * (two.count / safe)
        between = np.where(both, np.square(difference) * weight, 0.0)
        return one.total + two.total, one.m2 + two.m2 + between
