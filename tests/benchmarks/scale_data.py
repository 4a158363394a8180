"""Readings of the scale benchmarks, written ahead as Parquet: one file a day, all devices in it.

Rows lie as a gateway delivers them: in time order, all devices at every moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.simulation.channels import channel_presets
from pipeline.simulation.streams import COHORT, Slab, instant, random_stream, slabs

__all__ = ["CHANNELS", "Fleet", "days_of", "write_days"]

CHANNELS: Final = ("temperature", "humidity")
_START: Final = "2025-01-01T00:00:00Z"
_DAY: Final = 86_400_000_000
_DAYS_AT_ONCE: Final = 14  # simulated and held in memory together
_GROUP_ROWS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that is read at regular intervals.

    Parameters
    ----------
    devices
        Number of devices.
    readings_per_day
        Readings of every device in a day; a divisor of a day's microseconds.
    """

    devices: int
    readings_per_day: int

    @property
    def points_per_day(self) -> int:
        """Values of a day, of all devices and channels."""
        return len(CHANNELS) * self.devices * self.readings_per_day


def days_of(fleet: Fleet, points: int) -> int:
    """Return how many whole days hold at least `points` values."""
    return -(-points // fleet.points_per_day)


def write_days(fleet: Fleet, days: int, folder: Path, processes: int = 2) -> list[Path]:
    """Simulate `days` days and write one file each, named after the day's number.

    Parameters
    ----------
    fleet
        Who is read, and how often.
    days
        Files to write. Values of a day do not depend on how many days are written.
    folder
        An existing folder.
    processes
        Processes that work on stretches of days at the same time.
    """
    stretches = range(0, days, _DAYS_AT_ONCE)
    write = partial(_write_stretch, fleet, days=days, folder=folder)
    if len(stretches) == 1:
        write(stretches[0])
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            list(pool.map(write, stretches))
    return [_path(folder, day) for day in range(days)]


def _path(folder: Path, day: int) -> Path:
    return folder / f"{day:05d}.parquet"


def _write_stretch(fleet: Fleet, first: int, days: int, folder: Path) -> None:
    """Write the days of one stretch; each stretch is a simulation of its own."""
    count = fleet.readings_per_day
    stretch = range(first, min(first + _DAYS_AT_ONCE, days))
    simulated = _simulate(fleet, first)
    for day, (slab, values) in zip(stretch, simulated, strict=False):
        schema = _schema()
        with pq.ParquetWriter(_path(folder, day), schema, compression="zstd") as writer:
            step = max(_GROUP_ROWS // fleet.devices, 1)
            for at in range(0, count, step):
                part = slice(at, min(at + step, count))
                writer.write_table(_table(fleet, slab.time[part], values, part))


def _simulate(fleet: Fleet, first: int) -> Iterator[tuple[Slab, dict[str, NDArray[Any]]]]:
    """Yield each day of a stretch, with the values of every channel, shape (devices, readings)."""
    interval = _DAY // fleet.readings_per_day
    start = instant(_START) + first * _DAY
    readings = _DAYS_AT_ONCE * fleet.readings_per_day
    days = list(slabs(start, interval, readings, fleet.readings_per_day))
    walks = [
        {
            name: preset.walk(random_stream(0, name, cohort, first), days)
            for name, preset in channel_presets(CHANNELS).items()
        }
        for cohort in range(-(-fleet.devices // COHORT))
    ]
    for slab in days:
        blocks = {
            name: np.concatenate([next(walk[name]) for walk in walks])[: fleet.devices]
            for name in CHANNELS
        }
        yield slab, blocks


def _schema() -> pa.Schema:
    presets = channel_presets(CHANNELS)
    return pa.schema(
        [
            pa.field("device", pa.dictionary(pa.int32(), pa.string())),
            pa.field("time", pa.timestamp("us", "UTC")),
            *(preset.field(name) for name, preset in presets.items()),
        ]
    )


def _table(
    fleet: Fleet, time: NDArray[np.int64], values: dict[str, NDArray[Any]], part: slice
) -> pa.Table:
    ids = pa.array([f"device-{number:05d}" for number in range(fleet.devices)])
    codes = np.tile(np.arange(fleet.devices, dtype=np.int32), len(time))
    columns = [values[name][:, part].T.ravel() for name in CHANNELS]
    arrays = [
        pa.DictionaryArray.from_arrays(codes, ids),
        pa.array(np.repeat(time, fleet.devices)).cast(pa.timestamp("us", "UTC")),
        *map(pa.array, columns),
    ]
    return pa.Table.from_arrays(arrays, schema=_schema())
