"""Which stored row stands in which row of a dataset: arithmetic only, nothing is read.

The blocks of a request are thought of as one long run of *stored rows*, block after block. A
dataset's rows are runs of them, taken as they stand or picked by an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable

__all__ = ["RowPlan", "Run", "Step", "chunk_sizes"]

_ROWS_PER_STEP: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows of a dataset that follow one another.

    Parameters
    ----------
    base
        The stored row that is the first of them, or from which `order` counts.
    length
        Number of rows.
    order
        Integers, shape (length,): what stands in each row; None for stored rows side by side.
    """

    base: int
    length: int
    order: NDArray[Any] | None = None

    def continues(self, other: Run) -> bool:
        """Tell whether this and the `other` run before it are one run of stored rows."""
        plain = self.order is None and other.order is None
        return plain and self.base == other.base + other.length


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One fetch of bounded size, and where its rows go.

    Parameters
    ----------
    blocks
        ``int64``: numbers of the blocks to read.
    source
        Which of the blocks' rows, counted over these blocks only.
    target
        Where they stand in the answer: a slice, or a bool mask over it.
    """

    blocks: NDArray[np.int64]
    source: slice | NDArray[np.int64]
    target: slice | NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RowPlan:
    """The rows of a dataset.

    Parameters
    ----------
    blocks
        Every block that holds some of them, in the order of the stored rows.
    starts
        ``int64``, shape (blocks + 1,): stored row at which each block begins.
    bounds
        ``int64``, shape (runs + 1,): dataset row at which each run begins.
    shifts
        ``int64``, shape (runs,): what a dataset row is away from its stored row, or from its
        place in the run's order.
    orders
        By number, the runs that have an order.
    """

    blocks: BlockTable
    starts: NDArray[np.int64]
    bounds: NDArray[np.int64]
    shifts: NDArray[np.int64]
    orders: Mapping[int, Run]

    @classmethod
    def of(cls, blocks: BlockTable, runs: Iterable[Run]) -> RowPlan:
        """Return the plan of a dataset that consists of `runs` over the rows of `blocks`."""
        merged: list[Run] = []
        for run in runs:
            if merged and run.continues(merged[-1]):
                merged[-1] = Run(merged[-1].base, merged[-1].length + run.length)
            elif run.length:
                merged.append(run)
        bounds = _offsets([run.length for run in merged])
        bases = np.array([0 if run.order is not None else run.base for run in merged], np.int64)
        orders = {at: run for at, run in enumerate(merged) if run.order is not None}
        return cls(blocks, _offsets(blocks.rows), bounds, bases - bounds[:-1], orders)

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def locate(self, rows: range | NDArray[Any]) -> slice | NDArray[np.int64]:
        """Return the stored rows behind rows of the dataset.

        Parameters
        ----------
        rows
            A range, or ascending integers.

        Returns
        -------
        slice or ndarray
            A slice where the stored rows stand side by side, else ``int64``, one a row.
        """
        if isinstance(rows, range):
            at = self._only_run(rows)
            if at is not None and at not in self.orders and rows.step == 1:
                shift = int(self.shifts[at])
                return slice(rows.start + shift, rows.stop + shift)
            rows = np.arange(rows.start, rows.stop, rows.step)
        cuts = np.searchsorted(rows, self.bounds)
        stored: NDArray[np.int64] = rows + np.repeat(self.shifts, np.diff(cuts))
        for at, run in self.orders.items():
            here = slice(cuts[at], cuts[at + 1])
            if here.start < here.stop:
                stored[here] = run.base + run.order[stored[here]]  # type: ignore[index]
        return stored

    def rows_of(self, stored: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the dataset in which stored rows stand, the reverse of `locate`.

        Parameters
        ----------
        stored
            ``int64``, ascending. No stored row may stand in two rows of the dataset.

        Returns
        -------
        rows, at
            ``int64``, shape (rows found,): rows of the dataset, ascending, and for each the place
            in `stored` of what stands there. Stored rows that are not in the dataset are left out.
        """
        rows, at = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        plain = np.ones(len(self.shifts), bool)
        plain[list(self.orders)] = False
        bases, lengths = (self.bounds[:-1] + self.shifts)[plain], np.diff(self.bounds)[plain]
        by_base = np.argsort(bases)
        if len(by_base):
            run = np.searchsorted(bases[by_base], stored, side="right") - 1
            run = by_base[np.maximum(run, 0)]
            hit = np.flatnonzero((stored >= bases[run]) & (stored < bases[run] + lengths[run]))
            rows.append(stored[hit] - self.shifts[plain][run[hit]])
            at.append(hit)
        for number, ordered in self.orders.items():
            places = ordered.base + ordered.order.astype(np.int64)  # type: ignore[union-attr]
            first, last = np.searchsorted(stored, [places.min(), places.max() + 1])
            if first < last:
                found = np.minimum(np.searchsorted(stored, places), len(stored) - 1)
                same = np.flatnonzero(stored[found] == places)
                rows.append(self.bounds[number] + same)
                at.append(found[same])
        every, taken = np.concatenate(rows), np.concatenate(at)
        order = np.argsort(every, kind="stable")
        return every[order], taken[order]

    def steps(
        self, stored: slice | NDArray[np.int64], limit: int = _ROWS_PER_STEP
    ) -> Iterator[Step]:
        """Yield fetches of about `limit` stored rows that together bring the `stored` rows."""
        if isinstance(stored, slice):
            yield from self._steps_of_run(stored, limit)
        else:
            yield from self._steps_of_picks(stored, limit)

    def _only_run(self, rows: range) -> int | None:
        if len(rows) == 0:
            return None
        at = int(np.searchsorted(self.bounds, rows[0], side="right")) - 1
        return at if rows[-1] < self.bounds[at + 1] else None

    def _steps_of_run(self, stored: slice, limit: int) -> Iterator[Step]:
        first = int(np.searchsorted(self.starts, stored.start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stored.stop, side="left"))
        for blocks in self._groups(np.arange(first, last), limit):
            begin, end = int(self.starts[blocks[0]]), int(self.starts[blocks[-1] + 1])
            low, high = max(begin, stored.start), min(end, stored.stop)
            target = slice(low - stored.start, high - stored.start)
            yield Step(blocks, slice(low - begin, high - begin), target)

    def _steps_of_picks(self, stored: NDArray[np.int64], limit: int) -> Iterator[Step]:
        block = np.searchsorted(self.starts, stored, side="right") - 1
        is_needed = np.zeros(len(self.blocks), bool)
        is_needed[block] = True
        moved = np.zeros(len(self.blocks), np.int64)
        groups = self._groups(np.flatnonzero(is_needed), limit)
        for blocks in groups:
            moved[blocks] = _offsets(self.blocks.rows[blocks])[:-1] - self.starts[blocks]
            target: slice | NDArray[np.bool_] = slice(None)
            if len(groups) > 1:
                target = (block >= blocks[0]) & (block <= blocks[-1])
            yield Step(blocks, stored[target] + moved[block[target]], target)

    def _groups(self, blocks: NDArray[Any], limit: int) -> list[NDArray[np.int64]]:
        if len(blocks) == 0:
            return []
        group = _offsets(self.blocks.rows[blocks])[:-1] // limit
        return np.split(blocks, np.flatnonzero(np.diff(group)) + 1)


def chunk_sizes(
    edges: NDArray[np.int64], rows: int, partitions: NDArray[np.int64] | None = None
) -> tuple[int, ...]:
    """Return sizes of chunks that are cut at `edges` only and hold about `rows` rows.

    Parameters
    ----------
    edges
        ``int64``, ascending from 0 to the number of rows: where a cut costs nothing.
    rows
        Rows of a chunk; exceeded only where two edges are farther apart.
    partitions
        ``int64``, ascending: those of the edges at which partitions end. Other edges are cut at
        only inside of partitions of more than `rows` rows.
    """
    whole = edges if partitions is None else partitions
    cuts = [0]
    while cuts[-1] < edges[-1]:
        wanted = cuts[-1] + rows
        at = int(whole[max(int(np.searchsorted(whole, wanted, side="right")) - 1, 0)])
        if at <= cuts[-1]:
            last = int(np.searchsorted(edges, wanted, side="right")) - 1
            after = int(np.searchsorted(edges, cuts[-1], side="right"))
            at = int(edges[max(last, after)])
        cuts.append(at)
    return tuple(stop - start for start, stop in pairwise(cuts))


def _offsets(lengths: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
