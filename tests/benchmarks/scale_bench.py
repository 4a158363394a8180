"""Scale: an archive that grows to a billion points, imported from a Parquet file a day.

A fleet of 10,000 thermometers and hygrometers is read every ten minutes. Files of 4, 35 and 348
days hold ten million, a hundred million and a billion values; each number of days is imported
into a new archive by a job in a fresh process, and each archive is asked the same two questions.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

import pipeline
from tests.benchmarks.fingerprints import fingerprint
from tests.benchmarks.measuring import run_apart, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.benchmarks.process_tree import TreeUse, run_tree
from tests.benchmarks.scale_data import CHANNELS, Fleet, days_of, write_days

__all__ = ["import_days", "run"]

_FLEET: Final = "climate"
_YEAR: Final = ("2025-01-01", "2026-01-01")
_WINDOW: Final = ("2025-01-01", "2025-02-01")
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values of each archive, and how often each import is run."""

    fleet: Fleet
    points: tuple[int, ...]
    runs: tuple[int, ...]
    questions: int = 25


_SCALES: Final = {
    Size.FULL: _Scale(Fleet(10_000, 144), (10**7, 10**8, 10**9), (3, 1, 1)),
    Size.QUICK: _Scale(Fleet(10_000, 144), (10**6, 10**7), (3, 3)),
    Size.TINY: _Scale(Fleet(40, 24), (1, 8000), (1, 1), 3),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure imports and questions at every size; `show` is told about progress."""
    scale = _SCALES[size]
    days = [days_of(scale.fleet, points) for points in scale.points]
    with scratch_folder() as folder:
        began = time.perf_counter()
        (folder / "days").mkdir()
        files = write_days(scale.fleet, max(days), folder / "days")
        generated = time.perf_counter() - began
        show(f"{max(days)} days simulated and written as Parquet in {generated:.0f} s")
        rows = []
        for count, runs in zip(days, scale.runs, strict=True):
            row = _at_size(scale, files[:count], folder, runs)
            show(f"{row['points']:,} points: {row['points_per_s']:,.0f} points/s")
            rows.append(row)
    return Outcome(
        _figures(rows),
        rows,
        [*_NOTES, f"Simulating and writing the files took {generated:.0f} s, apart."],
    )


def _at_size(scale: _Scale, files: Sequence[Path], folder: Path, runs: int) -> dict[str, Any]:
    """Import some files, as often as told, check the last archive, and ask it."""
    imports = [import_days(files, folder / "import", {}) for _ in range(runs)]
    archive = folder / "import" / "archive"
    report, _ = imports[-1]
    _check(archive, files, report, whole=len(files) == min(_days(scale)))
    latencies = run_apart(_ask, str(archive), scale.fleet.devices, scale.questions).value
    seconds = median(one["seconds"] for one, _ in imports)
    return {
        "points": report["points"],
        "days": len(files),
        "runs": runs,
        "seconds": seconds,
        "points_per_s": report["points"] / seconds,
        "cores_used": median(use.cpu_seconds / use.seconds for _, use in imports),
        "peak_rss_mb": max(use.peak_rss for _, use in imports) / 1e6,
        "ratio": report["ratio"],
        "bytes_per_point": report["bytes_per_point"],
        "commits": report["commits"],
        "blocks": report["blocks"],
        **latencies,
    }


def _days(scale: _Scale) -> list[int]:
    return [days_of(scale.fleet, points) for points in scale.points]


def import_days(
    files: Sequence[Path],
    folder: Path,
    keys: Mapping[str, Any],
    window: str = "month",
    cores: int | None = None,
    *,
    turns: bool = False,
) -> tuple[dict[str, Any], TreeUse]:
    """Import files into a new archive ``folder/archive`` by a job in a process of its own.

    Parameters
    ----------
    files
        Parquet files.
    folder
        A folder for the job, emptied first.
    keys
        Further keys of the job file.
    window
        Of the fleet.
    cores
        How many the job and its workers may use together; all by default.
    turns
        Whether workers run half of the time, one after the other.

    Returns
    -------
    tuple
        What the job reports of the import, and what it used.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "days").mkdir(parents=True)
    for file in files:
        (folder / "days" / file.name).symlink_to(file)
    source = {"parquet": {"path": str(folder / "days" / "*.parquet")}}
    step = {"fleet": _FLEET, "source": source, "partitioning": {"window": window}}
    job = {
        "archive": str(folder / "archive"),
        "report": str(folder / "report.json"),
        "steps": [{"import": step}],
        **keys,
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    command = [sys.executable, "-m", "pipeline", "-q", str(folder / "job.yaml")]
    use = run_tree(command, _ROOT, cores, turns=turns)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())["steps"][0]
    return report, use


def _check(archive: Path, files: Sequence[Path], report: Mapping[str, Any], whole: bool) -> None:
    """Compare an archive with the files: the statistics of each channel, or every row.

    Raises
    ------
    WrongResultError
        If they differ.
    """
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    fleet = pipeline.Archive.open(archive).fleet(_FLEET)
    statistics = ("count", "sum", "min", "max")
    answer = fleet.aggregate({name: list(statistics) for name in CHANNELS}, by=[])
    expected = _expected(files)
    found = {name: [float(answer[f"{name}_{one}"]) for one in statistics] for name in CHANNELS}
    if report["rows"] != rows or not all(
        np.allclose(found[name], expected[name], rtol=1e-9, atol=0) for name in CHANNELS
    ):
        msg = f"{report['rows']:,} rows with {found} are stored, of {rows:,} with {expected}"
        raise WrongResultError(msg)
    if whole:
        stored = fingerprint(fleet.read())
        given = fingerprint(
            batch for file in files for batch in pq.ParquetFile(file).iter_batches()
        )
        if stored != given:
            msg = f"{stored.rows:,} rows are stored, and not bit by bit the {given.rows:,} of the files"
            raise WrongResultError(msg)


def _expected(files: Sequence[Path]) -> dict[str, list[float]]:
    """Return count, sum, minimum and maximum of every channel in some files."""
    found: dict[str, list[list[float]]] = {name: [] for name in CHANNELS}
    for file in files:
        table = pq.read_table(file, columns=list(CHANNELS))
        for name in CHANNELS:
            bounds = pc.min_max(table[name])
            total = pc.sum(table[name]).as_py()
            found[name].append(
                [table.num_rows, total, bounds["min"].as_py(), bounds["max"].as_py()]
            )
    return {
        name: [*np.sum(parts, axis=0)[:2], np.min(parts, axis=0)[2], np.max(parts, axis=0)[3]]
        for name, parts in found.items()
    }


def _ask(archive: str, devices: int, times: int) -> dict[str, float]:
    """Return the median latency of both questions, in milliseconds, each of a new device."""
    fleet = pipeline.Archive.open(archive).fleet(_FLEET)
    year, window = [], []
    for turn in range(times + 1):
        device = f"device-{turn * 7919 % devices:05d}"
        began = time.perf_counter()
        fleet.aggregate({"temperature": ["mean", "min", "max"]}, devices=device, time=_YEAR)
        between = time.perf_counter()
        fleet.aggregate({"temperature": "mean"}, by=[], time=_WINDOW)
        year.append(between - began)
        window.append(time.perf_counter() - between)
    return {
        "device_year_ms": 1e3 * median(year[1:]),
        "fleet_window_ms": 1e3 * median(window[1:]),
    }


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    first, last = rows[0], rows[-1]
    slowdown = first["points_per_s"] / last["points_per_s"]
    growth = max(
        row[key] / first[key] for row in rows[1:] for key in ("device_year_ms", "fleet_window_ms")
    )
    return {
        "points": Figure(last["points"], "values in the largest archive"),
        "points_per_s": Figure(last["points_per_s"], "values per second into the largest archive"),
        "peak_rss_mb": Figure(
            max(row["peak_rss_mb"] for row in rows), "MB, whole process tree, the largest of all"
        ),
        "ratio": Figure(last["ratio"], "raw bytes (8 a time, 8 a value) by all bytes stored"),
        "bytes_per_point": Figure(last["bytes_per_point"], "all stored bytes by values"),
        "import_slowdown": Figure(slowdown, "time per value, largest archive by smallest"),
        "query_growth": Figure(
            growth, "latency by that of the smallest archive, the worse question and size"
        ),
    }


_NOTES: Final = (
    "Import: a job in a fresh process, from files to durable commits; its start is not timed.",
    "The fleet and its sampling are the same at all sizes, and the time span grows: an archive",
    "after days, a month, and nearly a year. One device's year is mean, minimum and maximum over",
    "2025 of as many days as there are; one window's fleet mean is that of January, all devices.",
    "Windows are months. Every 14 days are a simulation of their own, so values jump there.",
    "Counts, sums and extremes of every archive agree with the files', the smallest bit by bit.",
)
