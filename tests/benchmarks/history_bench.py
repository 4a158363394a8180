"""History: thousands of small commits, then maintenance; is the archive small and fast again?

Every commit appends a row of each of a few devices, a minute later than the one before. After
maintenance, commits to the archive alternate with commits to a new one, so that what else the
machine does slows both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

import pipeline
from tests.benchmarks.measuring import folder_bytes, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError

__all__ = ["run"]

_DEVICES: Final = tuple(f"sensor-{at}" for at in range(4))
_START: Final = np.datetime64("2024-01-01T00:00", "us")
_MINUTE: Final = np.timedelta64(1, "m")


@dataclass(frozen=True, slots=True)
class _Scale:
    commits: int
    compared: int
    opened: int


_SCALES: Final = {
    Size.FULL: _Scale(10_000, 200, 50),
    Size.QUICK: _Scale(1_000, 100, 20),
    Size.TINY: _Scale(40, 5, 2),
}

_MEANINGS: Final = {
    "commits": "appends of 4 rows before the maintenance",
    "metadata_mb_before": "MB, all files but chunks, before the maintenance",
    "metadata_mb_after": "MB, the same afterwards",
    "archive_mb_after": "MB, all files afterwards",
    "blocks_before": "blocks in the index before the maintenance",
    "blocks_after": "the same afterwards",
    "maintenance_s": "s, merging blocks, expiry and garbage collection",
    "commit_p50_ms_before": "ms, median of the last appends before the maintenance",
    "commit_p50_ms_after": "ms, median of appends afterwards",
    "commit_p50_ms_fresh": "ms, median of appends to a new archive, in turns with those",
    "commit_growth": "median afterwards by median of the new archive",
    "open_ms": "ms, median: opening the archive and a fleet afterwards",
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Make a long history, maintain, and compare with a new archive."""
    scale = _SCALES[size]
    with scratch_folder() as folder:
        archive = pipeline.Archive.create(folder / "long")
        before = _appends(_fleet(archive), scale.commits, show)
        row: dict[str, Any] = {
            "commits": scale.commits,
            "metadata_mb_before": _metadata_mb(folder / "long"),
            "commit_p50_ms_before": _p50(before[-scale.compared :]),
        }
        row |= _maintained(archive)
        row |= _opened(folder / "long", scale.opened)
        row["metadata_mb_after"] = _metadata_mb(folder / "long")
        row["archive_mb_after"] = folder_bytes(folder / "long") / 1e6
        show(f"maintained in {row['maintenance_s']:.1f} s")
        row |= _compared(folder, scale)
        _check(pipeline.Archive.open(folder / "long"), scale)
    figures = {key: Figure(float(row[key]), meaning) for key, meaning in _MEANINGS.items()}
    return Outcome(figures, [row], _NOTES)


def _fleet(archive: pipeline.Archive) -> pipeline.Fleet:
    channels = [pipeline.Channel("temperature", "float64"), pipeline.Channel("door", "bool")]
    return archive.create_fleet("sensors", pipeline.Schema(channels))


def _append(fleet: pipeline.Fleet, step: int) -> float:
    """Append one row of every device and return the seconds it took."""
    values = 20 + np.round(5 * np.sin(step / 200 + np.arange(len(_DEVICES))), 1)
    rows = {
        "device": list(_DEVICES),
        "time": np.full(len(_DEVICES), _START + step * _MINUTE),
        "temperature": values,
        "door": np.arange(len(_DEVICES)) == step % 50,
    }
    began = time.perf_counter()
    fleet.append(rows)
    return time.perf_counter() - began


def _appends(fleet: pipeline.Fleet, commits: int, show: Callable[[str], None]) -> list[float]:
    seconds = []
    for step in range(commits):
        seconds.append(_append(fleet, step))
        if (step + 1) % 1000 == 0:
            show(f"{step + 1} of {commits} commits, now {_p50(seconds[-200:]):.0f} ms each")
    return seconds


def _maintained(archive: pipeline.Archive) -> dict[str, float]:
    began = time.perf_counter()
    done = archive.maintain(history="0 s", safety="0 s", alone=True)
    seconds = time.perf_counter() - began
    compacted = done.fleets["sensors"].compacted
    if compacted is None or done.forgotten.snapshots == 0:
        msg = "the maintenance merged or expired nothing"
        raise WrongResultError(msg)
    return {
        "maintenance_s": seconds,
        "blocks_before": compacted.blocks_before,
        "blocks_after": compacted.blocks_after,
    }


def _opened(folder: Path, times: int) -> dict[str, float]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        pipeline.Archive.open(folder).fleet("sensors")
        seconds.append(time.perf_counter() - began)
    return {"open_ms": _p50(seconds)}


def _compared(folder: Path, scale: _Scale) -> dict[str, float]:
    old = pipeline.Archive.open(folder / "long").fleet("sensors")
    new = _fleet(pipeline.Archive.create(folder / "new"))
    # The first appends read what later ones remember.
    after, fresh = [], []
    for step in range(scale.compared + 1):
        after.append(_append(old, scale.commits + step))
        fresh.append(_append(new, scale.commits + step))
    found = {"commit_p50_ms_after": _p50(after[1:]), "commit_p50_ms_fresh": _p50(fresh[1:])}
    return found | {"commit_growth": found["commit_p50_ms_after"] / found["commit_p50_ms_fresh"]}


def _check(archive: pipeline.Archive, scale: _Scale) -> None:
    expected = scale.commits + scale.compared + 1
    rows = archive.fleet("sensors").read().read_all().num_rows
    if rows != expected * len(_DEVICES):
        msg = f"the archive holds {rows} rows, not {expected * len(_DEVICES)}"
        raise WrongResultError(msg)
    if not archive.verify().is_clean:
        msg = "the archive is not clean after maintenance"
        raise WrongResultError(msg)


def _metadata_mb(folder: Path) -> float:
    return (folder_bytes(folder) - folder_bytes(folder / "chunks")) / 1e6


def _p50(seconds: list[float]) -> float:
    return 1000 * median(seconds)


_NOTES: Final = (
    "Appends are durable: each waits until the disk has its bytes.",
    "Small chunks lie inside of manifests, so metadata here is nearly all there is.",
)
