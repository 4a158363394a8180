"""Rows with given values: what is read for them, and what must not be left out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.query import Grouping
from pipeline.archive.arrow_rows import read_arrow
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.requests import selection_of
from pipeline.archive.thinning import apply_retention
from pipeline.archive.transactions import Repository
from pipeline.errors import InvalidInputError, NotFoundError
from tests.support import HOUR, START, CountingStore, memory_archive, minutes, rows_of

DAY = 24 * HOUR
DEVICES, DAYS = 4, 3
SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("t", "float64"),
        pipeline.Channel("h", "float32"),
        pipeline.Channel("on", "bool"),
        pipeline.Channel("mode", "category"),
    ]
)


@pytest.fixture(scope="module")
def archive() -> pipeline.Archive:
    """Device d0 is at 0 to 1, d1 at 100 to 101 and so on; d3 reaches 500 on the last day."""
    archive = memory_archive()
    scheme = pipeline.Partitioning(devices_per_block=1, landing_rows=0)
    fleet = archive.create_fleet("fleet", SCHEMA, scheme)
    steps = np.arange(DAYS * 24)
    values = np.concatenate([100.0 * at + steps / len(steps) for at in range(DEVICES)])
    values[-1] = 500.0
    fleet.append(
        {
            "device": np.repeat([f"d{at}" for at in range(DEVICES)], len(steps)),
            "time": np.tile(START + steps * HOUR, DEVICES).astype("M8[us]"),
            "t": values,
            "h": values.astype(np.float32),
            "on": np.repeat([True, False, True, True], len(steps)),
            "mode": np.repeat(["a", "b", "a", "b"], len(steps)),
        },
        tags={f"d{at}": {"site": "north" if at % 2 else "south"} for at in range(DEVICES)},
    )
    return archive


def counted(archive: pipeline.Archive) -> tuple[FleetView, CountingStore]:
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    store = CountingStore(view.store)
    return replace(view, store=store), store


def read_by(archive: pipeline.Archive, where: dict[str, Any], names: Any, **options: Any) -> Any:
    """Return the counts of an answer, and the raw columns and places that were read for it."""
    view, store = counted(archive)
    selection = selection_of(view.registry, None, options.pop("time", None), where, view.meta)
    store.forget()
    answer = aggregate(view, {"h": names}, selection, Grouping(**options))
    return answer["h_count"].values.tolist(), sorted(places(store.raw_reads()))


def places(keys: Iterator[str]) -> set[tuple[str, str]]:
    return {
        (key.split("/raw/")[1].split("/")[0], key.split("/c/")[1].split("/0")[0])
        for key in keys
        if "[" not in key
    }


@pytest.mark.parametrize("names", [["count", "mean", "last"], ["count", "median"]])
def test_a_condition_that_no_period_can_satisfy_reads_summaries_only(
    archive: pipeline.Archive, names: list[str]
) -> None:
    for where in ({"t": "> 1000"}, {"t": None}, {"mode": "c"}, {"t": "> 400 and < 450"}):
        counts, read = read_by(archive, where, names)
        if where != {"t": "> 400 and < 450"}:
            assert read == []
        assert counts == [0, 0, 0, 0]


def test_a_condition_that_all_periods_satisfy_reads_summaries_only(
    archive: pipeline.Archive,
) -> None:
    every = DAYS * 24
    assert read_by(archive, {"t": ">= 0"}, ["count", "mean"]) == ([every] * 4, [])
    counts, read = read_by(archive, {"t": ["> 99"][0], "on": True}, "count", every="1 day")
    assert (counts, read) == ([[0] * 3, [0] * 3, [24] * 3, [24] * 3], [])
    assert read_by(archive, {"on": False, "site": "north"}, "count")[0] == [every, 0]


def test_only_devices_and_periods_that_are_open_are_decoded(archive: pipeline.Archive) -> None:
    counts, read = read_by(archive, {"t": "> 400"}, ["count", "mean"])
    assert counts == [0, 0, 0, 1]
    assert len({place for _, place in read}) == 1
    assert {column for column, _ in read} == {"device_index", "time", "t", "h"}
    counts, read = read_by(archive, {"t": "< 500"}, ["count", "mean"], every="1 day")
    assert counts == [[24] * 3] * 3 + [[24, 24, 23]]
    assert len({place for _, place in read}) == 1


def test_other_columns_are_read_where_a_row_matches(archive: pipeline.Archive) -> None:
    view, store = counted(archive)
    selection = selection_of(view.registry, None, None, {"t": "> 400 and < 450"}, view.meta)
    assert read_arrow(view, selection, ["h"]).read_all().num_rows == 0
    columns = {column for column, _ in places(store.raw_reads())}
    assert columns == {"device_index", "time", "t"}
    assert len(places(store.raw_reads())) == 3  # the header of one block tells too little
    found = read_arrow(
        view, replace(selection, conditions=_conditions(view, {"t": "== 500"})), ["h"]
    )
    assert found.read_all()["h"].to_pylist() == [500.0]


def _conditions(view: FleetView, where: dict[str, Any]) -> Any:
    return selection_of(view.registry, None, None, where, view.meta).conditions


def test_explain_tells_what_values_rule_out(archive: pipeline.Archive) -> None:
    fleet = archive["fleet"]
    told = fleet.explain(where={"t": "> 400"})
    assert (told.blocks.touched, told.pruned["values"]) == (1, DEVICES * DAYS - 1)
    assert told.columns == ("device_index", "time", "t", "h", "on", "mode")
    answer = fleet.explain(statistics={"h": "mean"}, where={"t": "< 500"})
    assert answer.cells == {"none": 0, "some": 1, "all": DEVICES * DAYS - 1}
    assert answer.to_json()["cells"] == answer.cells
    assert "none of 0, some of 1, all of 11 devices and periods" in str(answer)
    assert answer.pruned == {**answer.pruned, "values": 0, "summaries": DEVICES * DAYS - 1}
    view, store = counted(archive)
    selection = selection_of(view.registry, None, None, {"t": "< 500"}, view.meta)
    aggregate(view, {"h": "mean"}, selection, Grouping())
    summaries = {key for key in store.reads if "/summary/" in key and "/c/" in key}
    assert answer.summary_chunks == len(summaries)
    exact = fleet.explain(statistics={"h": "p95"}, where={"t": "> 400"})
    assert exact.blocks.touched == 1
    assert exact.cells["some"] == 1


class TestDuplicates:
    """A row that was replaced matches nothing, and one that replaces it is looked at."""

    def fleet(self, policy: str) -> pipeline.Fleet:
        scheme = pipeline.Partitioning(landing_rows=0)
        schema = pipeline.Schema([pipeline.Channel("t", "float64")])
        fleet = memory_archive().create_fleet("f", schema, scheme, duplicates=policy)
        fleet.append({"device": "a", "time": minutes(0, 1, 2), "t": [1.0, 95.0, 96.0]})
        fleet.append({"device": "a", "time": minutes(1), "t": [2.0]})
        fleet.append({"device": "a", "time": minutes(7), "t": [3.0]})
        return fleet

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [("keep_last", [96.0]), ("keep_first", [95.0, 96.0]), ("keep_all", [95.0, 96.0])],
    )
    def test_values_are_looked_at_after_duplicates(
        self, policy: str, expected: list[float]
    ) -> None:
        fleet = self.fleet(policy)
        where = {"t": "> 90"}
        assert rows_of(fleet.read(where=where))["t"].tolist() == expected
        counts = fleet.aggregate({"t": ["count", "distinct"]}, where=where)
        assert counts["t_count"].values.tolist() == [len(expected)]
        assert counts["t_distinct"].values.tolist() == [len(expected)]

    def test_blocks_are_left_out_that_can_replace_nothing(self) -> None:
        assert self.fleet("keep_last").explain(where={"t": "> 90"}).pruned["values"] == 1
        assert self.fleet("keep_all").explain(where={"t": "> 90"}).pruned["values"] == 2


def test_periods_of_one_window_are_not_counted_twice() -> None:
    scheme = pipeline.Partitioning("1 day", summary="1 hour", landing_rows=0)
    schema = pipeline.Schema([pipeline.Channel("t", "int32")])
    fleet = memory_archive().create_fleet("f", schema, scheme)
    hours = {"a": [9, 1, 9, 0], "b": [9, 9, 1, 9], "c": [9, 9, 9, 9]}
    for device, values in hours.items():
        times = minutes(*(60 * hour + step for hour in range(4) for step in (0, 1)))
        second = [
            10 if (device, hour) in (("a", 1), ("b", 2)) else values[hour] for hour in range(4)
        ]
        pairs = [value for hour in range(4) for value in (values[hour], second[hour])]
        fleet.append({"device": device, "time": times, "t": pairs})
    answer = fleet.aggregate({"t": ["count", "missing"]}, every="1h", where={"t": "> 5"})
    assert answer["t_count"].values.tolist() == [[2, 1, 2, 0], [2, 2, 1, 2], [2, 2, 2, 2]]
    told = fleet.explain(statistics={"t": "count"}, where={"t": "> 5"})
    assert told.cells == {"none": 1, "some": 2, "all": 9}


def test_missing_values_satisfy_no_comparison(archive: pipeline.Archive) -> None:
    fleet = memory_archive().create_fleet("f", SCHEMA)
    rows = {"device": ["a"] * 4, "time": minutes(0, 1, 2, 3), "t": [1.0, None, np.nan, 4.0]}
    fleet.append(
        {**rows, "h": [None, 1.0, 2.0, 3.0], "on": [None] * 4, "mode": ["x", None, "y", "x"]}
    )
    asked: list[tuple[Any, int]] = [
        ("!= 5", 2), (">= 0", 2), (None, 2), ([None, 4], 3), ([], 0), (4.0, 1)
    ]  # fmt: skip
    for given, count in asked:
        answer = fleet.aggregate({"h": ["count", "missing"]}, where={"t": given})
        assert answer["h_count"].item() + answer["h_missing"].item() == count, given
        assert fleet.read(where={"t": given}).read_all().num_rows == count
    assert fleet.read(where={"on": None}).read_all().num_rows == 4
    assert fleet.read(where={"mode": ["x", None]}).read_all().num_rows == 3
    assert fleet.read(where={"mode": "z"}).read_all().num_rows == 0
    plotted = fleet.downsample("h", points=9, where={"t": "> 0"}, devices="a")
    assert plotted["h"].values.tolist() == [3.0]


def test_every_method_with_where_honours_or_refuses_values(archive: pipeline.Archive) -> None:
    fleet = archive["fleet"]
    asked: dict[str, dict[str, Any]] = {
        "read": {},
        "aggregate": {"statistics": {"t": "count"}},
        "downsample": {"channel": "t", "points": 2},
        "explain": {},
        "latest": {},
        "to_xarray": {},
    }
    having = {
        name
        for name, method in inspect.getmembers(pipeline.Fleet, inspect.isfunction)
        if "where" in inspect.signature(method).parameters
    }
    assert having == set(asked)
    for name, options in asked.items():
        if name in ("latest", "to_xarray"):
            with pytest.raises(InvalidInputError, match="'t' is a channel, and only tags select"):
                getattr(fleet, name)(where={"t": "> 1"}, **options)
        else:
            getattr(fleet, name)(where={"t": "> 1", "site": "north"}, **options)


def test_names_of_tags_and_channels_are_told_apart() -> None:
    fleet = memory_archive().create_fleet("f", SCHEMA)
    rows = {"device": ["a", "b"], "time": minutes(0, 0), "t": [1.0, 2.0], "mode": ["x", "y"]}
    fleet.append(rows, tags={"a": {"mode": "y"}, "b": {"mode": "x"}})
    with pytest.raises(InvalidInputError, match="write 'tag:mode' or 'channel:mode'"):
        fleet.read(where={"mode": "x"})
    read = {
        key: rows_of(fleet.read(where={key: "x"}))["device"].tolist()
        for key in ("tag:mode", "channel:mode")
    }
    assert read == {"tag:mode": ["b"], "channel:mode": ["a"]}
    with pytest.raises(InvalidInputError, match="names channel 't' once more"):
        fleet.read(where={"t": 1, "channel:t": 2})
    with pytest.raises(NotFoundError, match="'u'; there are: mode; nor is it a channel"):
        fleet.read(where={"u": 1})


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"t": "90"}, "channel 't' holds float64: '90' is no comparison"),
        ({"t": ["> 90"]}, "'> 90' is no number"),
        ({"t": True}, "True is no number"),
        ({"t": float("nan")}, "use None"),
        ({"on": 1}, "1 is neither True nor False"),
        ({"on": "yes"}, "'yes' is neither True nor False"),
        ({"mode": 3}, "3 is no text"),
        ({"site": 3}, "the values of tags are texts"),
        ([], "mapping of tag names or channel names"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(
    archive: pipeline.Archive, where: Any, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        archive["fleet"].read(where=where)


def test_texts_of_bools_are_taken(archive: pipeline.Archive) -> None:
    fleet = archive["fleet"]
    for given in ("true", "False", True, [np.True_, False]):
        rows = fleet.read(where={"on": given}).read_all()["on"].to_pylist()
        assert set(rows) == (
            {True, False} if isinstance(given, list) else {str(given).lower() == "true"}
        )


def test_dropped_rows_are_missed_only_where_summaries_do_not_tell() -> None:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = archive.create_fleet("f", schema, retention={"raw": "1 day"})
    for day in range(3):
        times = (START + day * DAY + np.arange(4) * HOUR).astype("M8[us]")
        fleet.append({"device": ["a"] * 4, "time": times, "t": day * 10 + np.arange(4.0)})
    apply_retention(archive._repository, "f", START + 3 * DAY)
    for given, counts in (("> 9", [0, 4, 4]), ("> 20", [0, 0, 3]), ("> 99", [0, 0, 0])):
        answer = fleet.aggregate({"t": "count"}, every="1 day", where={"t": given})
        assert answer["t_count"].values.tolist() == [counts]
    assert fleet.aggregate({"t": "p95"}, where={"t": "> 22"})["t_p95"].values.tolist() == [23.0]
    for statistic, given in (("count", "> 11"), ("p95", "> 9")):
        with pytest.raises(InvalidInputError, match="dropped by its retention"):
            fleet.aggregate({"t": statistic}, where={"t": given})
