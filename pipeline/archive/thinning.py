"""Applying a fleet's retention: whole windows of rows go, later their statistics.

First the bound is written down, so that from then on late rows before it go to quarantine; then
windows are dropped, a bounded number in each commit. Killed in between, it goes on from there. A
window whose rows are gone keeps its statistics; its slot count in the index says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import zarr
from zarr.abc.store import Store

from pipeline.archive.block_index import SUMMARIES_ONLY, BlockTable, read_index
from pipeline.archive.chunk_io import chunk_key, delete_many
from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_state import FleetState, StalePlanError
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.index_writer import IndexWriter
from pipeline.archive.layout import FleetLayout
from pipeline.archive.retention import Retention
from pipeline.archive.stored_chunks import raw_paths, stored_chunks
from pipeline.archive.transactions import Repository
from pipeline.partitioning.pruning import Selection

__all__ = ["Thinned", "apply_retention", "save_retention"]

_BLOCKS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Thinned:
    """What a retention dropped.

    Parameters
    ----------
    windows, blocks, rows, bytes
        Windows whose rows went, their blocks, rows and encoded bytes.
    summary_windows
        Windows whose statistics went.
    raw_from, summaries_from
        Where rows and statistics begin now, in microseconds since 1970-01-01 UTC; the start of
        the grid if nothing was ever dropped.
    """

    windows: int = 0
    blocks: int = 0
    rows: int = 0
    bytes: int = 0
    summary_windows: int = 0
    raw_from: int = 0
    summaries_from: int = 0


def save_retention(store: Store, meta: FleetMeta, retention: Retention) -> None:
    """Write a fleet's retention down, in a transaction."""
    if retention != meta.retention:
        group = zarr.open_group(store, path=meta.name, mode="r+")
        group.attrs["retention"] = retention.to_json()


def apply_retention(repository: Repository, fleet: str, now: int) -> Thinned:
    """Drop what is older than the fleet's retention.

    Parameters
    ----------
    repository
        The archive.
    fleet
        The fleet's name.
    now
        The present, in microseconds since 1970-01-01 UTC.

    Raises
    ------
    NotFoundError
        If there is no such fleet.
    ConflictError, StorageError
        If a commit is not possible; running it again goes on.
    """
    meta = load_fleet(repository.snapshot().store, fleet)
    bounds = meta.retention.advanced(now, meta.scheme.window_length)
    if bounds != meta.retention:
        repository.commit(
            lambda store: _advance(store, fleet, now),
            f"retention of {fleet}",
            lambda _: {"fleet": fleet, "kind": "retention"},
        )
    done = Thinned(raw_from=bounds.raw_from, summaries_from=bounds.summaries_from)
    finished = False
    while not finished:
        try:
            for windows, dropped in _dropped(repository, fleet, bounds.raw_from):
                done = replace(
                    done,
                    windows=done.windows + windows,
                    blocks=done.blocks + len(dropped),
                    rows=done.rows + int(dropped.rows.sum()),
                    bytes=done.bytes + int(dropped.bytes.sum()),
                )
            finished = True
        except StalePlanError:
            continue  # it was partitioned anew meanwhile: windows have other numbers now
    _, cleared = repository.commit(
        lambda store: _drop_summaries(store, fleet), f"drop statistics of {fleet}"
    )
    return replace(done, summary_windows=cleared)


def _dropped(repository: Repository, fleet: str, stop: int) -> Iterator[tuple[int, BlockTable]]:
    """Drop the rows before `stop`; yield after each commit how many windows, and the blocks."""
    snapshot = repository.snapshot()
    view = FleetView.load(snapshot.store, snapshot.id, fleet)
    for windows in _batches(view, stop):
        _, dropped = repository.commit(
            lambda store: _drop_rows(store, view.meta, windows),  # noqa: B023
            f"drop rows of {len(windows)} windows of {fleet}",
            lambda blocks: _metadata(fleet, len(windows), blocks),  # noqa: B023
        )
        yield len(windows), dropped


def _advance(store: Store, fleet: str, now: int) -> None:
    meta = load_fleet(store, fleet)
    save_retention(store, meta, meta.retention.advanced(now, meta.scheme.window_length))


def _metadata(fleet: str, windows: int, blocks: BlockTable) -> dict[str, str | int]:
    counts = {"windows": windows, "blocks": len(blocks), "rows_dropped": int(blocks.rows.sum())}
    return {"fleet": fleet, "kind": "retention", **counts}


def _batches(view: FleetView, stop: int) -> Iterator[list[int]]:
    """Yield the windows before `stop` that have rows, as many at once as one commit may drop.

    A window that `stop` lies inside of, as it may after a re-partitioning, is not among them.
    """
    thinned = set(view.thinned_windows(Selection.of(None, stop)))
    length = view.meta.scheme.window_length
    held: list[int] = []
    blocks = 0
    for window in view.windows(Selection.of(None, stop)):
        if window in thinned or length.start(window + 1) > stop:
            continue
        here = len(view.blocks(Selection(length.start(window), length.start(window + 1))))
        if held and blocks + here > _BLOCKS_AT_ONCE:
            yield held
            held, blocks = [], 0
        held.append(window)
        blocks += here
    if held:
        yield held


def _drop_rows(store: Store, planned: FleetMeta, windows: Sequence[int]) -> BlockTable:
    meta = load_fleet(store, planned.name)
    if meta.layout != planned.layout:
        raise StalePlanError
    layout, length = meta.layout, meta.scheme.window_length
    devices = FleetState.load(store, layout).devices
    selection = Selection(length.start(windows[0]), length.start(windows[-1] + 1))
    blocks = read_index(store, layout, selection, devices)
    blocks = blocks.take(np.isin(blocks.window, windows))
    index = IndexWriter(store, layout)
    index.preload((window, block) for window, block, _ in blocks.places.tolist())
    index.remove(blocks)
    index.save(devices)
    places = blocks.places.tolist()
    for path in raw_paths(store, layout):
        delete_many(store, [chunk_key(path, place) for place in places])
    # Only those that had rows until now: another maintenance may be ahead of this one.
    _mark(store, layout, np.unique(blocks.window).tolist(), SUMMARIES_ONLY)
    return blocks


def _drop_summaries(store: Store, fleet: str) -> int:
    meta = load_fleet(store, fleet)
    layout, length = meta.layout, meta.scheme.window_length
    stop = meta.retention.summaries_from
    snapshot = FleetView.load(store, "", fleet)
    thinned = snapshot.thinned_windows(Selection.of(None, stop))
    windows = [at for at in thinned if length.start(at + 1) <= stop]
    if not windows:
        return 0
    period = meta.scheme.summary_length
    first, last = (period.number(length.start(at)) for at in (windows[0], windows[-1] + 1))
    for table in layout.summary_tables(meta.stored_channels):
        width = table.chunk[2]
        # Windows before that have no statistics, so whatever is in the way is cleared, too.
        found = [at for at in stored_chunks(store, table.path) if at[2] * width < last]
        whole = [at for at in found if (at[2] + 1) * width <= last]
        delete_many(store, [chunk_key(table.path, at) for at in whole])
        for at in set(found) - set(whole):
            if (at[2] + 1) * width > first:
                chunk = table.load(store, [at])[at]
                chunk[:, :, : last - at[2] * width] = table.fill
                table.write(store, {at: chunk})
    _mark(store, layout, windows, 0)
    return len(windows)


def _mark(store: Store, layout: FleetLayout, windows: Sequence[int], count: int) -> None:
    size = layout.slots.chunk[0]
    chunks = layout.slots.load(store, sorted({(window // size,) for window in windows}))
    for window in windows:
        chunks[(window // size,)][window % size] = count
    layout.slots.write(store, chunks)
