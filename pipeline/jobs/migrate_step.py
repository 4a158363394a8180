"""The migrate step: blocks converted as tasks, commits by the job.

A task is a few blocks. Workers read the snapshot that the plan was made on and return encoded
arrays; the job commits them partition by partition. Whatever is not committed when a job is killed
is planned again by the next run.
"""

from __future__ import annotations

import time
from dataclasses import asdict

from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.migration import (
    MigrationOptions,
    MigrationResult,
    estimate,
    migrate,
    roll_back,
)
from pipeline.archive.on_client import are_reached, moves_on
from pipeline.archive.requests import selection_of
from pipeline.jobs.clusters import Cluster
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.printing import plural, print_bytes, print_seconds
from pipeline.jobs.progress import Progress
from pipeline.jobs.upkeep_options import MigrateStep
from pipeline.jobs.upkeep_steps import UpkeepReport

__all__ = ["migrate_fleet"]


def migrate_fleet(
    opened: JobArchive, cluster: Cluster, step: MigrateStep, progress: Progress
) -> UpkeepReport:
    """Migrate a fleet to a version of its schema on the job's cluster, or roll that back.

    Parameters
    ----------
    opened
        The archive.
    cluster
        Where blocks are converted. Archives in memory are converted by the job itself.
    step
        What to migrate.
    progress
        Where progress is told.

    Raises
    ------
    ArchiveError
        If something cannot be read, converted or stored; what is committed stays.
    """
    began = time.perf_counter()
    store = FleetStore(opened.repository, step.fleet)
    selection = selection_of(store.view().registry, None, step.time)
    options = MigrationOptions(
        step.to,
        partitions=step.partitions_per_commit,
        bytes_per_second=step.bytes_per_second,
        verify=step.verify,
    )

    def told(done: MigrationResult) -> None:
        progress.show(
            f"migrate {step.fleet} to version {done.target}: {done.blocks:,} blocks, "
            f"{done.rows:,} rows, {print_bytes(round(done.raw_bytes / done.seconds))}/s",
            milestone=True,
        )

    if step.roll_back_to is not None:
        kind, result = "rolled back", roll_back(store, step.roll_back_to, selection)
    elif step.dry_run:
        kind, result = "would be converted", estimate(store, options, selection)
    else:
        reached = are_reached(cluster.client, opened.repository)
        carry_out = moves_on(cluster.client) if reached else None
        kind = "converted"
        result = migrate(store, options, selection=selection, carry_out=carry_out, told=told)
    seconds = time.perf_counter() - began
    document = {"step": "migrate", "fleet": step.fleet, "dry_run": step.dry_run, **asdict(result)}
    document |= {"estimate_seconds": result.seconds} if step.dry_run else {}
    document |= {"seconds": seconds, "mb_per_s": result.raw_bytes / 1e6 / seconds}
    return UpkeepReport(
        document, f"Migration\n  {step.fleet}: {_text(result, kind, step, seconds)}"
    )


def _text(result: MigrationResult, kind: str, step: MigrateStep, seconds: float) -> str:
    what = f"{plural(result.blocks, 'block')} with {plural(result.rows, 'row')} {kind}"
    if step.roll_back_to is not None:
        return f"{what} in {print_seconds(seconds)}"
    raw = f"to version {result.target}, {print_bytes(result.raw_bytes)} raw"
    if step.dry_run:
        return f"{what} {raw}, in about {print_seconds(result.seconds)} on one core"
    return f"{what} {raw}, in {print_seconds(seconds)}; before it: snapshot {result.before}"
