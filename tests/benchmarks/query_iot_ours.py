"""The truck queries as a user of the archive asks them: one question, then a little NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

import pipeline
from tests.benchmarks.query_questions import Draw

__all__ = ["IOT_OURS"]


def _tags(fleet: pipeline.Fleet, devices: NDArray[Any], names: Sequence[str]) -> pd.DataFrame:
    """Return tags of devices, in their order; a missing one is the empty text."""
    known = fleet.tags
    return pd.DataFrame(
        [[known.get(device, {}).get(name, "") for name in names] for device in devices.tolist()],
        columns=list(names),
    )


def _numbers(texts: pd.Series[str]) -> NDArray[np.float64]:
    """Return tags as numbers, NaN where one is missing."""
    return np.asarray(pd.to_numeric(texts, errors="coerce"), np.float64)


def _named(
    fleet: pipeline.Fleet,
    found: xr.Dataset,
    keep: NDArray[np.bool_],
    values: Sequence[str] = (),
) -> pd.DataFrame:
    """Return name, driver and values of the devices that are kept and have a name."""
    tags = _tags(fleet, found["device"].values, ("name", "driver"))
    for name in values:
        tags[name] = found[name].values
    return tags[keep & (tags["name"] != "").to_numpy()]


def _everyone(found: xr.Dataset) -> NDArray[np.bool_]:
    return np.ones(found.sizes["device"], np.bool_)


def last_loc(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Last known position of each truck of a fleet."""
    values = ("longitude", "latitude")
    found = fleet.latest(channels=values, where={"fleet": draw.fleet})
    return _named(fleet, found, _everyone(found), values)


def low_fuel(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Trucks of a fleet with less than a tenth of their fuel."""
    found = fleet.latest(channels="fuel_state", where={"fleet": draw.fleet})
    return _named(fleet, found, found["fuel_state"].values < 0.1, ("fuel_state",))


def high_load(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Trucks of a fleet loaded to more than nine tenths."""
    found = fleet.latest(channels="current_load", where={"fleet": draw.fleet})
    capacity = _numbers(_tags(fleet, found["device"].values, ("load_capacity",))["load_capacity"])
    keep = found["current_load"].values / capacity > 0.9
    return _named(fleet, found, keep, ("current_load",))


def stationary_trucks(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Trucks of a fleet that hardly moved within ten minutes."""
    found = fleet.aggregate(
        {"velocity": "mean"}, time=(draw.start, draw.stop), where={"fleet": draw.fleet}
    )
    return _named(fleet, found, found["velocity_mean"].values < 1)


def _long_sessions(periods: int) -> Callable[[pipeline.Fleet, Draw], pd.DataFrame]:
    def long_sessions(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
        """Trucks of a fleet that drove in more than so many ten-minute periods."""
        found = fleet.aggregate(
            {"velocity": "mean"},
            every="10 min",
            time=(draw.start, draw.stop),
            where={"fleet": draw.fleet},
        )
        driving = (found["velocity_mean"].values > 1).sum(axis=1)
        return _named(fleet, found, driving > periods)

    return long_sessions


def fuel_consumption(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Mean and nominal consumption while driving, by fleet."""
    name, kinds = "fuel_consumption", ("sum", "count", "missing")
    found = fleet.aggregate({name: kinds}, where={"velocity": "> 1"})
    tags = _tags(fleet, found["device"].values, ("fleet", "name", "nominal_fuel_consumption"))
    total, known, missing = (found[f"{name}_{kind}"].values for kind in kinds)
    rows = known + missing
    nominal = _numbers(tags["nominal_fuel_consumption"])
    sums = pd.DataFrame({"total": total, "known": known, "rows": rows, "nominal": rows * nominal})
    keep = (tags["fleet"] != "") & (tags["name"] != "") & ~np.isnan(nominal)
    by_fleet = sums[keep].groupby(tags["fleet"][keep]).sum()
    return pd.DataFrame(
        {
            "fleet": by_fleet.index,
            "avg_fuel_consumption": (by_fleet["total"] / by_fleet["known"]).to_numpy(),
            "projected_fuel_consumption": (by_fleet["nominal"] / by_fleet["rows"]).to_numpy(),
        }
    )


def _day_starts(found: xr.Dataset) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the days of an answer, and the number of its first period in each."""
    days, starts = np.unique(found["time"].values.astype("M8[D]"), return_index=True)
    return days, starts


def daily_driving_duration(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Mean hours a day each truck drives, over the days on which it does."""
    found = fleet.aggregate({"velocity": "mean"}, every="10 min")
    _, starts = _day_starts(found)
    driving = (found["velocity_mean"].values > 1).astype(np.int64)
    hours = np.add.reduceat(driving, starts, axis=1) / 6
    days = (hours > 0).sum(axis=1)
    tags = _tags(fleet, found["device"].values, ("fleet", "name", "driver"))
    tags["avg_daily_hours"] = hours.sum(axis=1) / np.maximum(days, 1)
    return tags[(tags["name"] != "") & (days > 0)]


def daily_driving_session(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Mean seconds that each truck drives without a stop, by the day on which it sets off."""
    found = fleet.aggregate({"velocity": "mean"}, every="10 min")
    mean = found["velocity_mean"].values
    truck, at = np.nonzero(~np.isnan(mean))
    driving = mean[truck, at] > 5
    same = truck[1:] == truck[:-1]
    change = np.flatnonzero(same & (driving[1:] != driving[:-1])) + 1
    time = found["time"].values[at[change]]
    seconds = np.full(len(change), np.nan)
    seconds[:-1] = np.diff(time) / np.timedelta64(1, "s")
    seconds[np.flatnonzero(np.diff(truck[change]))] = np.nan
    starts = driving[change]
    names = _tags(fleet, found["device"].values, ("name",))["name"].to_numpy()
    sessions = pd.DataFrame(
        {
            "name": names[truck[change][starts]],
            "day": time[starts].astype("M8[D]").astype("M8[us]"),
            "duration": seconds[starts],
        }
    )
    sessions = sessions[sessions["name"] != ""]
    return pd.DataFrame(sessions.groupby(["name", "day"])["duration"].mean().reset_index())


def mean_load(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Mean part of their capacity that trucks carry, by fleet, model and capacity."""
    found = fleet.aggregate({"current_load": "mean"})
    tags = _tags(fleet, found["device"].values, ("fleet", "model", "load_capacity", "name"))
    tags["load_capacity"] = _numbers(tags["load_capacity"])
    tags["avg_load_percentage"] = found["current_load_mean"].values / tags["load_capacity"]
    tags = tags[(tags["name"] != "") & found["current_load_mean"].notnull().values]
    by_model = tags.groupby(["fleet", "model", "load_capacity"], dropna=False)
    return pd.DataFrame(by_model["avg_load_percentage"].mean().reset_index())


def daily_activity(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """Readings in active ten-minute periods by 144, a day, fleet and model."""
    found = fleet.aggregate({"status": ["mean", "count", "missing"]}, every="10 min")
    days, starts = _day_starts(found)
    rows = found["status_count"].values + found["status_missing"].values
    active = np.where(found["status_mean"].values < 1, rows, 0)
    daily = np.add.reduceat(active, starts, axis=1)
    tags = _tags(fleet, found["device"].values, ("fleet", "model", "name"))
    truck, day = np.nonzero((daily > 0) & (tags["name"] != "").to_numpy()[:, None])
    table = tags[["fleet", "model"]].iloc[truck].assign(day=days[day].astype("M8[us]"))
    table["daily_activity"] = daily[truck, day] / 144
    return pd.DataFrame(table.groupby(["fleet", "model", "day"]).sum().reset_index())


def breakdown_frequency(fleet: pipeline.Fleet, draw: Draw) -> pd.DataFrame:
    """How often trucks broke down, by model: half of ten minutes with status 0 after less."""
    zero_or_not = pipeline.histogram([0, 1, 6])
    found = fleet.aggregate({"status": ["count", "missing", zero_or_not]}, every="10 min")
    rows = found["status_count"].values + found["status_missing"].values
    zeros = found["status_histogram"].values[:, :, 0]
    truck, at = np.nonzero(rows)
    broken = zeros[truck, at] * 2 >= rows[truck, at]
    begins = ~broken[:-1] & broken[1:] & (truck[1:] == truck[:-1])
    tags = _tags(fleet, found["device"].values, ("model", "name"))
    tags["breakdowns"] = np.bincount(truck[:-1][begins], minlength=len(tags))
    tags = tags[(tags["name"] != "") & (tags["breakdowns"] > 0)]
    return pd.DataFrame(tags.groupby("model")["breakdowns"].sum().reset_index())


IOT_OURS: Final[Mapping[str, Callable[[pipeline.Fleet, Draw], pd.DataFrame]]] = {
    "last-loc": last_loc,
    "low-fuel": low_fuel,
    "high-load": high_load,
    "stationary-trucks": stationary_trucks,
    "long-driving-sessions": _long_sessions(22),
    "long-daily-sessions": _long_sessions(60),
    "avg-vs-projected-fuel-consumption": fuel_consumption,
    "avg-daily-driving-duration": daily_driving_duration,
    "avg-daily-driving-session": daily_driving_session,
    "avg-load": mean_load,
    "daily-activity": daily_activity,
    "breakdown-frequency": breakdown_frequency,
}
"""By query type."""
