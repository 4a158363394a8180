"""Keeping a fleet in order: retention, deletion, compaction, re-partitioning."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipeline.api.fleet_handle import FleetHandle
from pipeline.api.rollups import Rollups
from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import CompactionResult, compact
from pipeline.archive.damaged import DamagedChunk, read_damaged
from pipeline.archive.deleting import DeleteResult, delete_rows
from pipeline.archive.on_client import are_reached, copies_on, merges_on
from pipeline.archive.repartitioning import RepartitionResult, repartition
from pipeline.archive.requests import Devices, TimeRange, selection_of
from pipeline.archive.retention import Retention
from pipeline.errors import InvalidInputError
from pipeline.model.durations import parse_duration
from pipeline.partitioning.scheme import Partitioning

__all__ = ["FleetUpkeep"]


class FleetUpkeep(FleetHandle):
    """What changes how rows are kept, not what they say."""

    @property
    def rollups(self) -> Rollups:
        """Tables of statistics ``[device, time]`` that the fleet keeps, by name."""
        return Rollups(self._store, self._at)

    def set_retention(self, raw: Any = None, summaries: Any = None) -> None:
        """Set how long rows, and the statistics of their periods, are kept.

        Maintenance applies it (see `pipeline.Archive.maintain`). It drops whole windows, once all
        of a window is older. Questions that whole summary periods answer are answered from the
        statistics as before; others about that time are refused. Late rows of dropped windows go
        to quarantine.

        Parameters
        ----------
        raw, summaries
            Durations such as ``"90 days"``; None keeps them for ever.

        Raises
        ------
        InvalidInputError
            If one is no duration, or summaries would go before the rows.
        """
        self._writable()
        self._store.set_retention(Retention.parse(raw, summaries))

    def delete(self, devices: Devices = None, time: TimeRange = None) -> DeleteResult:
        """Delete rows and what the statistics know of them.

        They are gone for every reader that opens the fleet from now on, and beyond recovery after
        a maintenance that expires the snapshots made before (see `pipeline.Archive.maintain`).
        The devices stay registered, with their tags: their rows can come again. Rows in the
        quarantine stay. Where the retention has dropped the rows of a period, the statistics of
        all of that period go, even if `time` covers a part of it.

        Parameters
        ----------
        devices, time
            Which rows; at least one of the two.

        Raises
        ------
        NotFoundError
            If a device is unknown.
        InvalidInputError
            If neither is given, or this is an old snapshot.
        """
        self._writable()
        if devices is None and time is None:
            msg = "give devices, a time range, or both; time=(None, None) deletes all rows"
            raise InvalidInputError(msg)
        return delete_rows(self._store, selection_of(self._view().registry, devices, time))

    def compact(
        self,
        time: TimeRange = None,
        *,
        small_blocks: int = 1,
        overlap: int = 1,
        older_than: str | None = None,
        rows_at_once: int = 1 << 21,
        client: Any = None,
    ) -> CompactionResult:
        """Merge blocks that arrived in small or overlapping batches into full, sorted ones.

        Reads answer as before, only faster, and duplicates are dropped for good. Readers see
        the state before or after, never both; appends may go on meanwhile. Doing it again does
        nothing until rows are added. Earlier snapshots keep their blocks until they are expired.

        Parameters
        ----------
        time
            Look only at windows that this range touches.
        small_blocks
            Partitions may keep so many blocks of less than half the full size.
        overlap
            Partitions may keep so many batches with rows of the same device.
        older_than
            A duration such as ``"1h"``: leave alone windows that did not end so long ago. By
            default all windows are compacted, growing ones too.
        rows_at_once
            Rows that are held in memory at once, about; with a client, by every task.
        client
            A ``distributed.Client``, on whose workers to merge; by default this process does.
            Archives in memory are compacted by this process alone.

        Raises
        ------
        InvalidInputError
            If an argument is out of range, or this is an old snapshot.
        CorruptBlockError
            If a block is damaged; it stays as it is.
        ConflictError
            If other writers changed the same blocks again and again.
        """
        self._writable()
        age = None if older_than is None else parse_duration(older_than)
        policy = CompactionPolicy(small_blocks, overlap, age, rows_at_once)
        selection = selection_of(self._view().registry, None, time)
        reached = are_reached(client, self._store.repository)
        carry_out = merges_on(client) if reached else None
        now = datetime.now(UTC)
        return compact(self._store, policy, now, selection=selection, carry_out=carry_out)

    def repartition(
        self, partitioning: Partitioning, *, rows_at_once: int = 1 << 20, client: Any = None
    ) -> RepartitionResult:
        """Give the fleet other windows, device blocks, summary periods or landing rows.

        Answers stay as they were; rows come in the order of the new windows. Readers see the old
        grid or the new one, never both, and whoever opened the fleet before goes on reading what
        was there. Appends may go on meanwhile, none is lost. Killed at any moment, the fleet is as
        it was, and it can be done again. What was copied is compacted later, as after an append.

        Parameters
        ----------
        partitioning
            The new one. Take `dataclasses.replace` of `partitioning` to change a part of it. `by`
            cannot be changed, nor `devices_per_block` of a fleet that is partitioned by a tag.
        rows_at_once
            Rows that are read, and rows that are encoded, at once: this bounds the memory.
        client
            A ``distributed.Client``, on whose workers to read and encode, one window a task; by
            default this process does. Archives in memory are copied by this process alone.

        Raises
        ------
        InvalidInputError
            If the fleet cannot be partitioned like that, or this is an old snapshot.
        CorruptBlockError
            If a block is damaged; the fleet is as it was.
        ConflictError
            If others merge, delete or drop rows again and again meanwhile.
        """
        self._writable()
        reached = are_reached(client, self._store.repository)
        carry_out = copies_on(client) if reached else None
        return repartition(
            self._store, partitioning, rows_at_once=rows_at_once, carry_out=carry_out
        )

    def damaged(self) -> list[DamagedChunk]:
        """Return the chunks that repairs could not read and set aside, with the reasons."""
        return read_damaged(self._view().store, self.name)
