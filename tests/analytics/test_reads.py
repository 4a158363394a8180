"""A query reads what it needs and no more: store reads are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pipeline
from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.latest import latest
from pipeline.analytics.query import Grouping
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.partitioning.pruning import Selection
from tests.support import HOUR, START, CountingStore, memory_archive, minutes

DEVICES = 6
DAYS = 4
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def counted() -> tuple[FleetView, CountingStore]:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("h", "float32")])
    scheme = pipeline.Partitioning(devices_per_block=2, landing_rows=0)
    fleet = archive.create_fleet("fleet", schema, scheme)
    steps = np.arange(DAYS * 24 * 6)
    time = np.tile(START + steps * HOUR // 6, DEVICES).astype("M8[us]")
    device = np.repeat([f"d{at}" for at in range(DEVICES)], len(steps))
    values = np.arange(len(time)) / 10
    fleet.append({"device": device, "time": time, "t": values, "h": values.astype(np.float32)})
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    store = CountingStore(view.store)
    return replace(view, store=store), store


def reads(
    counted: tuple[FleetView, CountingStore], selection: Selection, **options: object
) -> list[str]:
    view, store = counted
    store.forget()
    ordered = [] if "by" in options else ["first", "last"]
    statistics = {"t": ["count", "min", "max", "mean", "std", *ordered]}
    aggregate(view, statistics, selection, Grouping(**options))  # type: ignore[arg-type]
    return list(store.raw_reads())


def test_whole_periods_are_answered_without_any_block(
    counted: tuple[FleetView, CountingStore],
) -> None:
    assert reads(counted, Selection.of()) == []
    assert reads(counted, Selection.of(codes=[3])) == []
    assert reads(counted, Selection.of(START, START + 2 * DAY), every="1 day") == []
    assert reads(counted, Selection.of(START + DAY, None), by=[]) == []
    assert reads(counted, Selection.of(START - 99 * DAY, START + 99 * DAY), every="1 month") == []


def test_only_ragged_edges_are_decoded(counted: tuple[FleetView, CountingStore]) -> None:
    found = reads(counted, Selection.of(START + HOUR, START + 3 * DAY, [0]))
    windows = {key.split("/c/")[1].split("/")[0] for key in found}
    assert len(windows) == 1
    blocks = {key.split("/c/")[1].split("/")[1] for key in found}
    assert blocks == {"1"}
    assert all("/raw/h/" not in key for key in found)


def test_no_rows_in_range_reads_no_block(counted: tuple[FleetView, CountingStore]) -> None:
    assert reads(counted, Selection.of(START + 50 * DAY + 1, START + 60 * DAY)) == []


def test_latest_reads_summaries_only(counted: tuple[FleetView, CountingStore]) -> None:
    view, store = counted
    store.forget()
    answer = latest(view)
    assert list(store.raw_reads()) == []
    newest = ((np.arange(DEVICES) + 1) * DAYS * 144 - 1) / 10
    np.testing.assert_array_equal(answer["t"].values, newest)


def test_blocks_of_one_device_in_one_bin_are_answered_by_their_headers() -> None:
    archive = memory_archive()
    scheme = pipeline.Partitioning("1 day", devices_per_block=1, landing_rows=0)
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = archive.create_fleet("fleet", schema, scheme)
    for hour in range(3):
        times = (START + hour * HOUR + np.arange(60) * 60_000_000).astype("M8[us]")
        for device in ("a", "b"):
            fleet.append({"device": device, "time": times, "t": hour + np.arange(60) / 100})
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    store = CountingStore(view.store)
    counted_view = replace(view, store=store)
    answer = aggregate(
        counted_view,
        {"t": ["count", "mean", "max", "first", "last"]},
        Selection.of(),
        Grouping("1h"),
    )
    raw = list(store.raw_reads())
    assert len(raw) == 6
    assert all("RangeByteRequest" in key and "/raw/t/" in key for key in raw)
    assert answer["t_count"].values.tolist() == [[60, 60, 60]] * 2
    np.testing.assert_allclose(answer["t_mean"].values, [[0.295, 1.295, 2.295]] * 2, rtol=1e-12)
    last = (np.arange(3) + 0.59).tolist()
    assert answer["t_last"].values.tolist() == [last, last]


@pytest.mark.parametrize("window", ["1 month", "1 year"])
def test_latest_finds_rows_in_the_midst_of_a_long_window(window: str) -> None:
    scheme = pipeline.Partitioning(window, summary="1 hour")
    fleet = memory_archive().create_fleet(
        "f", pipeline.Schema([pipeline.Channel("t", "float64")]), scheme
    )
    fleet.append({"device": ["a", "a"], "time": minutes(0, 24 * 60 * 12), "t": [1.0, 2.0]})
    found = fleet.latest()
    assert found["t"].values.tolist() == [2.0]
    assert found["time"].values[0] == minutes(24 * 60 * 12)[0]
