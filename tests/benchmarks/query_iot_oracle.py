"""What the truck queries mean, in pandas: slow, plain, and what the others have to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pandas as pd

from tests.benchmarks.query_data import Dataset
from tests.benchmarks.query_questions import Draw

__all__ = ["IOT_ORACLE"]

_TEN_MINUTES: Final = pd.Timedelta("10min")


def _asked(data: Dataset, draw: Draw) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the draw's time and trucks that have a name, and those trucks."""
    tags = data.tags.drop(columns="device")
    trucks = tags[tags["name"].notna() & ((tags["fleet"] == draw.fleet) | (draw.fleet == ""))]
    rows = data.rows
    rows = rows[(rows["time"] >= draw.start) & (rows["time"] < draw.stop)]
    return rows[rows["device"].isin(trucks.index)], trucks


def _newest(rows: pd.DataFrame) -> Any:
    """Return each truck's last known values: `last` skips missing ones."""
    return rows.groupby("device").last()


def _ten_minutes(rows: pd.DataFrame) -> Any:
    """Group rows by truck and ten minutes."""
    return rows.groupby(["device", rows["time"].dt.floor(_TEN_MINUTES)])


def last_loc(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Last known position of each truck of a fleet."""
    rows, trucks = _asked(data, draw)
    found = trucks[["name", "driver"]].join(_newest(rows)[["longitude", "latitude"]], how="inner")
    return pd.DataFrame(found)


def low_fuel(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Trucks of a fleet with less than a tenth of their fuel."""
    rows, trucks = _asked(data, draw)
    found = trucks[["name", "driver"]].join(_newest(rows)[["fuel_state"]], how="inner")
    return pd.DataFrame(found[found["fuel_state"] < 0.1])


def high_load(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Trucks of a fleet loaded to more than nine tenths."""
    rows, trucks = _asked(data, draw)
    found = trucks.join(_newest(rows)[["current_load"]], how="inner")
    found = found[found["current_load"] / found["load_capacity"] > 0.9]
    return pd.DataFrame(found[["name", "driver", "current_load"]])


def stationary_trucks(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Trucks of a fleet that hardly moved within ten minutes."""
    rows, trucks = _asked(data, draw)
    mean = rows.groupby("device")["velocity"].mean()
    return pd.DataFrame(trucks.loc[mean.index[mean < 1], ["name", "driver"]])


def _driving(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the ten-minute periods in which a truck's mean velocity was above 1."""
    mean = _ten_minutes(rows)["velocity"].mean()
    return pd.DataFrame(mean[mean > 1].reset_index())


def _long_sessions(periods: int) -> Callable[[Dataset, Draw], pd.DataFrame]:
    def long_sessions(data: Dataset, draw: Draw) -> pd.DataFrame:
        """Trucks of a fleet that drove in more than so many ten-minute periods."""
        rows, trucks = _asked(data, draw)
        number = _driving(rows).groupby("device").size()
        return pd.DataFrame(trucks.loc[number.index[number > periods], ["name", "driver"]])

    return long_sessions


def fuel_consumption(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Mean and nominal consumption while driving, by fleet."""
    rows, trucks = _asked(data, draw)
    trucks = trucks[trucks["fleet"].notna() & trucks["nominal_fuel_consumption"].notna()]
    driving = rows[rows["velocity"] > 1].join(trucks, on="device", how="inner")
    by_fleet = driving.groupby("fleet")
    found = by_fleet[["fuel_consumption", "nominal_fuel_consumption"]].mean()
    found.columns = pd.Index(["avg_fuel_consumption", "projected_fuel_consumption"])
    return pd.DataFrame(found.reset_index())


def daily_driving_duration(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Mean hours a day each truck drives, over the days on which it does."""
    rows, trucks = _asked(data, draw)
    driving = _driving(rows)
    hours = driving.groupby(["device", driving["time"].dt.floor("D")]).size() / 6
    found = hours.groupby("device").mean().rename("avg_daily_hours")
    return pd.DataFrame(trucks[["fleet", "name", "driver"]].join(found, how="inner"))


def daily_driving_session(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Mean seconds that each truck drives without a stop, by the day on which it sets off."""
    rows, trucks = _asked(data, draw)
    mean = _ten_minutes(rows)["velocity"].mean().dropna()
    status = pd.DataFrame((mean > 5).rename("driving").reset_index())
    before = status.groupby("device")["driving"].shift()
    changes = status[before.notna() & (status["driving"] != before)]
    stop = changes.groupby("device")["time"].shift(-1)
    changes = changes.assign(duration=(stop - changes["time"]).dt.total_seconds())
    sessions = changes[changes["driving"]].join(trucks["name"], on="device", how="inner")
    by_day = sessions.groupby(["name", sessions["time"].dt.floor("D").rename("day")])
    return pd.DataFrame(by_day["duration"].mean().reset_index())


def mean_load(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Mean part of their capacity that trucks carry, by fleet, model and capacity."""
    rows, trucks = _asked(data, draw)
    found = trucks.join(rows.groupby("device")["current_load"].mean(), how="inner")
    part = (found["current_load"] / found["load_capacity"]).rename("avg_load_percentage")
    keys = [found[name] for name in ("fleet", "model", "load_capacity")]
    return pd.DataFrame(part.groupby(keys, dropna=False).mean().reset_index())


def daily_activity(data: Dataset, draw: Draw) -> pd.DataFrame:
    """Readings in active ten-minute periods by 144, a day, fleet and model."""
    rows, trucks = _asked(data, draw)
    periods = _ten_minutes(rows)["status"].agg(["mean", "size"]).reset_index()
    active = periods[periods["mean"] < 1].join(trucks[["fleet", "model"]], on="device", how="inner")
    keys = [active["fleet"], active["model"], active["time"].dt.floor("D").rename("day")]
    found = (active["size"].groupby(keys, dropna=False).sum() / 144).rename("daily_activity")
    return pd.DataFrame(found.reset_index())


def breakdown_frequency(data: Dataset, draw: Draw) -> pd.DataFrame:
    """How often trucks broke down, by model: half of ten minutes with status 0 after less."""
    rows, trucks = _asked(data, draw)
    rows = rows.assign(broken=rows["status"] == 0)
    share = _ten_minutes(rows)["broken"].mean().rename("share").reset_index()
    broken = share["share"] >= 0.5
    following = broken.groupby(share["device"]).shift(-1, fill_value=False)
    begins = share[~broken & following].join(trucks["model"], on="device", how="inner")
    return pd.DataFrame(
        begins.groupby("model", dropna=False).size().rename("breakdowns").reset_index()
    )


IOT_ORACLE: Final[Mapping[str, Callable[[Dataset, Draw], pd.DataFrame]]] = {
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
