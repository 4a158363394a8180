"""Rollup: hours and days of all devices of a hundred million points, by a job with two workers.

The fleet is that of benchmark scale. One device in a thousand delivers all its rows late: rollups
are built without them, then they are appended, and the same job runs again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

import pipeline
from tests.benchmarks.measuring import folder_bytes, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.benchmarks.process_tree import TreeUse, run_tree
from tests.benchmarks.scale_bench import import_days
from tests.benchmarks.scale_data import CHANNELS, Fleet, days_of, write_days

__all__ = ["run"]

_FLEET: Final = "climate"
_ROOT: Final = Path(__file__).parents[2]
_ROLLUPS: Final = {"hourly": {"every": "1 hour"}, "daily": {"every": "1 day"}}
_LATE: Final = 1000
_DEVICES_CHECKED: Final = 50
_CLUSTER: Final = {
    "class": "distributed.LocalCluster",
    "workers": 2,
    "arguments": {
        "n_workers": 2, "threads_per_worker": 1, "processes": True,
        "dashboard_address": "127.0.0.1:0",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Scale:
    fleet: Fleet
    points: int
    cluster: bool = True


_SCALES: Final = {
    Size.FULL: _Scale(Fleet(10_000, 144), 10**8),
    Size.QUICK: _Scale(Fleet(10_000, 144), 10**7),
    Size.TINY: _Scale(Fleet(40, 24), 8000, cluster=False),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure the first run of the job and the one after late rows; `show` is told about progress."""
    scale = _SCALES[size]
    with scratch_folder() as folder:
        most, late = _write(scale, folder)
        report, _ = import_days(most, folder / "import", {})
        archive = folder / "import" / "archive"
        show(f"{report['points']:,} points are imported")
        before = folder_bytes(archive)
        first, use = _roll_up(archive, folder, scale)
        added = folder_bytes(archive) - before
        show(f"first run: {_seconds(first):.1f} s")
        fleet = pipeline.Archive.open(archive).fleet(_FLEET)
        appended = fleet.append(late).rows
        again, _ = _roll_up(archive, folder, scale)
        show(f"after {appended:,} late rows: {_seconds(again):.2f} s")
        _check(fleet)
    rows = [_row("first", one) for one in first] + [_row("late rows", one) for one in again]
    return Outcome(_figures(report["points"], first, again, use, added), rows, _NOTES)


def _write(scale: _Scale, folder: Path) -> tuple[list[Path], pa.Table]:
    """Write the files of all devices but those that deliver late; return them, and the late rows."""
    (folder / "all").mkdir()
    (folder / "days").mkdir()
    names = [f"device-{at:05d}" for at in range(0, scale.fleet.devices, _LATE)]
    files, late = [], []
    for file in write_days(scale.fleet, days_of(scale.fleet, scale.points), folder / "all"):
        table = pq.read_table(file)
        is_late = pc.is_in(table["device"].cast(pa.string()), pa.array(names))
        late.append(table.filter(is_late))
        files.append(folder / "days" / file.name)
        pq.write_table(table.filter(pc.invert(is_late)), files[-1], compression="zstd")
        file.unlink()
    return files, pa.concat_tables(late)


def _roll_up(archive: Path, folder: Path, scale: _Scale) -> tuple[list[dict[str, Any]], TreeUse]:
    """Run the job in a process of its own; return what it reports of each rollup."""
    job: dict[str, Any] = {
        "archive": str(archive),
        "report": str(folder / "rollup.json"),
        "steps": [{"rollup": {"fleet": _FLEET, "rollups": _ROLLUPS}}],
    }
    if scale.cluster:
        job["cluster"] = _CLUSTER
    (folder / "rollup.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    use = run_tree([sys.executable, "-m", "pipeline", "-q", str(folder / "rollup.yaml")], _ROOT)
    report = json.loads((folder / "rollup.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = report["steps"][0]["rollups"]
    return found, use


def _check(fleet: pipeline.Fleet) -> None:
    """Compare days of all devices, and hours of some, with what the fleet's rows answer.

    Raises
    ------
    WrongResultError
        If they differ, or a rollup is not up to date.
    """
    some = fleet.devices[:: max(1, len(fleet.devices) // _DEVICES_CHECKED)]
    statistics = {
        name: ["count", "min", "max", "mean", "std", "first", "last"] for name in CHANNELS
    }
    for name, every, devices in (("daily", "1 day", None), ("hourly", "1 hour", some)):
        rollup = fleet.rollups[name]
        found, expected = rollup.to_xarray(devices), fleet.aggregate(statistics, every, devices)
        equal = all(
            np.allclose(found[key], expected[key], rtol=1e-9, atol=1e-9, equal_nan=True)
            for key in expected.data_vars
        )
        if not equal or not rollup.state.is_fresh:
            msg = f"rollup {name} differs from what the rows say"
            raise WrongResultError(msg)


def _row(when: str, one: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", "source", "tasks", "cells", "rows", "chunks", "bytes", "commits", "seconds")
    return {"run": when, **{key: one[key] for key in kept}}


def _seconds(results: Sequence[Mapping[str, Any]]) -> float:
    return float(sum(one["seconds"] for one in results))


def _figures(
    points: int,
    first: Sequence[Mapping[str, Any]],
    again: Sequence[Mapping[str, Any]],
    use: TreeUse,
    added: int,
) -> dict[str, Figure]:
    hourly, daily = first
    return {
        "points": Figure(points, "values in the archive"),
        "rollup_points_per_s": Figure(
            points / hourly["seconds"], "values per second into the hours, durable commits included"
        ),
        "seconds": Figure(hourly["seconds"], "s for the hours of all devices, from rows"),
        "daily_s": Figure(daily["seconds"], "s for the days, from the hours"),
        "rerun_s": Figure(_seconds(again), "s for both after 0.1 % late rows"),
        "rerun_share": Figure(_seconds(again) / _seconds(first), "of the time of the first run"),
        "stored_mb": Figure(added / 1e6, "MB that both rollups take"),
        "peak_rss_mb": Figure(use.peak_rss / 1e6, "MB, job, scheduler and workers together"),
    }


_NOTES: Final = (
    "A job in a fresh process with two worker processes of one thread; starting is not timed. Each",
    "rollup keeps count, minimum, maximum, mean, deviation, first and last of both channels. Then the",
    "rows of one device in a thousand, all of its time, are appended at once, and the job runs again.",
    "Days of all devices and hours of fifty agree with what the rows answer.",
)
