"""Compaction of a fleet: plan, carry out, commit, and again until nothing is worth merging.

Nothing of this is remembered anywhere: the plan is made from the block index, in which what was
merged is seen. So it can be stopped at any moment, goes on where it stopped, and a second run
finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import batched

import numpy as np

from pipeline.archive.block_index import BlockTable
from pipeline.archive.compacting import CompactionPolicy, Merge, left_alone, plan_merges
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import FleetLayout
from pipeline.archive.merging import prepare_merge
from pipeline.archive.preparing import Memories, Prepared
from pipeline.archive.rewriting import Rewrite
from pipeline.errors import ConflictError
from pipeline.model.timestamps import to_microseconds
from pipeline.partitioning.pruning import Selection

__all__ = ["CommitSize", "CompactionResult", "compact"]

_WINDOWS = 256
_ROUNDS = 12

CarryOut = Callable[[FleetView, Sequence[Merge]], Iterator[Prepared]]
"""Encodes what is to be merged, in order, each as soon as it is asked for."""


@dataclass(frozen=True, slots=True)
class CommitSize:
    """How much goes into one commit.

    Parameters
    ----------
    merges
        At most so many merges: partitions, or windows with landing rows.
    rows
        The commit is made when so many rows are encoded.
    """

    merges: int = 64
    rows: int = 1 << 23


@dataclass(frozen=True, slots=True)
class CompactionResult:
    """What a compaction did.

    Parameters
    ----------
    snapshot
        Id of the snapshot of its last commit; empty if there was nothing to do.
    windows
        Windows it looked at.
    partitions
        Partitions whose blocks were merged, or that got landing rows.
    merges, commits
        Merges, and commits they were made visible in.
    blocks_before, blocks_after
        Blocks of the windows it looked at, before and after.
    bytes_before, bytes_after
        Encoded bytes of these blocks.
    rows
        Rows read and written again, some of them more than once.
    bytes_written
        Encoded bytes written.
    duplicates
        Rows dropped, since another row has their device and time.
    retries
        Commits given up because another writer had changed a block; planned again.
    skipped
        Blocks left alone because they may share rows with blocks of another version of the schema;
        a migration brings them together.
    """

    snapshot: str = ""
    windows: int = 0
    partitions: int = 0
    merges: int = 0
    commits: int = 0
    blocks_before: int = 0
    blocks_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0
    bytes_written: int = 0
    duplicates: int = 0
    retries: int = 0
    skipped: int = 0


def compact(
    store: FleetStore,
    policy: CompactionPolicy,
    now: datetime,
    *,
    selection: Selection | None = None,
    size: CommitSize | None = None,
    carry_out: CarryOut | None = None,
    told: Callable[[CompactionResult], None] = lambda _: None,
) -> CompactionResult:
    """Compact a fleet.

    Parameters
    ----------
    store
        The fleet.
    policy
        What is worth merging.
    now
        The time, with a timezone: windows are old enough or not at it.
    selection
        Windows that touch its time range are looked at; all by default.
    size
        How much goes into one commit.
    carry_out
        What encodes merges; by default this process, one after the other.
    told
        Called with what is done so far, after every commit.

    Raises
    ------
    CorruptBlockError
        If a block is damaged. What was committed stays.
    ConflictError
        If other writers changed the same blocks again and again.
    """
    view = store.view()
    run = _Run(store, policy, size or CommitSize(), carry_out or _in_turn(), told, view.meta.layout)
    end = policy.last_window(view.meta.scheme, to_microseconds(now))
    windows = [number for number in view.windows(selection or Selection()) if number < end]
    run.result = replace(run.result, windows=len(windows))
    for numbers in batched(windows, _WINDOWS):
        run.tidy(numbers)
    return replace(run.result, partitions=len(run.partitions))


@dataclass(slots=True, eq=False)
class _Run:
    store: FleetStore
    policy: CompactionPolicy
    size: CommitSize
    carry_out: CarryOut
    told: Callable[[CompactionResult], None]
    layout: FleetLayout
    result: CompactionResult = CompactionResult()
    partitions: set[tuple[int, int]] = field(default_factory=set)

    def tidy(self, windows: Sequence[int]) -> None:
        """Merge what is worth it in some windows, until there is nothing left."""
        for number in range(_ROUNDS):
            view = self.store.view()
            if view.meta.layout != self.layout:
                return  # it was partitioned anew meanwhile: windows have other numbers now
            blocks = _blocks(view, windows)
            if number == 0:
                self._look_at(blocks)
            versions = view.meta.history.numbers
            merges = list(plan_merges(blocks, self.policy, versions))
            if not merges:
                return
            before = self.result.retries
            for group, prepared in self._groups(view, merges):
                self._commit(view, group, prepared)
        if self.result.retries > before:
            msg = (
                f"fleet {self.store.name!r}: other writers changed the blocks to be merged "
                f"{_ROUNDS} times; what was merged stays, compact again later"
            )
            raise ConflictError(msg)

    def _look_at(self, blocks: BlockTable) -> None:
        result, count, size = self.result, len(blocks), int(blocks.bytes.sum())
        self.result = replace(
            result,
            blocks_before=result.blocks_before + count,
            blocks_after=result.blocks_after + count,
            bytes_before=result.bytes_before + size,
            bytes_after=result.bytes_after + size,
            skipped=result.skipped + left_alone(blocks),
        )

    def _groups(
        self, view: FleetView, merges: Sequence[Merge]
    ) -> Iterator[tuple[list[Merge], list[Prepared]]]:
        group: list[Merge] = []
        prepared: list[Prepared] = []
        for merge, encoded in zip(merges, self.carry_out(view, merges), strict=True):
            group.append(merge)
            prepared.append(encoded)
            rows = sum(one.rows for one in prepared)
            if len(group) == self.size.merges or rows >= self.size.rows:
                yield group, prepared
                group, prepared = [], []
        if group:
            yield group, prepared

    def _commit(self, view: FleetView, merges: list[Merge], prepared: list[Prepared]) -> None:
        rewrites = [
            Rewrite(merge.blocks, encoded, merge.level)
            for merge, encoded in zip(merges, prepared, strict=True)
        ]
        try:
            done = self.store.rewrite(view, rewrites, kind="compact")
        except StalePlanError:
            self.result = replace(self.result, retries=self.result.retries + 1)
            return
        for merge, encoded in zip(merges, prepared, strict=True):
            self.partitions.update((at[0], at[1]) for at in merge.blocks.places.tolist())
            self.partitions.update((one.window, one.device_block) for one in encoded.entries)
        result = self.result
        self.result = replace(
            result,
            snapshot=done.snapshot,
            merges=result.merges + len(merges),
            commits=result.commits + 1,
            blocks_after=result.blocks_after + done.blocks_after - done.blocks_before,
            bytes_after=result.bytes_after + done.bytes_after - done.bytes_before,
            rows=result.rows + done.rows_before,
            bytes_written=result.bytes_written + done.bytes_after,
            duplicates=result.duplicates + done.rows_before - done.rows_after,
        )
        self.told(replace(self.result, partitions=len(self.partitions)))


def _blocks(view: FleetView, windows: Sequence[int]) -> BlockTable:
    length = view.meta.scheme.window_length
    blocks = view.blocks(Selection(length.start(windows[0]), length.start(windows[-1] + 1)))
    return blocks.take(np.isin(blocks.window, windows))


def _in_turn() -> CarryOut:
    memories: Memories = {}
    return lambda view, merges: (prepare_merge(view, merge, memories) for merge in merges)
