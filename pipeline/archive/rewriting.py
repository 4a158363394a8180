"""Replacing blocks by others in one commit: what compaction, deletion and repair are made of.

Reading, sorting and encoding happen before, on a snapshot. The transaction checks that the blocks
to be replaced are still there, puts the new ones in their place and brings the summaries up to
date. Blocks that other writers added meanwhile stay; only if one of the replaced blocks was
changed or is gone does the plan no longer fit.

Which of several rows with equal device and time is the newest is told by the sequence of their
blocks. New blocks get the highest sequence of those they replace, so they keep their place among
all others, provided that whatever may hold the same rows and was written in between is replaced
along with them: see `needs_also`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable, read_index
from pipeline.archive.changes import mark_rewritten
from pipeline.archive.chunk_io import chunk_key, delete_many, put_many
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_state import FleetState, StalePlanError
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.index_writer import IndexWriter
from pipeline.archive.layout import INDEX_FIELDS, FleetLayout
from pipeline.archive.preparing import PeriodStatistics, Prepared, summarise
from pipeline.archive.read_units import read_units
from pipeline.archive.stored_chunks import raw_paths
from pipeline.archive.summary_tables import Cells, SummaryWriter, read_extent
from pipeline.partitioning.pruning import Selection

__all__ = [
    "Rewrite",
    "RewriteResult",
    "cells_of",
    "commit_rewrites",
    "needs_also",
    "recomputed",
    "sole_cells",
]


@dataclass(frozen=True, slots=True, eq=False)
class Rewrite:
    """Some blocks of one window, and what takes their place.

    Parameters
    ----------
    removed
        At least one block, as the index of the snapshot that was read has them.
    prepared
        The new blocks; None to delete. Where there are as many in a partition as are removed
        from it, each gets the slot of one of them, in order.
    level
        How often their rows have been merged: 0 as appended.
    """

    removed: BlockTable
    prepared: Prepared | None = None
    level: int = 0

    @property
    def window(self) -> int:
        """The window's number."""
        return int(self.removed.window[0])

    @property
    def sequence(self) -> int:
        """The sequence of the new blocks: the highest of the removed ones."""
        return int(self.removed.sequence.max())


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """What a rewrite did.

    Parameters
    ----------
    snapshot
        Id of the snapshot it made.
    blocks_before, blocks_after
        Blocks removed, and blocks written instead.
    rows_before, rows_after
        Rows in them.
    bytes_before, bytes_after
        Encoded bytes of them.
    """

    snapshot: str = ""
    blocks_before: int = 0
    blocks_after: int = 0
    rows_before: int = 0
    rows_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


def needs_also(blocks: BlockTable, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `chosen` and the blocks that have to be rewritten in one go with them.

    Two blocks belong together if their devices overlap and their times do too or they are of one
    batch, whose rows are in the order of its slots. Merging a set of blocks that is closed in this
    way changes no answer, whatever the duplicate policy.

    Parameters
    ----------
    blocks
        All blocks of one window.
    chosen
        Bool, shape (blocks,).
    """
    closed = chosen.copy()
    added = np.flatnonzero(chosen)
    while len(added):
        found = np.zeros(len(blocks), np.bool_)
        for at in added.tolist():
            devices = (blocks.device_min <= blocks.device_max[at]) & (
                blocks.device_max >= blocks.device_min[at]
            )
            times = (blocks.time_min <= blocks.time_max[at]) & (
                blocks.time_max >= blocks.time_min[at]
            )
            found |= devices & (times | (blocks.sequence == blocks.sequence[at]))
        added = np.flatnonzero(found & ~closed)
        closed |= found
    return closed


def cells_of(store: Store, layout: FleetLayout, blocks: BlockTable) -> Cells:
    """Return the summary cells that may hold rows of `blocks`: devices and periods in their bounds.

    Parameters
    ----------
    store
        A snapshot's or a transaction's store.
    layout
        The fleet's layout.
    blocks
        Index entries.
    """
    period = layout.scheme.summary_length
    found = []
    for at in range(len(blocks)):
        codes = np.arange(int(blocks.device_min[at]), int(blocks.device_max[at]) + 1)
        first, last = (
            period.number(int(bound[at])) for bound in (blocks.time_min, blocks.time_max)
        )
        rows = read_extent(store, layout, codes, range(first, last + 1))[0]
        device, number = np.nonzero(rows)
        found.append(Cells(codes[device], first + number))
    return Cells.union(found)


def commit_rewrites(
    store: Store,
    meta: FleetMeta,
    registry: DeviceRegistry,
    rewrites: Sequence[Rewrite],
    changed: Cells | None = None,
) -> RewriteResult:
    """Replace blocks in a transaction's store.

    Parameters
    ----------
    store
        The transaction's store.
    meta, registry
        The fleet in the snapshot on which the rewrites were planned.
    rewrites
        What to replace; no block twice.
    changed
        Cells in which a reader finds other rows than before. They are computed again from all
        rows that are there now, and cleared where there are none. Cells of the new blocks are
        set to the statistics of their rows wherever no other block may hold rows of them.

    Raises
    ------
    StalePlanError
        If a block to be replaced is not as it was, or the fleet is defined otherwise; nothing was
        written, plan again.
    """
    layout = meta.layout
    _check_definition(store, meta)
    index = IndexWriter(store, layout)
    index.preload(_partitions(rewrites))
    if not all(index.holds(rewrite.removed) for rewrite in rewrites):
        msg = (
            f"fleet {meta.name!r}: a block to be replaced was changed by another writer; plan again"
        )
        raise StalePlanError(msg)
    state = FleetState.load(store, layout)
    written = [_replace(store, meta, index, rewrite) for rewrite in rewrites]
    index.save(state.devices)
    if changed is not None and layout.tracked:
        mark_rewritten(store, layout, (rewrite.window for rewrite in rewrites))
    view = FleetView(store, "", meta, registry, state)
    _summarise(view, rewrites, written, changed)
    return _result(rewrites)


def _check_definition(store: Store, meta: FleetMeta) -> None:
    current = load_fleet(store, meta.name)
    if (current.layout, current.history, current.duplicates) != (
        meta.layout,
        meta.history,
        meta.duplicates,
    ):
        msg = f"fleet {meta.name!r}: its schema or partitioning was changed by another writer; plan again"
        raise StalePlanError(msg)


def _partitions(rewrites: Sequence[Rewrite]) -> Iterator[tuple[int, int]]:
    for rewrite in rewrites:
        for window, block, _ in rewrite.removed.places.tolist():
            yield window, block
        for entry in rewrite.prepared.entries if rewrite.prepared else ():
            yield entry.window, entry.device_block


def _replace(store: Store, meta: FleetMeta, index: IndexWriter, rewrite: Rewrite) -> BlockTable:
    """Put one rewrite's blocks and return them."""
    removed, prepared = rewrite.removed, rewrite.prepared
    entries = [
        replace(entry, sequence=rewrite.sequence, level=rewrite.level)
        for entry in (prepared.entries if prepared else ())
    ]
    index.remove(removed)
    slots = index.add(entries, removed)
    places = [
        (entry.window, entry.device_block, slot) for entry, slot in zip(entries, slots, strict=True)
    ]
    chunks = {
        chunk_key(meta.layout.raw_path(name), place): data
        for place, payload in zip(places, prepared.payloads if prepared else (), strict=True)
        for name, data in payload.items()
    }
    # Columns that the schema does not have, or not any more, must not show up in a new block.
    gone = {
        chunk_key(path, place)
        for path in raw_paths(store, meta.layout)
        for place in map(tuple, removed.places.tolist())
    }
    delete_many(store, sorted(gone - set(chunks)))
    put_many(store, chunks)
    fields = np.array([entry.fields() for entry in entries], np.int64).reshape(
        -1, len(INDEX_FIELDS)
    )
    return BlockTable(np.array(places, np.int64).reshape(-1, 3), fields.T)


def _summarise(
    view: FleetView,
    rewrites: Sequence[Rewrite],
    written: Sequence[BlockTable],
    changed: Cells | None,
) -> None:
    meta = view.meta
    writer = SummaryWriter(view.store, meta.layout, meta.stored_channels)
    updates = [
        update
        for rewrite, blocks in zip(rewrites, written, strict=True)
        if rewrite.prepared is not None
        for update in [sole_cells(view, rewrite.prepared.statistics, blocks)]
        if len(update)
    ]
    writer.preload(updates if changed is None else [*updates, changed])
    for update in updates:
        writer.replace(update)
    if changed is not None:
        writer.clear(changed)
        for update in recomputed(view.stored(), changed):
            writer.replace(update)
    writer.save()


def sole_cells(view: FleetView, update: PeriodStatistics, blocks: BlockTable) -> PeriodStatistics:
    """Return the statistics of cells whose rows are all in `blocks`, as the index proves.

    Parameters
    ----------
    view
        The fleet, in the transaction.
    update
        Statistics of the rows of `blocks`.
    blocks
        Blocks of it.
    """
    if not len(update):
        return update
    meta, length = view.meta, view.meta.scheme.summary_length
    selection = Selection.of(
        length.start(int(update.period.min())), length.start(int(update.period.max()) + 1)
    )
    others = read_index(view.store, meta.layout, selection, view.state.devices)
    mine = set(map(tuple, blocks.places.tolist()))
    apart = [tuple(place) not in mine for place in others.places.tolist()]
    others = others.take(np.array(apart, np.bool_))
    first, last = length.numbers(others.time_min), length.numbers(others.time_max)
    shared = np.zeros(len(update), np.bool_)
    low, high = int(update.device.min()), int(update.device.max())
    for at in np.flatnonzero((others.device_min <= high) & (others.device_max >= low)).tolist():
        shared |= (
            (update.device >= others.device_min[at])
            & (update.device <= others.device_max[at])
            & (update.period >= first[at])
            & (update.period <= last[at])
        )
    return update.take(~shared)


def recomputed(
    view: FleetView, cells: Cells, channels: Sequence[str] | None = None
) -> Iterator[PeriodStatistics]:
    """Yield the statistics of the rows of some cells; those without a row do not occur.

    Parameters
    ----------
    view
        The fleet, in a snapshot or in a transaction.
    cells
        Which cells.
    channels
        Of what; None for all that the view has.
    """
    meta = view.meta
    names = meta.schema.names if channels is None else tuple(channels)
    window, period = meta.scheme.window_length, meta.scheme.summary_length
    windows = window.numbers(period.starts(cells.period))
    for number in np.unique(windows).tolist():
        here = cells.take(windows == number)
        selection = Selection.of(window.start(number), window.start(number + 1), here.device)
        blocks = read_index(view.store, meta.layout, selection, view.state.devices)
        for unit in read_units(blocks, meta.scheme):
            # A device's rows may go on from one block to the next.
            rows = (
                view.block_rows(unit, selection, names)
                if unit.is_ordered
                else iter([view.rows(unit, selection, names)])
            )
            parts = [
                summarise(period, part.codes, part.time, part.columns) for part in rows if len(part)
            ]
            if parts:
                found = PeriodStatistics.concat(parts)
                yield found.take(here.contains(found.device, found.period))


def _result(rewrites: Sequence[Rewrite]) -> RewriteResult:
    entries = [
        entry for rewrite in rewrites if rewrite.prepared for entry in rewrite.prepared.entries
    ]
    removed = [rewrite.removed for rewrite in rewrites]
    return RewriteResult(
        blocks_before=sum(map(len, removed)),
        blocks_after=len(entries),
        rows_before=int(sum(blocks.rows.sum() for blocks in removed)),
        rows_after=sum(entry.rows for entry in entries),
        bytes_before=int(sum(blocks.bytes.sum() for blocks in removed)),
        bytes_after=sum(entry.bytes for entry in entries),
    )
