"""Bounds of statistics of cells, given the states of their parts.

Each function states the least and the greatest value that any readings with these states could
have, wherever those of parts that are not whole lie; there may be none of them in the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.differences import delta, value_range
from pipeline.summaries.halving import last_that_holds
from pipeline.summaries.parts import Parts
from pipeline.summaries.statistics import Statistics, finalise

__all__ = ["BOUNDED", "Bounds", "bounds_of", "count_bounds"]

_SLACK: Final = 1e-12
"""What sums and moments of readings may differ by when they are added up in another order."""

_VARIANCE_SLACK: Final = 1e-10
_HALVINGS: Final = 24


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Values of cells and what the exact ones lie between, ends included.

    Parameters
    ----------
    value, low, high
        Shape (cells,) or (cells, parts), of one dtype; without meaning where a cell has no value.
    """

    value: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]

    @classmethod
    def exactly(cls, value: NDArray[Any]) -> Bounds:
        """Return bounds of values that are exact."""
        return cls(value, value, value)


def count_bounds(
    cell: NDArray[np.int64],
    counts: NDArray[np.int64],
    whole: NDArray[np.bool_],
    share: NDArray[np.float64],
    size: int,
) -> Bounds:
    """Return how many of something lie in each cell; ``int64``, shape (size,).

    Parameters
    ----------
    cell
        ``int64``, shape (parts,): the cell of each part.
    counts, whole, share
        How many each part has; whether all of them lie in the cell, or else about which share.
    size
        Number of cells.
    """
    low = np.zeros(size, np.int64)
    rest, likely = low.copy(), np.zeros(size)
    np.add.at(low, cell[whole], counts[whole])
    np.add.at(rest, cell[~whole], counts[~whole])
    np.add.at(likely, cell[~whole], (counts * share)[~whole])
    return Bounds(low + np.minimum(np.rint(likely).astype(np.int64), rest), low, low + rest)


def bounds_of(parts: Parts, kind: str) -> Bounds:
    """Return bounds of a statistic, shape (cells,).

    Parameters
    ----------
    parts
        What is known of the readings; parts of a cell in time order.
    kind
        One of `BOUNDED`. A time-weighted mean has no others around its cells than the parts tell.
    """
    return BOUNDED[kind](_Cells.of(parts))


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Parts, and the merged states of the whole ones and of all."""

    parts: Parts
    whole: Statistics
    every: Statistics

    @classmethod
    def of(cls, parts: Parts) -> _Cells:
        every = parts.states.reduce(parts.cell, parts.size)
        if parts.whole.all():
            return cls(parts, every, every)
        chosen = parts.take(parts.whole)
        return cls(parts, chosen.states.reduce(chosen.cell, parts.size), every)

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Cells of whole parts only; bool, shape (cells,)."""
        sure: NDArray[np.bool_] = self.whole.count == self.every.count
        return sure

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the parts of each cell, shape (cells,)."""
        sums = np.zeros(self.parts.size)
        sums[self.parts.used] = self.parts.total(values)
        return sums

    def settled(self, kind: str, bounds: Bounds) -> Bounds:
        """Return bounds that allow for rounding, and hold the exact value where all is whole."""
        value, _ = finalise(self.every, kind)
        if self.sure.all():
            return Bounds.exactly(value)
        low, high = (np.where(self.sure, value, end) for end in (bounds.low, bounds.high))
        size = np.maximum(np.abs(self.every.min * 1.0), np.abs(self.every.max * 1.0))
        with np.errstate(invalid="ignore", over="ignore"):
            slack = size * _SLACK * (self.every.count if kind == "sum" else 1)
            if kind == "var":
                slack = _VARIANCE_SLACK * np.abs(high) + np.square(size * _SLACK)
            low, high = np.fmin(low - slack, low), np.fmax(high + slack, high)
        likely = np.where(self.sure, value, bounds.value)
        return Bounds(np.fmin(np.fmax(likely, low), high), low, high)


def _count(cells: _Cells) -> Bounds:
    parts = cells.parts
    return count_bounds(parts.cell, parts.states.count, parts.whole, parts.share, parts.size)


def _min(cells: _Cells) -> Bounds:
    some = cells.whole.count > 0
    value = np.where(some, cells.whole.min, cells.every.min)
    return Bounds(value, cells.every.min, np.where(some, cells.whole.min, cells.every.max))


def _max(cells: _Cells) -> Bounds:
    some = cells.whole.count > 0
    value = np.where(some, cells.whole.max, cells.every.max)
    return Bounds(value, np.where(some, cells.whole.max, cells.every.min), cells.every.max)


def _end(name: str) -> Callable[[_Cells], Bounds]:
    def bounds(cells: _Cells) -> Bounds:
        value = getattr(cells.every, name)
        low = np.where(cells.sure, value, cells.every.min)
        return Bounds(value, low, np.where(cells.sure, value, cells.every.max))

    return bounds


def _sum(cells: _Cells) -> Bounds:
    parts, states = cells.parts, cells.parts.states
    least, most = _partial_sums(parts)
    low = np.where(parts.whole, states.total, least)
    high = np.where(parts.whole, states.total, most)
    with np.errstate(invalid="ignore"):
        likely = states.total * parts.share
    return cells.settled("sum", Bounds(cells.sums(likely), cells.sums(low), cells.sums(high)))


def _partial_sums(parts: Parts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of all negative readings of each part at least, and of all positive at most.

    The negative part of a number is a concave function of it, so that its mean is no less than
    on the straight line from the least reading to the greatest.
    """
    low, high, states = parts.low, parts.high, parts.states
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        count = states.count.astype(np.float64)
        least, most = count * np.minimum(low, 0), count * np.maximum(high, 0)
        part = (count * high - states.total) / (high - low)
        mixed = (low < 0) & (high > 0) & np.isfinite(part)
        least = np.where(mixed, np.fmax(part * low, least), least)
        most = np.where(mixed, np.fmin((count - part) * high, most), most)
    least = np.where((high <= 0) & np.isfinite(states.total), states.total, least)
    return least, np.where((low >= 0) & np.isfinite(states.total), states.total, most)


def _mean(cells: _Cells) -> Bounds:
    parts = cells.parts
    value, _ = finalise(cells.every, "mean")
    if cells.sure.all():
        return Bounds.exactly(value)
    low = _least_mean(cells, parts.low, cells.whole.total, 1)
    high = -_least_mean(cells, -parts.high, -cells.whole.total, -1)
    return cells.settled("mean", Bounds(value, low, high))


def _least_mean(
    cells: _Cells, values: NDArray[np.float64], total: NDArray[np.float64], sign: int
) -> NDArray[np.float64]:
    """Return the least mean of the whole parts and any readings of others, all at `values`.

    A mean can be as low as a number if the whole parts, and those readings that are lower, do not
    weigh more than the number.
    """
    parts = cells.parts
    ends = [(end * 1.0) * sign for end in (cells.every.min, cells.every.max)]
    good, end = np.minimum(*ends), np.maximum(*ends)
    weight = np.where(parts.whole, 0, parts.states.count)

    def holds(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        each = np.minimum(values - numbers[parts.cell], 0)
        below = cells.sums(np.where(weight > 0, weight * each, 0.0))
        balance: NDArray[np.bool_] = total - numbers * cells.whole.count + below >= 0
        return balance & (cells.whole.count > 0)

    with np.errstate(invalid="ignore", over="ignore"):
        return last_that_holds(holds, good, end, _HALVINGS)


def _var(cells: _Cells) -> Bounds:
    value, _ = finalise(cells.every, "var")
    with np.errstate(invalid="ignore", over="ignore"):
        low = np.nan_to_num(cells.whole.m2 / np.maximum(cells.every.count, 1), nan=0.0)
        width = cells.every.max * 1.0 - cells.every.min * 1.0
        high = np.fmax(np.square(width / 2), low)
    return cells.settled("var", Bounds(value, low, high))


def _std(cells: _Cells) -> Bounds:
    if cells.sure.all():
        return Bounds.exactly(finalise(cells.every, "std")[0])
    var = _var(cells)
    return Bounds(*(np.sqrt(np.maximum(part, 0)) for part in (var.value, var.low, var.high)))


def _range(cells: _Cells) -> Bounds:
    some = cells.whole.count > 0
    low = replace(
        cells.every,
        min=np.where(some, cells.whole.min, cells.every.min),
        max=np.where(some, cells.whole.max, cells.every.min),
    )
    widest = value_range(cells.every)
    return Bounds(widest, value_range(low), widest)


def _delta(cells: _Cells) -> Bounds:
    value, widest = delta(cells.every), value_range(cells.every)
    low, high = np.where(cells.sure, value, -widest), np.where(cells.sure, value, widest)
    return Bounds(np.clip(value, low, high), low, high)


def _distinct(cells: _Cells) -> Bounds:
    parts, states = cells.parts, cells.parts.states
    chosen = parts.take(parts.whole)
    known = chosen.states
    ends = np.stack([known.min, known.max, known.first, known.last], axis=1).ravel()
    pairs = np.unique(np.stack([np.repeat(chosen.cell, 4), _rank(ends)], axis=1), axis=0)
    low = np.bincount(pairs[:, 0], minlength=parts.size).astype(np.int64)
    high = np.zeros(parts.size, np.int64)
    high[parts.used] = parts.total(_different(states))
    high = np.minimum(high, _different(cells.every))
    return Bounds(np.rint(np.sqrt(np.maximum(low, 1) * high)).astype(np.int64), low, high)


def _rank(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return a number for each value, the same for equal ones (0.0 and -0.0 are)."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _different(states: Statistics) -> NDArray[np.int64]:
    """Return how many different readings there can be: of integers no more than lie between."""
    if states.min.dtype.kind == "f":
        return np.where(states.min == states.max, np.minimum(states.count, 1), states.count)
    width = states.max.astype(np.float64) - states.min.astype(np.float64)
    return np.where(width < 1e15, np.minimum(states.count, width + 1), states.count).astype(
        np.int64
    )


def _over_time(cells: _Cells) -> Bounds:
    value, _ = finalise(cells.every, "mean")
    low, high = cells.every.min * 1.0, cells.every.max * 1.0
    rounded = _SLACK * np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore"):
        low, high = np.fmin(low - rounded, low), np.fmax(high + rounded, high)
        return Bounds(np.fmin(np.fmax(value, low), high), low, high)


BOUNDED: Final[Mapping[str, Callable[[_Cells], Bounds]]] = {
    "count": _count,
    "min": _min,
    "max": _max,
    "first": _end("first"),
    "last": _end("last"),
    "sum": _sum,
    "mean": _mean,
    "var": _var,
    "std": _std,
    "range": _range,
    "delta": _delta,
    "distinct": _distinct,
    "time_weighted_mean": _over_time,
    "time_weighted_mean_previous": _over_time,
}
"""How statistics are bounded, by their kind."""
