"""Repair: the index and the statistics are made anew from the blocks.

Chunks that cannot be read go to quarantine as they are, with the reason; every row whose device
and time can be read stays. The index is mended for eight windows in each commit, the statistics for
one; killed in between, it is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import used_windows
from pipeline.archive.changes import mark_rewritten
from pipeline.archive.chunk_io import chunk_key, delete_many, get_many, put_many
from pipeline.archive.damaged import DamagedChunk, save_damaged
from pipeline.archive.device_registry import load_registry
from pipeline.archive.examining import Examined, Place, examine
from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_state import FleetState, StalePlanError
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import INDEX_FIELDS
from pipeline.archive.mending_quarantine import (
    mend_quarantine,
    quarantined_rows,
    unreadable_quarantine,
)
from pipeline.archive.rewriting import recomputed
from pipeline.archive.rollups.verifying import damaged_rollups, forget_built, mend_rollups
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.summary_tables import Cells, SummaryWriter, read_extent
from pipeline.archive.tables import Table
from pipeline.archive.transactions import Repository, Snapshot
from pipeline.archive.verifying import verify_windows
from pipeline.archive.verifying_devices import mend_lookup, wrong_devices
from pipeline.archive.verifying_fleet import spans_to_verify
from pipeline.errors import ArchiveError, ConflictError
from pipeline.partitioning.pruning import Selection

__all__ = ["RepairResult", "repair_fleet"]

_ATTEMPTS = 12
_SEQUENCE = INDEX_FIELDS.index("sequence")


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What a repair did, or would do.

    Parameters
    ----------
    tables
        Unreadable chunks of the index, the statistics, the counters and the rollups that were
        removed.
    blocks
        Blocks whose index entry was made anew.
    reduced
        Blocks that lost the values of a channel.
    lost
        Blocks none of whose rows could be saved.
    damaged
        Chunks that went to quarantine.
    windows
        Windows whose statistics were computed again; in a dry run those where that is known to
        be needed before the index is mended.
    """

    tables: int = 0
    blocks: int = 0
    reduced: int = 0
    lost: int = 0
    damaged: int = 0
    windows: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether there was nothing to do."""
        return self == RepairResult()


def repair_fleet(repository: Repository, fleet: str, *, dry_run: bool = False) -> RepairResult:
    """Mend a fleet.

    Parameters
    ----------
    repository
        The archive.
    fleet
        The fleet's name.
    dry_run
        Whether only to tell what would be done.

    Raises
    ------
    NotFoundError
        If there is no such fleet.
    CorruptBlockError
        If its definition or the list of its devices cannot be read: these cannot be made anew.
    ConflictError
        If other writers changed the same windows again and again; run it again.
    """
    run = _Repair(repository, fleet, dry_run)
    run.quarantine()
    run.tables()
    run.index()
    run.devices()
    run.statistics()
    run.rollups()
    return run.result


class _Repair:
    def __init__(self, repository: Repository, fleet: str, dry_run: bool) -> None:
        self.repository, self.fleet, self.dry_run = repository, fleet, dry_run
        self.result = RepairResult()
        self._unreadable: set[str] = set()
        # Of the newest state that was looked at: most rows of an index need no mending, and the
        # state is the same for all of these.
        self._seen: FleetView | None = None
        self._chunks: dict[int, list[tuple[int, ...]]] = {}
        self._counts: dict[int, int] = {}

    def quarantine(self) -> None:
        """Set unreadable chunks of the quarantine aside."""
        store = self.repository.snapshot().store
        load_fleet(store, self.fleet)  # raises if there is none
        found = unreadable_quarantine(store, self.fleet)
        self._unreadable |= {one.key for one in found}
        self.result = replace(self.result, damaged=len(found))
        if found:
            self._commit(lambda into: mend_quarantine(into, self.fleet), "quarantine")

    def tables(self) -> None:
        """Remove unreadable chunks of tables, and count again what has to be counted."""
        store = self.repository.snapshot().store
        meta = load_fleet(store, self.fleet)
        layout = meta.layout
        tables = [layout.state, layout.slots, layout.index]
        tables += layout.summary_tables(meta.stored_channels)
        tables += [layout.changed] if layout.tracked else []
        found = [one for table in tables for one in _unreadable(store, table)]
        self._unreadable |= {one.key for one in found}
        self.result = replace(self.result, tables=len(found))
        if found:
            self._commit(lambda into: self._remove(into, meta, found), "unreadable tables")

    def _remove(self, store: Store, meta: FleetMeta, found: Sequence[DamagedChunk]) -> None:
        delete_many(store, [one.key for one in found])
        save_damaged(store, self.fleet, found)
        if any(one.key.startswith(f"{meta.layout.state.path}/c/") for one in found):
            _counted(store, self.fleet).save(store, meta.layout)

    def devices(self) -> None:
        """Make the lookup of devices anew if it does not lead to their codes."""
        view = self._view()
        layout = view.meta.layout
        if self.dry_run:
            problems = wrong_devices(view.registry)
            wrong = any(one.place == layout.device_lookup.path for one in problems)
        else:
            wrong = bool(self._commit(lambda into: mend_lookup(into, layout), "devices"))
        self.result = replace(self.result, tables=self.result.tables + wrong)

    def index(self) -> None:
        """Mend the index, and take unreadable blocks out of use."""
        view = self._view()
        rows = view.meta.layout.index.chunk[1]
        places = list(_places(view, self._known(view, None)))
        for row, group in groupby(places, lambda place: place[0] // rows):
            self._mend_row(row, list(group))
        self._mend_counters()

    def _mend_row(self, row: int, places: list[Place]) -> None:
        for _ in range(_ATTEMPTS):
            view = self._view()
            known = self._known(view, row)
            after = max(
                view.state.sequence, *(int(one[_SEQUENCE]) + 1 for one in known.values()), 0
            )
            every = {place for place in places if place[1] >= 0} | set(known)
            # Of what nobody knows any more, slots tell in which order it was written.
            ordered = sorted(every, key=lambda place: (place[2], place))
            examined = [
                examine(view, place, known.get(place), after + at)
                for at, place in enumerate(ordered)
            ]
            changed = [one for one in examined if not _agrees(one, known)]
            if not changed and self._slots_agree(view, row, examined):
                return
            if not self.dry_run:
                seen = _index_bytes(view.store, view.meta, row)
                try:
                    self._commit(
                        lambda into: _write_row(into, self.fleet, row, seen, examined),  # noqa: B023
                        "index",
                    )
                except StalePlanError:
                    continue
            lost = [one for one in changed if one.entry is None]
            self.result = replace(
                self.result,
                blocks=self.result.blocks + len(changed) - len(lost),
                lost=self.result.lost + len(lost),
                reduced=self.result.reduced + sum(bool(one.written) for one in changed),
                damaged=self.result.damaged + sum(len(one.damaged) for one in changed),
            )
            return
        msg = f"fleet {self.fleet!r}: other writers changed its index {_ATTEMPTS} times; repair it again"
        raise ConflictError(msg)

    def _slots_agree(self, view: FleetView, row: int, examined: Sequence[Examined]) -> bool:
        windows = view.meta.layout.index.chunk[1]
        return all(
            self._counts.get(window, 0) == count or (self._counts.get(window, 0) < 0 and count == 0)
            for window, count in _slot_counts(row, windows, examined).items()
        )

    def _mend_counters(self) -> None:
        view = self._view()
        newest = max((int(e[_SEQUENCE]) for e in self._known(view, None).values()), default=-1)
        stored = view.state
        if not self._unreadable or not self.dry_run:
            stored = FleetState.load(view.store, view.meta.layout)
        counted = replace(
            _counted(view.store, self.fleet),
            sequence=max(newest + 1, stored.sequence),
            device_revision=stored.device_revision,
            indexed=stored.indexed,
        )
        if counted != stored:
            self.result = replace(self.result, tables=self.result.tables + 1)
            if not self.dry_run:
                self._commit(lambda into: _save_counters(into, self.fleet, counted), "counters")

    def statistics(self) -> None:
        """Compute statistics again that are not those of the rows."""
        view = self._view()
        spans = spans_to_verify(view) if not self._unreadable or not self.dry_run else []
        wrong = (span for span in spans if "summary" in verify_windows(view, span).counts)
        for window in chain.from_iterable(wrong):
            if "summary" not in verify_windows(view, [window]).counts:
                continue
            self.result = replace(self.result, windows=self.result.windows + 1)
            if not self.dry_run:
                self._commit(
                    lambda into: _summarise_window(into, self.fleet, window),  # noqa: B023
                    "statistics",
                )

    def rollups(self) -> None:
        """Remove unreadable chunks of rollups; what a refresh cannot know any more it builds anew."""
        snapshot = self.repository.snapshot()
        meta = load_fleet(snapshot.store, self.fleet)
        if not meta.layout.tracked:
            return
        lost = {path for key in self._unreadable if (path := key.split("/c/")[0])}
        forgotten = bool(lost & {meta.layout.state.path, meta.layout.changed.path})
        found = damaged_rollups(snapshot.store, meta)
        self.result = replace(self.result, tables=self.result.tables + len(found))
        if found or forgotten:
            self._commit(lambda into: _mend_rollups(into, self.fleet, forgotten), "rollups")

    def _view(self) -> FleetView:
        snapshot = self.repository.snapshot()
        if self._seen is None or self._seen.snapshot != snapshot.id:
            self._seen = self._look_at(snapshot)
            self._chunks = self._index_chunks(self._seen)
            self._counts = self._load(self._seen, self._seen.meta.layout.slots)
        return self._seen

    def _look_at(self, snapshot: Snapshot) -> FleetView:
        meta = load_fleet(snapshot.store, self.fleet)
        state = counted = _counted(snapshot.store, self.fleet)
        if not self._unreadable or not self.dry_run:
            state = FleetState.load(snapshot.store, meta.layout)
        # Blocks may hold rows of every device that is registered, whatever is counted.
        state = replace(state, devices=max(state.devices, counted.devices))
        registry = load_registry(snapshot.store, meta.layout, state)
        return FleetView(snapshot.store, snapshot.id, meta, registry, state)

    def _known(self, view: FleetView, row: int | None) -> dict[Place, NDArray[np.int64]]:
        """Return the index entries that can be read, of eight windows or of all."""
        layout = view.meta.layout
        _, windows, blocks, depth = layout.index.chunk
        chunks = self._chunks.get(row, []) if row is not None else chain(*self._chunks.values())
        known = {}
        for at in chunks:
            chunk = layout.index.read(view.store, [at])[at]
            for inner in np.argwhere(chunk[0] > 0).tolist():
                place = (
                    at[1] * windows + inner[0],
                    at[2] * blocks + inner[1],
                    at[3] * depth + inner[2],
                )
                known[place] = chunk[:, inner[0], inner[1], inner[2]]
        return known

    def _index_chunks(self, view: FleetView) -> dict[int, list[tuple[int, ...]]]:
        """Return the chunks of the index that can be read, by row of the grid."""
        path = view.meta.layout.index.path
        found: dict[int, list[tuple[int, ...]]] = {}
        for at in stored_chunks(view.store, path):
            if not (chunk_key(path, at) in self._unreadable and self.dry_run):
                found.setdefault(at[1], []).append(at)
        return found

    def _load(self, view: FleetView, slots: Table) -> dict[int, int]:
        found: dict[int, int] = {}
        for (at,) in stored_chunks(view.store, slots.path):
            if chunk_key(slots.path, (at,)) in self._unreadable and self.dry_run:
                continue
            counts = slots.read(view.store, [(at,)])[(at,)]
            for offset in np.flatnonzero(counts).tolist():
                found[at * slots.chunk[0] + offset] = int(counts[offset])
        return found

    def _commit[T](self, change: Callable[[Store], T], what: str) -> T | None:
        if self.dry_run:
            return None
        metadata = {"fleet": self.fleet, "kind": "repair"}
        message = f"repair {what} of {self.fleet}"
        return self.repository.commit(change, message, lambda _: metadata)[1]


def _unreadable(store: Store, table: Table) -> Iterator[DamagedChunk]:
    for at in stored_chunks(store, table.path):
        key, data = chunk_key(table.path, at), b""
        try:
            stored = get_many(store, [key])[0]
            data = b"" if stored is None else stored.tobytes()
            table.read(store, [at])
        except ArchiveError as error:
            yield DamagedChunk(key, str(error), data)


def _counted(store: Store, fleet: str) -> FleetState:
    """Count devices and quarantined rows anew; the sequence is to be raised later."""
    devices = _filled(store, f"{fleet}/devices/id")
    return FleetState(devices, devices, 0, quarantined_rows(store, fleet))


def _filled(store: Store, path: str) -> int:
    """Return how many leading texts of an array are not empty."""
    array = zarr.open_array(store, path=path, mode="r")
    chunks = [at[0] for at in stored_chunks(store, path)]
    if not chunks:
        return 0
    last, size = max(chunks), array.chunks[0]
    texts: Any = array[last * size : (last + 1) * size]
    filled = [at for at, text in enumerate(texts.tolist()) if text != ""]
    return int(last * size + filled[-1] + 1) if filled else 0


def _places(view: FleetView, known: dict[Place, NDArray[np.int64]]) -> Iterator[Place]:
    """Yield every place that has a chunk or an index entry, in order.

    Windows that are counted as having slots are among them, with block and slot -1.
    """
    layout = view.meta.layout
    found = dict.fromkeys(known)
    for name in ("device_index", "time", *view.meta.history.stored):
        found.update(dict.fromkeys(stored_chunks(view.store, layout.raw_path(name))))  # type: ignore[arg-type]
    slots = layout.slots
    for (at,) in stored_chunks(view.store, slots.path):
        try:
            counts = slots.read(view.store, [(at,)])[(at,)]
        except ArchiveError:
            continue
        for offset in np.flatnonzero(counts > 0).tolist():
            found.setdefault((at * slots.chunk[0] + offset, -1, -1), None)
    return iter(sorted(found))


def _agrees(one: Examined, known: dict[Place, NDArray[np.int64]]) -> bool:
    entry = known.get(one.place)
    if one.entry is None:
        return entry is None and not one.removed and not one.damaged
    return entry is not None and np.array_equal(entry, one.entry) and not one.written


def _slot_counts(row: int, windows: int, examined: Sequence[Examined]) -> dict[int, int]:
    counts = dict.fromkeys(range(row * windows, (row + 1) * windows), 0)
    for one in examined:
        if one.entry is not None:
            counts[one.place[0]] = max(counts[one.place[0]], one.place[2] + 1)
    return counts


def _index_bytes(store: Store, meta: FleetMeta, row: int) -> dict[str, bytes]:
    path = meta.layout.index.path
    keys = [chunk_key(path, at) for at in stored_chunks(store, path) if at[1] == row]
    found = get_many(store, sorted(keys))
    return {
        key: b"" if one is None else one.tobytes()
        for key, one in zip(sorted(keys), found, strict=True)
    }


def _write_row(
    store: Store, fleet: str, row: int, seen: dict[str, bytes], examined: Sequence[Examined]
) -> None:
    meta = load_fleet(store, fleet)
    if _index_bytes(store, meta, row) != seen:
        raise StalePlanError
    index, slots = meta.layout.index, meta.layout.slots
    _, windows, blocks, depth = index.chunk
    chunks: dict[tuple[int, ...], NDArray[Any]] = {}
    for one in examined:
        if one.entry is not None:
            window, block, slot = one.place
            at = (0, row, block // blocks, slot // depth)
            inner = (window % windows, block % blocks, slot % depth)
            chunks.setdefault(at, index.blank())[(slice(None), *inner)] = one.entry
    delete_many(store, sorted(set(seen) - {chunk_key(index.path, at) for at in chunks}))
    index.write(store, chunks)
    counts = _slot_counts(row, windows, examined)
    loaded = slots.load(store, sorted({(window // slots.chunk[0],) for window in counts}))
    for window, count in counts.items():
        stored = loaded[(window // slots.chunk[0],)]
        if count or stored[window % slots.chunk[0]] > 0:
            stored[window % slots.chunk[0]] = count
    slots.write(store, loaded)
    if meta.layout.tracked:
        mark_rewritten(store, meta.layout, [window for window, count in counts.items() if count])
    delete_many(store, [key for one in examined for key in one.removed])
    put_many(store, {key: data for one in examined for key, data in one.written.items()})
    save_damaged(store, fleet, [chunk for one in examined for chunk in one.damaged])


def _save_counters(store: Store, fleet: str, counted: FleetState) -> None:
    meta = load_fleet(store, fleet)
    now = FleetState.load(store, meta.layout)
    replace(
        counted,
        sequence=max(counted.sequence, now.sequence),
        devices=max(counted.devices, now.devices),
        device_revision=now.device_revision + 1,
    ).save(store, meta.layout)


def _mend_rollups(store: Store, fleet: str, forgotten: bool) -> None:
    meta = load_fleet(store, fleet)
    save_damaged(store, fleet, mend_rollups(store, meta))
    if forgotten:
        forget_built(store, meta)
        mark_rewritten(store, meta.layout, used_windows(store, meta.layout, Selection()))


def _summarise_window(store: Store, fleet: str, window: int) -> None:
    view = FleetView.load(store, "", fleet)
    meta, period = view.meta, view.meta.scheme.summary_length
    length = meta.scheme.window_length
    # Statistics of rows that the retention dropped cannot be made anew.
    start, stop, kept = length.start(window), length.start(window + 1), meta.retention.raw_from
    first = period.number(kept if start < kept < stop else start)
    periods = range(first, period.number(stop - 1) + 1)
    codes = np.arange(view.registry.positions)
    device, number = np.nonzero(read_extent(store, meta.layout, codes, periods)[0])
    every = (
        np.repeat(codes, len(periods)),
        np.tile(np.arange(periods.start, periods.stop), len(codes)),
    )
    writer = SummaryWriter(store, meta.layout, meta.stored_channels)
    stale = Cells(codes[device], first + number)
    writer.preload([stale])
    writer.clear(stale)
    for update in recomputed(view.stored(), Cells(*every)):
        writer.replace(update)
    writer.save()
