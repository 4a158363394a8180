"""Schemas: what it costs to change one, to read over versions, and to migrate while rows arrive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pyarrow as pa

import pipeline
from pipeline.archive.stored_chunks import raw_paths, stored_chunks
from pipeline.schema.changes import (
    AddChannel,
    Change,
    ChangeDtype,
    ChangeUnits,
    RemoveChannel,
    RenameChannel,
)
from tests.benchmarks.measuring import scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError

__all__ = ["run"]

_START: Final = np.datetime64("2026-01-01", "us")
_SCHEMA: Final = pipeline.Schema(
    [
        pipeline.Channel("temperature", "float64", units="degC"),
        pipeline.Channel("humidity", "float64", units="percent"),
        pipeline.Channel("count", "int16"),
        pipeline.Channel("state", "category"),
    ]
)
_ROW_BYTES: Final = 4 + 8 + 8 + 8 + 2 + 4
_HUNDRED_GB: Final = 1e11


@dataclass(frozen=True, slots=True)
class _Scale:
    devices: int
    minutes: int
    days: int


_SCALES: Final = {
    Size.FULL: _Scale(1000, 1440, 410),
    Size.QUICK: _Scale(1000, 1440, 8),
    Size.TINY: _Scale(20, 48, 2),
}
_EVOLUTIONS: Final[tuple[tuple[Change, ...], ...]] = (
    (AddChannel(pipeline.Channel("pressure", "float32", units="hPa")),),
    (RenameChannel("pressure", "air pressure"),),
    (RemoveChannel("air pressure"),),
)
_CHANGED: Final = (
    ChangeDtype("count", "int64"),
    ChangeUnits("temperature", "degF", multiply=9, add=160, divide=5),
)


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure one archive; `show` is told about progress."""
    scale = _SCALES[size]
    with scratch_folder() as folder:
        archive = pipeline.Archive.create(folder / "archive")
        fleet = archive.create_fleet("fleet", _SCHEMA, pipeline.Partitioning("1 day"))
        for day in range(scale.days):
            fleet.append(_day(scale, day))
        rows = scale.devices * scale.minutes * scale.days
        show(f"{rows:,} rows, {rows * _ROW_BYTES / 1e9:.2f} GB raw")
        chunks = _raw_chunks(fleet)
        evolved = [_milliseconds(lambda: fleet.evolve(*changes)) for changes in _EVOLUTIONS]  # noqa: B023
        asked: dict[str, Any] = {"temperature": ["mean", "max"]}
        plain = _median_ms(lambda: _opened(folder).aggregate(asked, every="1 day", by=[]))
        before = _milliseconds(lambda: _drained(fleet, 1))
        evolved.append(_milliseconds(lambda: fleet.evolve(*_CHANGED)))
        rewritten = len(_raw_chunks(fleet) ^ chunks)
        converted = _median_ms(lambda: _opened(folder).aggregate(asked, every="1 day", by=[]))
        reading = _milliseconds(lambda: _drained(fleet, 1))
        rewrite = _rewritten_s(fleet, folder)
        show(f"evolved in {max(evolved):.0f} ms, {rewritten} raw chunks changed")
        done, seconds, added = _migrated(folder)
        show(f"migrated in {seconds:.1f} s, with {added} live appends")
        _check(fleet, rows, added)
    speed = done.raw_bytes / 1e6 / seconds
    row = {"rows": rows, "raw_gb": done.raw_bytes / 1e9, "seconds": seconds, "appends": added}
    figures: Mapping[str, Figure] = {
        "evolve_ms": Figure(max(evolved), "ms, the slowest of four evolutions, durable"),
        "raw_chunks_rewritten": Figure(rewritten, "raw chunks that differ after four evolutions"),
        "converted_read": Figure(reading / before, "reading a day converted, against as stored"),
        "converted_aggregate": Figure(
            converted / plain, "daily means and maxima converted, against as stored"
        ),
        "migrate_mb_per_s": Figure(speed, "MB of raw rows a second, two cores, appends going on"),
        "migrate_vs_rewrite": Figure(
            rewrite / (seconds / scale.days),
            "times as fast as reading a day and appending it to a new fleet",
        ),
        "migrate_100_gb_minutes": Figure(_HUNDRED_GB / 1e6 / speed / 60, "minutes for 100 GB raw"),
    }
    return Outcome(figures, [row], _NOTES)


def _day(scale: _Scale, day: int) -> pa.Table:
    random = np.random.default_rng(day)
    count = scale.devices * scale.minutes
    steps = np.tile(np.arange(scale.minutes), scale.devices)
    ids = [f"device-{at:05}" for at in range(scale.devices)]
    index = np.repeat(np.arange(scale.devices, dtype=np.int32), scale.minutes)
    walk = (
        20 + 5 * np.sin(steps / 200) + np.repeat(random.normal(0, 2, scale.devices), scale.minutes)
    )
    codes = pa.array(((steps // 90) % 3).astype(np.int32))
    return pa.table(
        {
            "device": pa.DictionaryArray.from_arrays(pa.array(index), pa.array(ids)),
            "time": _START + np.timedelta64(day, "D") + steps * np.timedelta64(1, "m"),
            "temperature": np.round(walk + random.normal(0, 0.1, count), 1),
            "humidity": np.round(50 + 10 * np.cos(steps / 150) + random.normal(0, 0.2, count), 1),
            "count": (steps % 1000).astype(np.int16),
            "state": pa.DictionaryArray.from_arrays(codes, pa.array(["on", "off", "idle"])),
        }
    )


def _opened(folder: Path) -> pipeline.Fleet:
    return pipeline.Archive.open(folder / "archive")["fleet"]


def _raw_chunks(fleet: pipeline.Fleet) -> set[str]:
    view = fleet._view()
    paths = raw_paths(view.store, view.meta.layout)
    return {f"{path}{at}" for path in paths for at in stored_chunks(view.store, path)}


def _drained(fleet: pipeline.Fleet, days: int) -> int:
    time_range = (_START, _START + np.timedelta64(days, "D"))
    return sum(batch.num_rows for batch in fleet.read(time=time_range))


def _rewritten_s(fleet: pipeline.Fleet, folder: Path) -> float:
    """Return how long reading a day in the newest version and appending it elsewhere takes."""
    other = pipeline.Archive.create(folder / "other")
    copy = other.create_fleet("fleet", fleet.schema, pipeline.Partitioning("1 day"))
    began = time.perf_counter()
    copy.append(fleet.read(time=(_START, _START + np.timedelta64(1, "D"))).read_all())
    return time.perf_counter() - began


def _migrated(folder: Path) -> tuple[Any, float, int]:
    """Migrate while another thread appends; return what was done, how long, and the appends."""
    done, added = threading.Event(), 0

    def write() -> None:
        nonlocal added
        writer = _opened(folder)
        while not done.is_set():
            moment = _START - np.timedelta64(added + 1, "s")
            writer.append({"device": ["live"], "time": np.array([moment]), "temperature": [1.0]})
            added += 1
            time.sleep(0.05)

    thread = threading.Thread(target=write)
    thread.start()
    fleet = _opened(folder)
    began = time.perf_counter()
    try:
        found = fleet.migrate()
        seconds = time.perf_counter() - began
    finally:
        done.set()
        thread.join()
    return found, seconds, added


def _check(fleet: pipeline.Fleet, rows: int, added: int) -> None:
    left = fleet.migrate(dry_run=True).blocks
    answer = fleet.aggregate({"temperature": ["count", "missing"]}, by=[])
    found = int(answer["temperature_count"]) + int(answer["temperature_missing"])
    if left or found != rows + added:
        msg = f"{left} blocks were not migrated, and {found} of {rows + added} rows are there"
        raise WrongResultError(msg)


def _milliseconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - began)


def _median_ms(function: Callable[[], Any]) -> float:
    return median(_milliseconds(function) for _ in range(5))


_NOTES: Final = (
    "Four channels and 34 raw bytes a row. The migration changes the dtype of one channel and the "
    "units of another, on the cores of this machine, while a thread appends 20 rows a second.",
)
