"""What is known of readings that are not looked at: parts, each with a state and a cell.

A part is any set of readings of which a state is known: a device in a stored period, a bucket of
a sketch, a single reading. Its readings lie in a cell of the answer, all of them or an unknown
number of them. Bounds of every statistic follow from the parts of a cell alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.merging import runs_of
from pipeline.summaries.statistics import Statistics

__all__ = ["Parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of cells, those of a cell one after the other.

    Parameters
    ----------
    cell
        ``int64``, shape (parts,), ascending: the cell of each part.
    states
        Shape (parts,), every count at least 1. Where moments are not known, ``m2`` is NaN.
    whole
        Bool, shape (parts,): whether all readings of the part lie in its cell; otherwise any
        number of them may, none or all.
    share
        ``float64``, shape (parts,): about which share of the readings lies in the cell, 1 for
        whole parts. Estimates use it, bounds do not.
    size
        Number of cells; those without a part have no reading.
    key
        ``int64``, shape (parts,): what each part is about, ``device position << 32 | period`` of a
        stored period, or 0.
    """

    cell: NDArray[np.int64]
    states: Statistics
    whole: NDArray[np.bool_]
    share: NDArray[np.float64]
    size: int
    key: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Parts], size: int, dtype: np.dtype[Any]) -> Parts:
        """Return all parts together, in order, without those that have no reading."""
        no_number, no_share = np.zeros(0, np.int64), np.zeros(0)
        none = cls(
            no_number,
            Statistics.empty(0, dtype),
            no_number.astype(np.bool_),
            no_share,
            size,
            no_number,
        )
        if len(parts) != 1:
            parts = [cls._concat([none, *parts], size)]
        every = parts[0]
        kept: NDArray[Any] = np.flatnonzero(every.states.count > 0)
        if (every.cell[1:] < every.cell[:-1]).any():
            kept = kept[np.argsort(every.cell[kept], kind="stable")]
        elif len(kept) == len(every):
            return every
        return every.take(kept)

    @classmethod
    def _concat(cls, parts: Sequence[Parts], size: int) -> Parts:
        cell, whole, share, key = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("cell", "whole", "share", "key")
        )
        states = Statistics.concat([part.states for part in parts])
        return cls(cell, states, whole, share, size, key)

    def __len__(self) -> int:
        return len(self.cell)

    def take(self, chosen: NDArray[Any] | slice) -> Parts:
        """Return the parts at `chosen` (ascending indices, a bool mask or a slice)."""
        return Parts(
            self.cell[chosen],
            self.states[chosen],
            self.whole[chosen],
            self.share[chosen],
            self.size,
            self.key[chosen],
        )

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first part of each cell that has one; ``int64``, shape (used cells,)."""
        return runs_of(self.cell)

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """The cells that have a part, ascending."""
        return self.cell[self.starts]

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Number of parts of each used cell."""
        return np.diff(self.starts, append=len(self.cell))

    @cached_property
    def low(self) -> NDArray[np.float64]:
        """The least reading of each part, as the nearest double."""
        return self.states.min.astype(np.float64)

    @cached_property
    def high(self) -> NDArray[np.float64]:
        """The greatest reading of each part, as the nearest double."""
        return self.states.max.astype(np.float64)

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the sum of a number of each part by used cell."""
        return np.add.reduceat(values, self.starts) if len(self) else values

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a number of each used cell for every part of it."""
        return np.repeat(values, self.lengths)
