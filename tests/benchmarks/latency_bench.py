"""Latency: what the archives of the scale benchmark answer, warm and in a fresh process.

10,000 thermometers, read every ten minutes: a hundred million values are 35 days of them, a billion
nearly a year. The files are imported by a job, then compacted, and rollups of hours and days
are built, as a nightly job does. Every question is about another device than the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import pipeline
from tests.benchmarks.measuring import folder_bytes, run_apart, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.benchmarks.scale_bench import import_days
from tests.benchmarks.scale_data import CHANNELS, Fleet, days_of, write_days

__all__ = ["run"]

_FLEET: Final = "climate"
_MONTH: Final = ("2025-01-01", "2025-02-01")
_YEAR: Final = ("2025-01-01", "2026-01-01")


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values of each archive, how often a question of one device and of all is asked, and anew."""

    fleet: Fleet
    points: tuple[int, ...]
    one: int
    all: int
    fresh: int = 3


_SCALES: Final = {
    Size.FULL: _Scale(Fleet(10_000, 144), (10**8, 10**9), 300, 20),
    Size.QUICK: _Scale(Fleet(10_000, 144), (10**7,), 100, 5),
    Size.TINY: _Scale(Fleet(40, 24), (4000,), 3, 2, 1),
}


def _device_month(fleet: pipeline.Fleet, device: str) -> Any:
    return fleet.aggregate({"temperature": "mean"}, devices=device, time=_MONTH)


def _device_year_hourly(fleet: pipeline.Fleet, device: str) -> Any:
    return fleet.aggregate({"temperature": "mean"}, every="1h", devices=device, time=_YEAR)


def _p95_approx(fleet: pipeline.Fleet, device: str) -> Any:
    return fleet.aggregate({"temperature": "p95"}, devices=device, time=_YEAR, approximate=True)


def _p95_exact(fleet: pipeline.Fleet, device: str) -> Any:
    return fleet.aggregate({"temperature": "p95"}, devices=device, time=_YEAR)


def _fleet_year_daily(fleet: pipeline.Fleet, _: str) -> Any:
    return fleet.aggregate({"temperature": "mean"}, every="1 day", time=_YEAR)


def _latest_all(fleet: pipeline.Fleet, _: str) -> Any:
    return fleet.latest()


_QUESTIONS: Final[Mapping[str, tuple[Callable[[pipeline.Fleet, str], Any], bool, str]]] = {
    "device_month": (_device_month, True, "mean of one device in January"),
    "device_year_hourly": (_device_year_hourly, True, "hourly means of one device in the year"),
    "p95_approx": (_p95_approx, True, "p95 of one device in the year, between bounds"),
    "p95_exact": (_p95_exact, True, "p95 of one device in the year, exact"),
    "fleet_year_daily": (_fleet_year_daily, False, "daily means of every device in the year"),
    "latest_all": (_latest_all, False, "the newest reading of every device"),
}
"""What is asked, whether of one device, and what it means."""


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure every question on every archive; `show` is told about progress."""
    scale = _SCALES[size]
    days = [days_of(scale.fleet, points) for points in scale.points]
    with scratch_folder() as folder:
        (folder / "days").mkdir()
        files = write_days(scale.fleet, max(days), folder / "days")
        rows = []
        for count in days:
            archive = _prepared(files[:count], folder / f"of {count} days", show)
            rows += _measured(scale, archive, count, show)
    return Outcome(_figures(rows), rows, _NOTES)


def _prepared(files: Sequence[Path], folder: Path, show: Callable[[str], None]) -> Path:
    """Return an archive of some days in which everything is as a nightly job leaves it."""
    import_days(files, folder, {})
    archive = folder / "archive"
    imported = folder_bytes(archive)
    fleet = pipeline.Archive.open(archive).fleet(_FLEET)
    fleet.compact()
    compacted = folder_bytes(archive)
    for every in ("1h", "1 day"):
        fleet.rollups.create(every, {"temperature": ["mean"]})
        fleet.rollups[every].refresh()
    rollups = folder_bytes(archive) - compacted
    show(
        f"{len(files)} days: {imported / 1e6:,.1f} MB imported, rollups take {rollups / 1e6:,.1f} MB"
    )
    return archive


def _measured(
    scale: _Scale, archive: Path, days: int, show: Callable[[str], None]
) -> list[dict[str, Any]]:
    points = days * scale.fleet.points_per_day
    rows: list[dict[str, Any]] = []
    for name, (_, of_one, _) in _QUESTIONS.items():
        times = scale.one if of_one else scale.all
        milliseconds = run_apart(_ask, str(archive), name, scale.fleet.devices, times).value
        cold = [
            run_apart(_ask, str(archive), name, scale.fleet.devices, 0).value[0]
            for _ in range(scale.fresh)
        ]
        row: dict[str, Any] = {
            "points": points,
            "question": name,
            "p50_ms": float(np.median(milliseconds[1:])),
            "p99_ms": float(np.quantile(milliseconds[1:], 0.99)),
            "cold_ms": float(np.median(cold)),
        }
        show(f"{points:,} points, {name}: {row['p50_ms']:.1f} ms, cold {row['cold_ms']:.0f} ms")
        rows.append(row)
    live = run_apart(_ask_live, str(archive), scale.fleet.devices, scale.all).value
    for row in rows:
        row["after_commit_ms"] = float(np.median(live[row["question"]][1:]))
    show(
        f"{points:,} points, right after a commit: "
        + ", ".join(f"{row['question']} {row['after_commit_ms']:.1f} ms" for row in rows)
    )
    return rows


def _ask_live(archive: str, devices: int, times: int) -> dict[str, list[float]]:
    """Return how many milliseconds each question took right after rows were stored, by its name."""
    fleet = pipeline.Archive.open(archive).fleet(_FLEET)
    newest = np.datetime64("2026-01-01T00:00", "us")
    taken: dict[str, list[float]] = {name: [] for name in _QUESTIONS}
    for turn in range(times + 1):
        device = f"device-{turn * 7919 % devices:05d}"
        for name, (question, _, _) in _QUESTIONS.items():
            newest += np.timedelta64(1, "s")
            values = {channel: [0.0] for channel in CHANNELS}
            fleet.append({"device": [device], "time": np.array([newest]), **values})
            began = time.perf_counter()
            question(fleet, device)
            taken[name].append(1e3 * (time.perf_counter() - began))
    return taken


def _ask(archive: str, name: str, devices: int, times: int) -> list[float]:
    """Return how many milliseconds the first answer took, opening included, and the others."""
    question = _QUESTIONS[name][0]
    _import_all()
    taken = []
    began = time.perf_counter()
    fleet = pipeline.Archive.open(archive).fleet(_FLEET)
    for turn in range(times + 1):
        answer = question(fleet, f"device-{turn * 7919 % devices:05d}")
        taken.append(1e3 * (time.perf_counter() - began))
        if not any(bool(variable.notnull().any()) for variable in answer.values()):
            msg = f"{name} found nothing"
            raise WrongResultError(msg)
        began = time.perf_counter()
    return taken


def _import_all() -> None:
    """Import what a question uses, without opening an archive."""
    pipeline.Archive.create("memory://").create_fleet(
        "fleet", pipeline.Schema([pipeline.Channel("temperature", "float64")])
    )


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    first = rows[0]["points"]
    found = {}
    for row in rows:
        meaning = f"ms, {_QUESTIONS[row['question']][2]}; {row['points']:,} values"
        name = row["question"] if row["points"] == first else f"{row['question']}_largest"
        is_of_device = _QUESTIONS[row["question"]][1]
        usual = "_p50_ms" if is_of_device and "p95" not in name else "_ms"
        found[f"{name}{usual}"] = Figure(row["p50_ms"], f"median, {meaning}")
        found[f"{name}_p99_ms"] = Figure(row["p99_ms"], f"99 % are faster, {meaning}")
        found[f"{name}_after_commit_ms"] = Figure(
            row["after_commit_ms"], f"right after a row was stored, {meaning}"
        )
        found[f"{name}_cold_ms"] = Figure(
            row["cold_ms"], f"first answer of a fresh process, {meaning}"
        )
    return found


_NOTES: Final = (
    "The archive is imported by a job, then compacted, and keeps rollups of hourly and daily means.",
    "Warm: one process, every question about another device. Cold: the first answer of a fresh",
    "process, with opening the archive and loading the compiled kernels, without Python's imports.",
    "After a commit: one row of another time is stored before every question, by the same process.",
    "The smaller archive holds 35 days, the larger (_largest) 348: a year is what there is of it.",
)
