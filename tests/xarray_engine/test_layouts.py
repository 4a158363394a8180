from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.errors import NotFoundError
from tests.xarray_engine.fleets import (
    DAY,
    MINUTE,
    START,
    devices_of,
    readings,
    rows_read,
    rows_shown,
)

TIMES = {
    "all": None,
    "middle of a window": (START + 300 * MINUTE, START + 700 * MINUTE),
    "across windows": ("2024-03-01T12:00", "2024-03-02T00:00:00.000001"),
    "whole windows": ("2024-03-01", "2024-03-03"),
    "open start": (None, "2024-03-01T00:10"),
    "open end": slice("2024-03-03", None),
    "nothing there": ("2025-01-01", "2026-01-01"),
    "empty": ("2024-03-01", "2024-03-01"),
}


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("devices", [None, "d0", "d2", ["d0"], ["d4", "d1", "d0"], []])
def test_every_layout_shows_the_rows_that_read_gives(
    rooms: pipeline.Fleet, devices: Any, time: Any
) -> None:
    shown = rows_shown(rooms.to_xarray(devices=devices, time=time))
    assert shown == rows_read(rooms, devices=devices, time=time)


@pytest.mark.parametrize("policy", ["keep_last", "keep_first", "keep_all"])
@pytest.mark.parametrize("devices", [None, "a", ["a", "b"]])
def test_duplicates_are_resolved_by_the_fleets_policy(policy: str, devices: Any) -> None:
    schema = pipeline.Schema([pipeline.Channel("level", "float64")])
    archive = pipeline.Archive.create("memory://")
    fleet = archive.create_fleet("rooms", schema, duplicates=policy)
    for value in (1.0, 2.0, 3.0):
        fleet.append({"device": ["a", "b"], "time": ["2024-03-01T00:00Z"] * 2, "level": value})
    dataset = fleet.to_xarray(devices=devices)
    assert rows_shown(dataset) == rows_read(fleet, devices=devices)
    expected = {"keep_last": {3.0}, "keep_first": {1.0}, "keep_all": {1.0, 2.0, 3.0}}
    assert set(dataset["level"].values) == expected[policy]


def test_one_device_has_a_time_axis_in_order(rooms: pipeline.Fleet) -> None:
    dataset = rooms.to_xarray(devices="d1")
    assert dict(dataset.sizes) == {"time": 2 * DAY // 10 + 20}
    assert dataset.indexes["time"].is_monotonic_increasing
    assert dataset["time"].dtype == "datetime64[us]"
    assert (dataset["device"].item(), dataset["site"].item(), dataset["floor"].item()) == (
        "d1",
        "south",
        "3",
    )
    assert dataset["float64"].sel(time="2024-03-03").sizes["time"] == 20


def test_several_devices_follow_one_another_each_in_time_order(rooms: pipeline.Fleet) -> None:
    dataset = rooms.to_xarray(devices=["d4", "d0", "d3"], time=("2024-03-01", "2024-03-03"))
    assert dataset["device"].values.tolist() == ["d0", "d3", "d4"]
    assert dataset["site"].values.tolist() == ["north", "", ""]
    edges = np.cumsum(dataset["row_size"].values)
    assert edges[-1] == dataset.sizes["row"]
    for rows in np.split(dataset["time"].values, edges[:-1]):
        assert (np.diff(rows.astype(np.int64)) > 0).all()


def test_devices_without_rows_keep_their_place(rooms: pipeline.Fleet) -> None:
    dataset = rooms.to_xarray(devices=["d0", "d1", "d4"], time=("2024-03-03", None))
    assert dataset["device"].values.tolist() == ["d0", "d1", "d4"]
    assert dataset["row_size"].values.tolist() == [0, 20, 20]


def test_the_whole_fleet_comes_window_by_window(rooms: pipeline.Fleet) -> None:
    dataset = rooms.to_xarray()
    assert dataset["device"].values.tolist() == rooms.devices
    days = dataset["time"].values.astype("M8[D]")
    assert (np.diff(days.astype(np.int64)) >= 0).all()
    assert set(devices_of(dataset)) == set(rooms.devices)


def test_layouts_follow_the_cf_conventions(rooms: pipeline.Fleet) -> None:
    indexed, contiguous = rooms.to_xarray(), rooms.to_xarray(devices=["d0", "d1"])
    series = rooms.to_xarray(devices="d0")
    for dataset in (indexed, contiguous, series):
        assert dataset.attrs["Conventions"] == "CF-1.11"
        assert dataset.attrs["featureType"] == "timeSeries"
        assert (dataset.attrs["fleet"], dataset.attrs["schema_version"]) == ("rooms", 1)
        assert dataset.attrs["snapshot"]
        assert dataset["device"].attrs["cf_role"] == "timeseries_id"
        assert dataset["time"].attrs["standard_name"] == "time"
        assert dataset["int8"].attrs["long_name"] == "a int8"
        assert dataset["int8"].attrs["units"] == "1"
    assert indexed["device_index"].dims == ("row",)
    assert indexed["device_index"].attrs["instance_dimension"] == "device"
    assert contiguous["row_size"].dims == ("device",)
    assert contiguous["row_size"].attrs["sample_dimension"] == "row"
    assert set(indexed.coords) == {"device", "device_index", "time", "site", "floor"}


def test_channels_can_be_chosen(rooms: pipeline.Fleet) -> None:
    assert list(rooms.to_xarray(channels=["float32", "bool"]).data_vars) == ["float32", "bool"]
    assert list(rooms.to_xarray(devices="d0", channels="bool").data_vars) == ["bool"]
    assert list(rooms.to_xarray(devices="d0", channels=[]).data_vars) == []
    with pytest.raises(NotFoundError, match="'wind'"):
        rooms.to_xarray(channels=["wind"])


@pytest.mark.parametrize("devices", [None, []])
def test_a_fleet_without_rows_is_an_empty_dataset(devices: Any) -> None:
    schema = pipeline.Schema([pipeline.Channel("level", "float32"), pipeline.Channel("n", "int64")])
    fleet = pipeline.Archive.create("memory://").create_fleet("rooms", schema)
    dataset = fleet.to_xarray(devices=devices).load()
    assert dict(dataset.sizes) == {"row": 0, "device": 0}
    assert dataset["level"].dtype == "float32"
    assert dataset["time"].dtype == "datetime64[us]"


def test_channels_keep_their_names_whatever_they_are_called() -> None:
    names = ["row", "row_size", "device_id", "row_", "site", "row_missing"]
    schema = pipeline.Schema([pipeline.Channel(name, "int64") for name in names])
    fleet = pipeline.Archive.create("memory://").create_fleet("rooms", schema)
    fleet.append({"device": "a", "time": np.arange(3).astype("M8[D]"), **dict.fromkeys(names, 7)})
    fleet.set_tags({"a": {"site": "north", "site_": "south", "time": "east"}})
    for devices in (None, "a", ["a"]):
        dataset = fleet.to_xarray(devices=devices)
        assert rows_shown(dataset) == rows_read(fleet, devices=devices)
        assert dataset[dataset["row"].attrs["ancillary_variables"]].dtype == bool
        tags = {
            v.attrs["long_name"]: str(v.values.ravel()[0])
            for v in dataset.coords.values()
            if v.dtype.kind == "U" and "long_name" in v.attrs
        }
        assert tags == {"site": "north", "site_": "south", "time": "east"}


def test_a_dataset_keeps_showing_the_snapshot_it_was_opened_at() -> None:
    archive = pipeline.Archive.create("memory://")
    schema = pipeline.Schema([pipeline.Channel("level", "float64")])
    fleet = archive.create_fleet("rooms", schema)
    fleet.append({"device": "a", "time": ["2024-03-01T00:00Z"], "level": 1.0})
    before = fleet.to_xarray(devices="a")
    fleet.append({"device": "a", "time": ["2024-03-01T00:00Z"], "level": 2.0})
    assert before["level"].values.tolist() == [1.0]
    again = archive.at(before.attrs["snapshot"]).fleet("rooms").to_xarray(devices="a")
    xr.testing.assert_identical(before, again)


def test_one_device_can_be_appended_to_another_fleet() -> None:
    archive = pipeline.Archive.create("memory://")
    names = ["bool", "uint8", "int32", "float32", "float64", "category"]
    schema = pipeline.Schema([pipeline.Channel(name, name) for name in names])
    one, two = archive.create_fleet("one", schema), archive.create_fleet("two", schema)
    one.append(readings(["a"], np.arange(50)).select(["device", "time", *names]))
    two.append(one.to_xarray(devices="a"))
    assert rows_read(two) == rows_read(one)


@pytest.mark.parametrize("devices", [None, "d0", ["d0", "d3"]])
def test_datasets_can_be_exported(rooms: pipeline.Fleet, tmp_path: Path, devices: Any) -> None:
    dataset = rooms.to_xarray(devices=devices)
    dataset.to_zarr(tmp_path / "export.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "export.zarr", consolidated=False)
    np.testing.assert_array_equal(again["time"].values, dataset["time"].values)
    np.testing.assert_array_equal(again["float64"].values, dataset["float64"].values)
    np.testing.assert_array_equal(again["int64"].values, dataset["int64"].values)
