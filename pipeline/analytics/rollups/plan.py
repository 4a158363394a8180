"""What a refresh of a rollup has to compute: pure arithmetic on what changed and what was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.archive.rollups.definition import DEVICES_PER_RUN
from pipeline.archive.rollups.store import Rollup

__all__ = ["RefreshPlan", "RollupTask", "joined_ranges", "plan_refresh"]


@dataclass(frozen=True, slots=True)
class RollupTask:
    """A run of devices and a column of chunks that lack something.

    Parameters
    ----------
    run, column
        Their numbers.
    built
        The sequence they are built at.
    whole
        Windows all cells of which are computed.
    added
        Windows of which only cells with rows of blocks from `built` on are computed.
    """

    run: int
    column: int
    built: int
    whole: tuple[int, ...]
    added: tuple[int, ...]

    @property
    def windows(self) -> tuple[int, ...]:
        """All windows that are looked at, ascending."""
        return tuple(sorted((*self.whole, *self.added)))


@dataclass(frozen=True, slots=True)
class RefreshPlan:
    """What a refresh does.

    Parameters
    ----------
    tasks
        What has to be computed.
    idle
        What has nothing to be computed, and has to be written down as up to date.
    incomplete
        Time ranges that lack rows for good, those that were known included.
    """

    tasks: tuple[RollupTask, ...]
    idle: tuple[RollupTask, ...]
    incomplete: tuple[tuple[int, int], ...]


def plan_refresh(
    rollup: Rollup,
    windows: range,
    changed: NDArray[np.int64],
    built: NDArray[np.int64],
    blocks: BlockTable,
    kept_from: int,
    *,
    from_rows: bool,
) -> RefreshPlan:
    """Return what a refresh has to do.

    Parameters
    ----------
    rollup
        The rollup, as large as the fleet.
    windows
        Numbers of windows.
    changed
        ``int64``, shape (2, windows): when they changed, see `pipeline.archive.layout.CHANGE_FIELDS`.
    built
        ``int64``, shape (device runs, chunk columns): what was built at which sequence.
    blocks
        The blocks of windows that changed.
    kept_from
        Periods that begin before cannot be computed any more, in microseconds since 1970-01-01 UTC.
    from_rows
        Whether cells are computed from rows, so that there is nothing where there are no blocks.
    """
    found = _Windows.of(rollup, windows, changed, blocks, kept_from)
    tasks: list[RollupTask] = []
    idle: list[RollupTask] = []
    lost = list(rollup.definition.incomplete)
    for column in range(built.shape[1]):
        for mark in np.unique(built[:, column]).tolist():
            stale = found.stale(column, mark)
            if not stale.any():
                continue
            lost += found.ranges(stale & found.gone)
            whole, added = found.work(stale & ~found.hopeless, mark)
            runs = np.flatnonzero(built[:, column] == mark)
            touched = _touched(blocks, found.numbers, whole, added, mark, built.shape[0])
            if (mark and whole.any()) or (not from_rows and (whole & ~found.has_blocks).any()):
                touched[:] = True
            lists = tuple(tuple(found.numbers[one].tolist()) for one in (whole, added))
            for run in runs.tolist():
                task = RollupTask(run, column, mark, *lists)
                (tasks if touched[run] else idle).append(task)
    return RefreshPlan(tuple(tasks), tuple(idle), joined_ranges(lost))


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Windows that ever changed; all arrays have the shape (windows,).

    Parameters
    ----------
    numbers, starts, stops
        Their numbers and half-open time ranges.
    appended, rewritten
        When they changed.
    first, last
        Columns of chunks that hold their periods.
    has_blocks
        Whether there are rows.
    gone, hopeless
        Whether their first period, or even their last, cannot be computed any more.
    """

    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    appended: NDArray[np.int64]
    rewritten: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    has_blocks: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    hopeless: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        rollup: Rollup,
        windows: range,
        changed: NDArray[np.int64],
        blocks: BlockTable,
        kept_from: int,
    ) -> _Windows:
        length, period, axis = (
            rollup.meta.scheme.window_length,
            rollup.definition.period,
            rollup.axis,
        )
        width = rollup.arrays[0].chunk[1]
        at = np.flatnonzero(changed.max(axis=0))
        numbers = at + windows.start
        starts, stops = length.starts(numbers), length.starts(numbers + 1)
        first, last = period.numbers(starts), period.numbers(stops - 1)
        outside = (last < axis.start) | (first >= axis.stop)
        columns = [
            (np.clip(one, axis.start, max(axis.stop - 1, axis.start)) - axis.start) // width
            for one in (first, last)
        ]
        return cls(
            numbers,
            starts,
            stops,
            appended=changed[0, at],
            rewritten=changed[1, at],
            # No column is both of these.
            first=np.where(outside, 1, columns[0]),
            last=np.where(outside, 0, columns[1]),
            has_blocks=np.isin(numbers, blocks.window),
            gone=period.starts(first) < kept_from,
            hopeless=period.starts(last) < kept_from,
        )

    def stale(self, column: int, mark: int) -> NDArray[np.bool_]:
        """Return the windows in a column that changed after it was built."""
        newest = np.maximum(self.appended, self.rewritten)
        return (self.first <= column) & (self.last >= column) & (newest > mark)

    def work(
        self, stale: NDArray[np.bool_], mark: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the windows to be computed as a whole, and those of which newer rows tell cells."""
        whole = stale & ((self.rewritten > mark) | ~self.has_blocks | (mark == 0))
        return whole, stale & ~whole

    def ranges(self, chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Return the time ranges of some windows."""
        return list(zip(self.starts[chosen].tolist(), self.stops[chosen].tolist(), strict=True))


def _touched(
    blocks: BlockTable,
    numbers: NDArray[np.int64],
    whole: NDArray[np.bool_],
    added: NDArray[np.bool_],
    mark: int,
    runs: int,
) -> NDArray[np.bool_]:
    """Return the runs of devices that blocks to be looked at may hold rows of; bool, shape (runs,)."""
    chosen = np.isin(blocks.window, numbers[whole])
    chosen |= np.isin(blocks.window, numbers[added]) & (blocks.sequence >= mark)
    edges = np.zeros(runs + 1, np.int64)
    np.add.at(edges, blocks.device_min[chosen] // DEVICES_PER_RUN, 1)
    np.add.at(edges, blocks.device_max[chosen] // DEVICES_PER_RUN + 1, -1)
    return np.cumsum(edges)[:-1] > 0


def joined_ranges(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return half-open ranges that cover the same, ascending and apart."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return tuple(joined)
