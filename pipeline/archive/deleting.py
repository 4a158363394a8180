"""Deleting rows of devices or times, with what the statistics know of them.

Blocks that hold such rows are replaced by blocks of the others, window by window; the statistics of
the devices and periods concerned are computed again. Readers of older snapshots still see the rows:
they are gone for good once these snapshots are expired and garbage is collected.

Cells of rollups go in the same commits, of every period that is touched: what is left of it is there
again after the next refresh. Where the rows were dropped before, nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import read_block_columns
from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.preparing import Prepared, prepare_stored
from pipeline.archive.rewriting import Rewrite
from pipeline.archive.rollups.clearing import clear_rollups
from pipeline.archive.summary_tables import Cells, SummaryWriter, read_extent
from pipeline.errors import ConflictError
from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.device_blocks import LANDING_BLOCK
from pipeline.partitioning.pruning import Selection

__all__ = ["DeleteResult", "delete_rows"]

_ATTEMPTS: Final = 12


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What a deletion did.

    Parameters
    ----------
    windows
        Windows in which something was deleted.
    rows, blocks
        Rows deleted, and blocks that were replaced or removed.
    cells
        Statistics of a device and period that were computed again or removed.
    snapshot
        Id of the snapshot of its last commit; empty if there was nothing to delete.
    """

    windows: int = 0
    rows: int = 0
    blocks: int = 0
    cells: int = 0
    snapshot: str = ""


def delete_rows(store: FleetStore, selection: Selection) -> DeleteResult:
    """Delete the selected rows, a window in each commit.

    Killed in between, it goes on where it stopped when it is run again. Rows that others append
    meanwhile may stay.

    Parameters
    ----------
    store
        The fleet.
    selection
        Which rows.

    Raises
    ------
    CorruptBlockError
        If a block with such rows is damaged; what was deleted before stays deleted.
    ConflictError
        If other writers changed the same blocks again and again.
    """
    view = store.view()
    done = DeleteResult()
    thinned = view.thinned_windows(selection)
    for window in view.windows(selection):
        if window not in thinned:
            done = _deleted(store, _within(view, window, selection), done)
    kept = view.meta.retention.raw_from
    partly = view.meta.scheme.window_length.number(kept)
    if partly not in thinned and selection.start < kept:
        thinned = [*thinned, partly]  # after a re-partitioning, it may have both
    for windows in _by_summary_chunk(view, thinned):
        done = _cleared(store, view.meta, windows, selection, done)
    return _cleared_rollups(store, selection, done)


def _within(view: FleetView, window: int, selection: Selection) -> Selection:
    length = view.meta.scheme.window_length
    start, stop = length.start(window), length.start(window + 1)
    return replace(selection, start=max(start, selection.start), stop=min(stop, selection.stop))


def _deleted(store: FleetStore, selection: Selection, done: DeleteResult) -> DeleteResult:
    for _ in range(_ATTEMPTS):
        view = store.view()
        rewrites = list(_rewrites(view, selection))
        if not rewrites:
            return done
        cells = _cells(view.store, view.meta, view.registry.positions, selection)
        try:
            result = store.rewrite(
                view,
                rewrites,
                cells,
                kind="delete",
                along=lambda into: clear_rollups(into, view.meta, [selection], marked=True),  # noqa: B023
            )
        except StalePlanError:
            continue
        return DeleteResult(
            done.windows + 1,
            done.rows + result.rows_before - result.rows_after,
            done.blocks + result.blocks_before,
            done.cells + len(cells),
            result.snapshot,
        )
    msg = (
        f"fleet {store.name!r}: other writers changed the blocks to be deleted from {_ATTEMPTS} "
        "times; what was deleted before stays so, delete again later"
    )
    raise ConflictError(msg)


def _rewrites(view: FleetView, selection: Selection) -> Iterator[Rewrite]:
    blocks = view.blocks(selection)
    for at in range(len(blocks)):
        block = blocks.take(np.array([at]))
        bounds = int(block.time_min[0]), int(block.time_max[0]) + 1
        if selection.codes is None and selection.covers(*bounds):
            yield Rewrite(block)
            continue
        stored = view.stored_as(block)
        codes, time, columns = _read(stored, block)
        kept = ~selection.mask(codes, time)
        if kept.any() and not kept.all():
            prepared = _prepared(stored.meta, block, codes[kept], time[kept], columns, kept)
            yield Rewrite(block, prepared, int(block.level[0]))
        elif not kept.all():
            yield Rewrite(block)


def _read(
    view: FleetView, block: BlockTable
) -> tuple[NDArray[np.int32], NDArray[np.int64], dict[str, Column]]:
    names = view.meta.schema.names
    wanted: list[tuple[str, np.dtype[Any]]] = [
        ("device_index", np.dtype(np.int32)),
        ("time", np.dtype(np.int64)),
    ]
    wanted += [(name, storage_dtype(view.meta.schema[name].dtype)) for name in names]
    codes, time, *rest = read_block_columns(view.store, view.meta.layout, block, wanted)
    return codes.values, time.values, dict(zip(names, rest, strict=True))


def _prepared(
    meta: FleetMeta,
    block: BlockTable,
    codes: NDArray[np.int32],
    time: NDArray[np.int64],
    columns: dict[str, Column],
    kept: NDArray[np.bool_],
) -> Prepared:
    """Encode what is left of a block as a block of the same partition."""
    landed = int(block.device_block[0]) == LANDING_BLOCK
    scheme = replace(meta.scheme, landing_rows=len(codes) + 1 if landed else 0)
    same_place = replace(meta, layout=replace(meta.layout, scheme=scheme))
    rest = {name: column.take(kept) for name, column in columns.items()}
    return prepare_stored(codes, time, rest, same_place)


def _cells(store: Store, meta: FleetMeta, devices: int, selection: Selection) -> Cells:
    """Return the cells that may have selected rows: those with rows at all."""
    period = meta.scheme.summary_length
    codes = np.arange(devices) if selection.codes is None else selection.codes
    first = period.number(selection.start)
    periods = range(first, period.number(selection.stop - 1) + 1)
    device, number = np.nonzero(read_extent(store, meta.layout, codes, periods)[0])
    return Cells(codes[device], first + number)


def _by_summary_chunk(view: FleetView, windows: list[int]) -> Iterator[list[int]]:
    """Yield windows in groups whose statistics lie together."""
    scheme, width = view.meta.scheme, view.meta.layout.extent.chunk[2]
    for _, group in groupby(
        windows, lambda at: scheme.summary_length.number(scheme.window_length.start(at)) // width
    ):
        yield list(group)


def _cleared(
    store: FleetStore,
    planned: FleetMeta,
    windows: list[int],
    selection: Selection,
    done: DeleteResult,
) -> DeleteResult:
    """Remove statistics whose rows were dropped: what is left of a period cannot be computed."""

    def change(into: Store) -> int:
        meta = load_fleet(into, store.name)
        if meta.layout != planned.layout:
            msg = f"fleet {store.name!r} was partitioned anew meanwhile; delete again"
            raise ConflictError(msg)
        length, count = meta.scheme.window_length, 0
        kept = meta.retention.raw_from
        writer = SummaryWriter(into, meta.layout, meta.stored_channels)
        for window in windows:
            part = replace(
                selection,
                start=max(length.start(window), selection.start),
                stop=min(length.start(window + 1), selection.stop, kept),
            )
            if part.start >= part.stop:
                continue
            cells = _cells(into, meta, devices, part)
            writer.preload([cells])
            writer.clear(cells)
            count += len(cells)
            clear_rollups(into, meta, [part])
        if count:
            writer.save()
        return count

    devices = store.view().registry.positions
    snapshot, cells = store.repository.commit(
        change,
        f"delete {store.name}",
        lambda cells: {"fleet": store.name, "kind": "delete", "cells": cells},
    )
    if not cells:
        return done
    return replace(
        done, windows=done.windows + len(windows), cells=done.cells + cells, snapshot=snapshot
    )


def _cleared_rollups(store: FleetStore, selection: Selection, done: DeleteResult) -> DeleteResult:
    """Clear cells of rollups in windows that the fleet has nothing of any more."""
    view = store.view()
    dropped = replace(selection, stop=min(selection.stop, view.meta.retention.raw_from))
    if not view.meta.layout.tracked or dropped.start >= dropped.stop:
        return done

    def change(into: Store) -> int:
        now = FleetView.load(into, "", store.name)
        length = now.meta.scheme.window_length
        bounds = (length.start(at) for one in now.windows(dropped) for at in (one, one + 1))
        edges = [dropped.start, *bounds, dropped.stop]
        between = [
            replace(dropped, start=start, stop=stop)
            for start, stop in zip(edges[::2], edges[1::2], strict=True)
            if start < stop
        ]
        return clear_rollups(into, now.meta, between) if between else 0

    snapshot, cleared = store.repository.commit(
        change,
        f"delete {store.name}",
        lambda chunks: {"fleet": store.name, "kind": "delete", "chunks": chunks},
    )
    return replace(done, snapshot=snapshot) if cleared else done
