"""The host queries as a user of the archive asks them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import xarray as xr

import pipeline
from pipeline.simulation.tsbs_cpu import CPU_FIELDS
from tests.benchmarks.query_questions import Draw

__all__ = ["CPU_OURS"]

type _Ours = Callable[[pipeline.Fleet, Draw], xr.Dataset | pa.Table]


def _hosts(draw: Draw) -> list[str] | None:
    return [f"host_{number}" for number in draw.devices] or None


def _greatest(metrics: int, every: str) -> _Ours:
    wanted = dict.fromkeys(CPU_FIELDS[:metrics], "max")

    def greatest(fleet: pipeline.Fleet, draw: Draw) -> xr.Dataset:
        """Greatest values of all hosts asked for, by minute or hour."""
        return fleet.aggregate(wanted, every, _hosts(draw), (draw.start, draw.stop), by=[])

    return greatest


def _hourly(metrics: int) -> _Ours:
    wanted = dict.fromkeys(CPU_FIELDS[:metrics], "mean")

    def hourly(fleet: pipeline.Fleet, draw: Draw) -> xr.Dataset:
        """Hourly means of each host."""
        return fleet.aggregate(wanted, "1 hour", time=(draw.start, draw.stop))

    return hourly


def high_cpu(fleet: pipeline.Fleet, draw: Draw) -> pa.Table:
    """Rows of busy hosts."""
    busy = {"usage_user": "> 90"}
    return fleet.read(_hosts(draw), (draw.start, draw.stop), where=busy).read_all()


def last_point(fleet: pipeline.Fleet, draw: Draw) -> xr.Dataset:
    """Newest row of each host."""
    return fleet.latest()


def last_minutes(fleet: pipeline.Fleet, draw: Draw) -> xr.Dataset:
    """Greatest use in the last five minutes with readings before a time."""
    minute: Any = draw.stop.astype("M8[m]")
    for back in (5, 60, 10**6):
        time = (minute - np.timedelta64(back, "m"), draw.stop)
        found = fleet.aggregate({"usage_user": "max"}, "1 min", time=time, by=[], fill="none")
        if found.sizes["time"] >= 5:
            break
    return found.isel(time=slice(-5, None))


CPU_OURS: Final[Mapping[str, _Ours]] = {
    "single-groupby-1-1-1": _greatest(1, "1 min"),
    "single-groupby-5-8-1": _greatest(5, "1 min"),
    "cpu-max-all-8": _greatest(10, "1 hour"),
    "double-groupby-1": _hourly(1),
    "double-groupby-all": _hourly(10),
    "high-cpu-1": high_cpu,
    "high-cpu-all": high_cpu,
    "lastpoint": last_point,
    "groupby-orderby-limit": last_minutes,
}
"""By query type."""
