"""Partition: how fast raw rows are sorted into partitions, by worker processes.

A thousand devices send temperature and humidity every minute; a file a day holds the rows of
all, in time order. Workers with one thread each read, partition by day and device, encode and
write, through forks of the job's transaction; the job itself indexes and commits.

One worker on a machine of two cores has the second one for the job, the scheduler and what the
kernel does for its files; two workers have to share. So one worker is run on one core, too, and one and
two workers that are let run half of the time, so that job and scheduler have a core in both cases.

Every import writes to a folder of its own, and all are removed at the end: ext4 looks, for each file
that it makes, at those removed in the last minutes, which took a sixth of the processor time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.benchmarks.machine_scaling import machine_scaling
from tests.benchmarks.measuring import scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size
from tests.benchmarks.process_tree import TreeUse
from tests.benchmarks.scale_bench import import_days
from tests.benchmarks.scale_data import CHANNELS, Fleet, write_days

__all__ = ["run"]

type _Run = tuple[int, int | None, bool]
"""Workers, cores for them and the job (None for all), and whether workers run half of the time."""

_RUNS: Final[tuple[_Run, ...]] = (
    (1, None, False),
    (2, None, False),
    (1, 1, False),
    (1, None, True),
    (2, None, True),
)
_TERABYTE: Final = 1000.0  # in GB


@dataclass(frozen=True, slots=True)
class _Scale:
    """What is imported, how often, how long `machine_scaling` takes, and what workers are."""

    fleet: Fleet
    days: int
    runs: int
    machine: tuple[float, int] = (1.0, 7)
    processes: bool = True


_SCALES: Final = {
    Size.FULL: _Scale(Fleet(1000, 1440), 224, 3),
    Size.QUICK: _Scale(Fleet(1000, 1440), 14, 3),
    Size.TINY: _Scale(Fleet(50, 48), 4, 1, (0.05, 1), processes=False),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure imports with one worker and with two; `show` is told about progress."""
    scale, rows = _SCALES[size], []
    with scratch_folder() as folder:
        (folder / "days").mkdir()
        files = write_days(scale.fleet, scale.days, folder / "days")
        show(f"{scale.days} days of {scale.fleet.devices:,} devices are written")
        folders = (folder / f"import-{number}" for number in count())
        idle = [
            0.0 if size is Size.TINY else _import(run, files[:1], next(folders))[1].cpu_seconds
            for run in _RUNS
        ]
        for turn in range(1, scale.runs + 1):
            for run, start in zip(_RUNS, idle, strict=True):
                done = _import(run, files, next(folders), scale.processes)
                rows.append(_row(turn, run, *done, start))
                told = {name: rows[-1][name] for name in ("workers", "cores", "speed")}
                show(f"run {turn} of {scale.runs}, {told}: {rows[-1]['seconds']:.1f} s")
    machine = machine_scaling(*scale.machine)
    return Outcome(_figures(rows, machine), rows, _NOTES)


def _import(
    run: _Run, files: Sequence[Path], folder: Path, processes: bool = True
) -> tuple[dict[str, Any], TreeUse]:
    workers, cores, turns = run
    arguments = {
        "n_workers": workers, "threads_per_worker": 1, "processes": processes,
        "dashboard_address": "127.0.0.1:0",
    }  # fmt: skip
    cluster = {"class": "distributed.LocalCluster", "arguments": arguments, "workers": workers}
    turns = turns and processes
    return import_days(files, folder, {"cluster": cluster}, "day", cores, turns=turns)


def _row(
    turn: int, run: _Run, report: Mapping[str, Any], use: TreeUse, idle: float
) -> dict[str, Any]:
    """Return what an import took; `idle` are the processor seconds that starting takes."""
    workers, cores, turns = run
    raw = report["rows"] * 8 * (1 + len(CHANNELS)) / 1e9
    return {
        "run": turn,
        "workers": workers,
        "cores": cores or "all",
        "speed": "half" if turns else "full",
        "raw_gb": raw,
        "seconds": report["seconds"],
        "gb_per_hour": 3600 * raw / report["seconds"],
        "cores_busy": max(use.cpu_seconds - idle, 0.0) / report["seconds"],
        "peak_rss_mb": use.peak_rss / 1e6,
        "partitions": report["partitions"],
    }


def _figures(rows: Sequence[Mapping[str, Any]], machine: float) -> dict[str, Figure]:
    one, two, alone, one_half, two_halves = (
        median(row["gb_per_hour"] for row in rows if _of(row) == run) for run in _RUNS
    )
    busy = median(row["cores_busy"] for row in rows if _of(row) == _RUNS[0])
    per_core = two / 2
    return {
        "gb_per_hour_per_core": Figure(per_core, "GB of raw rows, with two workers on two cores"),
        "scaling_2_workers": Figure(two / one, "speed of two workers by that of one"),
        "scaling_2_cores": Figure(
            two / alone, "speed of two workers on two cores by that of one on one core"
        ),
        "scaling_2_half_workers": Figure(
            two_halves / one_half,
            "speed of two workers by that of one, each let run half of the time, and job and scheduler always",
        ),
        "cores_busy_1_worker": Figure(
            busy, "cores that job, scheduler, one worker and its kernel keep busy"
        ),
        "machine_scaling": Figure(
            machine, "the same of two processes that only encode blocks: what two cores here give"
        ),
        "cores_for_1tb_hour": Figure(
            _TERABYTE / per_core, "cores that partition 1 TB of raw rows in an hour"
        ),
        "gb_per_hour_1_worker": Figure(one, "GB of raw rows, with one worker"),
        "gb_per_hour_2_workers": Figure(two, "GB of raw rows, with two workers"),
        "peak_rss_mb": Figure(
            max(row["peak_rss_mb"] for row in rows), "MB, job, scheduler and workers together"
        ),
    }


def _of(row: Mapping[str, Any]) -> _Run:
    cores = None if row["cores"] == "all" else row["cores"]
    return row["workers"], cores, row["speed"] == "half"


_NOTES: Final = (
    "Medians. A raw row is 8 bytes of time and 8 of each of two values; device ids count nothing.",
    "Job and scheduler run besides the workers, and on a machine of two cores take from theirs.",
    "Cores busy are those of the import: less what starting and an import of one file take.",
    "Cores for 1 TB in an hour assume: rows of the same kind (1,000 devices, two values, a file a",
    "day, partitions of a day and 256 devices), cores like these, input and archive on storage that",
    "keeps up with them (some 25 MB/s of Parquet and 1 MB/s of chunks a core), and workers that add",
    "up as two do here.",
)
