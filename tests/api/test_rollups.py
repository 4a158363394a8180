"""Rollups as users meet them: made, refreshed where something changed, read, dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.analytics.rollups.refresh import RefreshResult
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.rollups.reading import RollupView
from pipeline.archive.thinning import apply_retention
from pipeline.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from pipeline.partitioning.windows import WindowLength
from pipeline.summaries.statistics import finalise
from tests.rollup_checks import assert_right
from tests.support import HOUR, MINUTE, START, as_any, memory_archive

DAY = 24 * HOUR
SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("t", "float64", units="degC", description="air temperature"),
        pipeline.Channel("n", "int16"),
        pipeline.Channel("big", "int64"),
        pipeline.Channel("f", "float32"),
        pipeline.Channel("on", "bool"),
        pipeline.Channel("mode", "category"),
        pipeline.Channel("CO (GT)/x", "uint32"),
    ]
)


def batch(
    first: float = 0, hours: float = 48, devices: str = "abc", every: int = 10, seed: int = 0
) -> dict[str, Any]:
    """Return rows of devices, one every so many minutes, some of them without values."""
    steps = np.arange(int(first * 60), int((first + hours) * 60), every)
    time = np.tile(START + steps * MINUTE, len(devices)).astype("M8[us]")
    count = len(time)
    chance = np.random.default_rng([seed, len(steps)])
    gaps = chance.random(count) < 0.1
    return {
        "device": np.repeat(list(devices), len(steps)),
        "time": time,
        "t": np.where(gaps, np.nan, np.round(chance.normal(20, 3, count), 1)),
        "n": chance.integers(-(2**15), 2**15, count).astype(np.int16),
        "big": chance.integers(2**61, 2**62, count),
        "f": chance.normal(size=count).astype(np.float32),
        "on": chance.random(count) < 0.5,
        "mode": chance.choice(["auto", "by hand", "off"], count),
        "CO (GT)/x": chance.integers(0, 2**32, count).astype(np.uint32),
    }


def new_fleet(**options: Any) -> pipeline.Fleet:
    partitioning = pipeline.Partitioning(**{"window": "1 day", "landing_rows": 8, **options})
    return memory_archive().create_fleet("fleet", SCHEMA, partitioning)


@pytest.fixture
def fleet() -> pipeline.Fleet:
    made = new_fleet(summary="1 hour")
    made.append(batch())
    return made


def refreshed(fleet: pipeline.Fleet, name: str, *args: Any, **keys: Any) -> RefreshResult:
    rollup = fleet.rollups.create(name, *args, **keys)
    result = rollup.refresh()
    assert rollup.state.is_fresh
    return result


def test_by_default_all_that_channels_have_is_kept(fleet: pipeline.Fleet) -> None:
    result = refreshed(fleet, "1h")
    assert (result.source, result.rows, result.cells) == ("summaries", 0, 3 * 48)
    found = assert_right(fleet, "1h")
    assert found.sizes == {"device": 3, "time": 48, "bound": 2}
    assert found["t_mean"].attrs["units"] == "degC"
    assert found["t_mean"].attrs["cell_methods"] == "time: mean"
    assert found["mode_last"].dtype.kind in "UO"
    assert found["big_max"].dtype == np.int64
    state = fleet.rollups["1h"].state
    assert state.statistics["t"] == ("count", "min", "max", "mean", "std", "first", "last")
    assert state.statistics["mode"] == ("count", "first", "last")
    assert (state.devices, state.periods, state.fresh) == (3, 48, 2)
    assert str(state.start) == "2024-01-01 00:00:00+00:00"


def test_what_is_asked_for_is_kept_exactly(fleet: pipeline.Fleet) -> None:
    asked = {
        "t": ["p95", "median", "sum", "range", "delta", "missing"],
        "n": ["sum", "distinct", "range", "var"],
        "big": ["sum", "max"],
        "f": ["min", "last"],
        "CO (GT)/x": ["max", "sum"],
        "mode": "distinct",
    }
    result = refreshed(fleet, "quarters", asked, every="15 min")
    assert (result.source, result.rows) == ("rows", 3 * 48 * 6)
    found = assert_right(fleet, "quarters")
    assert found["n_sum"].dtype == np.int64
    exact = np.rint(fleet.aggregate({"n": "sum"}, every="15 min")["n_sum"].values)
    assert (found["n_sum"].values == exact).all()


def test_coarser_ones_are_made_of_finer_ones(fleet: pipeline.Fleet) -> None:
    narrow = {"t": ["mean", "std", "max"], "n": "sum"}
    assert refreshed(fleet, "10min", narrow, every="10 min").source == "rows"
    assert refreshed(fleet, "3h", narrow).source == "10min"
    assert refreshed(fleet, "1day", {"t": ["mean", "std", "max"]}, every="1 day").source == "3h"
    assert refreshed(fleet, "days", {"t": "min"}, every="1 day").source == "summaries"
    assert refreshed(fleet, "exact", {"n": "sum", "t": "p50"}, every="1 day").source == "rows"
    for name in fleet.rollups:
        assert_right(fleet, name)


def test_a_stale_finer_one_is_not_taken(fleet: pipeline.Fleet) -> None:
    refreshed(fleet, "10min", {"n": "sum"}, every="10 min")
    refreshed(fleet, "1day", {"n": "sum"}, every="1 day")
    fleet.append(batch(hours=1, seed=1))
    assert fleet.rollups["1day"].refresh().source == "rows"
    assert_right(fleet, "1day")


def test_only_cells_with_new_rows_are_computed(fleet: pipeline.Fleet) -> None:
    refreshed(fleet, "rows", {"t": "p95"}, every="1h")
    fleet.append(batch(first=30, hours=2, devices="b", seed=7))
    result = fleet.rollups["rows"].refresh()
    assert (result.cells, result.rows, result.tasks) == (2, 12, 1)
    fleet.append(batch(first=48, hours=1, devices="a"))
    result = fleet.rollups["rows"].refresh()
    assert result.cells == 1
    assert_right(fleet, "rows")
    result = fleet.rollups["rows"].refresh()
    assert result == RefreshResult("rows", seconds=result.seconds)


def test_compaction_leaves_nothing_to_do(fleet: pipeline.Fleet) -> None:
    for at in range(5):
        fleet.append(batch(first=at, hours=1, seed=at + 1))
    refreshed(fleet, "1h", {"t": "p95"})
    assert fleet.compact().merges
    assert fleet.rollups["1h"].state.is_fresh
    assert fleet.rollups["1h"].refresh().commits == 0
    fleet.append(batch(first=3, hours=1, seed=50))
    fleet.compact()
    assert fleet.rollups["1h"].refresh().cells
    assert_right(fleet, "1h")


def test_rows_before_the_first_period_move_the_others_along(fleet: pipeline.Fleet) -> None:
    refreshed(fleet, "1h", {"t": ["mean", "p95"], "mode": "last"})
    fleet.append(batch(first=-24 * 400, hours=3, devices="ad"))
    result = fleet.rollups["1h"].refresh()
    assert result.rows == 2 * 18
    found = assert_right(fleet, "1h")
    assert found["time"].values[0] <= np.datetime64(START - 400 * DAY, "us")
    assert found["device"].values.tolist() == ["a", "b", "c", "d"]
    assert fleet.rollups["1h"].refresh().commits == 0


def test_deleted_cells_are_gone_at_once(fleet: pipeline.Fleet) -> None:
    refreshed(fleet, "1h", {"t": ["mean", "p95"]})
    refreshed(fleet, "month", {"t": "max"})
    span = ("2024-01-01T05:30", "2024-01-01T08:00")
    fleet.delete("b", span)
    cells = fleet.rollups["1h"].to_xarray("b", ("2024-01-01T05:00", "2024-01-01T08:00"))
    assert not cells["rows"].values.any()
    assert np.isnan(cells["t_mean"].values).all()
    assert fleet.rollups["1h"].to_xarray("a")["rows"].values.all()
    assert np.isnan(fleet.rollups["month"].to_xarray("b")["t_max"].values).all()
    assert fleet.rollups["1h"].state.stale == 1
    for name in fleet.rollups:
        fleet.rollups[name].refresh()
        assert_right(fleet, name)
    fleet.delete("c")
    assert not fleet.rollups["1h"].to_xarray("c")["rows"].values.any()
    fleet.rollups["1h"].refresh()
    assert_right(fleet, "1h")


@pytest.mark.parametrize(("window", "stale"), [("1 hour", 1), ("1 month", 2)])
def test_another_partitioning_leaves_a_fresh_rollup_fresh(
    fleet: pipeline.Fleet, window: str, stale: int
) -> None:
    refreshed(fleet, "1h", {"t": ["mean", "p95"]})
    fleet.repartition(pipeline.Partitioning(window, 2))
    assert fleet.rollups["1h"].state.is_fresh
    assert fleet.rollups["1h"].refresh().commits == 0
    fleet.append(batch(first=2, hours=1, seed=3))
    fleet.repartition(pipeline.Partitioning("1 day", 4))
    assert fleet.rollups["1h"].state.stale == stale
    assert fleet.rollups["1h"].refresh().cells == stale * 3 * 24
    assert_right(fleet, "1h")


def test_hours_outlive_the_rows() -> None:
    archive = memory_archive()
    partitioning = pipeline.Partitioning("1 day", landing_rows=8)
    fleet = archive.create_fleet(
        "fleet", SCHEMA, partitioning, retention={"raw": "5 days", "summaries": "7 days"}
    )
    fleet.append(batch(hours=24 * 10, every=60))
    refreshed(fleet, "1h", {"t": ["mean", "p95"]})
    before = fleet.rollups["1h"].to_xarray().load()
    thinned = apply_retention(archive._repository, "fleet", START + 10 * DAY)
    assert (thinned.windows, thinned.summary_windows) == (5, 3)
    assert fleet.rollups["1h"].state.is_fresh
    assert fleet.rollups["1h"].refresh().commits == 0
    fleet.append(batch(first=24 * 9, hours=5, seed=4))
    fleet.rollups["1h"].refresh()
    after = fleet.rollups["1h"].to_xarray().load()
    kept = after["time"].values < np.datetime64(START + 9 * DAY, "us")
    xr.testing.assert_equal(after.isel(time=kept), before.isel(time=kept))
    # What is left of dropped rows is what can be rolled up later.
    refreshed(fleet, "1day", {"t": ["mean", "count"]}, every="1 day")
    days = fleet.rollups["1day"].to_xarray()
    assert days["rows"].values[0].tolist() == [*[24] * 6, 24 + 25]
    late = fleet.rollups.create("late", {"t": "p95"}, every="1h")
    assert late.refresh().cells == 3 * 5 * 24
    assert not late.state.is_fresh
    assert [str(one)[:10] for one in late.state.incomplete[0]] == ["2024-01-04", "2024-01-06"]
    assert late.refresh().commits == 0
    # The cells of a device that is deleted go, whatever is left of its rows.
    fleet.delete("b")
    assert not fleet.rollups["1h"].to_xarray("b")["rows"].values.any()
    others = fleet.rollups["1h"].to_xarray(["a", "c"])["rows"].values
    assert (others[:, :24] == 1).all()


def test_states_merge_into_what_the_rows_say(fleet: pipeline.Fleet) -> None:
    asked = {"t": ["mean", "std", "min", "max", "first", "last"], "n": ["sum"], "mode": "last"}
    refreshed(fleet, "1h", asked)
    view = FleetStore(fleet._store.repository, "fleet").view()
    found = RollupView.load(view, "1h")
    names = {"count", "min", "max", "sum", "mean", "std", "var", "first", "last"}
    assert found.answers("t") == names
    assert found.answers("n") == {"count", "sum", "mean"}
    assert found.answers("mode") == {"count", "last"}
    assert found.answers("big") == frozenset()
    codes = np.arange(3)
    axis = found.rollup.axis
    states = found.states(codes, range(axis.start - 5, axis.stop + 5), "t")
    cells = np.repeat(codes, len(axis) + 10)
    merged = type(states)(*(one.ravel() for one in states.arrays())).reduce(cells, 3)
    expected = fleet.aggregate({"t": sorted(names)})
    for name in names:
        values, present = finalise(merged, name)
        assert present.all()
        np.testing.assert_allclose(values, expected[f"t_{name}"].values, rtol=1e-9)
    assert found.rows(codes, axis).sum() == 3 * 48 * 6
    exact = np.rint(fleet.aggregate({"n": "sum"})["n_sum"].values)
    assert found.exact_sums(codes, axis, "n").sum(axis=1).tolist() == exact.tolist()


def test_fresh_windows_are_told(fleet: pipeline.Fleet) -> None:
    rollup = fleet.rollups.create("1h")
    day = WindowLength.DAY.number(START)
    windows = range(day - 1, day + 4)
    assert rollup.fresh_windows(windows).tolist() == [True, False, False, True, True]
    rollup.refresh()
    assert rollup.fresh_windows(windows).all()
    fleet.append(batch(first=30, hours=1, seed=9))
    assert rollup.fresh_windows(windows).tolist() == [True, True, False, True, True]
    fleet.append(batch(first=60, hours=20, devices="z"))
    assert rollup.fresh_windows(windows).tolist() == [True, True, False, False, False]
    assert rollup.fresh_windows([]).tolist() == []
    assert rollup.answers("t") >= {"mean"}
    assert rollup.states(np.array([0]), range(5), "t").count.shape == (1, 5)


def test_reads_are_selections_and_lazy(fleet: pipeline.Fleet) -> None:
    refreshed(fleet, "1h", {"t": ["mean", "max"], "mode": "last", "n": "min"})
    rollup = fleet.rollups["1h"]
    whole = rollup.to_xarray().load()
    part = rollup.to_xarray(["c", "a"], ("2024-01-01T03:00", "2024-01-01T07:00"), "t")
    assert "n_min" not in part
    assert part["device"].values.tolist() == ["a", "c"]
    wanted = whole.sel(device=["a", "c"]).isel(time=slice(3, 7))[["rows", "t_count", "t_mean"]]
    xr.testing.assert_equal(part[["rows", "t_count", "t_mean"]].load(), wanted)
    lazy = rollup.to_xarray()
    one = lazy["mode_last"].isel(device=1, time=[5, 2, 40])
    assert one.values.tolist() == whole["mode_last"].values[1, [5, 2, 40]].tolist()
    assert lazy["t_max"].isel(time=slice(0, 0)).values.shape == (3, 0)
    assert float(lazy["t_max"][2, 7]) == whole["t_max"].values[2, 7]
    assert rollup.to_xarray("b", ("2030-01-01", None))["t_mean"].shape == (1, 0)
    with pytest.raises(NotFoundError, match="no channel 'big'; it has: t, mode, n"):
        rollup.to_xarray(channels="big")


def test_codes_that_no_device_has_are_no_devices() -> None:
    fleet = new_fleet(by="site", devices_per_block=4)
    tags = {"a": {"site": "north"}, "b": {"site": "south"}, "c": {"site": "north"}}
    fleet.append(batch(), tags=tags)
    refreshed(fleet, "1h", {"t": "mean"})
    found = assert_right(fleet, "1h")
    assert sorted(found["device"].values) == ["a", "b", "c"]
    south = fleet.rollups["1h"].to_xarray(where={"site": "south"})
    assert south["device"].values.tolist() == ["b"]


def test_an_empty_fleet_has_empty_rollups() -> None:
    fleet = new_fleet()
    rollup = fleet.rollups.create("1h")
    assert rollup.refresh().commits == 0
    state = rollup.state
    assert (state.start, state.stop, state.periods, state.is_fresh) == (None, None, 0, True)
    assert rollup.to_xarray().sizes == {"device": 0, "time": 0, "bound": 2}
    fleet.append(batch())
    rollup.refresh()
    assert_right(fleet, "1h")


def test_rollups_are_a_mapping(fleet: pipeline.Fleet) -> None:
    assert list(fleet.rollups) == []
    made = fleet.rollups.create("5 min", {"t": "mean"})
    assert (made.name, made.path) == ("5min", "fleet/rollup/5min")
    fleet.rollups.create("hourly", {"t": "mean"}, every="1h")
    assert list(fleet.rollups) == ["5min", "hourly"]
    assert len(fleet.rollups) == 2
    assert "hourly" in fleet.rollups
    assert "daily" not in fleet.rollups
    assert repr(fleet.rollups) == "<Rollups of fleet 'fleet': 5min, hourly>"
    assert repr(made) == "<Rollup '5min' of fleet 'fleet'>"
    with pytest.raises(NotFoundError, match="no rollup 'daily'; it has: 5min, hourly"):
        fleet.rollups["daily"]
    with pytest.raises(AlreadyExistsError, match="'hourly' already"):
        fleet.rollups.create("hourly", every="2h")
    fleet.rollups.drop("hourly")
    assert list(fleet.rollups) == ["5min"]
    with pytest.raises(NotFoundError):
        fleet.rollups.drop("hourly")
    fleet.rollups.create("hourly", {"t": "max"}, every="1h").refresh()
    assert_right(fleet, "hourly")


def test_an_old_state_has_its_rollups_and_is_not_written(fleet: pipeline.Fleet) -> None:
    archive = pipeline.Archive.open(str(fleet._store.repository.location))
    fleet.rollups.create("1h", {"t": "max"}).refresh()
    then = next(archive.history()).snapshot
    fleet.append(batch(first=48, hours=2))
    fleet.rollups["1h"].refresh()
    fleet.rollups.create("2h", {"t": "max"})
    old = archive.at(then).fleet("fleet")
    assert list(old.rollups) == ["1h"]
    assert old.rollups["1h"].to_xarray().sizes["time"] == 48
    assert fleet.rollups["1h"].to_xarray().sizes["time"] == 50
    for write in (
        old.rollups["1h"].refresh,
        lambda: old.rollups.create("3h"),
        lambda: old.rollups.drop("1h"),
    ):
        with pytest.raises(InvalidInputError, match="old snapshot"):
            write()


@pytest.mark.parametrize(
    ("name", "statistics", "told"),
    [
        ("../x", None, "use letters, digits"),
        ("1h", {}, "leaves nothing to keep"),
        ("1h", {"t": "average"}, "unknown statistic 'average'"),
        ("1h", {"mode": "mean"}, "holds categories"),
        ("1h", {"t": "time_weighted_mean"}, "does not keep time_weighted_mean"),
        ("1h", {"t": "histogram(0, 1)"}, "ask aggregate"),
        ("7h", None, "neither divides a day"),
        ("hours", None, "not a duration"),
    ],
)
def test_what_makes_no_sense_is_refused(
    fleet: pipeline.Fleet, name: str, statistics: Any, told: str
) -> None:
    with pytest.raises(InvalidInputError, match=told):
        fleet.rollups.create(name, statistics)
    assert list(fleet.rollups) == []


def test_an_unknown_channel_is_told(fleet: pipeline.Fleet) -> None:
    with pytest.raises(NotFoundError, match="no channel 'x'"):
        fleet.rollups.create("1h", {"x": "mean"})
    with pytest.raises(InvalidInputError, match="not a duration"):
        fleet.rollups.create("1h", every=as_any([1]))


def test_new_categories_are_named(fleet: pipeline.Fleet) -> None:
    refreshed(fleet, "1h", {"mode": "last"})
    more = batch(first=10, hours=1, devices="a", seed=5)
    fleet.append(more | {"mode": ["new state"] * 6})
    fleet.rollups["1h"].refresh()
    found = assert_right(fleet, "1h")
    assert "new state" in found["mode_last"].values


def test_workers_of_a_cluster_give_the_same(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning("1 day", landing_rows=8))
    fleet.append(batch())
    with distributed.Client(
        processes=False, dashboard_address="127.0.0.1:0", n_workers=1
    ) as client:  # type: ignore[no-untyped-call]
        rollup = fleet.rollups.create("1h", {"t": ["mean", "p95"]})
        assert rollup.refresh(client).rows == 3 * 48 * 6
        assert rollup.state.is_fresh
        assert_right(fleet, "1h")
        in_memory = new_fleet()
        in_memory.append(batch())
        in_memory.rollups.create("1h").refresh(client)
        assert_right(in_memory, "1h")


@pytest.mark.parametrize("statistics", [{"t": ["mean", "max"]}, {"t": "p95"}])
def test_periods_reach_beyond_the_first_and_the_last_day_of_time(statistics: Any) -> None:
    fleet = new_fleet()
    times = ["1900-01-01T00:00:00", "1900-01-03T00:00:00", "2199-12-31T23:59:59"]
    fleet.append({"device": ["a"] * 3, "time": times, "t": [1.0, 2.0, 3.0]})
    fleet.rollups.create("week", statistics, every="7 days").refresh()
    fleet.rollups.create("decades", statistics, every="10 years").refresh()
    for name in fleet.rollups:
        assert fleet.rollups[name].state.is_fresh
        assert_right(fleet, name)
    fleet.delete("a", (None, "1900-01-02"))
    fleet.rollups["week"].refresh()
    assert_right(fleet, "week")
    assert fleet.rollups["week"].to_xarray()["rows"].values.sum() == 2
    archive = pipeline.Archive.open(str(fleet._store.repository.location))
    assert archive.verify().is_clean


def test_spaces_in_a_name_do_not_count() -> None:
    fleet = memory_archive().create_fleet(
        "fleet", pipeline.Schema([pipeline.Channel("t", "float64")])
    )
    fleet.rollups.create("1 day")
    assert list(fleet.rollups) == ["1day"]
    assert "1 day" in fleet.rollups
    assert as_any(1) not in fleet.rollups
    assert fleet.rollups["1 day"].name == "1day"
    fleet.rollups.drop("1 day")
    assert not fleet.rollups
