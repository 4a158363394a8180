"""Retention drops whole windows of rows, and keeps answering from their statistics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.archive.retention import TOO_OLD, Retention
from pipeline.archive.thinning import Thinned, apply_retention
from pipeline.errors import InvalidInputError
from pipeline.partitioning.windows import GRID_START, WindowLength
from tests.support import START, memory_archive, rows_of

DAY = 86_400_000_000
DAYS = 40
SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("t", "float64"),
        pipeline.Channel("mode", "category"),
        pipeline.Channel("on", "bool"),
        pipeline.Channel("n", "int16"),
    ]
)
ALL = {"t": ["count", "min", "max", "mean", "std", "first", "last"], "mode": "last", "n": "sum"}


def batch(start: int = 0, days: float = DAYS) -> dict[str, Any]:
    """Return rows of three devices, one every six hours."""
    steps = np.arange(start * 4, int((start + days) * 4))
    time = np.tile(START + steps * DAY // 4 + 17, 3)
    count = len(time)
    return {
        "device": np.repeat(["a", "b", "c"], len(steps)),
        "time": time.astype("M8[us]"),
        "t": np.random.default_rng(start).normal(size=count),
        "mode": np.where(np.arange(count) % 3 == 0, "auto", "manual"),
        "on": np.arange(count) % 2 == 0,
        "n": np.arange(count) % 100,
    }


def filled(
    summary: str = "1 day", window: str = "1 day", **retention: Any
) -> tuple[pipeline.Archive, pipeline.Fleet]:
    archive = memory_archive()
    partitioning = pipeline.Partitioning(window, 2, summary, landing_rows=8)
    fleet = archive.create_fleet("rooms", SCHEMA, partitioning, retention=retention)
    fleet.append(batch())
    return archive, fleet


def apply(archive: pipeline.Archive, days: float) -> Thinned:
    """Apply the retention as it would be so many days after the first row."""
    return apply_retention(archive._repository, "rooms", START + int(days * DAY))


def test_whole_windows_go_once_all_of_them_is_older() -> None:
    archive, fleet = filled(raw="10 days")
    before = rows_of(fleet.read())
    assert apply(archive, 10.9) == Thinned(0, 0, 0, 0, 0, START, GRID_START)
    done = apply(archive, 35.5)
    assert done.windows == 25
    assert done.rows == 25 * 12
    assert done.blocks >= 25
    assert done.bytes > 0
    assert done.raw_from == START + 25 * DAY
    assert rows_of(fleet.read()).equals(
        before[before["time"] >= done.raw_from].reset_index(drop=True)
    )
    assert archive.verify().is_clean
    again = apply(archive, 35.5)
    assert (again.windows, again.rows, again.raw_from) == (0, 0, done.raw_from)


@pytest.mark.parametrize(("summary", "every"), [("1 day", "1 day"), ("1 hour", "1h")])
def test_whole_periods_answer_as_before(summary: str, every: str) -> None:
    archive, fleet = filled(summary, raw="10 days")
    questions: list[dict[str, Any]] = [
        {"every": every},
        {"every": "1 month"},
        {},
        {"time": ("2024-01-03", "2024-01-20"), "every": "1 day"},
        {"time": ("2024-01-03", "2024-02-04"), "devices": ["b"]},
    ]
    before = [fleet.aggregate(ALL, **question) for question in questions]
    newest = fleet.latest()
    assert apply(archive, 35).windows == 25
    for question, answer in zip(questions, before, strict=True):
        xr.testing.assert_equal(answer.drop_attrs(), fleet.aggregate(ALL, **question).drop_attrs())
    xr.testing.assert_equal(newest.drop_attrs(), fleet.latest().drop_attrs())
    apply(archive, 1000)
    assert rows_of(fleet.read()).empty
    for question, answer in zip(questions, before, strict=True):
        xr.testing.assert_equal(answer.drop_attrs(), fleet.aggregate(ALL, **question).drop_attrs())
    xr.testing.assert_equal(newest.drop_attrs(), fleet.latest().drop_attrs())
    assert archive.verify().is_clean


def test_parts_of_periods_whose_rows_are_gone_are_refused_not_guessed() -> None:
    archive, fleet = filled(raw="10 days")
    apply(archive, 35)
    for question in ({"every": "1h"}, {"time": ("2024-01-02T06:00", None)}):
        with pytest.raises(InvalidInputError, match=r"rows before 2024-01-26T00:00:00.* dropped"):
            fleet.aggregate(ALL, **question)
    # There are no rows in that part of the period, so nothing is missing.
    late = fleet.aggregate({"t": "count"}, time=("2024-01-26", None), every="1h")
    assert late["t_count"].sum() == 15 * 12
    assert (
        fleet.aggregate({"t": "count"}, time=("2023-12-01T06:00", "2023-12-05"), by=[]).sizes == {}
    )
    dataset = fleet.to_xarray("a", time=("2024-01-01", "2024-02-01"))
    assert dataset.sizes["time"] == 6 * 4


def test_statistics_of_rows_are_refused_where_the_rows_are_gone() -> None:
    archive, fleet = filled(raw="10 days")
    apply(archive, 35)
    gone = r"rows before 2024-01-26T00:00:00.* dropped"
    for statistic in ("p95", "time_weighted_mean", "distinct"):
        with pytest.raises(InvalidInputError, match=gone):
            fleet.aggregate({"t": statistic}, every="1 day")
    with pytest.raises(InvalidInputError, match=gone):
        fleet.aggregate({"t": "mean"}, gap="12h")
    with pytest.raises(InvalidInputError, match=gone):
        fleet.downsample("t", points=10)
    kept = ("2024-01-26", None)
    assert fleet.aggregate({"t": "p95"}, time=kept, by=[]).sizes == {}
    assert fleet.downsample("t", points=10, time=kept, devices="a").sizes["time"] <= 10


def test_late_rows_of_dropped_windows_go_to_quarantine_and_change_nothing() -> None:
    archive, fleet = filled(raw="10 days")
    answer = fleet.aggregate(ALL, every="1 day")
    apply(archive, 35)
    done = fleet.append(batch(20, 10), source="late.csv")
    assert done.quarantined == 5 * 12
    assert done.rows == 5 * 12
    table = fleet.quarantine()
    assert set(table["reason"].to_pylist()) == {TOO_OLD}
    record = json.loads(table["record"][0].as_py())
    assert record == {
        "device": "a",
        "time": "2024-01-21T00:00:00.000017Z",
        "t": batch(20, 10)["t"][0],
        "mode": "auto",
        "on": True,
        "n": 0,
    }
    old = fleet.aggregate(ALL, every="1 day", time=(None, "2024-01-26"))
    xr.testing.assert_equal(old.drop_attrs(), answer.isel(time=slice(0, 25)).drop_attrs())
    assert archive.verify().is_clean


def test_rows_with_gaps_go_to_quarantine_whole() -> None:
    archive, fleet = filled(raw="1 day")
    apply(archive, 35)
    fleet.append({"device": ["new"], "time": np.array([START]).astype("M8[us]"), "n": [3]})
    record = json.loads(fleet.quarantine()["record"][0].as_py())
    assert record["device"] == "new"
    assert record["n"] == 3
    assert record["t"] is None


def test_an_append_that_was_planned_before_is_planned_again() -> None:
    archive, fleet = filled(raw="10 days")
    store = fleet._store
    seen: list[int] = []

    def drop_first(plan: Any) -> Any:
        from pipeline.archive.fleet_store import prepare_planned
        from pipeline.model.tables import to_table
        from pipeline.schema.validation import validate

        rows, _ = validate(to_table(batch(20, 10)), SCHEMA, earliest=GRID_START, latest=START * 2)
        if not seen:
            apply(archive, 35)
        seen.append(plan.meta.retention.raw_from)
        return [prepare_planned(rows, plan)]

    done = store.append_prepared(("a", "b", "c"), {"mode": ["auto", "manual"]}, drop_first, [])
    assert seen == [GRID_START, START + 25 * DAY]
    assert (done.rows, done.quarantined) == (60, 60)
    assert archive.verify().is_clean


@pytest.mark.parametrize("summary", ["1 day", "1 hour"])
def test_statistics_have_an_age_of_their_own(summary: str) -> None:
    archive, fleet = filled(summary, raw="10 days", summaries="20 days")
    answer = fleet.aggregate({"t": "sum"}, every="1 day")
    done = apply(archive, 35)
    assert (done.windows, done.summary_windows) == (25, 15)
    assert done.summaries_from == START + 15 * DAY
    kept = fleet.aggregate({"t": "sum"}, every="1 day")
    assert kept["time"].values[0] == np.datetime64("2024-01-16")
    xr.testing.assert_equal(kept.drop_attrs(), answer.isel(time=slice(15, None)).drop_attrs())
    assert archive.verify().is_clean
    assert apply(archive, 36).summary_windows == 1
    everything = apply(archive, 1000)
    assert (everything.windows, everything.summary_windows) == (14, 24)
    assert fleet.aggregate({"t": "count"}, by=[])["t_count"] == 0
    assert np.isnat(fleet.latest()["time"].values).all()
    assert archive.verify().is_clean
    fleet.append(batch(980, 10))
    assert rows_of(fleet.read()).shape[0] == 0
    fleet.append(batch(1000, 10))
    assert rows_of(fleet.read()).shape[0] == 120
    assert archive.verify().is_clean


@pytest.mark.parametrize("window", ["1 hour", "1 month"])
def test_other_windows(window: str) -> None:
    archive, fleet = filled("1 hour", window, raw="10 days")
    count = fleet.aggregate({"t": "count"}, by=[], every="1 month")
    apply(archive, 40)
    expected = START + (30 if window == "1 hour" else 0) * DAY
    assert fleet.retention.raw_from == expected
    assert rows_of(fleet.read())["time"].min() >= expected
    xr.testing.assert_equal(
        count.drop_attrs(), fleet.aggregate({"t": "count"}, by=[], every="1 month").drop_attrs()
    )
    assert archive.verify().is_clean


def test_a_longer_age_does_not_bring_anything_back() -> None:
    archive, fleet = filled(raw="10 days")
    apply(archive, 35)
    fleet.set_retention(raw="3650 days")
    assert fleet.retention.raw == 3650 * DAY
    apply(archive, 36)
    assert fleet.retention.raw_from == START + 25 * DAY
    fleet.set_retention()
    assert fleet.retention == Retention(raw_from=START + 25 * DAY)
    assert fleet.append(batch(0, 1)).quarantined == 12
    assert apply(archive, 5000).windows == 0


def test_fleets_keep_everything_unless_told(tmp_path: Any) -> None:
    archive, fleet = filled()
    before = next(archive.history()).snapshot
    assert fleet.retention == Retention()
    assert apply(archive, 100_000) == Thinned(raw_from=GRID_START, summaries_from=GRID_START)
    assert next(archive.history()).snapshot == before


@pytest.mark.parametrize(
    "given",
    [
        {"summaries": "1 day"},
        {"raw": "2 days", "summaries": "1 day"},
        {"raw": "90"},
        {"raw": "1 month"},
        {"rows": "1 day"},
    ],
)
def test_ages_that_make_no_sense(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        memory_archive().create_fleet("x", SCHEMA, retention=given)


def test_ages_before_the_grid_drop_nothing() -> None:
    kept = Retention(raw=10**18).advanced(
        int(datetime.now(UTC).timestamp() * 1e6), WindowLength.DAY
    )
    assert kept.raw_from == GRID_START
    archive, fleet = filled(raw="1 day")
    old = archive.at(next(archive.history()).snapshot).fleet("rooms")
    with pytest.raises(InvalidInputError, match="without at"):
        old.set_retention("1 day")
    assert fleet.retention.raw == DAY
