"""What answers look like: dimensions, types, attributes, gaps, and what they read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.collectors import Shape
from pipeline.analytics.downsample import downsample
from pipeline.analytics.order_collector import OrderCollector
from pipeline.analytics.query import Grouping
from pipeline.analytics.readings import CellRows, Readings
from pipeline.analytics.windows import make_windows
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic
from tests.support import HOUR, MINUTE, START, CountingStore, memory_archive, minutes

DAY = 24 * HOUR


@pytest.fixture(scope="module")
def fleet() -> pipeline.Fleet:
    """Two meters with gaps: a counter that begins again, a state, a flag and a temperature."""
    schema = pipeline.Schema(
        [
            pipeline.Channel("energy", "uint64", units="Wh"),
            pipeline.Channel("mode", "category"),
            pipeline.Channel("on", "bool"),
            pipeline.Channel("t", "float64", units="degC", description="air"),
            pipeline.Channel("big", "int64"),
        ]
    )
    fleet = memory_archive().create_fleet("meters", schema)
    fleet.append(
        {
            "device": ["a"] * 6 + ["b"] * 2,
            "time": minutes(0, 10, 20, 80, 90, 200, 0, 60),
            "energy": np.array([100, 160, 40, 70, 2**63, 2**63 + 6, 5, 8], np.uint64),
            "mode": ["day", "day", "night", "night", "day", "day", "off", "off"],
            "on": [True, True, False, None, True, False, True, True],
            "t": [10.0, 20.0, np.nan, 30.0, 10.0, 10.0, 1.0, 3.0],
            "big": [-(2**62), 2**62, 0, 2**62, -(2**63), 2**63 - 1, 1, 2],
        },
        tags={"a": {"site": "x"}, "b": {"site": "x"}},
    )
    return fleet


def test_increases_are_those_of_a_counter(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate(
        {"energy": ["increase", "rate", "delta", "range"]}, every="1h", devices="a"
    )
    assert answer["energy_increase"].values[0, :2].tolist() == [60 + 40, 30.0 + (2**63 - 70)]
    assert answer["energy_increase"].values[0, 3] == 6
    assert np.isnan(answer["energy_increase"].values[0, 2])
    rates = answer["energy_rate"].values[0]
    assert rates[0] == 100 / 1200
    assert rates[3] == 6 / (110 * 60)
    assert answer["energy_rate"].attrs["units"] == "Wh s-1"
    assert answer["energy_increase"].attrs["units"] == "Wh"
    assert answer["energy_delta"].values[0, 0] == -60.0
    assert answer["energy_range"].values[0, 1] == float(2**63 - 70)
    whole = fleet.aggregate({"energy": "increase"}, devices="a")["energy_increase"].values
    assert whole.tolist() == [np.nansum(answer["energy_increase"].values)]


def test_time_is_cut_at_the_borders_of_bins(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate(
        {
            "t": ["time_weighted_mean", "time_weighted_mean_previous"],
            "on": ["time_in_state", "time_weighted_mean_previous"],
            "mode": "time_in_state",
        },
        every="1h",
        devices="a",
    )
    # 10 to 20 in 10 minutes, then to 30 over 70: at 60 minutes it stands at 20 + 10 * 50 / 70.
    border = 20 + 10 * 50 / 70
    wanted = (15 * 10 + (20 + border) / 2 * 50) / 60
    assert answer["t_time_weighted_mean"].values[0, 0] == pytest.approx(wanted, rel=1e-14)
    assert answer["t_time_weighted_mean_previous"].values[0, 0] == pytest.approx(
        (10 * 10 + 20 * 50) / 60
    )
    assert answer["t_time_weighted_mean"].values[0, 2] == 10  # no reading, but known on both sides
    assert "comment: over time" in answer["t_time_weighted_mean"].attrs["cell_methods"]
    on = answer["on_time_in_state"]
    assert on.dims == ("device", "time", "on_state")
    assert on["on_state"].values.tolist() == [False, True]
    assert on.values[0].tolist() == [[2400, 1200], [1800, 1800], [0, 3600], [0, 1200]]
    assert on.attrs["units"] == "s"
    modes = answer["mode_time_in_state"].sel(mode_state="day").values[0]
    assert modes.tolist() == [1200, 1800, 3600, 1200]
    assert answer["on_time_weighted_mean_previous"].values[0, 0] == pytest.approx(1 / 3)


def test_devices_together_add_up(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate(
        {
            "energy": ["increase", "median", "distinct"],
            "t": ["time_weighted_mean_previous", "missing"],
            "mode": ["time_in_state", "distinct", "missing"],
        },
        by="site",
        time=(None, "2024-01-01T01:10"),
    )
    assert answer["energy_increase"].dims == ("site",)
    assert answer["energy_increase"].values.tolist() == [100 + 3]
    assert answer["energy_median"].values.tolist() == [40.0]
    assert answer["energy_distinct"].values.tolist() == [5]
    assert answer["t_missing"].values.tolist() == [1]
    assert answer["t_time_weighted_mean_previous"].values[0] == pytest.approx(
        (10 * 10 + 60 * 1) / 70
    )
    assert answer["mode_time_in_state"].sel(mode_state="off").values.tolist() == [3600]
    assert answer["mode_missing"].values.tolist() == [0]


def test_types_and_parts(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate(
        {
            "t": ["histogram(0, 10, 30)", "p95", "median", "distinct", "missing", "range"],
            "big": ["range", "delta", "increase"],
        }
    )
    assert answer["t_histogram"].dims == ("device", "t_bucket")
    assert answer["t_histogram"].values.tolist() == [[0, 5], [2, 0]]
    assert answer["t_bucket"].values.tolist() == [0, 10]
    assert answer["t_bucket_stop"].values.tolist() == [10, 30]
    assert answer["t_bucket"].attrs["units"] == "degC"
    types = {str(name): values.dtype for name, values in answer.data_vars.items()}
    whole = {"t_histogram", "t_distinct", "t_missing"}
    assert {name for name, dtype in types.items() if dtype == np.int64} == whole
    assert {dtype for name, dtype in types.items() if name not in whole} == {np.dtype("float64")}
    assert answer["t_median"].attrs["cell_methods"] == "time: median"
    assert answer["t_p95"].attrs["units"] == "degC"
    assert answer["t_p95"].attrs["long_name"] == "p95 of air"
    assert answer["big_range"].values[0] == float(2**64 - 1)
    assert answer["big_delta"].values[0] == float(2**63 - 1 + 2**62)


def test_fill_policies(fleet: pipeline.Fleet) -> None:
    def hourly(fill: str, **options: Any) -> Any:
        return fleet.aggregate(
            {"t": ["mean", "p95", "count"]}, every="1h", devices="a", fill=fill, **options
        )

    assert hourly("null")["t_mean"].values[0].tolist()[:2] == [15.0, 20.0]
    assert np.isnan(hourly("null")["t_mean"].values[0, 2])
    assert hourly("previous")["t_mean"].values[0].tolist() == [15, 20, 20, 10]
    assert hourly("linear")["t_mean"].values[0].tolist() == [15, 20, 15, 10]
    assert hourly("linear")["t_count"].values[0].tolist() == [2, 2, 0, 1]
    dropped = hourly("none")
    hours = dropped["time"].values.astype("M8[h]").astype(int) % 24
    assert hours.tolist() == [0, 1, 3]
    assert dropped["t_p95"].shape == (1, 3)
    texts = fleet.aggregate({"mode": "last"}, every="1h", devices="a", fill="previous")
    assert texts["mode_last"].values[0].tolist() == ["night", "day", "day", "day"]


def test_overlapping_windows(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate(
        {"t": ["count", "max", "median"], "mode": "last"}, every="1h", window="2h", devices="a"
    )
    starts = answer["time"].values.astype("M8[us]").astype(np.int64)
    stops = answer["time_stop"].values.astype("M8[us]").astype(np.int64)
    assert ((starts - START) // HOUR).tolist() == [-1, 0, 1, 2, 3]
    assert (stops - starts == 2 * HOUR).all()
    assert answer["t_count"].values[0].tolist() == [2, 4, 2, 1, 1]
    assert answer["t_max"].values[0].tolist() == [20, 30, 30, 10, 10]
    assert answer["t_median"].values[0].tolist() == [15, 15, 20, 10, 10]
    assert answer["mode_last"].values[0].tolist() == ["night", "day", "day", "day", "day"]


def test_sessions_lie_along_their_own_dimension(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate({"t": ["mean", "p95", "count", "histogram(0,50)"]}, gap="30 min")
    assert answer["t_mean"].dims == ("session",)
    assert answer["t_histogram"].dims == ("session", "t_bucket")
    assert answer["device"].values.tolist() == ["a", "a", "a", "b", "b"]
    length = answer["time_last"].values - answer["time"].values
    assert (length / np.timedelta64(1, "m")).tolist() == [20, 10, 0, 0, 0]
    assert answer["t_count"].values.tolist() == [2, 2, 1, 1, 1]
    empty = fleet.aggregate({"t": "mean"}, gap="30 min", time=("2030-01-01", None))
    assert empty.sizes["session"] == 0


def test_nothing_in_range(fleet: pipeline.Fleet) -> None:
    wanted = {"t": ["p95", "increase", "time_weighted_mean", "rate", "distinct", "histogram(0,1)"]}
    answer = fleet.aggregate(wanted, time=("2030-01-01", None))
    assert np.isnan([answer[f"t_{name}"].values for name in ("p95", "increase", "rate")]).all()
    assert answer["t_distinct"].values.tolist() == [0, 0]
    assert answer["t_histogram"].values.tolist() == [[0], [0]]


def test_timezones_are_named_on_the_axis(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate({"t": ["mean", "p95"]}, every="1 day", timezone="America/New_York")
    assert answer["time"].attrs["timezone"] == "America/New_York"
    assert answer["time"].values[0] == np.datetime64(START - 19 * HOUR, "us")
    assert answer["time_stop"].values[0] == np.datetime64(START + 5 * HOUR, "us")


def test_plots_of_one_and_of_several_devices(fleet: pipeline.Fleet) -> None:
    one = fleet.downsample("t", points=3, devices="a")
    assert one["t"].dims == ("time",)
    assert one["t"].values.tolist() == [10, 30, 10]
    assert one["t"].attrs == {"units": "degC", "long_name": "air"}
    assert one.attrs["downsampled"] == "lttb"
    both = fleet.downsample("energy", points=4, method="minmax")
    assert both["energy"].dims == ("device", "point")
    assert both["time"].dims == ("device", "point")
    assert np.isnat(both["time"].values[1, 2:]).all()
    exact = fleet.downsample("energy", points=9, devices="a")["energy"]
    assert exact.dtype == np.uint64
    assert exact.values[-1] == 2**63 + 6
    assert (
        fleet.downsample("t", points=3, devices="a", time=("2030-01-01", None)).sizes["time"] == 0
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistics": {"t": "mean"}, "gap": "1h", "every": "1h"}, "leave out every= or gap="),
        ({"statistics": {"t": "mean"}, "gap": "1h", "by": []}, "leave out by= or gap="),
        ({"statistics": {"t": "mean"}, "gap": "1h", "fill": "none"}, "leave out fill="),
        ({"statistics": {"t": "mean"}, "fill": "previous"}, "give every="),
        ({"statistics": {"t": "mean"}, "fill": "zero", "every": "1h"}, "unknown fill"),
        ({"statistics": {"mode": "last"}, "fill": "linear", "every": "1h"}, "fill='previous'"),
        ({"statistics": {"t": "rate"}, "by": []}, "leave out by="),
        ({"statistics": {"mode": "p95"}}, "holds categories"),
        ({"statistics": {"t": "mean"}, "window": "1h"}, "give every="),
        ({"statistics": {"t": pipeline.histogram(range(9000))}, "every": "1s"}, "ask for fewer"),
    ],
)
def test_questions_that_make_no_sense(
    fleet: pipeline.Fleet, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        fleet.aggregate(**arguments)


@pytest.mark.parametrize(
    ("channel", "arguments", "message"),
    [
        ("mode", {"points": 9}, "no numbers to plot"),
        ("on", {"points": 9}, "no numbers to plot"),
        ("t", {"points": 1}, "2 or more"),
        ("t", {"points": 2.5}, "2 or more"),
        ("t", {"points": 9, "method": "mean"}, "lttb, minmax"),
    ],
)
def test_plots_that_make_no_sense(
    fleet: pipeline.Fleet, channel: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        fleet.downsample(channel, **arguments)
    with pytest.raises(NotFoundError):
        fleet.downsample("nothing", points=9)


@pytest.mark.parametrize("options", [{}, {"window": "25 min"}])
def test_values_of_finished_windows_are_let_go(options: dict[str, Any]) -> None:
    windows = make_windows("10 min", START, START + 10 * HOUR, 3, **options)
    shape = Shape(3, len(windows.panes), windows)
    statistics = [Statistic.parse("p95"), Statistic.parse("distinct")]
    early, late = OrderCollector(statistics, shape, pending=500), OrderCollector(statistics, shape)
    random = np.random.default_rng(3)
    held = []
    for hour in range(10):
        time = np.sort(START + hour * HOUR + random.integers(0, HOUR, 200))
        group = random.integers(0, 3, 200)
        cells = CellRows(group, group, windows.panes.numbers(time), time)
        readings = Readings(cells, random.integers(0, 50, 200).astype(np.float32))
        for collector in (early, late):
            collector.close(int(windows.panes.numbers(np.array([START + hour * HOUR]))[0]))
            collector.add(readings)
        held.append(early._pending)
    for statistic in statistics:
        one, two = early.result(statistic, shape), late.result(statistic, shape)
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.present, two.present)
    assert max(held) < 1000
    assert late.result(statistics[1], shape).values.sum() > 0


@pytest.fixture(scope="module")
def counted() -> tuple[FleetView, CountingStore]:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("h", "float32")])
    scheme = pipeline.Partitioning(devices_per_block=2, landing_rows=0)
    fleet = archive.create_fleet("fleet", schema, scheme)
    steps = np.arange(4 * 24 * 6)
    time = np.tile(START + steps * 10 * MINUTE, 6).astype("M8[us]")
    device = np.repeat([f"d{at}" for at in range(6)], len(steps))
    values = np.arange(len(time)) / 10
    fleet.append({"device": device, "time": time, "t": values, "h": values.astype(np.float32)})
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    store = CountingStore(view.store)
    return replace(view, store=store), store


def reads(
    counted: tuple[FleetView, CountingStore],
    statistics: Any,
    selection: Selection | None = None,
    fill: str = "null",
    **options: Any,
) -> set[tuple[str, ...]]:
    """Return column, window and device block of every chunk that was read."""
    view, store = counted
    store.forget()
    aggregate(view, statistics, selection or Selection.of(), Grouping(**options), fill)
    return {
        (key.split("/raw/")[1].split("/")[0], *key.split("/c/")[1].split("/")[:2])
        for key in store.raw_reads()
    }


STORED = {"t": ["missing", "range", "delta", "mean", "last"]}


def test_windows_of_whole_periods_need_no_block(counted: tuple[FleetView, CountingStore]) -> None:
    assert reads(counted, STORED) == set()
    assert reads(counted, STORED, every="1 day", timezone="UTC") == set()
    assert reads(counted, STORED, every="1 day", window="3 days") == set()
    assert reads(counted, STORED, every="1 week", timezone="UTC") == set()
    assert reads(counted, STORED, every="quarter") == set()
    assert reads(counted, STORED, every="1 day", fill="linear") == set()


def test_days_of_another_zone_decode_the_periods_that_they_cut(
    counted: tuple[FleetView, CountingStore],
) -> None:
    found = reads(counted, STORED, every="1 month", timezone="Europe/Berlin")
    assert found == set()  # January in Berlin holds all of the four days
    found = reads(counted, STORED, every="3 days", timezone="Asia/Kolkata")
    windows = {window for _, window, _ in found}
    assert 0 < len(windows) < 4


def test_percentiles_decode_the_channels_and_devices_asked_for(
    counted: tuple[FleetView, CountingStore],
) -> None:
    found = reads(counted, {"t": ["p95", "mean"]}, Selection.of(START, START + DAY, [0]))
    assert {column for column, _, _ in found} == {"device_index", "time", "t"}
    assert {block for _, _, block in found} == {"1"}
    assert len({window for _, window, _ in found}) == 1
    mixed = reads(counted, {"t": "mean", "h": "distinct"})
    assert {column for column, _, _ in mixed} == {"device_index", "time", "h"}


def test_plots_decode_one_channel(counted: tuple[FleetView, CountingStore]) -> None:
    view, store = counted
    store.forget()
    downsample(view, "h", Selection.of(codes=[5]), points=10)
    keys = list(store.raw_reads())
    assert keys
    assert not any("/raw/t/" in key for key in keys)
