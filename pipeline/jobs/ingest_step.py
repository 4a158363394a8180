"""The ingest step: live sources into fleets, until the process is told to end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.archive.fleet_meta import FleetMeta, create_fleet
from pipeline.archive.layout import FleetLayout
from pipeline.errors import AlreadyExistsError, ArchiveError, JobError
from pipeline.ingest.multiplexer import Multiplexer
from pipeline.jobs.health import HealthFile
from pipeline.jobs.ingest_options import IngestStep, StreamStep
from pipeline.jobs.metrics import MetricsServer
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.printing import align, plural, print_bytes
from pipeline.jobs.progress import Progress
from pipeline.jobs.upkeep_steps import UpkeepReport
from pipeline.model.durations import parse_duration
from pipeline.model.live_sources import LiveSource
from pipeline.partitioning.windows import WindowLength
from pipeline.schema.channels import Schema

__all__ = ["ingest"]

_TICK = 0.2


def ingest(opened: JobArchive, step: IngestStep, progress: Progress) -> UpkeepReport:
    """Take rows in until a signal, the step's duration, or the last source ends it.

    Parameters
    ----------
    opened
        The archive.
    step
        What flows where.
    progress
        Where progress is told.

    Raises
    ------
    JobError
        If sources or streams failed; everything that was taken is in the archive or the log.
    ArchiveError
        If a stream cannot be opened, or not be closed in order.
    """
    began = time.monotonic()
    run = _Run(step, HealthFile(None if step.health is None else Path(step.health)), progress)
    with ExitStack() as stack:
        stop = stack.enter_context(_told_to_end())
        stack.callback(run.tell, "stopped")
        lines = stack.enter_context(run.lines)
        if step.prometheus is not None:
            served = step.prometheus
            stack.enter_context(MetricsServer(lines.counters, served.port, served.address))
        for stream in step.streams:
            _open(opened, lines, stream)
        run.watch(stop, began)
        run.tell("stopping")
    if lines.failures:
        told = "; ".join(f"{name}: {error}" for name, error in lines.failures.items())
        msg = f"not all streams went on to the end: {told}"
        raise JobError(msg)
    return _report(lines.counters(), time.monotonic() - began)


@dataclass(slots=True, eq=False)
class _Run:
    """The step while it runs, and what it tells of itself."""

    step: IngestStep
    health: HealthFile
    progress: Progress
    lines: Multiplexer = field(default_factory=Multiplexer)

    def watch(self, stop: threading.Event, began: float) -> None:
        """Wait for the end, and tell how things are meanwhile."""
        every = parse_duration(self.step.every) / 1e6
        longest = self.step.stop_after
        deadline = None if longest is None else began + parse_duration(longest) / 1e6
        told = 0.0
        while not stop.wait(_TICK):
            now = time.monotonic()
            if now - told >= every:
                told = now
                self.tell("degraded" if self.lines.failures else "running")
            if not self.lines.is_alive or (deadline is not None and now >= deadline):
                return

    def tell(self, state: str) -> None:
        """Write the health file, and show how far it is."""
        counters = self.lines.counters()
        errors = {name: str(error) for name, error in self.lines.failures.items()}
        for name, told in counters.items():
            if told["error"]:
                errors[name] = told["error"]
        if state == "stopped" and self.lines.failures:
            state = "failed"
        self.health.write(state, counters, errors)
        rows = sum(told["rows"] for told in counters.values())
        committed = sum(told["committed_rows"] for told in counters.values())
        self.progress.show(f"ingest {state}: {rows:,} rows taken, {committed:,} committed")


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """Have SIGTERM and SIGINT set an event; a second one interrupts."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[signal.Signals, Any] = {}

    def told(number: int, frame: Any) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, told)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open(opened: JobArchive, lines: Multiplexer, stream: StreamStep) -> None:
    """Open a stream and let its sources flow."""
    sources: list[LiveSource] = [choice.source() for choice in stream.sources]
    if stream.fleet not in opened.archive:
        _create(opened, stream, sources[0])
    fleet = opened.archive.fleet(stream.fleet)
    session = fleet.stream(stream.log, lease=stream.lease, **stream.stream_options)
    try:
        lines.add(stream.fleet, session, sources)
    except ArchiveError:
        session.close()
        raise


def _create(opened: JobArchive, stream: StreamStep, source: LiveSource) -> None:
    window = stream.partitioning.window
    scheme = stream.partitioning.scheme(WindowLength("1 day") if window == "auto" else None)
    schema = stream.schema_given or Schema.from_arrow(source.arrow_schema())
    meta = FleetMeta(
        FleetLayout(stream.fleet, scheme),
        schema,
        stream.duplicates,
        retention=stream.retention.parsed,
    )
    try:
        opened.repository.commit(
            lambda store: create_fleet(store, meta), f"create fleet {stream.fleet}"
        )
    except AlreadyExistsError:
        return  # another process of the same job was faster


def _report(counters: Mapping[str, Any], seconds: float) -> UpkeepReport:
    header = ("stream", "rows", "quarantined", "late", "duplicates", "commits", "bytes")
    rows = [
        [
            name,
            *(f"{told[one]:,}" for one in ("rows", "quarantined", "late", "duplicates", "commits")),
            print_bytes(told["bytes_committed"]),
        ]
        for name, told in counters.items()
    ]
    document = {"step": "ingest", "seconds": seconds, "streams": dict(counters)}
    title = f"{plural(len(rows), 'stream')} in {seconds:,.0f} s"
    return UpkeepReport(document, f"{title}\n{align(header, rows, left=1)}")
