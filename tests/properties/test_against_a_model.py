"""Whatever is appended, in any order and batch: reads and answers equal a plain model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.partitioning.windows import WindowLength
from tests.support import HOUR, START, memory_archive, rows_of

CHANNELS = [
    pipeline.Channel("value", "float64", units="degC"),
    pipeline.Channel("count", "int16"),
    pipeline.Channel("open", "bool"),
    pipeline.Channel("state", "category"),
]
EXACT = ("count", "min", "max", "first", "last")
CLOSE = ("sum", "mean", "std", "var")

readings = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.integers(-40, 40).map(lambda step: START + step * HOUR // 2),
    st.none() | st.sampled_from([0.1, -0.0, float("nan"), 21.5, 1e300]) | st.floats(-1e6, 1e6),
    st.none() | st.integers(-(2**15), 2**15 - 1),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["on", "off", "", "läuft"]),
)
batches = st.lists(st.lists(readings, min_size=1, max_size=25), min_size=1, max_size=5)
partitionings = st.builds(
    pipeline.Partitioning,
    window=st.sampled_from(["1 hour", "1 day", "1 month"]),
    summary=st.just("1 hour") | st.none(),
    devices_per_block=st.sampled_from([1, 2, 256]),
    landing_rows=st.sampled_from([0, 4, 4096]),
)
policies = st.sampled_from(["keep_last", "keep_first", "keep_all"])
NAMES = ["device", "time", *(channel.name for channel in CHANNELS)]


@dataclass
class Model:
    """The rows a fleet should hold."""

    policy: str
    rows: list[tuple[Any, ...]]

    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.rows, columns=NAMES, dtype=object)
        frame["time"] = frame["time"].astype("int64")
        if self.policy != "keep_all":
            keep = "last" if self.policy == "keep_last" else "first"
            frame = frame.drop_duplicates(["device", "time"], keep=keep)  # type: ignore[call-overload]
        return frame


def columns(rows: Iterable[tuple[Any, ...]]) -> dict[str, Any]:
    table: dict[str, Any] = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    table["time"] = np.array(table["time"], np.int64).astype("M8[us]")
    return table


def filled(
    policy: str, partitioning: pipeline.Partitioning, content: list[list[tuple[Any, ...]]]
) -> tuple[pipeline.Fleet, pd.DataFrame]:
    fleet = memory_archive().create_fleet(
        "fleet", pipeline.Schema(CHANNELS), partitioning, duplicates=policy
    )
    for batch in content:
        fleet.append(columns(batch))
    return fleet, Model(policy, [row for batch in content for row in batch]).frame()


def canonical(frame: pd.DataFrame, window: WindowLength, codes: dict[str, int]) -> list[Any]:
    """Return rows in archive order, every value as something that compares bit by bit."""
    order = sorted(
        range(len(frame)),
        key=lambda at: (
            window.number(frame["time"].iloc[at]),
            codes[frame["device"].iloc[at]],
            frame["time"].iloc[at],
        ),
    )
    return [tuple(map(_bits, row)) for row in frame.iloc[order].itertuples(index=False)]


def _bits(value: Any) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, float):
        return np.float64(value).tobytes()
    return value


@given(policies, partitionings, batches)
def test_every_row_comes_out_as_it_went_in(
    policy: str, partitioning: pipeline.Partitioning, content: list[list[tuple[Any, ...]]]
) -> None:
    fleet, expected = filled(policy, partitioning, content)
    codes = {device: code for code, device in enumerate(fleet.devices)}
    table = fleet.read().read_all()
    found = pd.DataFrame({name: pd.Series(table[name].to_pylist(), dtype=object) for name in NAMES})
    found["time"] = table["time"].cast("int64").to_numpy()
    window = partitioning.window_length
    assert [tuple(map(_bits, row)) for row in found.itertuples(index=False)] == canonical(
        expected, window, codes
    )


@given(policies, partitionings, batches, st.integers(-42, 42), st.integers(-42, 42))
def test_reading_a_part_is_the_part_of_reading_all(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    one: int,
    two: int,
) -> None:
    fleet, _ = filled(policy, partitioning, content)
    start, stop = (START + step * HOUR // 2 for step in sorted((one, two)))
    whole = rows_of(fleet.read())
    wanted = fleet.devices[::2]
    part = rows_of(fleet.read(wanted, (np.datetime64(start, "us"), np.datetime64(stop, "us"))))
    kept = whole["device"].isin(wanted) & (whole["time"] >= start) & (whole["time"] < stop)
    pd.testing.assert_frame_equal(
        part, whole[kept].reset_index(drop=True), check_dtype=False, check_categorical=False
    )


def numbers(frame: pd.DataFrame, channel: str) -> pd.Series[Any]:
    values = frame[channel]
    return values[[value is not None and value == value for value in values]]


def expected_statistic(values: pd.Series[Any], statistic: str) -> Any:
    if statistic in ("first", "last"):
        return values.iloc[0 if statistic == "first" else -1]
    if statistic in ("min", "max", "count"):
        return len(values) if statistic == "count" else getattr(values, statistic)()
    array = values.to_numpy(dtype=np.float64)
    return getattr(np, statistic)(array)


def check(found: Any, values: pd.Series[Any], statistic: str) -> None:
    if len(values) == 0 and statistic not in ("count", "sum"):
        assert found != found or found == ""
    elif statistic in EXACT:
        assert found == (0 if len(values) == 0 else expected_statistic(values, statistic))
    else:
        array = values.to_numpy(dtype=np.float64)
        scale = float(np.abs(array).max(initial=0.0))
        with np.errstate(over="ignore", invalid="ignore"):
            wanted = expected_statistic(values, statistic) if len(values) else 0.0
            tolerance = 1e-12 * {"var": scale * scale}.get(statistic, scale) * max(len(values), 1)
        if np.isfinite(wanted) and np.isfinite(tolerance):
            assert found == pytest.approx(wanted, rel=1e-12, abs=max(tolerance, 1e-300))


@given(
    policies,
    partitionings,
    batches,
    st.sampled_from([None, "30 min", "1h", "7h", "1 day", "1 month"]),
    st.none() | st.tuples(st.integers(-42, 42), st.integers(-42, 42)),
)
@settings(max_examples=30)
def test_aggregates_equal_those_of_the_rows(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    every: str | None,
    span: tuple[int, int] | None,
) -> None:
    fleet, frame = filled(policy, partitioning, content)
    time = None
    if span is not None:
        start, stop = (START + step * HOUR // 2 for step in sorted(span))
        time = (np.datetime64(start, "us"), np.datetime64(stop, "us"))
        frame = frame[(frame["time"] >= start) & (frame["time"] < stop)]
    frame = frame.sort_values(["device", "time"], kind="stable")
    statistics = {"value": [*EXACT, *CLOSE], "count": [*EXACT, *CLOSE], "state": ["last"]}
    answer = fleet.aggregate(statistics, every=every, time=time)
    edges = (
        [(0, 2**62)]
        if every is None
        else list(_bins(answer["time"].values.astype("M8[us]").astype(np.int64), every))
    )
    covered = 0
    for device in fleet.devices:
        of_device = frame[frame["device"] == device]
        for at, (low, high) in enumerate(edges):
            inside = of_device[(of_device["time"] >= low) & (of_device["time"] < high)]
            covered += len(inside)
            for channel, names in statistics.items():
                values = numbers(inside, channel)
                for name in names:
                    cell = answer[f"{channel}_{name}"].sel(device=device).values
                    check(cell[()] if every is None else cell[at], values, name)
    assert covered == len(frame)


def _bins(starts: Any, every: str) -> Iterable[tuple[int, int]]:
    for start in starts.tolist():
        if every == "1 month":
            month = WindowLength.MONTH
            yield start, month.start(month.number(start) + 1)
        else:
            yield start, start + int(pd.Timedelta(every) / pd.Timedelta("1us"))


@given(policies, partitionings, batches)
def test_latest_is_the_newest_row_and_the_last_known_values(
    policy: str, partitioning: pipeline.Partitioning, content: list[list[tuple[Any, ...]]]
) -> None:
    fleet, frame = filled(policy, partitioning, content)
    frame = frame.sort_values(["device", "time"], kind="stable")
    answer = fleet.latest()
    for device, rows in frame.groupby("device"):
        cell = answer.sel(device=device)
        assert cell["time"].values.astype("M8[us]").astype(np.int64) == rows["time"].max()
        for channel in CHANNELS:
            check(cell[channel.name].values[()], numbers(rows, channel.name), "last")


@given(partitionings, batches)
def test_groups_merge_their_devices(
    partitioning: pipeline.Partitioning, content: list[list[tuple[Any, ...]]]
) -> None:
    fleet, frame = filled("keep_last", partitioning, content)
    fleet.set_tags({device: {"site": "x" if device in "ab" else "y"} for device in "abcde"})
    tagged = frame.assign(site=np.where(frame["device"].isin(["a", "b"]), "x", "y"))
    statistics = {"value": ["count", "min", "max", "sum", "mean", "std"]}
    answer = fleet.aggregate(statistics, by="site")
    whole = fleet.aggregate(statistics, by=[])
    assert whole.sizes == {}
    for name in statistics["value"]:
        check(whole[f"value_{name}"].values[()], numbers(frame, "value"), name)
        for site in answer["site"].values:
            values = numbers(tagged[tagged["site"] == site], "value")
            check(answer[f"value_{name}"].sel(site=site).values[()], values, name)
