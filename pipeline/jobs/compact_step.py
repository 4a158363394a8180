"""The compact step: merges as tasks, commits by the job.

A task is one merge: a partition, or a window with landing rows. Workers read the snapshot that
the plan was made on and return encoded blocks; the job commits them group by group. Whatever is
not committed when a job is killed is planned again by the next run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import uuid4

from zarr.abc.store import Store

from pipeline.archive.compacting import CompactionPolicy, Merge
from pipeline.archive.compaction import CommitSize, CompactionResult, compact
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.merging import prepare_merge
from pipeline.archive.preparing import Prepared
from pipeline.archive.requests import selection_of
from pipeline.jobs.clusters import Cluster
from pipeline.jobs.memory import choose_merge_rows, row_bytes
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.progress import Progress
from pipeline.jobs.reports import CompactionReport
from pipeline.jobs.step_options import CompactStep

__all__ = ["compact_fleet"]


def compact_fleet(
    opened: JobArchive,
    cluster: Cluster,
    step: CompactStep,
    progress: Progress,
    now: datetime | None = None,
) -> CompactionReport:
    """Compact a fleet on the job's cluster.

    Parameters
    ----------
    opened
        The archive.
    cluster
        Where merges are carried out. Archives in memory are compacted by the job itself.
    step
        What to compact.
    progress
        Where progress is told.
    now
        The time to which ``older_than`` refers, with a timezone; by default the present.

    Raises
    ------
    ArchiveError
        If something cannot be read or stored; what is committed stays.
    """
    began = time.perf_counter()
    store = FleetStore(opened.repository, step.fleet)
    view = store.view()
    rows = step.rows_at_once or choose_merge_rows(
        cluster.memory, row_bytes(view.meta.schema), cluster.threads
    )
    policy = CompactionPolicy(step.small_blocks, step.overlap, step.age, rows)
    in_memory = opened.repository.location.scheme == "memory"

    def told(done: CompactionResult) -> None:
        seconds = time.perf_counter() - began
        progress.show(
            f"compact {step.fleet}: {done.merges} merges of {done.rows:,} rows, "
            f"{done.blocks_before:,} blocks to {done.blocks_after:,}, "
            f"{done.rows / seconds:,.0f} rows/s",
            milestone=True,
        )

    result = compact(
        store,
        policy,
        now or datetime.now(UTC),
        selection=selection_of(view.registry, None, step.time),
        size=CommitSize(step.partitions_per_commit),
        carry_out=None if in_memory else _OnCluster(cluster.client, cluster.threads),
        told=told,
    )
    return CompactionReport(step.fleet, time.perf_counter() - began, result)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a worker finds the snapshot; its id is unique."""

    snapshot: str
    fleet: str
    store: Store = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _OnCluster:
    """Carries out merges as tasks, as many at a time as there are threads, and one more."""

    client: Any
    threads: int

    def __call__(self, view: FleetView, merges: Sequence[Merge]) -> Iterator[Prepared]:
        source = _Source(view.snapshot, view.meta.name, view.store)
        left, running = iter(merges), deque[Any]()
        try:
            while True:
                while len(running) <= self.threads and (merge := next(left, None)) is not None:
                    key = f"merge-{view.meta.name}-{merge.window}-{uuid4().hex}"
                    running.append(self.client.submit(_carry_out, source, merge, key=key))
                if not running:
                    return
                yield running.popleft().result()
        finally:
            self.client.cancel(list(running))


@lru_cache(maxsize=2)
def _view(source: _Source) -> FleetView:
    return FleetView.load(source.store, source.snapshot, source.fleet)


def _carry_out(source: _Source, merge: Merge) -> Prepared:
    return prepare_merge(_view(source), merge)
