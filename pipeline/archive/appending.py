"""The write path of one commit: register devices, put blocks, index, summarise, quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.changes import mark_appended
from pipeline.archive.chunk_io import chunk_key, put_many
from pipeline.archive.device_changes import DeviceChanges, Tags, plan_devices
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import Duplicates, FleetMeta, load_fleet
from pipeline.archive.fleet_state import FleetState, StalePlanError
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.archive.index_writer import add_blocks
from pipeline.archive.positions import append_positions, read_positions
from pipeline.archive.preparing import PeriodStatistics, Prepared, summarise
from pipeline.archive.quarantine import append_quarantine
from pipeline.archive.summary_tables import SummaryWriter
from pipeline.errors import DuplicateRowsError
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.partitioning.pruning import Selection

__all__ = [
    "AppendPlan",
    "AppendResult",
    "StalePlanError",
    "check_plan",
    "commit_prepared",
    "merge_statistics",
    "plan_append",
    "stored_batch",
    "write_blocks",
]


@dataclass(frozen=True, slots=True, eq=False)
class AppendPlan:
    """The devices and categories that an append needs, with codes for the new ones.

    Parameters
    ----------
    meta
        The fleet's definition, new category texts included; of the schema, the arrays of the version
        that the rows have.
    base_meta
        The fleet's definition as it was in the snapshot the plan was made on.
    devices
        Devices and tags that are to be registered, and those there were.
    arrays
        By channel of the version that the rows have, the array that it is stored in.
    """

    meta: FleetMeta
    base_meta: FleetMeta
    devices: DeviceChanges
    arrays: Mapping[str, str]

    def device_codes(self, devices: Sequence[str]) -> NDArray[np.int32]:
        """Return the codes of devices that the plan knows."""
        return self.devices.find(devices).astype(np.int32)

    def category_codes(self, texts: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int32]]:
        """Return, by the array of each category channel, the fleet's code of each text."""
        codes: dict[str, NDArray[np.int32]] = {}
        for channel, wanted in texts.items():
            array = self.arrays[channel]
            position = {text: at for at, text in enumerate(self.meta.categories[array])}
            codes[array] = np.array([position[text] for text in wanted], np.int32)
        return codes


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What became of the rows of an append.

    Parameters
    ----------
    snapshot
        Id of the snapshot that holds them.
    rows
        Rows stored.
    duplicates
        Rows dropped because another row of the same batch has their device and time. Rows that
        repeat one of an earlier batch are stored and resolved when read.
    quarantined
        Rows that went to quarantine.
    late
        Devices and periods that got rows older than what they had.
    blocks
        Blocks written.
    bytes
        Encoded bytes of those blocks.
    ignored
        Values left out because they are of columns that are no channel.
    """

    snapshot: str = ""
    rows: int = 0
    duplicates: int = 0
    quarantined: int = 0
    late: int = 0
    blocks: int = 0
    bytes: int = 0
    ignored: int = 0


def plan_append(
    view: FleetView,
    devices: Sequence[str],
    categories: Mapping[str, Sequence[str]],
    tags: Tags | None = None,
    version: int | None = None,
) -> AppendPlan:
    """Give codes to the devices and category texts that a fleet does not know yet.

    Parameters
    ----------
    view
        The fleet.
    devices
        Device ids that occur in the rows.
    categories
        By channel, the texts that occur.
    tags
        Tag values to set, by device id.
    version
        Version of the schema that the rows have, and are stored in; the newest for None.

    Raises
    ------
    InvalidInputError
        If a device has no id, or a tag has no name or a value that is no text.
    NotFoundError
        If there is no such version of the schema.
    """
    changes = plan_devices(view.registry, devices, tags)
    number = view.meta.history.newest if version is None else version
    arrays = view.meta.history[number].arrays
    texts = dict(view.meta.categories)
    for channel, wanted in categories.items():
        array = arrays[channel]
        texts[array] = tuple(dict.fromkeys([*texts.get(array, ()), *wanted]))
    meta = replace(view.meta.as_stored(number), categories=texts)
    return AppendPlan(meta, view.meta, changes, arrays)


def stored_batch(batch: RecordBatch, meta: FleetMeta) -> RecordBatch:
    """Return a batch with its columns under the names of their arrays.

    Parameters
    ----------
    batch
        Rows whose columns are the channels of a version of the schema.
    meta
        The definition for storing that version, of an `AppendPlan`.
    """
    arrays = meta.history[meta.schema.version].arrays
    columns = {arrays[name]: column for name, column in batch.columns.items()}
    return replace(batch, columns=columns)


def commit_prepared(
    store: Store,
    plan: AppendPlan,
    prepared: Sequence[Prepared],
    rejects: Sequence[Rejects],
    received: datetime,
    positions: Mapping[str, Any] | None = None,
    check: Callable[[Mapping[str, Any]], None] | None = None,
) -> AppendResult:
    """Write prepared batches, and the positions they bring sources to, into a transaction's store.

    Of batches without payloads, which others have put, all but these is written.

    Parameters
    ----------
    store
        The transaction's store.
    plan
        Of devices and categories.
    prepared, rejects
        What to write.
    received
        When the rejected rows came.
    positions
        That the commit brings sources to. The commit conflicts with any other that has some.
    check
        Is given the positions of all sources as the transaction finds them, and raises if the
        rows must not be written.

    Raises
    ------
    StalePlanError
        If the plan's codes are no longer free.
    DuplicateRowsError
        If the fleet refuses duplicates and stored rows would be repeated.
    """
    meta, layout = plan.meta, plan.meta.layout
    if check is not None:
        check(read_positions(store, meta.name)[0])
    before = FleetState.load(store, layout)
    _register(store, plan, before)
    registered = plan.devices.state
    state = replace(
        before,
        devices=registered.devices,
        device_revision=registered.device_revision,
        indexed=registered.indexed,
    )
    blocks = write_blocks(store, meta, prepared, state.sequence)
    if layout.tracked:
        windows = (entry.window for part in prepared for entry in part.entries)
        mark_appended(store, layout, windows, state.sequence + len(prepared))
    registry = DeviceRegistry(store, layout, state)
    late = merge_statistics(FleetView(store, "", meta, registry, state), prepared)
    quarantined = 0
    for part in (*rejects, *(part.rejects for part in prepared)):
        append_quarantine(store, meta.name, state.quarantined + quarantined, part, received)
        quarantined += len(part)
    after = state.moved(sequence=len(prepared), quarantined=quarantined)
    if after != before:
        after.save(store, layout)
    append_positions(store, meta.name, positions or {})
    return AppendResult(
        rows=sum(part.rows for part in prepared),
        duplicates=sum(part.duplicates for part in prepared),
        quarantined=quarantined,
        late=late,
        blocks=blocks,
        bytes=sum(entry.bytes for part in prepared for entry in part.entries),
    )


def check_plan(store: Store, plan: AppendPlan, state: FleetState | None = None) -> None:
    """Check that nobody changed devices or definition of the fleet since a plan was made.

    Parameters
    ----------
    store
        The newest state.
    plan
        The plan.
    state
        The fleet's counters there, if they are known.

    Raises
    ------
    StalePlanError
        If somebody did.
    """
    state = FleetState.load(store, plan.meta.layout) if state is None else state
    base = plan.devices.registry.state
    if (state.devices, state.device_revision) != (base.devices, base.device_revision):
        raise StalePlanError
    if load_fleet(store, plan.meta.name) != plan.base_meta:
        raise StalePlanError


def _register(store: Store, plan: AppendPlan, state: FleetState) -> None:
    check_plan(store, plan, state)
    plan.devices.save(store)
    if plan.meta.categories != plan.base_meta.categories:
        plan.meta.save_categories(store)


def write_blocks(store: Store, meta: FleetMeta, prepared: Sequence[Prepared], sequence: int) -> int:
    """Put the blocks of prepared batches into a transaction's store, and into the index.

    Parameters
    ----------
    store
        The transaction's store.
    meta
        The fleet's definition.
    prepared
        The batches; of those without payloads, others have put the blocks.
    sequence
        Of the first batch; the others follow.

    Returns
    -------
    int
        Blocks written.
    """
    entries = [
        replace(entry, sequence=sequence + at)
        for at, part in enumerate(prepared)
        for entry in part.entries
    ]
    payloads = [payload for part in prepared for payload in part.payloads]
    slots = add_blocks(store, meta.layout, entries)
    # Without payloads others have put the blocks, into these slots.
    chunks = {
        chunk_key(meta.layout.raw_path(name), (entry.window, entry.device_block, slot)): data
        for entry, slot, payload in zip(entries, slots, payloads, strict=True)
        for name, data in payload.items()
    }
    put_many(store, chunks)
    return len(entries)


def merge_statistics(view: FleetView, prepared: Sequence[Prepared]) -> int:
    """Bring the stored statistics up to date with batches whose blocks are written.

    Parameters
    ----------
    view
        The fleet in the transaction.
    prepared
        The batches, in order.

    Returns
    -------
    int
        Devices and periods that got rows older than what they had.
    """
    if not prepared:
        return 0
    writer = SummaryWriter(view.store, view.meta.layout, view.meta.stored_channels)
    updates = [part.statistics for part in prepared]
    # Arrays of other versions have no new rows.
    writer.preload(updates, {name for update in updates for name in update.channels})
    late = [writer.merge(update) for update in updates]
    cells = _late_cells(updates, late)
    if cells:
        for period, codes in cells.items():
            for statistics in _recomputed(view.stored(), period, codes):
                writer.replace(statistics)
    writer.save()
    return int(sum(np.count_nonzero(mask) for mask in late))


def _late_cells(
    updates: Sequence[PeriodStatistics], late: Sequence[NDArray[np.bool_]]
) -> dict[int, NDArray[np.int64]]:
    periods = np.concatenate([u.period[mask] for u, mask in zip(updates, late, strict=True)])
    devices = np.concatenate([u.device[mask] for u, mask in zip(updates, late, strict=True)])
    return {int(at): np.unique(devices[periods == at]) for at in np.unique(periods)}


def _recomputed(
    view: FleetView, period: int, codes: NDArray[np.int64]
) -> Iterator[PeriodStatistics]:
    length = view.meta.scheme.summary_length
    selection = Selection.of(length.start(period), length.start(period + 1), codes)
    for unit in view.units(selection):
        rows = view.rows(unit, selection, view.meta.schema.names)
        if view.meta.duplicates is Duplicates.ERROR:
            _refuse_duplicates(view, rows)
        yield summarise(length, rows.codes, rows.time, rows.columns)


def _refuse_duplicates(view: FleetView, rows: Rows) -> None:
    repeated = (rows.codes[1:] == rows.codes[:-1]) & (rows.time[1:] == rows.time[:-1])
    if repeated.any():
        at = int(np.flatnonzero(repeated)[0])
        device = view.registry.ids_of(rows.codes[at : at + 1].astype(np.int64))[0]
        moment = np.datetime64(int(rows.time[at]), "us")
        msg = (
            f"fleet {view.meta.name!r}: device {device!r} has a row at {moment}Z already; "
            "nothing was stored, drop the repeated rows or use another duplicate policy"
        )
        raise DuplicateRowsError(msg)
