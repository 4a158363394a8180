"""One of several processes that work on one archive for some time.

``python -m tests.integration.busy_worker ROLE URL OPTIONS SECONDS LOG``: ROLE is ``append``,
``import``, ``compact`` or ``maintain``, OPTIONS are storage options as JSON. What was
acknowledged is written to LOG, synced, as an outside system would remember it.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

import pipeline
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.jobs.job_file import load_job
from pipeline.jobs.progress import LogLines
from pipeline.jobs.runner import run_job
from tests.integration.append_worker import batch

IMPORTER = 7
"""The worker whose batches are imported from files."""

SAFETY = timedelta(seconds=60)
"""Longer than any of the writers here lives; the API asks for an hour or more."""

Turn = Callable[[int], Any]


def appending(url: str, options: dict[str, Any] | None) -> Turn:
    """Return what appends one batch."""
    fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")

    def append(step: int) -> int:
        fleet.append(batch(0, step), positions={"worker-0": step})
        return step

    return append


def importing(url: str, options: dict[str, Any] | None, folder: Path) -> Turn:
    """Return what imports one more file; the files of before are offered again each time."""
    (folder / "files").mkdir(parents=True)
    source = {"parquet": {"path": str(folder / "files" / "*.parquet")}}
    document = {
        "archive": url,
        "report": str(folder / "report.json"),
        "if_exists": "append",
        "steps": [{"import": {"fleet": "fleet", "source": source}}],
        **({"storage_options": options} if options else {}),
    }
    job = folder / "job.yaml"
    job.write_text(yaml.safe_dump(document))

    def run(step: int) -> int:
        pq.write_table(pa.table(batch(IMPORTER, step)), folder / "files" / f"{step:06}.parquet")
        run_job(load_job(job), out=io.StringIO(), progress=LogLines())
        return step

    return run


def compacting(url: str, options: dict[str, Any] | None) -> Turn:
    """Return what merges small blocks."""
    fleet = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
    return lambda _: fleet.compact().merges


def maintaining(url: str, options: dict[str, Any] | None) -> Turn:
    """Return what expires and deletes old states, and verifies the archive in between."""
    repository = Repository.open(Location.parse(url), options)
    archive = pipeline.Archive.open(url, storage_options=options)

    def maintain(step: int) -> int:
        now = datetime.now(UTC)
        states = [one.time for one in repository.history() if one.time <= now - SAFETY]
        expired = repository.expire(states[0]) if states else 0
        repository.collect_garbage(now - SAFETY)
        if step % 5 == 0:
            report = archive.verify()
            assert report.is_clean, report.problems[:3]
        return expired

    return maintain


def main(role: str, url: str, options: str, seconds: float, log: Path) -> None:
    """Take turns until the time is over."""
    told: dict[str, Any] | None = json.loads(options)
    turn = {
        "append": lambda: appending(url, told),
        "import": lambda: importing(url, told, log.with_suffix("")),
        "compact": lambda: compacting(url, told),
        "maintain": lambda: maintaining(url, told),
    }[role]()
    handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    until, step = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        os.write(handle, f"{turn(step)}\n".encode())
        os.fsync(handle)
        step += 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), Path(sys.argv[5]))
