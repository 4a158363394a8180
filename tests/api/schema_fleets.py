"""Fleets whose rows are of several versions of a schema."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

import pipeline
from pipeline.schema.changes import AddChannel, Categories, ChangeDtype, ChangeUnits, RenameChannel
from tests.support import memory_archive, minutes, rows_of

__all__ = [
    "SCHEMA",
    "assert_rows",
    "assert_statistics",
    "batch",
    "evolved_fleet",
    "expected_rows",
    "first_fleet",
    "frame",
]

SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("level", "float64", units="m"),
        pipeline.Channel("count", "int16"),
        pipeline.Channel("mode", "category"),
        pipeline.Channel("open", "bool"),
    ]
)


def batch(
    start: int, rows: int, devices: tuple[str, ...] = ("a", "b"), **more: Any
) -> dict[str, Any]:
    """Return rows of some minutes, with gaps, in the channels of the first version."""
    step = np.tile(np.arange(start, start + rows), len(devices))
    modes = np.array(["on", "off", "idle"], dtype=object)[step % 3]
    modes[step % 5 == 4] = None
    return {
        "device": np.repeat(devices, rows),
        "time": minutes(*step.tolist()),
        "level": np.where(step % 7 == 3, np.nan, step / 4 - 2),
        "count": (step % 100).astype(np.int16),
        "mode": modes,
        "open": step % 2 == 0,
        **more,
    }


def first_fleet(**options: Any) -> pipeline.Fleet:
    """Return a fleet with rows of its first version, half an hour of two devices."""
    window = options.pop("partitioning", pipeline.Partitioning("1 hour", 2, "1 hour"))
    fleet = memory_archive().create_fleet("fleet", SCHEMA, window, **options)
    fleet.append(batch(0, 30))
    return fleet


def evolved_fleet(**options: Any) -> pipeline.Fleet:
    """Return a fleet with rows of three versions, two of them in one hour."""
    fleet = first_fleet(**options)
    # Depth below the surface: greater values become less.
    fleet.evolve(
        ChangeUnits("level", "dm", multiply=-10, add=5),
        AddChannel(pipeline.Channel("extra", "float32")),
        AddChannel(pipeline.Channel("site", "int32"), default=7),
    )
    second = batch(30, 60)
    second["level"] = second["level"] * -10 + 5
    fleet.append(second | {"extra": np.arange(120) / 8, "site": np.arange(120)})
    fleet.evolve(
        ChangeDtype("count", "int64"),
        RenameChannel("mode", "state"),
        Categories("state", renamed=(("on", "running"), ("idle", "off"))),
    )
    third = batch(90, 45)
    third["level"] = third["level"] * -10 + 5
    third["state"] = np.array(
        [{"on": "running", "idle": "off"}.get(mode, mode) for mode in third.pop("mode")], object
    )
    third["count"] = third["count"].astype(np.int64) + 2**40
    fleet.append(third | {"site": 3})
    return fleet


def frame(fleet: pipeline.Fleet, **asked: Any) -> pd.DataFrame:
    return rows_of(fleet.read(**asked)).sort_values(["device", "time"], ignore_index=True)


def expected_rows() -> pd.DataFrame:
    """Return what the newest version of `evolved_fleet` shows, computed otherwise."""
    parts = [batch(0, 30), batch(30, 60), batch(90, 45)]
    found = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    found["level"] = found["level"] * -10 + 5
    found["count"] = found["count"].astype(np.int64)
    found.loc[180:, "count"] += 2**40
    found["state"] = found.pop("mode").replace({"on": "running", "idle": "off"})
    found["extra"] = np.concatenate([np.full(60, np.nan), np.arange(120) / 8, np.full(90, np.nan)])
    found["site"] = np.concatenate([np.full(60, 7), np.arange(120), np.full(90, 3)])
    found["time"] = found["time"].astype("M8[us]").astype("int64")
    return found.sort_values(["device", "time"], ignore_index=True)


def assert_rows(fleet: pipeline.Fleet) -> None:
    found, expected = frame(fleet), expected_rows()
    assert fleet.schema.names == ("level", "count", "state", "open", "extra", "site")
    assert len(found) == len(expected)
    assert found["device"].tolist() == expected["device"].tolist()
    for name in ("time", "level", "count", "open", "extra", "site"):
        np.testing.assert_array_equal(
            found[name].to_numpy(float), expected[name].to_numpy(float), err_msg=name
        )
    assert _texts(found["state"]) == _texts(expected["state"])


def _texts(values: pd.Series[Any]) -> list[str | None]:
    return [text if isinstance(text, str) else None for text in values.tolist()]


STATISTICS = {
    "level": ["count", "min", "max", "sum", "mean", "std", "first", "last", "missing"],
    "count": ["min", "max", "first", "last", "range", "delta"],
    "site": ["count", "min", "max", "sum", "first", "last"],
    "extra": ["count", "mean", "missing"],
    "state": ["count", "first", "last"],
    "open": ["count", "sum"],
}


def assert_statistics(fleet: pipeline.Fleet, every: str | None, **asked: Any) -> None:
    """Compare statistics with pandas over the rows that are read."""
    rows = frame(fleet, **{key: value for key, value in asked.items() if key != "statistics"})
    answer = fleet.aggregate(STATISTICS, every=every, **asked)
    length = {"1h": 3_600_000_000, "15min": 900_000_000, None: None}[every]
    rows["bin"] = 0 if length is None else rows["time"] // length * length
    for key, part in rows.groupby(["device", "bin"]):
        device, start = cast("tuple[str, int]", key)
        cell = answer.sel(device=device)
        if length is not None:
            cell = cell.sel(time=np.datetime64(start, "us"))
        for channel, names in STATISTICS.items():
            values = part[channel].dropna()
            for name in names:
                found = cell[f"{channel}_{name}"].values[()]
                wanted = _pandas(values, part, name)
                where = f"{device} {start} {channel} {name}"
                if isinstance(wanted, str):
                    assert str(found) == wanted, where
                else:
                    np.testing.assert_allclose(float(found), wanted, rtol=1e-9, err_msg=where)


def _pandas(values: pd.Series[Any], part: pd.DataFrame, name: str) -> Any:
    if name == "missing":
        return len(part) - len(values)
    if name == "std":
        return values.std(ddof=0)
    if name in ("first", "last"):
        if not len(values):
            return np.nan
        one = values.iloc[0 if name == "first" else -1]
        return one if isinstance(one, str) else float(one)
    if name == "range":
        return float(values.max() - values.min())
    if name == "delta":
        return float(values.iloc[-1] - values.iloc[0])
    return float(getattr(values.astype(float) if name != "count" else values, name)())
