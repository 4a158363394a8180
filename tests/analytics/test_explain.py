"""What explain tells is what the question then touches."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.explain import explain_aggregate, explain_read
from pipeline.analytics.query import Grouping
from pipeline.archive.arrow_rows import read_arrow
from pipeline.archive.chunk_io import get_many
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.requests import selection_of
from pipeline.archive.transactions import Repository
from pipeline.errors import InvalidInputError, NotFoundError
from tests.support import HOUR, START, CountingStore, memory_archive

DEVICES, DAYS = 6, 4
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def archive() -> pipeline.Archive:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("h", "float32")])
    scheme = pipeline.Partitioning(devices_per_block=4, landing_rows=2, by="site")
    fleet = archive.create_fleet("fleet", schema, scheme)
    steps = np.arange(DAYS * 24)
    time = np.tile(START + steps * HOUR, DEVICES).astype("M8[us]")
    device = np.repeat([f"d{at}" for at in range(DEVICES)], len(steps))
    values = np.arange(len(time)) / 10
    tags = {f"d{at}": {"site": "north" if at % 2 else "south"} for at in range(DEVICES)}
    fleet.append(
        {"device": device, "time": time, "t": values, "h": values.astype(np.float32)}, tags=tags
    )
    one = {"device": ["d1"], "time": time[-1:] + np.timedelta64(1, "m"), "t": [1.0], "h": [2.0]}
    fleet.append(one)
    return archive


@pytest.fixture
def fleet(archive: pipeline.Archive) -> pipeline.Fleet:
    return archive["fleet"]


def counted(archive: pipeline.Archive) -> tuple[FleetView, CountingStore]:
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    store = CountingStore(view.store)
    return replace(view, store=store), store


def times(start: float, stop: float) -> tuple[np.datetime64, np.datetime64]:
    begin, end = (np.datetime64(START + int(at * DAY), "us") for at in (start, stop))
    return begin, end


READS: list[dict[str, Any]] = [
    {},
    {"devices": "d1"},
    {"time": times(1, 2)},
    {"time": times(0.5, 1.5), "where": {"site": "south"}},
    {"devices": ["d0", "d3"], "time": times(3.9, 9)},
    {"where": {"site": "west"}},
    {"time": times(7, 8)},
]


@pytest.mark.parametrize("asked", READS)
@pytest.mark.parametrize("channels", [["t", "h"], ["h"], []])
def test_the_chunks_and_bytes_of_a_read(
    archive: pipeline.Archive, asked: dict[str, Any], channels: list[str]
) -> None:
    view, store = counted(archive)
    selection = selection_of(
        view.registry, asked.get("devices"), asked.get("time"), asked.get("where")
    )
    store.forget()
    told = explain_read(view, selection, channels)
    assert not list(store.raw_reads())
    read_arrow(view, selection, channels).read_all()
    reads = list(store.raw_reads())
    assert len(reads) == len(set(reads)) == told.blocks.touched * len(told.columns)
    sizes = [_size(view, key) for key in reads]
    assert told.bytes.touched == sum(sizes)
    assert told.blocks.total == DAYS * 2 + 1
    assert told.landing_blocks.total == 1
    assert told.rows.total == DEVICES * DAYS * 24 + 1
    assert told.windows.total == DAYS
    assert told.device_blocks.total == 2
    places = {tuple(key.split("/c/")[1].split("/")) for key in reads}
    assert told.windows.touched == len({window for window, _, _ in places})
    assert told.device_blocks.touched == len({block for _, block, _ in places} - {"0"})
    assert sum(told.pruned.values()) == told.blocks.total - told.blocks.touched


def _size(view: FleetView, key: str) -> int:
    data = get_many(view.store, [key])[0]
    assert data is not None
    return data.nbytes


def test_tags_and_times_and_devices_are_told_apart_as_reasons(fleet: pipeline.Fleet) -> None:
    told = fleet.explain(time=times(1, 2), where={"site": "south"})
    assert told.devices.touched == 3
    assert told.pruned["window"] == 7
    assert told.pruned["device_block"] == 1
    assert told.blocks.touched == 1
    last = fleet.explain("d3", time=times(3, 4))
    assert last.pruned["device_bounds"] == 1
    assert last.blocks.touched == 1
    early = fleet.explain("d1", time=times(3, 3.5))
    assert early.pruned["time_bounds"] == 1


AGGREGATES: list[dict[str, Any]] = [
    {},
    {"every": "1 day"},
    {"every": "6h", "time": times(0.5, 2)},
    {"by": [], "time": times(0.25, 3.5)},
    {"by": ["site"], "every": "1h", "where": {"site": "north"}},
    {"by": [], "every": "2 days", "time": times(3, 3.99)},
]


@pytest.mark.parametrize("asked", AGGREGATES)
def test_what_an_aggregate_reads(archive: pipeline.Archive, asked: dict[str, Any]) -> None:
    view, store = counted(archive)
    selection = selection_of(view.registry, None, asked.get("time"), asked.get("where"))
    options: dict[str, Any] = {"every": asked.get("every"), "by": asked.get("by")}
    store.forget()
    told = explain_aggregate(view, {"t": "max"}, selection, Grouping(**options))
    assert not list(store.raw_reads())
    store.forget()
    aggregate(view, {"t": "max"}, selection, Grouping(**options))
    reads = list(store.raw_reads())
    whole = [key for key in reads if "[" not in key]
    assert len(reads) - len(whole) >= told.headers
    assert len(set(whole)) == (told.blocks.touched - told.headers) * (3 if whole else 0)
    assert told.blocks.touched == len({key.split("/c/")[1].split("[")[0] for key in reads})
    summaries = {key for key in store.reads if "/summary/" in key and "/c/" in key}
    assert told.summary_chunks == len(summaries)
    assert told.summary_bytes == sum(_size(view, key) for key in summaries)
    assert (told.summary_periods > 0) == bool(summaries)
    assert sum(told.pruned.values()) == told.blocks.total - told.blocks.touched


ROW_QUESTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"t": "p95"}, {}),
    ({"t": ["p95", "mean"]}, {"every": "1 day", "time": times(1, 2)}),
    ({"t": "mean", "h": "increase"}, {"every": "1 day", "where": {"site": "north"}}),
    ({"t": "mean", "h": "distinct"}, {"every": "6h", "window": "12h", "time": times(0.5, 2)}),
    ({"t": "mean"}, {"gap": "2h", "time": times(0.5, 2)}),
    ({"t": "p95"}, {"every": "1 day", "timezone": "Asia/Kolkata", "time": times(7, 8)}),
]


@pytest.mark.parametrize(("statistics", "asked"), ROW_QUESTIONS)
def test_statistics_that_need_every_row_are_told(
    archive: pipeline.Archive, statistics: dict[str, Any], asked: dict[str, Any]
) -> None:
    view, store = counted(archive)
    options = dict(asked)
    selection = selection_of(
        view.registry, None, options.pop("time", None), options.pop("where", None)
    )
    told = explain_aggregate(view, statistics, selection, Grouping(**options))
    store.forget()
    aggregate(view, statistics, selection, Grouping(**options))
    reads = [key for key in store.raw_reads() if "[" not in key]
    assert told.bytes.touched == sum(_size(view, key) for key in reads)
    assert told.blocks.touched == len({key.split("/c/")[1] for key in reads})
    assert set(told.columns) == {key.split("/raw/")[1].split("/")[0] for key in reads}
    summaries = {key for key in store.reads if "/summary/" in key and "/c/" in key}
    assert told.summary_chunks == len(summaries)


def test_it_is_told_to_people_and_to_programs(fleet: pipeline.Fleet) -> None:
    told = fleet.explain(channels="h", time=times(1, 2))
    assert told.columns == ("device_index", "time", "h")
    text = str(told)
    assert "read of fleet 'fleet'" in text
    assert "blocks         2 of 9" in text
    assert "7 blocks: 7 by window" in text
    document = json.loads(json.dumps(told.to_json()))
    assert document["blocks"] == {"touched": 2, "total": 9}
    assert document["columns"] == list(told.columns)
    assert document["question"] == "read"
    answer = fleet.explain(statistics={"t": "mean"}, every="1 day", time=times(1, 2))
    assert answer.pruned["summaries"] == 2
    assert "summaries      1 periods" in str(answer)
    assert "0 blocks; 0 are decoded" in str(answer)
    assert str(fleet.explain()).count("by window") == 0


def test_questions_that_make_no_sense_are_not_explained(fleet: pipeline.Fleet) -> None:
    with pytest.raises(InvalidInputError, match="statistics="):
        fleet.explain(every="1h")
    with pytest.raises(InvalidInputError, match="leave out channels="):
        fleet.explain(channels="t", statistics={"t": "mean"})
    with pytest.raises(InvalidInputError, match="unknown statistic"):
        fleet.explain(statistics={"t": "p195"})
    with pytest.raises(NotFoundError, match="'floor'; there are: site"):
        fleet.explain(where={"floor": "1"})


def test_summaries_that_no_device_has_are_not_counted(fleet: pipeline.Fleet) -> None:
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    sparse = memory_archive().create_fleet("fleet", schema)
    sparse.set_tags({f"d{at}": {} for at in range(600)})
    sparse.append({"device": ["d0", "d599"], "time": times(0, 0), "t": [1.0, 2.0]})
    told = sparse.explain(statistics={"t": "max"})
    assert told.summary_periods == 1
    assert told.summary_chunks == 2 * 3
    assert sparse.explain(statistics={"t": "max"}, devices="d300").summary_chunks == 0


def test_an_empty_fleet_is_explained() -> None:
    empty = memory_archive().create_fleet("fleet", pipeline.Schema([pipeline.Channel("t", "int8")]))
    assert empty.explain().blocks.total == 0
    assert empty.explain(statistics={"t": "max"}, by=[]).summary_chunks == 0
