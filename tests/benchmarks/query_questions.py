"""The query types of the Time Series Benchmark Suite, and random parameters for them.

References
----------
Time Series Benchmark Suite, https://github.com/timescale/tsbs, ``cmd/tsbs_generate_queries``:
``uses/iot``, ``uses/devops`` (durations, numbers of hosts) and ``databases`` (meanings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tests.benchmarks.query_data import START, Dataset, Measurement

__all__ = ["FLEETS", "QUESTIONS", "Draw", "Question"]

FLEETS: Final = ("East", "West", "North", "South")


@dataclass(frozen=True, slots=True)
class Draw:
    """The parameters of one call.

    Parameters
    ----------
    start, stop
        Half-open time range, whole seconds.
    devices
        Numbers of the devices that are asked about, ascending; empty for all.
    fleet
        Of the trucks that are asked about; empty for all.
    """

    start: np.datetime64
    stop: np.datetime64
    devices: tuple[int, ...] = ()
    fleet: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One query type.

    Parameters
    ----------
    name
        The suite's name of it.
    measurement
        Which data set it is about.
    keys
        Columns of the answer that no two of its rows share.
    hours
        Length of its time range; 0 for all time.
    devices
        How many random devices it asks about; 0 for all.
    by_fleet
        Whether it asks about one random fleet of trucks.
    """

    name: str
    measurement: Measurement
    keys: tuple[str, ...]
    hours: float = 0.0
    devices: int = 0
    by_fleet: bool = False

    def draw(self, rng: np.random.Generator, data: Dataset) -> Draw:
        """Return random parameters: a range inside of the data's, devices, a fleet."""
        whole: Any = (data.stop - START) // np.timedelta64(1, "s")
        seconds = min(round(self.hours * 3600) or whole, whole)
        start = START + np.timedelta64(int(rng.integers(0, whole - seconds + 1)), "s")
        number = min(self.devices, len(data.tags))
        devices = sorted(rng.permutation(len(data.tags))[:number].tolist())
        fleet = FLEETS[int(rng.integers(len(FLEETS)))] if self.by_fleet else ""
        return Draw(start, start + np.timedelta64(seconds, "s"), tuple(devices), fleet)

    @property
    def is_fixed(self) -> bool:
        """Whether it has no parameters."""
        return not (self.hours or self.devices or self.by_fleet)


_TRUCK: Final = ("name",)

QUESTIONS: Final = (
    Question("last-loc", "readings", _TRUCK, by_fleet=True),
    Question("stationary-trucks", "readings", _TRUCK, 1 / 6, by_fleet=True),
    Question("long-driving-sessions", "readings", _TRUCK, 4, by_fleet=True),
    Question("long-daily-sessions", "readings", _TRUCK, 24, by_fleet=True),
    Question("avg-vs-projected-fuel-consumption", "readings", ("fleet",)),
    Question("avg-daily-driving-duration", "readings", _TRUCK),
    Question("avg-daily-driving-session", "readings", ("name", "day")),
    Question("low-fuel", "diagnostics", _TRUCK, by_fleet=True),
    Question("high-load", "diagnostics", _TRUCK, by_fleet=True),
    Question("avg-load", "diagnostics", ("fleet", "model", "load_capacity")),
    Question("daily-activity", "diagnostics", ("fleet", "model", "day")),
    Question("breakdown-frequency", "diagnostics", ("model",)),
    Question("single-groupby-1-1-1", "cpu", ("time",), 1, devices=1),
    Question("single-groupby-5-8-1", "cpu", ("time",), 1, devices=8),
    Question("cpu-max-all-8", "cpu", ("time",), 8, devices=8),
    Question("double-groupby-1", "cpu", ("device", "time"), 24),
    Question("double-groupby-all", "cpu", ("device", "time"), 24),
    Question("high-cpu-1", "cpu", ("device", "time"), 24, devices=1),
    Question("high-cpu-all", "cpu", ("device", "time"), 24),
    Question("lastpoint", "cpu", ("device",)),
    Question("groupby-orderby-limit", "cpu", ("time",), 1),
)
"""All query types, those of one data set together."""
