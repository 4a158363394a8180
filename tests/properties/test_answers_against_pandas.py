"""Whatever is appended and asked: answers equal those computed from the rows, one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from tests.properties.test_against_a_model import batches, filled, partitionings, policies
from tests.support import HOUR, START

EDGES = [-1000.0, 0.0, 0.1, 21.5, 30000.0]
NUMBER = [
    "missing", "range", "median", "p95", "p99.9", "distinct", "increase",
    "time_weighted_mean", "time_weighted_mean_previous", "count", "max", "mean",
]  # fmt: skip
ALONE = ["delta", "rate", "first", "last"]
STATE = ["missing", "distinct", "time_in_state"]

spans = st.none() | st.tuples(st.integers(-42, 42), st.integers(-42, 42))
windowings = st.sampled_from(
    [
        {},
        {"every": "30 min"},
        {"every": "5h", "origin": "2024-01-01T00:17"},
        {"every": "1 day"},
        {"every": "1 month"},
        {"every": "2h", "window": "5h"},
        {"every": "90 min", "window": "2h"},
        {"every": "1 day", "timezone": "America/New_York"},
        {"every": "2h", "timezone": "Asia/Kolkata"},
        {"every": "1 day", "window": "2 days", "timezone": "UTC"},
    ]
)


@dataclass
class Course:
    """Readings of one channel of one device, in the order of time."""

    time: list[int]
    values: list[Any]

    @classmethod
    def of(cls, frame: pd.DataFrame, channel: str) -> Course:
        ordered = frame.sort_values("time", kind="stable")
        pairs = [
            (int(time), value)
            for time, value in zip(ordered["time"], ordered[channel], strict=True)
            if value is not None and value == value
        ]
        return cls([time for time, _ in pairs], [value for _, value in pairs])

    def inside(self, start: int, stop: int) -> list[Any]:
        return [v for t, v in zip(self.time, self.values, strict=True) if start <= t < stop]

    def steps(self) -> list[tuple[int, Any, int, Any]]:
        return [
            (self.time[at], self.values[at], self.time[at + 1], self.values[at + 1])
            for at in range(len(self.time) - 1)
        ]

    def increase(self, start: int, stop: int) -> tuple[float, int, int]:
        """Return the increase, the microseconds it took, and the number of steps."""
        found = [step for step in self.steps() if start <= step[2] < stop]
        total = math.fsum(float(b - a) if b >= a else float(b) for _, a, _, b in found)
        return total, sum(t1 - t0 for t0, _, t1, _ in found), len(found)

    def weighted(self, start: int, stop: int, linear: bool) -> tuple[float, float]:
        """Return the integral over seconds of the signal, and the seconds."""
        parts, seconds = [], 0.0
        for t0, a, t1, b in self.steps():
            low, high = max(t0, start), min(t1, stop)
            if low < high:
                mean = float(a)
                if linear:
                    part = ((low - t0) + (high - t0)) / 2 / (t1 - t0)
                    mean = float(a) * (1 - part) + float(b) * part
                parts.append(mean * ((high - low) / 1e6))
                seconds += (high - low) / 1e6
        return math.fsum(parts), seconds

    def in_state(self, start: int, stop: int) -> dict[Any, float]:
        seconds: dict[Any, float] = {}
        for t0, a, t1, _ in self.steps():
            lasted = min(t1, stop) - max(t0, start)
            if lasted > 0:
                seconds[a] = seconds.get(a, 0.0) + lasted / 1e6
        return seconds


def near(found: Any, wanted: float, scale: float) -> None:
    assert float(found) == pytest.approx(wanted, rel=1e-9, abs=1e-9 * scale + 1e-300)


def gone(found: Any) -> bool:
    return bool(np.isnan(float(found)))


def check_cell(
    cell: dict[str, Any], courses: list[Course], rows: int, start: int, stop: int, names: list[str]
) -> None:
    """Check the numbers of one group of devices in one window."""
    values = [value for course in courses for value in course.inside(start, stop)]
    numbers = np.array([float(value) for value in values])
    every = [abs(float(value)) for course in courses for value in course.values]
    scale = max(every, default=0.0)
    for name in names:
        found = cell[name]
        if name == "missing":
            assert found == rows - len(values)
        elif name in ("count", "distinct"):
            assert found == (len(values) if name == "count" else len(set(values)))
        elif name == "increase":
            totals = [course.increase(start, stop) for course in courses]
            if sum(steps for _, _, steps in totals):
                near(found, math.fsum(total for total, _, _ in totals), scale * len(every))
            else:
                assert gone(found)
        elif name == "rate":
            total, elapsed, _ = courses[0].increase(start, stop)
            if elapsed:
                near(found, total / (elapsed / 1e6), scale / (elapsed / 1e6) * len(every))
            else:
                assert gone(found)
        elif name.startswith("time_weighted_mean"):
            linear = name == "time_weighted_mean"
            signals = [course.weighted(start, stop, linear) for course in courses]
            seconds = sum(part for _, part in signals)
            if seconds:
                near(found, math.fsum(total for total, _ in signals) / seconds, scale)
            else:
                assert gone(found)
        elif not values:
            assert gone(found)
        elif name in ("median", "p95", "p99.9"):
            quantile = {"median": 0.5, "p95": 0.95, "p99.9": 0.999}[name]
            near(found, float(np.quantile(numbers, quantile)), scale)
        elif name in ("range", "delta"):
            wanted = max(values) - min(values) if name == "range" else values[-1] - values[0]
            near(found, float(wanted), 0)
        elif name in ("first", "last"):
            assert found == values[0 if name == "first" else -1]
        elif name == "max":
            assert found == max(values)
        else:
            near(found, float(numbers.mean()), scale)


def edges_of(answer: xr.Dataset, options: dict[str, Any]) -> list[tuple[int, int]]:
    if not options:
        return [(-(2**62), 2**62)]
    starts = pd.DatetimeIndex(answer["time"].values)
    if "time_stop" in answer.coords:
        stops = pd.DatetimeIndex(answer["time_stop"].values)
    elif options["every"] == "1 month":
        stops = starts + pd.DateOffset(months=1)
    else:
        stops = starts + pd.Timedelta(options["every"])
    micros = [
        np.asarray(part).astype("M8[us]").astype(np.int64).tolist() for part in (starts, stops)
    ]
    return list(zip(*micros, strict=True))


def cells(answer: xr.Dataset, groups: int, windows: int) -> dict[str, Any]:
    """Return every variable with the shape (groups, windows[, parts])."""
    shapes = {
        name: tuple(values.sizes[d] for d in values.dims if str(d).endswith(("_state", "_bucket")))
        for name, values in answer.data_vars.items()
    }
    return {
        str(name): answer[name].values.reshape(groups, windows, *parts)
        for name, parts in shapes.items()
    }


def selected(
    frame: pd.DataFrame, span: tuple[int, int] | None
) -> tuple[pd.DataFrame, tuple[Any, Any] | None]:
    if span is None:
        return frame, None
    start, stop = (START + step * HOUR // 2 for step in sorted(span))
    inside = frame[(frame["time"] >= start) & (frame["time"] < stop)]
    return inside, (np.datetime64(start, "us"), np.datetime64(stop, "us"))


@given(policies, partitionings, batches, windowings, spans, st.booleans())
@settings(max_examples=30)
def test_answers_equal_those_of_the_rows(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    options: dict[str, Any],
    span: tuple[int, int] | None,
    together: bool,
) -> None:
    fleet, frame = filled(policy, partitioning, content)
    check_answers(fleet, frame, options, span, together)


def check_answers(
    fleet: pipeline.Fleet,
    frame: pd.DataFrame,
    options: dict[str, Any],
    span: tuple[int, int] | None,
    together: bool,
    where: dict[str, Any] | None = None,
) -> None:
    """Check all statistics of the rows that `where` selects, which are those of `frame`."""
    frame, time = selected(frame, span)
    names = NUMBER if together else [*NUMBER, *ALONE]
    histogram = pipeline.histogram(EDGES)
    answer = fleet.aggregate(
        {
            "value": [*names, histogram],
            "count": [*names, histogram],
            "state": STATE,
            "open": ["missing", "distinct", "time_in_state", "time_weighted_mean_previous"],
        },
        time=time,
        by=[] if together else None,
        where=where,
        **options,
    )
    windows = edges_of(answer, options)
    groups = [list(fleet.devices)] if together else [[device] for device in fleet.devices]
    of_device = {device: frame[frame["device"] == device] for device in fleet.devices}
    tables = cells(answer, len(groups), len(windows))
    seen = 0
    for at, group in enumerate(groups):
        times = np.concatenate([of_device[device]["time"].to_numpy() for device in group])
        courses = {
            channel: [Course.of(of_device[device], channel) for device in group]
            for channel in ("value", "count", "state", "open")
        }
        for number, (start, stop) in enumerate(windows):
            rows = int(np.count_nonzero((times >= start) & (times < stop)))
            seen += rows
            for channel in ("value", "count"):
                found = {name: tables[f"{channel}_{name}"][at, number] for name in names}
                check_cell(found, courses[channel], rows, start, stop, names)
                inside = [
                    float(v) for course in courses[channel] for v in course.inside(start, stop)
                ]
                wanted = np.histogram(inside, EDGES)[0].tolist()
                assert tables[f"{channel}_histogram"][at, number].tolist() == wanted
            for channel in ("state", "open"):
                values = [v for course in courses[channel] for v in course.inside(start, stop)]
                assert tables[f"{channel}_missing"][at, number] == rows - len(values)
                assert tables[f"{channel}_distinct"][at, number] == len(set(values))
                lasted = [course.in_state(start, stop) for course in courses[channel]]
                states = answer[f"{channel}_state"].values.tolist()
                durations = [sum(part.get(state, 0.0) for part in lasted) for state in states]
                found_seconds = tables[f"{channel}_time_in_state"][at, number]
                np.testing.assert_allclose(found_seconds, durations, rtol=1e-9)
                assert set().union(*lasted) <= set(states)
    if "window" in options:
        assert seen >= len(frame)
    else:
        assert seen == len(frame)


@given(policies, partitionings, batches, st.sampled_from([1, 3, 20]), spans)
def test_sessions_equal_those_of_pandas(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    half_hours: int,
    span: tuple[int, int] | None,
) -> None:
    fleet, frame = filled(policy, partitioning, content)
    check_sessions(fleet, frame, half_hours, span)


def check_sessions(
    fleet: pipeline.Fleet,
    frame: pd.DataFrame,
    half_hours: int,
    span: tuple[int, int] | None,
    where: dict[str, Any] | None = None,
) -> None:
    """Check the sessions of the rows that `where` selects, which are those of `frame`."""
    frame, time = selected(frame, span)
    gap = half_hours * HOUR // 2
    names = [*NUMBER, *ALONE]
    answer = fleet.aggregate(
        {"value": names, "count": names, "state": STATE},
        time=time,
        gap=np.timedelta64(gap, "us"),
        where=where,
    )
    tables = cells(answer, 1, answer.sizes["session"])
    bounds = np.stack(
        [answer[name].values.astype("M8[us]").astype(np.int64) for name in ("time", "time_last")]
    )
    states = answer["state_state"].values.tolist()
    at = 0
    for device in fleet.devices:
        of_device = frame[frame["device"] == device].sort_values("time", kind="stable")
        session = (of_device["time"].diff() > gap).cumsum()
        for _, rows in of_device.groupby(session):
            assert answer["device"].values[at] == device
            assert bounds[:, at].tolist() == [rows["time"].min(), rows["time"].max()]
            for channel in ("value", "count"):
                found = {name: tables[f"{channel}_{name}"][0, at] for name in names}
                check_cell(found, [Course.of(rows, channel)], len(rows), -(2**62), 2**62, names)
            lasted = Course.of(rows, "state").in_state(-(2**62), 2**62)
            wanted = [lasted.get(state, 0.0) for state in states]
            np.testing.assert_allclose(tables["state_time_in_state"][0, at], wanted, rtol=1e-9)
            at += 1
    assert at == answer.sizes["session"]


@given(policies, partitionings, batches, st.sampled_from(["minmax", "lttb"]), st.integers(2, 12))
def test_downsampled_points_are_readings(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    method: str,
    points: int,
) -> None:
    fleet, frame = filled(policy, partitioning, content)
    answer = fleet.downsample("value", points=points, method=method)
    for device in fleet.devices:
        course = Course.of(frame[frame["device"] == device], "value")
        one = fleet.downsample("value", points=points, method=method, devices=device)
        kept = list(
            zip(
                one["time"].values.astype("M8[us]").astype(np.int64).tolist(),
                one["value"].values.tolist(),
                strict=True,
            )
        )
        readings = list(zip(course.time, course.values, strict=True))
        assert len(kept) <= points
        assert set(kept) <= set(readings)
        assert kept == readings or len(readings) > points
        if method == "minmax" and readings:
            values = [value for _, value in kept]
            assert (min(values), max(values)) == (min(course.values), max(course.values))
        row = answer.sel(device=device)
        there = ~np.isnat(row["time"].values)
        np.testing.assert_array_equal(row["time"].values[there], one["time"].values)
        np.testing.assert_array_equal(row["value"].values[there], one["value"].values)
        assert np.isnan(row["value"].values[~there]).all()
