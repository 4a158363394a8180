"""The compact step: merges as tasks, commits by the job.

A task is one merge: a partition, or a window with landing rows. Workers read the snapshot that
the plan was made on and return encoded blocks; the job commits them group by group. Whatever is
not committed when a job is killed is planned again by the next run.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import CommitSize, CompactionResult, compact
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.on_client import are_reached, merges_on
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
    reached = are_reached(cluster.client, opened.repository)

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
        carry_out=merges_on(cluster.client) if reached else None,
        told=told,
    )
    return CompactionReport(step.fleet, time.perf_counter() - began, result)
