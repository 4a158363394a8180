"""Carrying out one task of a refresh: find the cells, compute them, put them into their chunks.

This needs a snapshot and no transaction; its result can travel between processes. Rows are read a
unit at a time, so that memory is bounded by a unit and by the cells of a run of devices: one column
of chunks of all arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.rollups.cells import CellStates, Gathered
from pipeline.analytics.rollups.plan import RollupTask
from pipeline.archive.block_reader import read_block_columns
from pipeline.archive.channel_statistics import channel_states
from pipeline.archive.chunk_io import chunk_key, in_threads
from pipeline.archive.fleet_view import KEY_COLUMNS, FleetView
from pipeline.archive.remembering import forgetting
from pipeline.archive.rollups.arrays import RollupArray, read_rollup_chunks
from pipeline.archive.rollups.definition import DEVICES_PER_RUN
from pipeline.archive.rollups.reading import RollupView
from pipeline.archive.rollups.store import Built, Rollup
from pipeline.archive.summary_tables import read_extent
from pipeline.codecs.block import Memory
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.summaries.statistics import Statistics

__all__ = ["Carried", "Source", "carry_out"]

_KEYS: Final[tuple[tuple[str, np.dtype[Any]], ...]] = (
    (KEY_COLUMNS[0], np.dtype(np.int32)),
    (KEY_COLUMNS[1], np.dtype(np.int64)),
)
_EMPTY_BETWEEN: Final = 24
"""Periods without anything to do that are computed along rather than read around."""

type Memories = dict[str, Memory]


@dataclass(frozen=True, slots=True)
class Source:
    """What cells are computed from.

    Parameters
    ----------
    finer
        Name of a rollup of shorter periods; empty for none.
    summaries
        Whether from the fleet's stored statistics; without either, from rows.
    kept_from
        Periods that begin before cannot be computed from it, in microseconds since 1970-01-01 UTC.
    """

    finer: str = ""
    summaries: bool = False
    kept_from: int = 0

    @property
    def text(self) -> str:
        """For people."""
        return self.finer or ("summaries" if self.summaries else "rows")


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """What a task has built.

    Parameters
    ----------
    built
        For the commit.
    cells
        Cells computed: devices and periods.
    rows
        Rows decoded for it.
    """

    built: Built
    cells: int
    rows: int


@dataclass(slots=True, eq=False)
class _Work:
    view: FleetView
    rollup: Rollup
    source: Source
    rows: int = 0
    gathered: list[tuple[Gathered, NDArray[np.bool_]]] = field(default_factory=list)


def carry_out(
    view: FleetView,
    rollup: Rollup,
    source: Source,
    task: RollupTask,
    memories: Memories | None = None,
) -> Carried:
    """Bring a run of devices and a column of chunks up to date.

    Parameters
    ----------
    view
        The fleet at the snapshot that the refresh was planned on.
    rollup
        The rollup there.
    source
        What to compute from.
    task
        What to do.
    memories
        What earlier chunks tell about encoding, and this task adds to.

    Raises
    ------
    CorruptBlockError
        If a block or chunk is damaged.
    """
    work = _Work(view, rollup, source)
    width = rollup.arrays[0].chunk[1]
    first = task.run * DEVICES_PER_RUN
    codes = np.arange(first, min(first + DEVICES_PER_RUN, rollup.devices))
    begin = rollup.axis.start + task.column * width
    periods = range(begin, min(begin + width, rollup.axis.stop))
    wanted = _wanted(work, task, codes, periods)
    for run in _runs(wanted.any(axis=0)):
        part = wanted[:, run.start : run.stop]
        chosen = np.flatnonzero(part.any(axis=1))
        numbers = range(periods.start + run.start, periods.start + run.stop)
        gathered = Gathered(view.meta.schema, rollup.definition, codes[chosen], numbers)
        _gather(work, gathered)
        work.gathered.append((gathered, part[chosen]))
    chunks = _chunks(work, task, {} if memories is None else memories)
    after = view.state.sequence
    cells = int(np.count_nonzero(wanted))
    return Carried(Built(task.run, task.column, task.built, after, chunks), cells, work.rows)


def _wanted(
    work: _Work, task: RollupTask, codes: NDArray[np.int64], periods: range
) -> NDArray[np.bool_]:
    """Return which cells have to be computed: bool, shape (codes, periods)."""
    wanted = np.zeros((len(codes), len(periods)), np.bool_)
    period, length = work.rollup.definition.period, work.view.meta.scheme.window_length
    for window in task.whole:
        touched = period.touched(length.start(window), length.start(window + 1))
        low, high = (min(max(at - periods.start, 0), len(periods)) for at in (touched.start, touched.stop))  # fmt: skip
        wanted[:, low:high] = True
    for window in task.added:
        device, time = _added_keys(work, window, task.built, codes)
        at = period.numbers(time) - periods.start
        inside = (at >= 0) & (at < len(periods))
        wanted[device[inside], at[inside]] = True
    starts = period.starts(np.arange(periods.start, periods.stop))
    wanted[:, starts < work.source.kept_from] = False
    return wanted


def _added_keys(
    work: _Work, window: int, since: int, codes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return device, as a position in `codes`, and time of the rows of newer blocks."""
    view, length = work.view, work.view.meta.scheme.window_length
    blocks = view.blocks(Selection(length.start(window), length.start(window + 1), codes))
    blocks = blocks.take(blocks.sequence >= since)
    device, time = read_block_columns(view.store, view.meta.layout, blocks, _KEYS)
    at = device.values.astype(np.int64) - int(codes[0])
    inside = (at >= 0) & (at < len(codes))
    return at[inside], time.values[inside]


def _runs(wanted: NDArray[np.bool_]) -> Iterator[range]:
    """Yield runs of positions that cover those wanted."""
    numbers = np.flatnonzero(wanted)
    edges = np.flatnonzero(np.diff(numbers) > 1 + _EMPTY_BETWEEN) + 1
    for run in np.split(numbers, edges) if len(numbers) else ():
        yield range(int(run[0]), int(run[-1]) + 1)


def _gather(work: _Work, into: Gathered) -> None:
    if work.source.finer:
        _from_finer(work, into)
    elif work.source.summaries:
        _from_summaries(work, into)
    else:
        _from_rows(work, into)


def _from_rows(work: _Work, into: Gathered) -> None:
    view, length = work.view, work.view.meta.scheme.window_length
    selection, window = Selection.of(into.start, into.stop, into.codes), None
    for unit in view.units(selection):
        if unit.window != window:
            window = unit.window
            into.close(length.start(window))
        parts = (
            view.block_rows(unit, selection, into.channels)
            if unit.is_ordered
            else [view.rows(unit, selection, into.channels)]
        )
        for rows in parts:
            if len(rows):
                work.rows += len(rows)
                into.add_rows(rows)


def _from_summaries(work: _Work, into: Gathered) -> None:
    view, layout = work.view, work.view.meta.layout
    length = view.meta.scheme.summary_length
    first, last = max(into.start, GRID_START), min(into.stop, GRID_STOP) - 1
    periods = range(length.number(first), length.number(last) + 1)
    starts = length.starts(np.arange(periods.start, periods.stop))
    rows = read_extent(view.store, layout, into.codes, periods)[0]
    states = {name: channel_states(view, name, into.codes, periods) for name in into.channels}
    into.add(_merged(work, into, starts, rows, states, {}))


def _from_finer(work: _Work, into: Gathered) -> None:
    finer = RollupView.load(work.view, work.source.finer)
    period = finer.rollup.definition.period
    periods = period.touched(into.start, into.stop)
    starts = period.starts(np.arange(periods.start, periods.stop))
    rows = finer.rows(into.codes, periods)
    states = {name: finer.states(into.codes, periods, name) for name in into.channels}
    sums = {name: finer.exact_sums(into.codes, periods, name) for name in into.exact}
    into.add(_merged(work, into, starts, rows, states, sums))
    numbers = work.rollup.definition.period.numbers(starts) - into.periods.start
    for name, kind in into.sketched:
        into.add_sketches(name, kind, numbers, finer.sketches(into.codes, periods, name, kind))


def _merged(
    work: _Work,
    into: Gathered,
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    states: dict[str, Statistics],
    sums: dict[str, NDArray[np.int64]],
) -> CellStates:
    """Merge states of shorter periods, shape (codes, shorter periods), into those of the rollup."""
    numbers = work.rollup.definition.period.numbers(starts) - into.periods.start
    device, shorter = np.nonzero(rows)
    cells = device * len(into.periods) + numbers[shorter]
    distinct, group = np.unique(cells, return_inverse=True)

    def added(values: NDArray[np.int64]) -> NDArray[np.int64]:
        total = np.zeros(len(distinct), np.int64)
        np.add.at(total, group, values[device, shorter])
        return total

    return CellStates(
        distinct,
        added(rows),
        {name: one[device, shorter].reduce(group, len(distinct)) for name, one in states.items()},
        {name: added(one) for name, one in sums.items()},
    )


def _chunks(work: _Work, task: RollupTask, memories: Memories) -> dict[str, bytes]:
    """Return the encoded chunks that hold computed cells, whatever else they hold kept."""
    encoded: dict[str, bytes] = {}
    # One array after the other: all of them at once would take several times the memory.
    for array in work.rollup.arrays:
        devices = array.chunk[0]
        touched = {int(row) for one, _ in work.gathered for row in np.unique(one.codes // devices)}
        places = [(row, task.column) for row in sorted(touched)]
        found = read_rollup_chunks(
            forgetting(work.view.store), [(array, place) for place in places]
        )
        chunks = {place: found.get((array.path, place), None) for place in places}
        filled = {at: array.blank() if one is None else one for at, one in chunks.items()}
        _put(work, array, filled, task.column)
        memory = memories.setdefault(array.path, Memory())
        data = in_threads(lambda item: item[0].encode(item[1], item[2]), [(array, one, memory) for one in filled.values()])  # fmt: skip
        encoded.update(zip((chunk_key(array.path, at) for at in filled), data, strict=True))
    return encoded


def _put(
    work: _Work, array: RollupArray, chunks: dict[tuple[int, int], NDArray[Any]], column: int
) -> None:
    devices, width = array.chunk
    begin = work.rollup.axis.start + column * width
    for gathered, wanted in work.gathered:
        values = gathered.values(array)
        first = gathered.periods.start - begin
        for row in np.unique(gathered.codes // devices).tolist():
            here = np.flatnonzero(gathered.codes // devices == row)
            part = chunks[row, column]
            inner = gathered.codes[here] % devices
            span = slice(first, first + len(gathered.periods))
            part[inner, span] = np.where(wanted[here], values[here], part[inner, span])
