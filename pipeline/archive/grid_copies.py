"""Copying a fleet's rows from one grid of windows and device blocks into another.

Time is cut into spans: windows of the old grid or the new, whichever are longer, so that no window
of either lies in two spans. Rows of a span are read in cuts of bounded size, duplicates resolved,
and encoded as if they were appended under the new partitioning. What is copied is told from what
is not by the entries of the old index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.appending import merge_statistics, write_blocks
from pipeline.archive.block_index import SUMMARIES_ONLY, BlockTable, read_index
from pipeline.archive.chunk_io import chunk_key, delete_many
from pipeline.archive.compacting import cut_evenly
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.index_writer import IndexWriter
from pipeline.archive.layout import FleetLayout
from pipeline.archive.merging import StoredRows
from pipeline.archive.preparing import Memories, PeriodStatistics, Prepared, prepare_stored
from pipeline.archive.read_units import ReadUnit
from pipeline.archive.stored_chunks import raw_paths
from pipeline.archive.summary_tables import Cells, SummaryWriter, read_extent, read_statistics
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import WindowLength

__all__ = [
    "CarryOut",
    "Copy",
    "Span",
    "Taken",
    "add_copies",
    "clear_span",
    "dropped_statistics",
    "encode_copy",
    "read_span",
    "spans",
]

_CELLS_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of time that consists of whole windows of both grids, in microseconds."""

    start: int
    stop: int

    @property
    def selection(self) -> Selection:
        """All of it."""
        return Selection(self.start, self.stop)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """What of a span is there, or was copied.

    Parameters
    ----------
    blocks
        Its blocks in the old grid.
    kept_from
        Where in it rows begin: of what is before, the retention keeps statistics only.
    """

    blocks: BlockTable
    kept_from: int

    @classmethod
    def of(cls, view: FleetView, span: Span, blocks: BlockTable | None = None) -> Taken:
        """Return what of a span is there; its blocks may be known."""
        kept = min(max(view.meta.retention.raw_from, span.start), span.stop)
        found = view.blocks(span.selection) if blocks is None else blocks
        return cls(found.take(found.time_max >= kept), kept)

    def since(self, before: Taken) -> BlockTable | None:
        """Return the blocks that were added; None if others were changed or are gone."""
        if self.kept_from != before.kept_from:
            return None
        now, then = _entries(self.blocks), _entries(before.blocks)
        if not np.isin(then, now).all():
            return None
        return self.blocks.take(~np.isin(now, then))


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """Blocks of a span that are to be copied, and from when on their rows are."""

    blocks: BlockTable
    kept_from: int


CarryOut = Callable[[FleetView, FleetLayout, Sequence[Copy], int], Iterator[Iterable[Prepared]]]
"""Encodes copies as `encode_copy`, in order."""


def encode_copy(
    view: FleetView, layout: FleetLayout, copy: Copy, rows_at_once: int, memories: Memories
) -> Iterator[Prepared]:
    """Yield the rows of a copy as they are written in the new grid.

    Parameters
    ----------
    view
        The fleet in its old grid.
    layout
        Of the new grid.
    copy
        What to read.
    rows_at_once
        Rows that are read, and rows that are encoded, at once.
    memories
        As for `pipeline.archive.preparing.prepare`.
    """
    for version, rows in read_span(view, copy.blocks, copy.kept_from, rows_at_once):
        meta = replace(view.meta.as_stored(version), layout=layout)
        yield prepare_stored(rows.codes, rows.time, rows.columns, meta, memories)


def spans(view: FleetView, window: WindowLength) -> dict[Span, Taken]:
    """Return the spans that hold rows or statistics, and what of each is there.

    Parameters
    ----------
    view
        The fleet in its old grid.
    window
        Window length of the new grid.
    """
    old = view.meta.scheme.window_length
    length = old if window.nests_in(old) else window
    blocks = view.blocks(Selection())
    numbers = length.numbers(old.starts(blocks.window))
    used = length.numbers(old.starts(np.array(view.windows(Selection()), np.int64)))
    found = {}
    for number in np.unique(used).tolist():
        span = Span(length.start(number), length.start(number + 1))
        found[span] = Taken.of(view, span, blocks.take(numbers == number))
    return found


def read_span(
    view: FleetView, blocks: BlockTable, kept_from: int, rows_at_once: int
) -> Iterator[tuple[int, StoredRows]]:
    """Yield the rows of some blocks of a span, with the version of the schema that they have.

    Parts that follow one another may hold the same device and time only if their versions differ,
    and come in the order in which they were written. Within a part, rows are in the order in which they were written wherever device and time are
    equal, so that encoding it resolves what is left of duplicates.

    Parameters
    ----------
    view
        The fleet in its old grid.
    blocks
        The blocks.
    kept_from
        Rows before are left out.
    rows_at_once
        A part has so many rows, about, and as many are read at a time.
    """
    for cut in cut_evenly(blocks, rows_at_once) if len(blocks) else ():
        times = Selection(max(cut.start, kept_from), max(cut.stop, kept_from))
        for run in _runs_of_versions(blocks.take(cut.meets(blocks)).as_written()):
            version = int(run.schema_version[0])
            stored = view.stored(version)
            held: StoredRows | None = None
            for group in _groups(run, rows_at_once):
                unit = ReadUnit(group, cut.first_code, cut.last_code)
                rows = stored.rows(unit, times, stored.meta.schema.names)
                found = StoredRows(rows.codes, rows.time, rows.columns)
                held = found if held is None else held.then(found)
            if held is not None and len(held):
                yield version, held


def dropped_statistics(
    view: FleetView, span: Span, kept_from: int, period: WindowLength
) -> Iterator[PeriodStatistics]:
    """Yield the statistics of a span's rows that the retention dropped.

    Parameters
    ----------
    view
        The fleet in its old grid.
    span, kept_from
        Where to look: from the span's start to `kept_from`.
    period
        Length of the periods wanted; those that are stored nest in it.
    """
    if kept_from <= span.start:
        return
    view = view.stored()
    stored, layout = view.meta.scheme.summary_length, view.meta.layout
    periods = range(stored.number(span.start), stored.number(kept_from - 1) + 1)
    step = max(1, _CELLS_AT_ONCE // len(periods))
    for first in range(0, view.registry.positions, step):
        codes = np.arange(first, min(first + step, view.registry.positions))
        extent = read_extent(view.store, layout, codes, periods)
        where = np.nonzero(extent[0])
        if not len(where[0]):
            continue
        rows, time_min, time_max = extent[:, *where]
        channels = {
            channel.name: read_statistics(view.store, layout, channel, codes, periods)[where]
            for channel in view.meta.schema
        }
        numbers = period.numbers(stored.starts(periods.start + where[1]))
        found = PeriodStatistics(codes[where[0]], numbers, rows, time_min, time_max, channels)
        yield PeriodStatistics.concat([found])


def add_copies(
    target: FleetView,
    statistics: Sequence[PeriodStatistics],
    prepared: Sequence[Prepared],
    sequence: int,
) -> None:
    """Write copies into a transaction.

    Parameters
    ----------
    target
        The fleet in its new grid, in the transaction.
    statistics
        Of rows that were dropped.
    prepared
        Copied rows.
    sequence
        Of the first of `prepared`.
    """
    layout = target.meta.layout
    if statistics:
        writer = SummaryWriter(target.store, layout, target.meta.stored_channels)
        writer.preload(statistics)
        for update in statistics:
            writer.replace(update)
        writer.save()
        window, period = layout.scheme.window_length, layout.scheme.summary_length
        periods = np.unique(np.concatenate([update.period for update in statistics]))
        _change_slots(
            target.store, layout, np.unique(window.numbers(period.starts(periods))), SUMMARIES_ONLY
        )
    write_blocks(target.store, target.meta, prepared, sequence)
    merge_statistics(target, prepared)


def clear_span(target: FleetView, span: Span) -> None:
    """Remove blocks and statistics of a span from the new grid, in a transaction.

    Parameters
    ----------
    target
        The fleet in its new grid, in the transaction.
    span
        Which span.
    """
    store, layout, positions = target.store, target.meta.layout, target.state.devices
    blocks = read_index(store, layout, span.selection, positions)
    index = IndexWriter(store, layout)
    index.preload((window, block) for window, block, _ in blocks.places.tolist())
    index.remove(blocks)
    index.save(positions)
    places = blocks.places.tolist()
    for path in raw_paths(store, layout):
        delete_many(store, [chunk_key(path, place) for place in places])
    window, period = layout.scheme.window_length, layout.scheme.summary_length
    windows = np.arange(window.number(span.start), window.number(span.stop - 1) + 1)
    _change_slots(store, layout, windows, 0)
    periods = range(period.number(span.start), period.number(span.stop - 1) + 1)
    step = max(1, _CELLS_AT_ONCE // len(periods))
    for first in range(0, positions, step):
        codes = np.arange(first, min(first + step, positions))
        device, at = np.nonzero(read_extent(store, layout, codes, periods)[0])
        cells = Cells(codes[device], periods.start + at)
        writer = SummaryWriter(store, layout, target.meta.stored_channels)
        writer.preload([cells])
        writer.clear(cells)
        writer.save()


def _entries(blocks: BlockTable) -> NDArray[np.void]:
    """Return the whole entry of each block as one value that can be compared."""
    rows = np.ascontiguousarray(np.concatenate([blocks.places.T, blocks.fields]).T)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def _runs_of_versions(blocks: BlockTable) -> Iterator[BlockTable]:
    """Yield runs of blocks of one version of the schema, in their order."""
    edges = np.flatnonzero(np.diff(blocks.schema_version)) + 1
    for members in np.split(np.arange(len(blocks)), edges):
        if len(members):
            yield blocks.take(members)


def _groups(blocks: BlockTable, rows: int) -> Iterator[BlockTable]:
    """Yield runs of blocks that have so many rows together, about."""
    number = (np.cumsum(blocks.rows) - 1) // rows
    for members in np.split(np.arange(len(blocks)), np.flatnonzero(np.diff(number)) + 1):
        if len(members):
            yield blocks.take(members)


def _change_slots(
    store: Store, layout: FleetLayout, windows: NDArray[np.int64], count: int
) -> None:
    """Set the slot counts of windows that have no blocks."""
    size = layout.slots.chunk[0]
    chunks = layout.slots.load(store, sorted({(at,) for at in (windows // size).tolist()}))
    for window in windows.tolist():
        counts = chunks[(window // size,)]
        if counts[window % size] <= 0:
            counts[window % size] = count
    layout.slots.write(store, chunks)
