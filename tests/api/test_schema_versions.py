from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import pipeline
from pipeline.errors import InvalidInputError, NotFoundError, SchemaError
from pipeline.schema.aliases import RenamedChannelWarning
from pipeline.schema.changes import (
    AddChannel,
    ChangeUnits,
    RemoveChannel,
    RenameChannel,
)
from tests.api.schema_fleets import (
    SCHEMA,
    assert_rows,
    assert_statistics,
    batch,
    evolved_fleet,
    expected_rows,
    first_fleet,
    frame,
)
from tests.support import memory_archive, minutes

Channel = pipeline.Channel


def test_rows_of_all_versions_are_read_as_the_newest() -> None:
    assert_rows(evolved_fleet())


@pytest.mark.parametrize("every", [None, "1h", "15min"])
def test_statistics_over_versions(every: str | None) -> None:
    assert_statistics(evolved_fleet(), every)


def test_statistics_of_mixed_and_ragged_times() -> None:
    fleet = evolved_fleet()
    assert_statistics(fleet, "15min", time=("2024-01-01T00:10", "2024-01-01T01:50"), devices=["b"])


def test_every_version_shows_all_rows() -> None:
    fleet = evolved_fleet()
    first, third = fleet.at_version(1), frame(fleet)
    assert first.schema == SCHEMA
    early = frame(first, time=(None, "2024-01-01T01:30"))
    assert (
        early["count"].tolist() == third["count"][third["time"] < early["time"].max() + 1].tolist()
    )
    with pytest.raises(SchemaError, match="do not fit int16 of version 1"):
        frame(first)
    second = frame(fleet.at_version(2), channels=["mode", "extra"])
    assert set(second["mode"].dropna()) == {"on", "off", "idle"}
    assert first.aggregate({"level": "max"}, time=(None, "2024-01-01T00:30"), by=[])[
        "level_max"
    ] == pytest.approx(29 / 4 - 2)
    assert fleet.at_version(1).latest(channels="open")["open"].values.tolist() == [True, True]
    with pytest.raises(NotFoundError, match="there are 1 to 3"):
        fleet.at_version(9)


def test_values_are_selected_in_the_version_that_is_read() -> None:
    fleet, rows = evolved_fleet(), expected_rows()
    for where, mask in (
        ({"level": "< -100"}, rows["level"] < -100),
        ({"level": ">= 3 and < 20"}, (rows["level"] >= 3) & (rows["level"] < 20)),
        ({"count": f"> {2**40}"}, rows["count"] > 2**40),
        ({"state": "off"}, rows["state"] == "off"),
        ({"site": 7}, rows["site"] == 7),
        ({"extra": None}, rows["extra"].isna()),
    ):
        assert len(frame(fleet, where=where)) == mask.sum(), where
        answer = fleet.aggregate({"site": ["count", "sum"]}, by=[], where=where)
        assert int(answer["site_count"]) == mask.sum(), where
        assert float(answer["site_sum"]) == pytest.approx(rows["site"][mask].sum()), where


def test_blocks_are_left_out_by_converted_bounds() -> None:
    fleet = evolved_fleet()
    touched = fleet.explain(where={"level": "> 20"})
    assert touched.blocks.touched < touched.blocks.total
    assert len(frame(fleet, where={"level": "> 20"})) == (expected_rows()["level"] > 20).sum()


def test_the_newest_values() -> None:
    newest = evolved_fleet().latest()
    last = expected_rows().groupby("device").last()
    assert newest["count"].values.tolist() == last["count"].tolist()
    assert newest["state"].values.tolist() == last["state"].tolist()
    assert newest["extra"].values.tolist() == last["extra"].tolist()


def test_a_fleet_whose_first_version_has_another_number() -> None:
    fleet = memory_archive().create_fleet("fleet", pipeline.Schema(SCHEMA.channels, 5))
    fleet.append(batch(0, 5))
    assert fleet.evolve(ChangeUnits("level", "mm", multiply=1000)).number == 6
    fleet.append(batch(5, 5))
    fleet.append(batch(10, 5), schema_version=5)
    assert frame(fleet.at_version(5), devices="a")["level"].tolist()[:3] == [-2.0, -1.75, -1.5]
    assert fleet.aggregate({"level": "min"}, by=[])["level_min"] == -2000
    fleet.migrate(verify=True)
    assert frame(fleet, devices="a")["level"].tolist()[0] == -2000


def test_old_snapshots_show_the_schema_of_their_time() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA)
    fleet.append(batch(0, 3))
    before = next(iter(archive.history())).snapshot
    fleet.evolve(RemoveChannel("count"))
    old = archive.at(before).fleet("fleet")
    assert len(old.schemas) == 1
    assert old.read().read_all().column_names[3] == "count"
    with pytest.raises(InvalidInputError, match="old snapshot"):
        old.evolve(RemoveChannel("mode"))


def test_a_retired_channel_comes_back_empty() -> None:
    fleet = first_fleet()
    fleet.evolve(RemoveChannel("count"))
    with pytest.raises(NotFoundError):
        fleet.read(channels="count")
    fleet.evolve(AddChannel(Channel("count", "float64")))
    fleet.append({"device": "a", "time": minutes(99), "count": [1.5]})
    assert frame(fleet)["count"].dropna().tolist() == [1.5]
    assert fleet.aggregate({"count": "count"}, by=[])["count_count"] == 1
    assert frame(fleet.at_version(1))["count"].notna().sum() == 60


def test_old_names_work_in_every_question() -> None:
    fleet = first_fleet()
    fleet.evolve(RenameChannel("count", "n"))
    with pytest.warns(RenamedChannelWarning, match="'count' is called 'n'"):
        assert "n_max" in fleet.aggregate({"count": "max"})
    with pytest.warns(RenamedChannelWarning):
        assert len(frame(fleet, where={"count": "> 20"})) == 18
    with pytest.warns(RenamedChannelWarning):
        fleet.downsample("count", points=3)
    with pytest.warns(RenamedChannelWarning):
        assert "n" in fleet.to_xarray(channels=["count"])
    with pytest.warns(RenamedChannelWarning):
        fleet.append({"device": "a", "time": minutes(99), "count": [9]})
    assert fleet.latest(channels="n")["n"].values.tolist()[0] == 9


def test_lazy_datasets(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA)
    fleet.append(batch(0, 30))
    fleet.evolve(ChangeUnits("level", "mm", multiply=1000), RenameChannel("mode", "state"))
    fleet.append({"device": "a", "time": minutes(60), "level": [500.0], "state": ["new"]})
    rows = frame(fleet, devices="a")
    opened = xr.open_dataset(tmp_path / "archive", engine="iot_archive", devices="a")
    np.testing.assert_array_equal(opened["level"].values, rows["level"].to_numpy())
    assert opened["state"].values[-1] == "new"
    assert opened["level"].attrs["units"] == "mm"
    assert opened.attrs["schema_versions"] == [1, 2]
    first = xr.open_dataset(
        tmp_path / "archive", engine="iot_archive", devices="a", schema_version=1
    )
    assert first["level"].attrs["units"] == "m"
    assert float(first["level"][-1]) == 0.5
    assert "mode" in first
    travelled = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(travelled["level"].values, first["level"].values)
    part = opened.isel(time=slice(2, 4))["level"].values
    np.testing.assert_array_equal(part, rows["level"][2:4].to_numpy())


def test_approximate_answers_bound_converted_values() -> None:
    fleet = evolved_fleet()
    exact = fleet.aggregate({"level": ["p50", "mean"]}, every="1h")
    found = fleet.aggregate({"level": ["p50", "mean"]}, every="1h", approximate=True)
    for name in ("level_p50", "level_mean"):
        some = np.isfinite(exact[name].values)
        assert (found[f"{name}_low"].values[some] <= exact[name].values[some] + 1e-9).all()
        assert (found[f"{name}_high"].values[some] >= exact[name].values[some] - 1e-9).all()


def test_plain_readers_are_told_what_an_array_is(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA)
    fleet.append(batch(0, 3))
    fleet.evolve(ChangeUnits("level", "mm", multiply=1000))
    fleet.append(batch(3, 3))
    fleet.repartition(pipeline.Partitioning("1 month"))
    view = fleet._view()
    arrays = {
        name: zarr.open_array(view.store, path=view.meta.layout.raw_path(name), mode="r")
        for name in ("level", "level~2")
    }
    assert [array.attrs["units"] for array in arrays.values()] == ["m", "mm"]
    assert {array.attrs["long_name"] for array in arrays.values()} == {"level"}
