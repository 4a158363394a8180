"""Devices: what a fleet costs as more and more devices are registered in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import pyarrow as pa

import pipeline
from tests.benchmarks.measuring import scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError

__all__ = ["run"]

_DAY: Final = np.datetime64("2026-03-01", "us")
_READINGS: Final = 24
_ROWS: Final = 1000
_FEW: Final = 10
_SCHEMA: Final = pipeline.Schema([pipeline.Channel("temperature", "float64", units="degC")])


@dataclass(frozen=True, slots=True)
class _Scale:
    devices: tuple[int, ...]
    rounds: int


_SCALES: Final = {
    Size.FULL: _Scale((1000, 10_000, 100_000, 1_000_000), 15),
    Size.QUICK: _Scale((1000, 10_000, 100_000), 7),
    Size.TINY: _Scale((100, 1000), 2),
}

_MEANINGS: Final = {
    "register_ms": "ms a thousand devices, all registered in one batch with two tags each",
    "register_one_ms": "ms, one new device with two tags, durable",
    "open_ms": "ms, opening the archive and the fleet",
    "read_ms": "ms, a day of one device, fleet just opened",
    "aggregate_ms": "ms, mean, minimum and maximum of a device's day, fleet just opened",
    "latest_ms": "ms, newest reading of one device, fleet just opened",
    "append_ms": "ms, 1,000 rows of 10 devices, durable",
    "append_spread_ms": "ms, 1,000 rows of as many devices as there are up to 1,000, durable",
}
_GROWTHS: Final = {
    "register_growth": ("register_ms",),
    "register_one_growth": ("register_one_ms",),
    "open_growth": ("open_ms",),
    "query_growth": ("read_ms", "aggregate_ms", "latest_ms"),
    "append_growth": ("append_ms",),
    "append_spread_growth": ("append_spread_ms",),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure fleets of growing numbers of devices in turn; `show` is told about progress."""
    scale = _SCALES[size]
    with scratch_folder() as folder:
        fleets = []
        for devices in scale.devices:
            fleets.append(_Fleet.filled(folder / str(devices), devices))
            show(f"{devices:,} devices: registered in {fleets[-1].registering:.2f} s")
        rows = []
        for turn in range(scale.rounds):
            rows += [
                {"devices": one.devices, "round": turn, **one.measured(turn)} for one in fleets
            ]
            show(f"round {turn + 1} of {scale.rounds}")
    return Outcome(_figures(rows, scale.devices), rows, _NOTES)


@dataclass(frozen=True, slots=True)
class _Fleet:
    """A fleet whose devices sent 24 readings each on one day.

    Parameters
    ----------
    folder
        Its archive.
    devices
        Devices registered.
    registering
        Seconds it took.
    """

    folder: Path
    devices: int
    registering: float

    @classmethod
    def filled(cls, folder: Path, devices: int) -> _Fleet:
        archive = pipeline.Archive.create(folder)
        # The first commit of a process loads code; small fleets would be charged with it.
        _create(archive, "warmup").set_tags(_tags(range(10)))
        fleet = _create(archive, "fleet")
        tags = _tags(range(devices))
        began = time.perf_counter()
        fleet.set_tags(tags)
        seconds = time.perf_counter() - began
        for start in range(0, devices, 100_000):
            fleet.append(_readings(range(start, min(start + 100_000, devices))))
        return cls(folder, devices, seconds)

    def measured(self, turn: int) -> dict[str, float]:
        """Return how long everything takes, in milliseconds."""
        return {
            "register_ms": 1e6 * self.registering / self.devices,
            **dict(self._questions(turn)),
            **dict(self._changes(turn)),
        }

    def _questions(self, turn: int) -> Iterator[tuple[str, float]]:
        device = f"device-{(turn * 7919 + 17) % self.devices:07}"
        day = (_DAY, _DAY + np.timedelta64(1, "D"))
        fleet, took = _timed(self._open)
        yield "open_ms", took
        rows, took = _timed(lambda: fleet.read(device, day).read_all())
        yield "read_ms", took
        fleet = self._open()
        wanted = {"temperature": ["mean", "min", "max", "count"]}
        answer, took = _timed(lambda: fleet.aggregate(wanted, devices=device, time=day))
        yield "aggregate_ms", took
        fleet = self._open()
        newest, took = _timed(lambda: fleet.latest(device))
        yield "latest_ms", took
        found = (rows.num_rows, int(answer["temperature_count"].item()), newest.sizes["device"])
        if found != (_READINGS, _READINGS, 1):
            msg = f"{self.devices} devices: {device} has {found} rows, not {_READINGS}"
            raise WrongResultError(msg)

    def _changes(self, turn: int) -> Iterator[tuple[str, float]]:
        fleet = self._open()
        # Another day for each kind, so that no row is late.
        few = _append_rows(self.devices, _FEW, 1, turn)
        yield "append_ms", _timed(lambda: fleet.append(few))[1]
        spread = _append_rows(self.devices, min(_ROWS, self.devices), 2, turn)
        yield "append_spread_ms", _timed(lambda: fleet.append(spread))[1]
        new = _tags([10_000_000 + turn])
        yield "register_one_ms", _timed(lambda: fleet.set_tags(new))[1]

    def _open(self) -> pipeline.Fleet:
        fleet = pipeline.Archive.open(self.folder)["fleet"]
        if fleet.schema != _SCHEMA:
            msg = f"{self.folder}: the fleet has another schema"
            raise WrongResultError(msg)
        return fleet


def _create(archive: pipeline.Archive, name: str) -> pipeline.Fleet:
    return archive.create_fleet(name, _SCHEMA, pipeline.Partitioning("1 day"))


def _tags(numbers: Any) -> dict[str, dict[str, str]]:
    return {f"device-{at:07}": {"site": f"site-{at % 97}", "model": f"m{at % 7}"} for at in numbers}


def _readings(numbers: range) -> pa.Table:
    ids = [f"device-{at:07}" for at in numbers]
    index = np.repeat(np.arange(len(numbers), dtype=np.int32), _READINGS)
    hours = np.tile(np.arange(_READINGS), len(numbers)) * np.timedelta64(1, "h")
    return pa.table(
        {
            "device": pa.DictionaryArray.from_arrays(pa.array(index), pa.array(ids)),
            "time": _DAY + hours,
            "temperature": np.round(20 + np.sin(np.arange(len(index)) / 9), 1),
        }
    )


def _append_rows(devices: int, senders: int, day: int, turn: int) -> pa.Table:
    numbers = np.linspace(0, devices - 1, senders).astype(np.int64)
    ids = [f"device-{at:07}" for at in numbers.tolist()]
    each = _ROWS // senders
    steps = np.tile(np.arange(each), senders) + turn * each
    return pa.table(
        {
            "device": np.repeat(np.array(ids, dtype=object), each),
            "time": _DAY + np.timedelta64(day, "D") + steps * np.timedelta64(1, "s"),
            "temperature": np.round(20 + np.sin(steps / 9), 1),
        }
    )


def _timed[R](function: Callable[[], R]) -> tuple[R, float]:
    began = time.perf_counter()
    result = function()
    return result, 1000 * (time.perf_counter() - began)


def _figures(rows: list[dict[str, Any]], sizes: tuple[int, ...]) -> Mapping[str, Figure]:
    small, large = sizes[0], 100_000 if 100_000 in sizes else sizes[-1]
    found = {
        (devices, key): float(median(row[key] for row in rows if row["devices"] == devices))
        for devices in sizes
        for key in _MEANINGS
    }
    figures = {
        name: Figure(
            sum(found[large, key] for key in keys) / sum(found[small, key] for key in keys),
            f"{large:,} devices against {small:,}: {' + '.join(keys)}",
        )
        for name, keys in _GROWTHS.items()
    }
    for devices in sizes:
        for key, meaning in _MEANINGS.items():
            name = f"{key.removesuffix('_ms')}_{devices}_ms"
            figures[name] = Figure(found[devices, key], f"{meaning}; {devices:,} devices")
    return figures


_NOTES: Final = (
    "Medians over rounds that take the fleets in turn. Every question is asked of a fleet that was "
    "opened for it, so that nothing of it is in memory. Data of each: 24 readings a device.",
)
