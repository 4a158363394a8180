"""Partitioning a fleet anew: other windows, device blocks, summary periods.

The arrays of the new grid are written beside the old ones, in several commits that nobody sees:
the fleet's attributes do not name them yet. What others append meanwhile is copied after. The
last commit copies what came since, names the new grid and deletes the old one, all at once;
whoever prepared an append for the old grid finds the definition changed, and prepares it again.

A run leaves nothing behind that anyone reads. One that was killed is removed by the next, or by
maintenance once it has not been touched for longer than a writer may live.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import zarr
from zarr.abc.store import Store

from pipeline.archive.allowed_partitionings import check_partitioning
from pipeline.archive.attributes import read_attributes
from pipeline.archive.block_index import BlockTable
from pipeline.archive.changes import carry_changes
from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import FleetMeta, create_grid, layout_attribute, load_fleet
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.grid_copies import (
    CarryOut,
    Copy,
    Span,
    Taken,
    add_copies,
    clear_span,
    dropped_statistics,
    encode_copy,
    spans,
)
from pipeline.archive.layout import FleetLayout
from pipeline.archive.leftover_grids import MARK, delete_groups, leftovers
from pipeline.archive.preparing import Memories, PeriodStatistics, Prepared
from pipeline.archive.repartition_result import RepartitionResult
from pipeline.errors import ArchiveError, ConflictError, InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START

__all__ = ["RepartitionResult", "repartition"]

_log = logging.getLogger(__name__)

_ROUNDS: Final = 12
_PATIENT_ROUNDS: Final = 4
_ROWS_PER_COMMIT: Final = 1 << 22
_BLOCKS_PER_COMMIT: Final = 2048
_CELLS_PER_COMMIT: Final = 1 << 20
# Others wait while these are copied in the last commit.
_ROWS_IN_LAST: Final = 1 << 17


class _BehindError(Exception):
    """Too much has happened since the last look for the last commit to take it over."""


def repartition(
    store: FleetStore,
    scheme: Partitioning,
    *,
    rows_at_once: int = 1 << 20,
    carry_out: CarryOut | None = None,
    told: Callable[[RepartitionResult], None] = lambda _: None,
) -> RepartitionResult:
    """Give a fleet another partitioning.

    Parameters
    ----------
    store
        The fleet.
    scheme
        The new partitioning.
    rows_at_once
        Rows that are read, and rows that are encoded, at once.
    carry_out
        What reads and encodes; by default this process, one span after the other.
    told
        Called with what is done so far, after every commit.

    Raises
    ------
    InvalidInputError
        If the fleet cannot be partitioned like that.
    CorruptBlockError
        If a block is damaged; the fleet is as it was.
    ConflictError
        If others delete, merge or drop rows again and again, or began another re-partitioning.
    """
    if rows_at_once < 1:
        msg = f"rows_at_once is {rows_at_once}; use 1 or more"
        raise InvalidInputError(msg)
    view = store.view()
    check_partitioning(view, scheme)
    old = view.meta.scheme
    if scheme == old:
        return RepartitionResult()
    if replace(scheme, landing_rows=old.landing_rows) == old:
        return _with_landing_rows(store, view.meta, scheme)
    run = _Run(store, scheme, view.meta, view.snapshot, rows_at_once, carry_out, told)
    try:
        return run.carry_out()
    except ArchiveError:
        with suppress(ArchiveError):
            run.give_up()
        raise


@dataclass(slots=True, eq=False)
class _Pending:
    """What is encoded and not yet committed."""

    prepared: list[Prepared] = field(default_factory=list)
    statistics: list[PeriodStatistics] = field(default_factory=list)

    @property
    def is_large(self) -> bool:
        return (
            sum(part.rows for part in self.prepared) >= _ROWS_PER_COMMIT
            or sum(len(part.entries) for part in self.prepared) >= _BLOCKS_PER_COMMIT
            or sum(map(len, self.statistics)) >= _CELLS_PER_COMMIT
        )


class _Run:
    def __init__(
        self,
        store: FleetStore,
        scheme: Partitioning,
        meta: FleetMeta,
        snapshot: str,
        rows_at_once: int,
        carry_out: CarryOut | None,
        told: Callable[[RepartitionResult], None],
    ) -> None:
        self.store, self.old, self.rows_at_once, self.told = store, meta, rows_at_once, told
        layout = replace(meta.layout, scheme=scheme, generation=meta.layout.generation + 1)
        self.layout, self.id = layout, uuid4().hex
        self.result = RepartitionResult()
        self._taken: dict[Span, Taken] = {}
        self._sequence = 0
        self._memories: Memories = {}
        self._encoded = carry_out or self._in_turn
        self._pending = _Pending()
        self._looked_at = snapshot

    def carry_out(self) -> RepartitionResult:
        """Copy, catch up, and switch."""
        self._commit(self._begin)
        for number in range(_ROUNDS):
            # Noted before the view is taken: a deletion that it does not know is found at the next look.
            self._note_deletions()
            view = self._view()
            wanted = {*spans(view, self.layout.scheme.window_length), *self._taken}
            self._bring(sorted(wanted), view)
            self._flush()
            self.result = replace(self.result, rounds=number + 1)
            limit = _ROWS_IN_LAST if number < _PATIENT_ROUNDS else None
            try:
                snapshot, (before, after) = self._commit(lambda into: self._switch(into, limit))  # noqa: B023
            except _BehindError:
                continue
            return replace(
                self.result,
                snapshot=snapshot,
                blocks_before=len(before),
                blocks_after=len(after),
                bytes_before=int(before.bytes.sum()),
                bytes_after=int(after.bytes.sum()),
            )
        msg = (
            f"fleet {self.store.name!r}: others merged, deleted or dropped rows {_ROUNDS} times while "
            "it was partitioned anew; it is as it was, do it again when no maintenance runs"
        )
        raise ConflictError(msg)

    def give_up(self) -> None:
        """Remove what was copied, unless another run did."""

        def change(into: Store) -> None:
            if self._is_ours(into):
                delete_groups(into, [self.layout.root])

        self._commit(change)

    def _begin(self, into: Store) -> None:
        self._current(into)
        delete_groups(into, leftovers(into, self.old.layout))
        zarr.create_group(into, path=self.layout.root)
        create_grid(into, self.layout, self.old.stored_channels)
        self._touch(into)

    def _bring(self, wanted: Sequence[Span], view: FleetView) -> None:
        """Copy what of some spans is there and was not copied yet."""
        now = {span: Taken.of(view, span) for span in wanted}
        copies = [Copy(self._to_add(view, at, one), one.kept_from) for at, one in now.items()]
        for parts in self._encoded(view, self.layout, copies, self.rows_at_once):
            for part in parts:
                self._pending.prepared.append(part)
                self._flush(only_if_large=True)
        self._taken |= now

    def _to_add(self, view: FleetView, span: Span, now: Taken) -> BlockTable:
        """Return the blocks of a span to copy, once what is not there any more is cleared."""
        before = self._taken.get(span)
        added = now.blocks if before is None else now.since(before)
        if added is None:
            self._flush()
            self._commit(lambda into: clear_span(self._target(into), span))
            added, before = now.blocks, None
        if before is None:
            period = self.layout.scheme.summary_length
            for update in dropped_statistics(view, span, now.kept_from, period):
                self._pending.statistics.append(update)
                self._flush(only_if_large=True)
        return added

    def _in_turn(
        self, view: FleetView, layout: FleetLayout, copies: Sequence[Copy], rows_at_once: int
    ) -> Iterator[Iterator[Prepared]]:
        return (encode_copy(view, layout, one, rows_at_once, self._memories) for one in copies)

    def _flush(self, *, only_if_large: bool = False) -> None:
        pending = self._pending
        if only_if_large and not pending.is_large:
            return
        if pending.prepared or pending.statistics:
            self._commit(lambda into: self._add(into, pending, self._sequence))
            self._sequence += len(pending.prepared)
            rows = sum(part.rows for part in pending.prepared)
            self.result = replace(self.result, rows=self.result.rows + rows)
            self._pending = _Pending()
            self.told(self.result)

    def _add(self, into: Store, pending: _Pending, sequence: int) -> None:
        add_copies(self._target(into), pending.statistics, pending.prepared, sequence)

    def _switch(self, into: Store, limit: int | None) -> tuple[BlockTable, BlockTable]:
        """Copy what came since the last look, name the new grid, and delete the old one.

        It may run several times, on newer states: nothing of the run changes.
        """
        target, state = self._target(into), FleetState.load(into, self.layout)
        view = FleetView.load(into, "", self.store.name)
        check_partitioning(view, self.layout.scheme)
        if self._deletions()[0] and self._spans_with_dropped():
            raise _BehindError
        pending = _Pending()
        for span, added in self._since_last_look(view, limit):
            kept_from = self._taken[span].kept_from if span in self._taken else span.start
            copy = Copy(added, kept_from)
            pending.prepared += encode_copy(
                view, self.layout, copy, self.rows_at_once, self._memories
            )
        self._add(into, pending, self._sequence)
        before = view.blocks(Selection())
        after = target.blocks(Selection())
        if self.layout.tracked:
            carry_changes(into, view.meta.layout, self.layout)
        meta = replace(view.meta, layout=self.layout)
        meta.save_categories(into)
        fleet = zarr.open_group(into, path=self.store.name, mode="r+")
        fleet.attrs["partitioning"] = layout_attribute(self.layout)
        del zarr.open_group(into, path=self.layout.root, mode="r+").attrs[MARK]
        delete_groups(into, self.old.layout.grid_paths)
        next_one = self._sequence + len(pending.prepared)
        replace(state, sequence=max(state.sequence, next_one)).save(into, self.layout)
        return before, after

    def _since_last_look(self, view: FleetView, limit: int | None) -> list[tuple[Span, BlockTable]]:
        found, rows = [], 0
        now = spans(view, self.layout.scheme.window_length)
        for span in sorted({*now, *self._taken}):
            here = now.get(span) or Taken.of(view, span)
            before = self._taken.get(span)
            if before is None and here.kept_from > span.start:
                raise _BehindError  # statistics are to be copied
            added = here.blocks if before is None else here.since(before)
            if added is None:
                raise _BehindError
            found.append((span, added))
            rows += int(added.rows.sum())
        if limit is not None and rows > limit:
            raise _BehindError
        return found

    def _note_deletions(self) -> None:
        """See to it that statistics are copied once more that others may have deleted."""
        deleted, self._looked_at = self._deletions()
        for span in self._spans_with_dropped() if deleted else ():
            self._taken[span] = replace(self._taken[span], kept_from=GRID_START - 1)

    def _deletions(self) -> tuple[bool, str]:
        """Tell whether others deleted something since the last look, and what is the newest state.

        Of statistics whose rows were dropped, the index does not tell it.
        """
        newest = self.store.repository.tip()
        for commit in self.store.repository.history():
            if commit.snapshot == self._looked_at:
                break
            kind = commit.metadata.get("kind")
            if commit.metadata.get("fleet") == self.store.name and kind in ("delete", "repair"):
                return True, newest
        return False, newest

    def _spans_with_dropped(self) -> list[Span]:
        return [span for span, taken in self._taken.items() if taken.kept_from > span.start]

    def _view(self) -> FleetView:
        view = self.store.view()
        self._check_same(view.meta)
        return view

    def _current(self, into: Store) -> FleetMeta:
        meta = load_fleet(into, self.store.name)
        self._check_same(meta)
        return meta

    def _check_same(self, meta: FleetMeta) -> None:
        if (meta.layout, meta.history, meta.duplicates) != (
            self.old.layout,
            self.old.history,
            self.old.duplicates,
        ):
            msg = f"fleet {self.store.name!r}: its schema or partitioning was changed by another writer; do it again"
            raise ConflictError(msg)

    def _target(self, into: Store) -> FleetView:
        """Return the fleet in its new grid, in a transaction of this run."""
        meta = self._current(into)
        if not self._is_ours(into):
            msg = f"fleet {self.store.name!r}: another re-partitioning of it began, or this one was cleaned up"
            raise ConflictError(msg)
        self._touch(into)
        state = FleetState.load(into, self.layout)
        registry = DeviceRegistry(into, self.layout, state)
        return FleetView(into, "", replace(meta, layout=self.layout), registry, state)

    def _is_ours(self, into: Store) -> bool:
        attributes = read_attributes(into, [self.layout.root])[0] or {}
        return bool(attributes.get(MARK, {}).get("run") == self.id)

    def _touch(self, into: Store) -> None:
        group = zarr.open_group(into, path=self.layout.root, mode="r+")
        group.attrs[MARK] = {"run": self.id, "touched": datetime.now(UTC).isoformat()}

    def _commit[T](self, change: Callable[[Store], T]) -> tuple[str, T]:
        name = self.store.name
        metadata = {"fleet": name, "kind": "repartition", "rows": self.result.rows}
        done = self.store.repository.commit(change, f"repartition {name}", lambda _: metadata)
        self.result = replace(self.result, commits=self.result.commits + 1)
        return done


def _with_landing_rows(
    store: FleetStore, planned: FleetMeta, scheme: Partitioning
) -> RepartitionResult:
    def change(into: Store) -> None:
        meta = load_fleet(into, store.name)
        if meta.layout != planned.layout:
            msg = (
                f"fleet {store.name!r}: its partitioning was changed by another writer; do it again"
            )
            raise ConflictError(msg)
        group = zarr.open_group(into, path=store.name, mode="r+")
        group.attrs["partitioning"] = layout_attribute(replace(meta.layout, scheme=scheme))

    metadata = {"fleet": store.name, "kind": "repartition"}
    snapshot, _ = store.repository.commit(change, f"repartition {store.name}", lambda _: metadata)
    return RepartitionResult(snapshot, commits=1)
