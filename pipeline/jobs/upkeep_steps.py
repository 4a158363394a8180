"""The steps that keep an archive in order, and what they report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.archive.compaction import CompactionResult
from pipeline.archive.expiry import age
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.maintaining import maintain
from pipeline.archive.on_client import are_reached, copies_on, windows_on
from pipeline.archive.repartitioning import repartition as repartition_fleet
from pipeline.archive.verify_report import VerifyReport
from pipeline.archive.verifying_fleet import verify_history, verify_named
from pipeline.errors import JobError
from pipeline.jobs.clusters import Cluster
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.printing import align, plural, print_bytes, print_seconds
from pipeline.jobs.progress import Progress
from pipeline.jobs.upkeep_options import (
    DeleteStep,
    MaintenanceStep,
    RepairStep,
    RepartitionStep,
    StatsStep,
    VerifyStep,
)

__all__ = [
    "UpkeepReport",
    "check_verified",
    "delete",
    "maintenance",
    "repair",
    "repartition",
    "stats",
    "verify",
]


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What such a step did: for the job's report, and as lines for people."""

    document: dict[str, Any]
    text: str


def maintenance(
    opened: JobArchive,
    step: MaintenanceStep,
    progress: Progress,
    compact: Callable[[str], CompactionResult],
) -> UpkeepReport:
    """Maintain the archive.

    Parameters
    ----------
    opened
        The archive.
    step
        What to do.
    progress
        Where progress is told.
    compact
        Compacts a fleet.

    Raises
    ------
    ArchiveError
        If a part fails; what was done stays, and the job can be run again.
    """
    began, repository = time.perf_counter(), opened.repository
    for fleet, retention in step.retention.items():
        FleetStore(repository, fleet).set_retention(retention.parsed)
    before = opened.stored_bytes()
    done = maintain(
        repository,
        opened.archive.fleets if step.fleets is None else step.fleets,
        lambda: datetime.now(UTC),
        age(step.history),
        age(step.safety),
        alone=step.alone,
        compact=(lambda store: compact(store.name)) if step.compact else None,
        told=lambda what: progress.show(f"maintenance: {what}", milestone=True),
    )
    seconds, after = time.perf_counter() - began, opened.stored_bytes()
    document = {"step": "maintenance", "seconds": seconds, **done.to_json()}
    document |= {"bytes_before": before, "bytes_after": after}
    gone = done.forgotten
    lines = [
        f"  {plural(gone.snapshots, 'snapshot')} expired, {plural(gone.objects, 'object')} of "
        f"{print_bytes(gone.bytes)} deleted in {print_seconds(seconds)}; the archive takes "
        f"{print_bytes(after)}, before {print_bytes(before)}"
    ]
    for name, one in done.fleets.items():
        told = []
        if one.thinned.windows or one.thinned.summary_windows:
            rows = plural(one.thinned.rows, "row")
            told.append(f"{rows} of {plural(one.thinned.windows, 'window')} dropped")
        if one.compacted is not None and one.compacted.merges:
            blocks = one.compacted
            told.append(f"{blocks.blocks_before:,} blocks merged into {blocks.blocks_after:,}")
        lines += [f"  {name}: {', '.join(told) or 'nothing to do'}"]
    return UpkeepReport(document, "Maintenance\n" + "\n".join(lines))


def verify(
    opened: JobArchive, cluster: Cluster, step: VerifyStep, progress: Progress
) -> tuple[UpkeepReport, VerifyReport]:
    """Verify fleets, their windows as tasks; archives in memory in the job's own process.

    Raises
    ------
    NotFoundError
        If a fleet does not exist.
    """
    began, repository = time.perf_counter(), opened.repository
    snapshot = repository.snapshot().id
    spread: dict[str, Any] = {}
    if are_reached(cluster.client, repository):
        spread["map_spans"] = windows_on(cluster.client)
    found = {}
    for name in opened.archive.fleets if step.fleets is None else step.fleets:
        progress.show(f"verify {name}", milestone=True)
        found[name] = verify_named(repository, name, snapshot, **spread)
    report = VerifyReport(snapshot, found, verify_history(repository))
    seconds = time.perf_counter() - began
    header = ("fleet", "blocks", "rows", "bytes", "statistics", "problems")
    rows = [
        [
            name,
            f"{one.blocks:,}",
            f"{one.rows:,}",
            print_bytes(one.bytes),
            f"{one.cells:,}",
            ", ".join(f"{count:,} {kind}" for kind, count in one.counts.items()) or "none",
        ]
        for name, one in found.items()
    ]
    document = {"step": "verify", "seconds": seconds, **report.to_json()}
    text = f"Verification in {print_seconds(seconds)}\n{align(header, rows)}"
    return UpkeepReport(document, text), report


def check_verified(report: VerifyReport) -> None:
    """Fail if something is wrong.

    Raises
    ------
    JobError
        With the first problem.
    """
    if report.is_clean:
        return
    first = report.problems[0]
    count = sum(sum(part.counts.values()) for part in (report.history, *report.fleets.values()))
    msg = (
        f"verification found {plural(count, 'problem')}, the first: {first.place}: {first.message}; "
        "the report lists them, and a repair step mends what can be mended"
    )
    raise JobError(msg)


def stats(opened: JobArchive, step: StatsStep) -> UpkeepReport:
    """Sum up fleets.

    Raises
    ------
    NotFoundError
        If a fleet does not exist.
    """
    found = opened.archive.stats(step.fleets)
    fleets = {name: {**asdict(one), "ratio": one.ratio} for name, one in found.items()}
    header = (
        "fleet", "devices", "rows", "windows", "blocks", "small", "landing", "raw", "blocks' bytes",
        "ratio", "written",
    )  # fmt: skip
    rows = [
        [
            name,
            f"{one.devices:,}",
            f"{one.stored.rows:,}",
            f"{len(one.windows):,}",
            f"{one.stored.blocks:,}",
            f"{one.stored.small_blocks:,}",
            f"{one.stored.landing_blocks:,}",
            print_bytes(one.raw_bytes),
            print_bytes(one.stored.bytes),
            f"{one.ratio:.1f} : 1",
            f"{one.stored.write_amplification:.2f} x",
        ]
        for name, one in found.items()
    ]
    document = {"step": "stats", "archive_bytes": opened.stored_bytes(), "fleets": fleets}
    return UpkeepReport(document, f"Statistics\n{align(header, rows)}")


def repair(opened: JobArchive, step: RepairStep) -> UpkeepReport:
    """Mend fleets, or tell what would be done.

    Raises
    ------
    ArchiveError
        If a fleet does not exist or cannot be mended.
    """
    found = opened.archive.repair(step.fleets, dry_run=step.dry_run)
    rows = [
        [name, *(f"{count:,}" for count in asdict(one).values())] for name, one in found.items()
    ]
    header = ("fleet", "tables", "blocks", "reduced", "lost", "damaged chunks", "windows")
    fleets = {name: asdict(one) for name, one in found.items()}
    document = {"step": "repair", "dry_run": step.dry_run, "fleets": fleets}
    title = "Repair, not carried out" if step.dry_run else "Repair"
    return UpkeepReport(document, f"{title}\n{align(header, rows)}")


def repartition(
    opened: JobArchive, cluster: Cluster, step: RepartitionStep, progress: Progress
) -> UpkeepReport:
    """Partition a fleet anew, its windows as tasks; archives in memory in the job's own process.

    Raises
    ------
    ArchiveError
        If it is not possible; the fleet is as it was.
    """
    began = time.perf_counter()
    store = FleetStore(opened.repository, step.fleet)
    before = store.view().meta.scheme
    scheme = step.scheme(before)
    reached = are_reached(cluster.client, opened.repository)
    done = repartition_fleet(
        store,
        scheme,
        rows_at_once=step.rows_at_once,
        carry_out=copies_on(cluster.client) if reached else None,
        told=lambda so_far: progress.show(
            f"repartition {step.fleet}: {so_far.rows:,} rows", milestone=True
        ),
    )
    seconds = time.perf_counter() - began
    document = {"step": "repartition", "fleet": step.fleet, "seconds": seconds, **asdict(done)}
    document |= {"before": before.to_json(), "after": scheme.to_json()}
    told = (
        f"{plural(done.rows, 'row')} in {print_seconds(seconds)}: {done.blocks_before:,} blocks of "
        f"{print_bytes(done.bytes_before)} became {done.blocks_after:,} of "
        f"{print_bytes(done.bytes_after)}"
    )
    text = told if done.commits else "nothing to do"
    return UpkeepReport(document, f"Re-partitioning\n  {step.fleet}: {text}")


def delete(opened: JobArchive, step: DeleteStep) -> UpkeepReport:
    """Delete rows.

    Raises
    ------
    ArchiveError
        If a device is unknown, or it is not possible; what was deleted before stays so.
    """
    done = opened.archive.fleet(step.fleet).delete(step.devices, step.time)
    text = (
        f"Deletion\n  {step.fleet}: {plural(done.rows, 'row')} of {plural(done.windows, 'window')}; "
        "beyond recovery once maintenance has expired the states before"
    )
    return UpkeepReport({"step": "delete", "fleet": step.fleet, **asdict(done)}, text)
