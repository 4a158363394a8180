"""What is counted and summarised where blocks lie is what pandas finds in the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipeline

START = np.datetime64("2026-01-01T00:00", "us")
MINUTES = 300
EDGES = [0, 1, 3, 6]
DEVICES = [f"d{number}" for number in range(7)]


def _frame() -> pd.DataFrame:
    """Return rows of seven devices, a minute apart and some lost, values now and then missing."""
    rng = np.random.default_rng(4)
    parts: list[pd.DataFrame] = []
    for device in DEVICES:
        there = np.flatnonzero(rng.random(MINUTES) < 0.9)
        state = rng.integers(0, 7, len(there)).astype(np.float64)
        state[rng.random(len(there)) < 0.05] = np.nan
        speed = np.round(rng.normal(40, 9, len(there)), 1)
        speed[rng.random(len(there)) < 0.05] = np.nan
        time = START + there * np.timedelta64(1, "m")
        columns = {"device": device, "time": time, "state": pd.Series(state).astype("Int64")}
        parts.append(pd.DataFrame({**columns, "speed": speed}))
    return pd.concat(parts, ignore_index=True)


FRAME = _frame()


def _fleet(landing: int) -> pipeline.Fleet:
    """Return a fleet of hours and three devices a block, with landing blocks or without."""
    schema = pipeline.Schema(
        [pipeline.Channel("state", "int64"), pipeline.Channel("speed", "float64")]
    )
    scheme = pipeline.Partitioning("1 hour", devices_per_block=3, landing_rows=landing)
    fleet = pipeline.Archive.create("memory://").create_fleet("f", schema, scheme)
    late = FRAME["time"] >= START + np.timedelta64(150, "m")
    for part in (FRAME[~late], FRAME[late]):
        fleet.append(part)
    return fleet


FLEETS = {"in order": _fleet(0), "landed": _fleet(1 << 20)}
WHERE: dict[str, Any] = {
    "all": lambda rows: rows,
    "> 38": lambda rows: rows[rows["speed"] > 38],
}
TIMES = {"all": (0, MINUTES), "ragged": (37, 211), "hours": (60, 240)}


def _expected(devices: list[str], minutes: tuple[int, int], where: str) -> Any:
    first, stop = (START + minute * np.timedelta64(1, "m") for minute in minutes)
    rows = FRAME[FRAME["device"].isin(devices)]
    rows = WHERE[where](rows[(rows["time"] >= first) & (rows["time"] < stop)])
    return rows.groupby(["device", rows["time"].dt.floor("20min")])


@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("devices", [DEVICES, ["d1", "d4", "d5"]])
@pytest.mark.parametrize("minutes", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("where", WHERE)
def test_counts_between_edges_stand_next_to_statistics_of_the_same_rows(
    fleet: str, devices: list[str], minutes: tuple[int, int], where: str
) -> None:
    first, stop = (START + minute * np.timedelta64(1, "m") for minute in minutes)
    found = FLEETS[fleet].aggregate(
        {
            "state": ["count", "missing", pipeline.histogram(EDGES)],
            "speed": ["mean", "max", pipeline.histogram([0, 40, 100])],
        },
        every="20 min",
        devices=None if devices is DEVICES else devices,
        time=(first, stop),
        where=None if where == "all" else {"speed": where},
    )
    groups = _expected(devices, minutes, where)
    assert int(found["state_count"].sum() + found["state_missing"].sum()) == groups.size().sum()
    for (device, time), rows in groups:
        cell = found.sel(device=device, time=np.datetime64(time))
        state = rows["state"].dropna().to_numpy(np.float64)
        speed = rows["speed"].dropna().to_numpy()
        assert int(cell["state_count"]) == len(state)
        assert int(cell["state_missing"]) == len(rows) - len(state)
        assert cell["state_histogram"].values.tolist() == np.histogram(state, EDGES)[0].tolist()
        buckets = np.histogram(speed, [0, 40, 100])[0]
        assert cell["speed_histogram"].values.tolist() == buckets.tolist()
        if len(speed):
            assert float(cell["speed_max"]) == speed.max()
            assert float(cell["speed_mean"]) == pytest.approx(speed.mean(), rel=1e-13)


def test_few_buckets_add_up_to_what_many_tell() -> None:
    fleet = FLEETS["in order"]
    many = [*np.linspace(0, 40, 33)[:-1], *np.linspace(40, 100, 33)]
    few = fleet.aggregate({"speed": pipeline.histogram([0, 40, 100])}, every="1h", by=[])
    fine = fleet.aggregate({"speed": pipeline.histogram(many)}, every="1h", by=[])
    counts = fine["speed_histogram"].values
    expected = np.stack([counts[:, :32].sum(axis=1), counts[:, 32:].sum(axis=1)], axis=1)
    np.testing.assert_array_equal(few["speed_histogram"].values, expected)


def test_overlapping_windows_add_up_counts_of_their_parts() -> None:
    fleet = FLEETS["in order"]
    wide = fleet.aggregate({"state": pipeline.histogram(EDGES)}, every="1h", window="2h")
    hours = fleet.aggregate({"state": pipeline.histogram(EDGES)}, every="1h")
    counts = hours["state_histogram"].values
    both = wide["state_histogram"].sel(time=hours["time"][:-1]).values
    np.testing.assert_array_equal(both, counts[:, :-1] + counts[:, 1:])


def test_an_answer_with_too_many_buckets_is_refused() -> None:
    wanted = {"state": pipeline.histogram(range(17))}
    with pytest.raises(pipeline.errors.InvalidInputError, match="16 parts for each of"):
        FLEETS["in order"].aggregate(wanted, every="5 ms", time=(None, "2026-01-01T05:00"))
