"""Job files for tests: written, run, and what came of them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipeline.api.archive import Archive
from pipeline.jobs.job_file import load_job
from pipeline.jobs.progress import LogLines
from pipeline.jobs.runner import run_job

TINY: dict[str, Any] = {"devices": 12, "readings": 50, "devices_per_fragment": 4}


def simulated(fleet: str = "rooms", **options: Any) -> dict[str, Any]:
    """Return an import step of a tiny simulated fleet; keys of the step itself go in `step`."""
    step = options.pop("step", {})
    source = {"simulated": {**TINY, **options}}
    return {"import": {"fleet": fleet, "source": source, "partitioning": {"window": "day"}} | step}


def write_job(folder: Path, *steps: Any, **keys: Any) -> Path:
    """Write a job file whose archive and report are in `folder`."""
    document = {
        "archive": str(folder / "archive"),
        "report": str(folder / "report.json"),
        "steps": list(steps),
        **keys,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@dataclass
class Outcome:
    """What a job did: its report, what it printed, and the archive."""

    report: dict[str, Any]
    text: str
    folder: Path

    @property
    def archive(self) -> Archive:
        return Archive.open(self.folder / "archive")

    def rows(self, fleet: str = "rooms") -> pa.Table:
        return all_rows(self.archive, fleet)


def run(folder: Path, *steps: Any, **keys: Any) -> Outcome:
    """Write and run a job."""
    out = io.StringIO()
    run_job(load_job(write_job(folder, *steps, **keys)), out=out, progress=LogLines())
    report = json.loads((folder / "report.json").read_text())
    return Outcome(report, out.getvalue(), folder)


def failed_report(folder: Path) -> dict[str, Any]:
    """Return the report of a job that failed."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert report["status"] == "failed"
    return report


def all_rows(archive: Archive, fleet: str = "rooms") -> pa.Table:
    """Return all rows of a fleet, sorted by device and time, device ids as plain texts."""
    table = archive.fleet(fleet).read().read_all()
    plain = table.set_column(0, "device", table["device"].cast(pa.string()))
    return plain.sort_by([("device", "ascending"), ("time", "ascending")]).combine_chunks()
