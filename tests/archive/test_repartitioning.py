"""A fleet that is partitioned anew answers as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import pipeline
from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.archive.repartitioning import RepartitionResult
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.tables import Table
from pipeline.archive.thinning import apply_retention
from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.partitioning.pruning import Selection
from tests.archive.repartitioned import (
    DAY,
    QUESTIONS,
    SCHEMA,
    SCHEMES,
    batch,
    filled,
    names_in,
    rows,
    store_of,
)
from tests.support import START, memory_archive, minutes, rows_of


@pytest.mark.parametrize("rows_at_once", [1 << 20, pytest.param(300, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_answers_stay_and_nothing_of_the_old_grid_is_left(
    scheme: pipeline.Partitioning, rows_at_once: int
) -> None:
    archive, fleet = filled()
    fleet.append({"device": [None], "time": minutes(1), "t": [1.0]})
    before, latest = rows(fleet), fleet.latest()
    lazy = fleet.to_xarray("d0").load()
    asked = [fleet.aggregate(QUESTIONS, every=every) for every in (None, "1h", "1 day", "1 month")]
    kept = (fleet.devices, fleet.tags, fleet.positions, fleet.quarantine())
    old = archive.at(next(iter(archive.history())).snapshot)
    done = fleet.repartition(scheme, rows_at_once=rows_at_once)
    assert fleet.partitioning == scheme
    pd.testing.assert_frame_equal(rows(fleet), before)
    for every, one in zip((None, "1h", "1 day", "1 month"), asked, strict=True):
        xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every=every), one)
    xr.testing.assert_equal(fleet.latest(), latest)
    xr.testing.assert_equal(fleet.to_xarray("d0").load(), lazy)
    assert (fleet.devices, fleet.tags, fleet.positions) == kept[:3]
    assert fleet.quarantine().equals(kept[3])
    report = archive.verify()
    assert report.is_clean, report.problems
    if done.rows:
        assert not {"raw", "index", "summary"} & set(names_in(archive))
        assert names_in(archive, "fleet/g1") == ["index", "raw", "summary"]
        assert done.blocks_after == len(store_of(archive).view().blocks(Selection()))
        assert done.blocks_after != done.blocks_before
    assert rows(old.fleet("fleet")).equals(before)
    assert old.fleet("fleet").partitioning != scheme
    # Life goes on.
    fleet.append(batch(24 * 41, 24, 7))
    fleet.append(batch(3, 24, 3, 1))
    fleet.compact()
    again = rows(fleet)
    assert len(again) > len(before)
    assert archive.verify().is_clean
    fleet.repartition(pipeline.Partitioning("1 day", 2, landing_rows=8))
    pd.testing.assert_frame_equal(rows(fleet), again)
    assert archive.verify().is_clean
    assert archive.repair()["fleet"].is_clean


def test_to_what_it_is_already_does_nothing() -> None:
    archive, fleet = filled()
    tip = archive._repository.tip()
    assert fleet.repartition(fleet.partitioning) == RepartitionResult()
    assert archive._repository.tip() == tip


def test_landing_rows_alone_copy_nothing() -> None:
    archive, fleet = filled()
    done = fleet.repartition(replace(fleet.partitioning, landing_rows=0))
    assert (done.rows, done.commits) == (0, 1)
    assert fleet.partitioning.landing_rows == 0
    assert "raw" in names_in(archive)


@pytest.mark.parametrize("window", ["1 month", "1 hour", "1 year"])
def test_statistics_of_dropped_rows_are_kept(window: str) -> None:
    retention = {"raw": "10 days", "summaries": "60 days"}
    archive, fleet = filled(pipeline.Partitioning("1 day", 2, "1 hour", 8), retention=retention)
    apply_retention(archive._repository, "fleet", START + 30 * DAY)
    summary = "1 hour" if window == "1 hour" else "1 day"
    asked = fleet.aggregate(QUESTIONS, every="1 day")
    whole, before = fleet.aggregate(QUESTIONS), rows(fleet)
    fleet.repartition(pipeline.Partitioning(window, 3, summary))
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every="1 day"), asked)
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS), whole)
    pd.testing.assert_frame_equal(rows(fleet), before)
    with pytest.raises(InvalidInputError, match="were dropped by its retention"):
        fleet.aggregate(QUESTIONS, every="7 min")
    assert archive.verify().is_clean
    assert archive.repair()["fleet"].is_clean
    fleet.append(batch(24 * 5, 24, 2))
    assert fleet.quarantine().num_rows > 0
    # Nothing before its time is dropped of a window that has both.
    apply_retention(archive._repository, "fleet", START + 31 * DAY)
    assert rows(fleet)["time"].min() >= START + (20 if window != "1 hour" else 21) * DAY
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every="1 day"), asked)
    assert archive.verify().is_clean
    fleet.delete(time=("2024-01-02", "2024-01-04"))
    left = fleet.aggregate({"t": "count"}, every="1 day", time=("2024-01-01", "2024-01-06"))
    assert left["t_count"].values.astype(bool).any(axis=0).tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert archive.verify().is_clean
    fleet.repartition(pipeline.Partitioning("1 day", 2, summary))
    assert archive.verify().is_clean
    xr.testing.assert_equal(
        fleet.aggregate({"t": "count"}, every="1 day", time=("2024-01-01", "2024-01-06")), left
    )


def test_periods_that_cannot_be_made_are_refused() -> None:
    archive, fleet = filled(retention={"raw": "10 days"})
    apply_retention(archive._repository, "fleet", START + 30 * DAY)
    with pytest.raises(InvalidInputError, match="give summary='1 day'"):
        fleet.repartition(pipeline.Partitioning("1 hour"))
    with pytest.raises(InvalidInputError, match=r"2024-01-21.*inside of a period of 1 month"):
        fleet.repartition(pipeline.Partitioning("1 month"))


def test_what_cannot_be_is_refused() -> None:
    archive, fleet = filled()
    with pytest.raises(InvalidInputError, match="by cannot be changed"):
        fleet.repartition(pipeline.Partitioning(by="site"))
    with pytest.raises(InvalidInputError, match="rows_at_once is 0"):
        fleet.repartition(SCHEMES[0], rows_at_once=0)
    with pytest.raises(InvalidInputError, match="old snapshot"):
        archive.at(archive._repository.tip()).fleet("fleet").repartition(SCHEMES[0])
    many = memory_archive().create_fleet("many", SCHEMA)
    many.set_tags({f"d{at}": {"site": "Oslo"} for at in range(66_000)})
    with pytest.raises(InvalidInputError, match="room for 65536 device blocks"):
        many.repartition(pipeline.Partitioning(devices_per_block=1))


def test_a_fleet_that_is_partitioned_by_a_tag_gets_other_windows() -> None:
    archive, fleet = filled(pipeline.Partitioning("1 day", 2, by="site", landing_rows=0))
    fleet.set_tags({"d1": {"site": "Oslo"}, "x": {"site": "Bergen"}})
    before = rows(fleet)
    with pytest.raises(InvalidInputError, match="devices_per_block cannot be changed"):
        fleet.repartition(pipeline.Partitioning("1 day", 3, by="site"))
    fleet.repartition(pipeline.Partitioning("1 month", 2, by="site"))
    pd.testing.assert_frame_equal(rows(fleet), before)
    assert set(rows_of(fleet.read(where={"site": "Oslo"}))["device"]) == {"d0", "d1"}
    fleet.append(batch(24 * 50, 24, 8), tags={"d7": {"site": "Bergen"}})
    assert archive.verify().is_clean


def test_a_damaged_block_leaves_the_fleet_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()

    def fail(*_: Any) -> Any:
        raise CorruptBlockError("fleet/raw/t: damaged")

    with monkeypatch.context() as patch:
        patch.setattr(FetchedBlocks, "decode_all", fail)
        with pytest.raises(CorruptBlockError):
            fleet.repartition(SCHEMES[0])
    assert "g1" not in names_in(archive)
    assert archive.verify().is_clean


def test_releases_that_know_no_generations_refuse_the_fleet() -> None:
    archive, fleet = filled()
    store = archive._repository.snapshot().store
    assert "generation" not in zarr.open_group(store, path="fleet", mode="r").attrs["partitioning"]  # type: ignore[operator]
    fleet.repartition(SCHEMES[0])
    store = archive._repository.snapshot().store
    said: Any = zarr.open_group(store, path="fleet", mode="r").attrs["partitioning"]
    assert said["generation"] == 1
    with pytest.raises(InvalidInputError, match="newer version"):
        pipeline.Partitioning.from_json(said)


def test_plain_zarr_finds_the_arrays_by_the_attribute() -> None:
    archive, fleet = filled()
    expected = rows(fleet)
    fleet.repartition(SCHEMES[1])
    store = archive._repository.snapshot().store
    said: Any = zarr.open_group(store, path="fleet", mode="r").attrs["partitioning"]
    root = f"fleet/g{said['generation']}"
    values: list[float] = []
    time = zarr.open_array(store, path=f"{root}/raw/t", mode="r")
    assert zarr.open_array(store, path=f"{root}/raw/mode", mode="r").attrs["flag_values"] == [0, 1]
    for window, block, slot in stored_chunks(store, f"{root}/raw/t"):
        first = slot * 65_536
        part: Any = time[window, block, first : first + 1000]
        values += part[~np.isnan(part)].tolist()
    assert sorted(values)[:5] == sorted(expected["t"])[:5]
    assert len(set(values)) >= len(expected)


def test_tables_of_both_grids_have_other_paths() -> None:
    archive, _ = filled()
    layout = store_of(archive).view().meta.layout
    moved = replace(layout, generation=4)
    tables: list[Callable[[Any], Table]] = [
        lambda one: one.index,
        lambda one: one.slots,
        lambda one: one.extent,
    ]
    for table in tables:
        assert table(layout).path.startswith("fleet/")
        assert table(moved).path == table(layout).path.replace("fleet/", "fleet/g4/")
    assert moved.state.path == layout.state.path
    assert moved.grid_paths == ("fleet/g4",)
