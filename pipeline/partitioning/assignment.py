"""Assigning the rows of a batch to partitions, vectorised.

A batch is ordered by (window, device block, device, time), rows of equal device and time in
the order they came, and cut where the window or the device block changes. The cost is one
sort of the rows at most; orders that devices really deliver (sorted by time, or by device and
time) are recognised and cost a radix sort or a look at every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_blocks
from pipeline.partitioning.ordering import RowOrder, sort_positions, sorted_runs, sorted_starts
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import WindowLength

__all__ = ["Assignment", "PartitionRows", "assign", "split_evenly"]

_ROWS_PER_CUT: Final = 256  # below, numbering every row is faster than searching each run
_WINDOWS_PER_RUN: Final = 64


@dataclass(frozen=True, slots=True)
class PartitionRows:
    """The half-open range of ordered rows that belongs to one partition."""

    window: int
    device_block: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Where the rows of a batch go.

    Parameters
    ----------
    order
        The order of the rows.
    run_codes, run_ends
        The device of each run of ordered rows of one device and window, and the ordered row at
        which it ends.
    partitions
        The partitions in (window, device block) order, as ranges of the ordered rows.
    repeated
        Whether some device and time may occur twice; False is certain.
    """

    order: RowOrder
    run_codes: NDArray[Any]
    run_ends: NDArray[np.int64]
    partitions: tuple[PartitionRows, ...]
    repeated: bool

    def runs(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return device and length of each run of the ordered rows `start` to `stop` (excluded)."""
        first = int(np.searchsorted(self.run_ends, start, "right"))
        last = int(np.searchsorted(self.run_ends, stop, "left"))
        ends = np.minimum(self.run_ends[first : last + 1], stop)
        return self.run_codes[first : last + 1], np.diff(ends, prepend=start)

    def keeping(self, kept: NDArray[np.bool_]) -> Assignment:
        """Return the assignment of the ordered rows that are `kept`, some of every run."""
        before = np.concatenate([[0], np.cumsum(kept)])
        rows = self.order.indices()
        positions = np.flatnonzero(kept) if rows is None else rows[kept]
        moved = (
            PartitionRows(p.window, p.device_block, int(before[p.start]), int(before[p.stop]))
            for p in self.partitions
        )
        ends = before[self.run_ends]
        order = RowOrder.of_positions(positions)
        return Assignment(order, self.run_codes, ends, tuple(moved), False)


def assign(
    index: NDArray[np.int32],
    time: NDArray[np.int64],
    scheme: Partitioning,
    codes: NDArray[np.int32] | None = None,
) -> Assignment:
    """Assign rows to the partitions of `scheme`.

    Parameters
    ----------
    index
        ``int32``, shape (rows,): device codes, or positions in `codes`.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC, inside the grid.
    scheme
        The fleet's partitioning; partitions that would get fewer than its ``landing_rows``
        rows go to the landing block of their window.
    codes
        ``int32``, shape (devices,): the distinct device codes that `index` stands for.
    """
    if len(time) == 0:
        none = np.zeros(0, np.int64)
        return Assignment(RowOrder.of_ranges(none, none), index, none, (), False)
    order, found = RowOrder.identity(len(time)), sorted_runs(index, time)
    if found is None:
        order = RowOrder.of_positions(sort_positions(index, time))
        found = sorted_starts(index, time, order)
    starts, windows = _cut_at_windows(found[0], time, order, scheme.window_length)
    first = order.at(starts)
    devices = index[first] if codes is None else codes[index[first]]
    lengths = np.diff(starts, append=len(time))
    blocks = device_blocks(devices, scheme.devices_per_block)
    blocks = _with_landing(windows, blocks, lengths, scheme.landing_rows)
    runs = np.lexsort((time[first], devices, blocks, windows))
    order = RowOrder.of_ranges(starts[runs], lengths[runs]).of(order.positions)
    partitions = _cut(windows[runs], blocks[runs], lengths[runs])
    run_starts = _run_starts(devices[runs], windows[runs])
    run_ends = np.cumsum(lengths[runs])[np.append(run_starts[1:], len(runs)) - 1]
    return Assignment(order, devices[runs][run_starts], run_ends, partitions, found[1])


def split_evenly(start: int, stop: int, limit: int) -> list[tuple[int, int]]:
    """Cut ``[start, stop)`` into the fewest pieces of at most `limit` rows, of even length."""
    pieces = -(-(stop - start) // limit)
    edges = np.linspace(start, stop, pieces + 1).astype(int).tolist()
    return list(pairwise(edges))


def _cut_at_windows(
    starts: NDArray[np.int64], time: NDArray[np.int64], order: RowOrder, length: WindowLength
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut runs of rows in time order where the window changes; return starts and windows."""
    stops = np.append(starts[1:], len(time))
    first = length.numbers(time[order.at(starts)])
    last = length.numbers(time[order.at(stops - 1)])
    crossing = np.flatnonzero(first != last)
    if crossing.size == 0:
        return starts, first
    time = order.take(time)
    if crossing.size * _ROWS_PER_CUT > len(time) or (last - first).max() > _WINDOWS_PER_RUN:
        numbers = length.numbers(time)
        cuts = [np.flatnonzero(numbers[1:] != numbers[:-1]) + 1]
    else:
        cuts = [
            starts[run] + np.searchsorted(time[starts[run] : stops[run]], bounds)
            for run in crossing
            for bounds in [length.starts(np.arange(first[run] + 1, last[run] + 1))]
        ]
    every = np.unique(np.concatenate([starts, *cuts]))
    return every, length.numbers(time[every])


def _run_starts(codes: NDArray[Any], windows: NDArray[np.int64]) -> NDArray[np.int64]:
    change = (codes[1:] != codes[:-1]) | (windows[1:] != windows[:-1])
    return np.concatenate([[0], np.flatnonzero(change) + 1])


def _with_landing(
    windows: NDArray[np.int64],
    blocks: NDArray[np.int64],
    lengths: NDArray[np.int64],
    landing_rows: int,
) -> NDArray[np.int64]:
    keys = windows * (int(blocks.max()) + 1) + blocks
    _, inverse = np.unique(keys, return_inverse=True)
    rows = np.bincount(inverse, weights=lengths)
    return np.where(rows[inverse] < landing_rows, LANDING_BLOCK, blocks)


def _cut(
    windows: NDArray[np.int64], blocks: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[PartitionRows, ...]:
    starts = _run_starts(blocks, windows)
    ends = np.cumsum(lengths)
    stops = ends[np.append(starts[1:], len(lengths)) - 1]
    begins = np.concatenate([[0], stops[:-1]])
    columns = (windows[starts], blocks[starts], begins, stops)
    return tuple(PartitionRows(*map(int, row)) for row in zip(*columns, strict=True))
