"""Running a job: its steps in order, and a report whatever happens."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, TextIO

from pipeline.archive.compaction import CompactionResult
from pipeline.errors import ArchiveError, JobError, LeaseHeldError
from pipeline.jobs.clusters import Cluster, open_cluster
from pipeline.jobs.compact_step import compact_fleet
from pipeline.jobs.import_step import check_sources, import_all
from pipeline.jobs.ingest_options import IngestStep
from pipeline.jobs.ingest_step import ingest
from pipeline.jobs.job_file import LoadedJob
from pipeline.jobs.leasing import under_lease
from pipeline.jobs.migrate_step import migrate_fleet
from pipeline.jobs.opening import JobArchive, open_archive
from pipeline.jobs.printing import report_text
from pipeline.jobs.progress import Progress
from pipeline.jobs.question_steps import ask_aggregate, ask_downsample, ask_latest
from pipeline.jobs.reports import CompactionReport, ImportReport, QuestionReport, write_report
from pipeline.jobs.rollup_options import RollupStep
from pipeline.jobs.rollup_step import roll_up
from pipeline.jobs.step_options import (
    AggregateStep,
    CompactStep,
    DownsampleStep,
    ImportStep,
    LatestStep,
    ReportStep,
)
from pipeline.jobs.upkeep_options import (
    DeleteStep,
    MaintenanceStep,
    MigrateStep,
    RepairStep,
    RepartitionStep,
    StatsStep,
    VerifyStep,
)
from pipeline.jobs.upkeep_steps import (
    UpkeepReport,
    check_verified,
    delete,
    maintenance,
    repair,
    repartition,
    stats,
    verify,
)

__all__ = ["STEPS", "run_job"]


@dataclass(slots=True, eq=False)
class _Run:
    """A job that is running, and what it has done."""

    loaded: LoadedJob
    out: TextIO
    progress: Progress
    stack: ExitStack
    client: Any = None
    opened: JobArchive | None = None
    started: Cluster | None = None
    imports: list[ImportReport] = field(default_factory=list)
    questions: list[QuestionReport] = field(default_factory=list)
    compactions: list[CompactionReport] = field(default_factory=list)
    upkeep: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    skipped: str = ""
    at: str = "looking for the sources"

    def cluster(self) -> Cluster:
        """Return the job's cluster, which the first step that needs it starts."""
        if self.started is None:
            self.progress.show("starting the cluster and loading compiled code")
            self.started = self.stack.enter_context(
                open_cluster(self.loaded.job.cluster, self.client)
            )
        return self.started

    def add(self, report: QuestionReport) -> None:
        """Keep the report of a question."""
        self.questions.append(report)
        self.steps.append(report.to_json())

    def add_upkeep(self, report: UpkeepReport) -> None:
        """Keep the report of a step that keeps the archive in order."""
        self.upkeep.append(report.text)
        self.steps.append(report.document)


def run_job(
    loaded: LoadedJob, *, out: TextIO, progress: Progress, client: Any = None
) -> dict[str, Any]:
    """Run a job's steps in order and write its report.

    Parameters
    ----------
    loaded
        The job.
    out
        Where ``report`` steps print.
    progress
        Where progress is told.
    client
        A ``distributed.Client`` on whose workers tasks run, instead of on the job's own cluster.

    Returns
    -------
    dict
        The report, as it was written to the job's ``report_path``. If another run has the job's
        lease, and this one was skipped for that, its status says so, and it is not written.

    Raises
    ------
    ArchiveError
        If a step fails. The report is written all the same, with the error, and the archive
        stays at its last commit.
    """
    started, began = datetime.now(UTC), time.perf_counter()
    with ExitStack() as stack:
        run = _Run(loaded, out, progress, stack, client)
        try:
            _run_steps(run)
        except BaseException as error:
            _write(run, started, time.perf_counter() - began, error)
            if isinstance(error, ArchiveError) or not isinstance(error, Exception):
                raise
            msg = f"{run.at}: {type(error).__name__}: {error}"
            raise JobError(msg) from error
        finally:
            progress.clear()
        seconds = time.perf_counter() - began
        if run.skipped:
            return _document(run, started, seconds, None)
        return _write(run, started, seconds, None)


def _run_steps(run: _Run) -> None:
    job = run.loaded.job
    for choice in job.steps:
        if isinstance(choice.chosen, ImportStep):
            check_sources(choice.chosen, run.loaded.hint)
    run.at = "opening the archive"
    run.opened = open_archive(job)
    if job.lease is not None:
        run.at = f"waiting for the lease {job.lease.name}"
        run.progress.show(run.at)
        try:
            run.opened = under_lease(run.opened, job.lease, run.stack)
        except LeaseHeldError as error:
            if job.lease.overlap == "wait":
                raise
            run.skipped = str(error)
            return
    for number, choice in enumerate(job.steps):
        run.at = f"steps.{number}.{choice.kind}"
        run.progress.show(f"step {number + 1} of {len(job.steps)}: {choice.kind}")
        STEPS[type(choice.chosen)](run, run.opened, choice.chosen)


def _import(run: _Run, opened: JobArchive, step: ImportStep) -> None:
    for report in import_all(opened, run.cluster(), step, run.progress):
        run.imports.append(report)
        run.steps.append(report.to_json())


def _compact(run: _Run, opened: JobArchive, step: CompactStep) -> None:
    report = compact_fleet(opened, run.cluster(), step, run.progress)
    run.compactions.append(report)
    run.steps.append(report.to_json())


def _ingest(run: _Run, opened: JobArchive, step: IngestStep) -> None:
    run.add_upkeep(ingest(opened, step, run.progress))


def _rollup(run: _Run, opened: JobArchive, step: RollupStep) -> None:
    run.add_upkeep(roll_up(opened, run.cluster(), step, run.progress))


def _aggregate(run: _Run, opened: JobArchive, step: AggregateStep) -> None:
    run.add(ask_aggregate(opened.archive, step))


def _latest(run: _Run, opened: JobArchive, step: LatestStep) -> None:
    run.add(ask_latest(opened.archive, step))


def _maintenance(run: _Run, opened: JobArchive, step: MaintenanceStep) -> None:
    def compact_one(fleet: str) -> CompactionResult:
        step = CompactStep(fleet=fleet)
        return compact_fleet(opened, run.cluster(), step, run.progress).result

    run.add_upkeep(maintenance(opened, step, run.progress, compact_one))


def _verify(run: _Run, opened: JobArchive, step: VerifyStep) -> None:
    told, found = verify(opened, run.cluster(), step, run.progress)
    run.add_upkeep(told)
    check_verified(found)


def _repair(run: _Run, opened: JobArchive, step: RepairStep) -> None:
    run.add_upkeep(repair(opened, step))


def _stats(run: _Run, opened: JobArchive, step: StatsStep) -> None:
    run.add_upkeep(stats(opened, step))


def _repartition(run: _Run, opened: JobArchive, step: RepartitionStep) -> None:
    run.add_upkeep(repartition(opened, run.cluster(), step, run.progress))


def _delete(run: _Run, opened: JobArchive, step: DeleteStep) -> None:
    run.add_upkeep(delete(opened, step))


def _migrate(run: _Run, opened: JobArchive, step: MigrateStep) -> None:
    run.add_upkeep(migrate_fleet(opened, run.cluster(), step, run.progress))


def _downsample(run: _Run, opened: JobArchive, step: DownsampleStep) -> None:
    run.add(ask_downsample(opened.archive, step))


def _report(run: _Run, _: JobArchive, step: ReportStep) -> None:
    text = report_text(
        step.title or run.loaded.path.stem,
        run.loaded.job.archive,
        run.imports,
        run.questions,
        compactions=run.compactions,
        cluster=_cluster(run.started),
        answers=step.answers,
    )
    run.progress.clear()
    run.out.write("\n\n".join([text, *run.upkeep]) + "\n")


STEPS: Final[Mapping[type, Callable[[_Run, JobArchive, Any], None]]] = {
    ImportStep: _import,
    IngestStep: _ingest,
    CompactStep: _compact,
    RollupStep: _rollup,
    AggregateStep: _aggregate,
    LatestStep: _latest,
    DownsampleStep: _downsample,
    MaintenanceStep: _maintenance,
    VerifyStep: _verify,
    RepairStep: _repair,
    StatsStep: _stats,
    RepartitionStep: _repartition,
    DeleteStep: _delete,
    MigrateStep: _migrate,
    ReportStep: _report,
}
"""What runs each kind of step."""


def _cluster(cluster: Cluster | None) -> dict[str, Any] | None:
    if cluster is None:
        return None
    names = ("kind", "workers", "threads", "memory", "start_s", "warmup_s")
    return {name: getattr(cluster, name) for name in names}


def _document(
    run: _Run, started: datetime, seconds: float, error: BaseException | None
) -> dict[str, Any]:
    job = run.loaded.job
    done = "skipped" if run.skipped else "succeeded"
    return {
        "status": done if error is None else "failed",
        "job": str(run.loaded.path),
        "archive": job.archive,
        "started": started.isoformat(),
        "seconds": seconds,
        "environment": _environment(),
        "cluster": _cluster(run.started),
        "steps": run.steps,
        "archive_bytes": None if run.opened is None else run.opened.stored_bytes(),
        "error": None if error is None else _failure(run, error),
        "skipped": run.skipped or None,
    }


def _write(
    run: _Run, started: datetime, seconds: float, error: BaseException | None
) -> dict[str, Any]:
    job, report = run.loaded.job, _document(run, started, seconds, error)
    try:
        write_report(job.report_path, report)
    except OSError as problem:
        also = "" if error is None else f"{_message(error)}; also, "
        msg = f"{also}report {job.report_path}: cannot be written: {problem.strerror or problem}"
        raise JobError(msg) from (error or problem)
    return report


def _failure(run: _Run, error: BaseException) -> dict[str, str]:
    if isinstance(error, ArchiveError):
        kind = error.kind
    else:
        kind = "interrupted" if isinstance(error, KeyboardInterrupt) else "unexpected"
    return {"kind": kind, "message": _message(error), "while": run.at}


def _environment() -> dict[str, Any]:
    return {
        "iot-archive": version("iot-archive"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__
