"""Conditions on the values of channels: which rows satisfy them, and what bounds tell of that.

A condition is a set of values as they are stored (a bool as 0 or 1, a category as its code). It
looks at rows, or at what is known of many rows without looking at them: how many there are, how
many have a value, and between which bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.partitioning.intervals import Intervals

__all__ = ["NO_CONDITIONS", "Condition", "Conditions", "Known"]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of the values in groups of rows; every array has the same shape.

    Parameters
    ----------
    rows
        ``int64``: rows of each group, with and without a value.
    count
        ``int64``: those with a value, neither missing nor NaN.
    low, high
        Least and greatest value, of the stored dtype; without meaning where `count` is 0.
    """

    rows: NDArray[np.int64]
    count: NDArray[np.int64]
    low: NDArray[Any]
    high: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Condition:
    """What a channel's values have to be.

    Parameters
    ----------
    channel
        Its name.
    values
        Stored values that satisfy the condition.
    missing
        Whether rows without a value, missing or NaN, satisfy it.
    """

    channel: str
    values: Intervals
    missing: bool = False

    def matches(self, column: Column) -> NDArray[np.bool_]:
        """Return which rows of the channel's column satisfy the condition; bool, shape (rows,)."""
        found = self.values.contain(column.values)
        if column.valid is not None:
            found &= column.valid
        return found | ~_has_value(column) if self.missing else found

    def may_match(self, known: Known) -> NDArray[np.bool_]:
        """Return in which groups a row may satisfy the condition; in all others none does."""
        found = (known.count > 0) & self.values.meet(known.low, known.high)
        return found | (known.count < known.rows) if self.missing else found

    def must_match(self, known: Known) -> NDArray[np.bool_]:
        """Return in which groups every row is sure to satisfy the condition."""
        values: NDArray[np.bool_] = known.count == 0
        values |= self.values.hold(known.low, known.high)
        if not self.missing:
            values &= known.count == known.rows
        return values


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions on several channels, all of which have to hold; false if there is none."""

    parts: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels they are about, each once."""
        return tuple(dict.fromkeys(part.channel for part in self.parts))

    def matches(self, columns: Mapping[str, Column]) -> NDArray[np.bool_]:
        """Return which rows satisfy all conditions, at least one; bool, shape (rows,).

        Parameters
        ----------
        columns
            By name, those of `channels`.
        """
        return _all(part.matches(columns[part.channel]) for part in self.parts)

    def may_match(self, known: Mapping[str, Known]) -> NDArray[np.bool_]:
        """Return in which groups of rows one may satisfy all conditions, at least one."""
        return _all(part.may_match(known[part.channel]) for part in self.parts)

    def must_match(self, known: Mapping[str, Known]) -> NDArray[np.bool_]:
        """Return in which groups every row is sure to satisfy all conditions, at least one."""
        return _all(part.must_match(known[part.channel]) for part in self.parts)


NO_CONDITIONS: Final = Conditions()
"""What every row satisfies."""


def _all(masks: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return reduce(np.logical_and, masks)


def _has_value(column: Column) -> NDArray[np.bool_]:
    values = column.values
    number = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), np.bool_)
    return number if column.valid is None else number & column.valid
