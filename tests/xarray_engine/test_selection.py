"""Selecting by labels: what is selected, what it reads, and what becomes of the index."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.datasets import open_rows
from pipeline.xarray_engine.ragged_index import RaggedIndex
from tests.xarray_engine.fleets import DAY, counted_view, devices_of, rows_read, rows_shown

INDEXED = ["device", "time", "device_index"]

TIMES = {
    "all": (slice(None), None),
    "a day": ("2024-03-01", ("2024-03-01", "2024-03-02")),
    "both ends": (
        slice("2024-03-01T10:00:00", np.datetime64("2024-03-02T05:00")),
        ("2024-03-01T10:00", "2024-03-02T05:00:00.000001"),
    ),
    "open start": (slice(None, "2024-03-01T10:10"), (None, "2024-03-01T10:11")),
    "open end": (slice("2024-03-03", None), ("2024-03-03", None)),
    "before all": (slice(None, "2001"), (None, "2002-01-01")),
    "backwards": (slice("2024-03-02", "2024-03-01T01"), ("2024-03-02", "2024-03-02")),
}


@pytest.fixture
def whole(folder: Path) -> xr.Dataset:
    return xr.open_dataset(folder, engine="iot_archive")


@pytest.mark.parametrize(("label", "time"), TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("devices", [None, "d2", ["d0", "d1", "d4"], []])
def test_selecting_gives_what_opening_so_gives(
    folder: Path, rooms: pipeline.Fleet, whole: xr.Dataset, devices: Any, label: Any, time: Any
) -> None:
    labels = {} if devices is None else {"device": devices}
    found = whole.sel(time=label, **labels)
    if devices is None:
        assert found.sizes["device"] == 5
        assert found.xindexes["time"] is found.xindexes["device"]
    else:
        opened = xr.open_dataset(folder, engine="iot_archive", devices=devices, time=time)
        xr.testing.assert_identical(found.load(), opened.load())
    assert rows_shown(found) == rows_read(rooms, devices=devices, time=time)


def test_one_selection_follows_another(rooms: pipeline.Fleet, whole: xr.Dataset) -> None:
    few = whole.sel(device=["d4", "d0", "d1"])
    day = few.sel(time="2024-03-01")
    assert day["device"].values.tolist() == ["d4", "d0", "d1"]
    assert devices_of(day) == sorted(devices_of(day), key=["d4", "d0", "d1"].index)
    assert rows_shown(day) == rows_read(
        rooms, devices=["d0", "d1", "d4"], time=("2024-03-01", "2024-03-02")
    )
    again = day.sel(device=xr.DataArray(["d1", "d4"]), time=slice("2024-03-01T10", None))
    time = ("2024-03-01T10:00", "2024-03-02")
    assert rows_shown(again) == rows_read(rooms, devices=["d1", "d4"], time=time)
    one = day.sel(device=np.array("d0"), time=slice(None, "2024-03-01T11:59"))
    assert rows_shown(one) == rows_read(
        rooms, devices="d0", time=("2024-03-01", "2024-03-01T12:00")
    )
    by_time = whole.sel(time="2024-03-01").sel(device=np.array(["d3"]))
    assert rows_shown(by_time) == rows_read(rooms, devices="d3", time=("2024-03-01", "2024-03-02"))


def test_single_times_keep_the_rows_of_all_devices(whole: xr.Dataset) -> None:
    ten = whole.sel(time=np.datetime64("2024-03-01T00:10"))
    assert devices_of(ten) == ["d0", "d1", "d2", "d3", "d4"]
    two = whole.sel(time=["2024-03-01T00:20", "2024-03-01T00:10"])
    assert two.sizes["row"] == 10
    one = whole.sel(device="d1", time=[np.datetime64("2024-03-01T00:20")])
    assert one["time"].values.astype(str).tolist() == ["2024-03-01T00:20:00.000000"]
    assert whole.sel(device=["d1", "d2"], time="2024-03-01T00:20").sizes["row"] == 2
    assert whole.sel(time=[]).sizes["row"] == 0
    offset = whole.sel(time="2024-03-01T01:10:00+01:00")
    xr.testing.assert_equal(offset.drop_indexes(INDEXED), ten.drop_indexes(INDEXED))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ({"device": "d9"}, KeyError, "no device 'd9' here: the fleet has no such device"),
        ({"device": ["d0", "d9"]}, KeyError, "no device 'd9'"),
        ({"device": 7}, KeyError, "ids are texts"),
        ({"device": ["d0", "d0"]}, InvalidInputError, "'d0' is asked for twice"),
        ({"device": [["d0"]]}, InvalidInputError, "2 dimensions"),
        ({"device": slice("d0", "d3")}, InvalidInputError, "give their ids as a list"),
        ({"device": slice(None)}, InvalidInputError, "leave it out"),
        ({"time": "1999"}, KeyError, "no row at the time 1999-01-01"),
        ({"time": ["2024-03-01", "1999-01-01"]}, KeyError, "no row at the time 1999-01-01"),
        ({"device": "d0", "time": "2024-03-03"}, KeyError, "no row at the time 2024-03-03"),
        ({"time": slice("2024", None, 2)}, InvalidInputError, "has no step"),
        ({"time": "2024-13"}, InvalidInputError, "'2024-13' is not a time"),
        ({"time": 5}, InvalidInputError, "not a time"),
        ({"time": "soon"}, InvalidInputError, "soon"),
        ({"device_index": 1}, InvalidInputError, "select by 'device' and 'time'"),
        ({"time": "2024", "method": "nearest"}, InvalidInputError, "select the device first"),
    ],
)
def test_labels_that_make_no_sense_say_why(
    whole: xr.Dataset, labels: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        whole.sel(**labels)


def test_devices_that_were_not_selected_are_missed(whole: xr.Dataset) -> None:
    with pytest.raises(KeyError, match="not among those that were selected"):
        whole.sel(device=["d0", "d3"]).sel(device="d1")
    with pytest.raises(KeyError, match="no device 'd1'"):
        whole.sel(device=[]).sel(device="d1")


def test_only_windows_and_device_blocks_of_the_selection_are_read(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    whole = open_rows(view, Selection(), None, one_device=False)
    store.keys.clear()
    # Bounds of blocks tell all about whole days: nothing is read to select one.
    day = whole.sel(time="2024-03-02")
    assert store.blocks_read() == []
    data: Any = day["level"].variable._data
    assert isinstance(data.array.array.key.tuple[0], slice)
    day["level"].variable.load()
    assert {block.split("/")[1] for block in store.blocks_read()} == {
        str(view.windows(Selection())[1])
    }
    # Device b fills the second half of a day: two of its three blocks.
    one = whole.sel(device="b", time="2024-03-02")
    keys = store.blocks_read()
    assert {key.split("/")[0] for key in keys} == {"device_index", "time"}
    assert len(keys) == 4
    assert one["level"].mean() == np.arange(3 * 86_400, 4 * 86_400).mean()
    assert len(store.blocks_read()) == 2
    hour = whole.sel(device=["a"], time=slice("2024-03-01T03:00", "2024-03-01T03:59"))
    store.blocks_read()
    assert hour["level"].values.tolist() == list(range(3 * 3600, 4 * 3600))
    assert len(store.blocks_read()) == 1


@pytest.mark.parametrize("devices", [None, ["d0", "d3", "d4"]])
def test_chunked_arrays_are_selected_from(
    folder: Path, rooms: pipeline.Fleet, devices: Any
) -> None:
    chunked = xr.open_dataset(folder, engine="iot_archive", devices=devices, chunks={})
    found = chunked.sel(device=["d3", "d0"], time=slice("2024-03-01T12:00", None))
    one = chunked.sel(device="d3", time="2024-03-01")
    assert found["float64"].chunks is not None
    with dask.config.set(scheduler="threads"):
        assert rows_shown(found.compute()) == rows_read(
            rooms, devices=["d0", "d3"], time=("2024-03-01T12:00", None)
        )
        assert rows_shown(one.compute()) == rows_read(
            rooms, devices="d3", time=("2024-03-01", "2024-03-02")
        )


def test_chunks_of_a_fleet_hold_whole_partitions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.xarray_engine.datasets._ROWS_PER_CHUNK", 300)
    chunked = xr.open_dataset(folder, engine="iot_archive", chunks={})
    window = chunked["time"].values.astype("M8[D]")
    block = chunked["device_index"].values // 2
    seen: set[tuple[Any, Any]] = set()
    start = 0
    for size in chunked.chunksizes["row"]:
        rows = slice(start, start + size)
        partitions = set(zip(window[rows].tolist(), block[rows].tolist(), strict=True))
        assert not partitions & seen
        seen |= partitions
        start += size


def test_rows_picked_by_position_keep_the_index(whole: xr.Dataset) -> None:
    rows = whole.sizes["row"]
    for positions in (
        slice(100, 900),
        slice(3, None, 7),
        np.arange(5, rows, 3),
        np.arange(rows) % 2 == 0,
    ):
        part = whole.isel(row=positions)
        picked = np.arange(rows)[positions]
        inside = np.array(devices_of(whole))[picked] == "d1"
        one = part.sel(device="d1")
        order = np.argsort(whole["time"].values[picked[inside]], kind="stable")
        np.testing.assert_array_equal(
            one["float64"].values, whole["float64"].values[picked[inside][order]]
        )
    assert whole.isel(row=slice(None)).xindexes["time"].equals(whole.xindexes["time"])
    assert "time" not in whole.isel(row=[3, 1]).xindexes
    assert "time" not in whole.isel(row=xr.DataArray([3, 1], dims="point")).xindexes
    assert "time" not in whole.isel(row=3).xindexes
    assert whole.isel(row=[-1]).sel(time=slice(None)).sizes["row"] == 1
    assert whole.isel(row=slice(0, 0)).sel(device=["d1"]).sizes["row"] == 0
    assert whole.isel(row=[]).sel(device=["d1"]).sizes["row"] == 0
    assert whole.sel(device=[]).sel(time=slice(None)).sizes["row"] == 0


def test_contiguous_arrays_stay_contiguous(whole: xr.Dataset) -> None:
    few = whole.sel(device=["d4", "d1"])
    devices = devices_of(few)
    for positions in (slice(250, 600), slice(None, None, 3), [0, 1, 500]):
        part = few.isel(row=positions)
        expected = np.array(devices)[
            positions if isinstance(positions, slice) else np.array(positions)
        ]
        assert devices_of(part) == expected.tolist()
    with pytest.raises(
        InvalidInputError, match=r"first drop_vars\(\['device', 'time', 'row_size'\]\)"
    ):
        few.sortby("time")
    plain = few.drop_vars(["device", "time", "row_size"]).isel(row=[1, 0])
    assert plain.sizes["row"] == 2


def test_devices_are_not_picked_by_position(whole: xr.Dataset) -> None:
    with pytest.raises(InvalidInputError, match=r"use sel\(device="):
        whole.isel(device=[0, 1])
    xr.testing.assert_identical(whole.isel(device=slice(None)), whole)
    squeezed = whole.sel(device=["d1"]).squeeze("device")
    assert squeezed["device"].item() == "d1"


def test_arrays_of_the_same_rows_combine(folder: Path, whole: xr.Dataset) -> None:
    again = xr.open_dataset(folder, engine="iot_archive")
    total = whole[["float32"]] + again[["float32"]]
    np.testing.assert_array_equal(total["float32"].values, 2 * whole["float32"].values)
    aligned, _ = xr.align(whole, again, join="exact")
    assert isinstance(aligned.xindexes["time"], RaggedIndex)
    assigned = whole.assign(double=2 * whole["float64"]).assign_coords(
        place=("row", np.arange(whole.sizes["row"]))
    )
    one = assigned.sel(device="d3", time="2024-03-01")
    np.testing.assert_array_equal(one["double"].values, 2 * one["float64"].values)
    np.testing.assert_array_equal(
        one["place"].values,
        np.flatnonzero(
            (np.array(devices_of(whole)) == "d3")
            & (whole["time"].values < np.datetime64("2024-03-02"))
        ),
    )
    stacked = xr.concat(
        [whole, again], "run", data_vars="all", coords="minimal", compat="override", join="exact"
    )
    assert stacked["float64"].sizes == {"run": 2, "row": whole.sizes["row"]}


def test_arrays_of_other_rows_do_not(whole: xr.Dataset) -> None:
    day = whole.sel(time="2024-03-01")
    with pytest.raises(InvalidInputError, match="cannot be aligned"):
        xr.align(whole, day, join="inner")
    with pytest.raises(InvalidInputError, match="cannot be aligned"):
        whole.xindexes["time"].reindex_like(day.xindexes["time"])
    with pytest.raises(InvalidInputError, match=r"leave the index behind with drop_indexes"):
        xr.concat(
            [day, day], "row", data_vars="all", coords="minimal", compat="override", join="outer"
        )
    plain = day.drop_indexes(INDEXED)
    twice = xr.concat(
        [plain, plain], "row", data_vars="all", coords="different", compat="equals", join="outer"
    )
    assert twice.sizes["row"] == 2 * day.sizes["row"]
    with pytest.raises(InvalidInputError, match="cannot be made from variables"):
        plain.set_xindex(["time", "device"], RaggedIndex)


def test_indexes_compare_by_rows(folder: Path, whole: xr.Dataset) -> None:
    index = whole.xindexes["time"]
    day = whole.sel(time="2024-03-01").xindexes["time"]
    few = whole.sel(device=["d0", "d1"]).xindexes["time"]
    assert index.equals(xr.open_dataset(folder, engine="iot_archive").xindexes["time"])
    assert not index.equals(day)
    assert index.equals(day, exclude=frozenset({"row"}))
    assert not index.equals(few)
    assert not index.equals(few, exclude=frozenset({"row"}))
    assert few.equals(whole.sel(device=["d0", "d1"]).xindexes["time"])
    opened = xr.open_dataset(folder, engine="iot_archive", devices=["d0", "d1"])
    assert few.equals(opened.xindexes["time"])
    assert not few.equals(opened.isel(row=slice(1, None)).xindexes["time"])
    assert not index.equals(xr.Dataset(coords={"time": [1]}).xindexes["time"])
    assert "RaggedIndex" in repr(whole)


def test_names_can_be_changed(whole: xr.Dataset) -> None:
    renamed = whole.rename(row="obs", device="unit", time="at", device_index="which")
    one = renamed.sel(unit="d1", at="2024-03-01")
    assert one["float64"].dims == ("at",)
    few = renamed.sel(unit=["d1", "d0"])
    assert set(few.xindexes) == {"unit", "at", "row_size"}
    assert few["row_size"].attrs["sample_dimension"] == "obs"
    assert whole.rename(float64="f").xindexes["time"] is whole.xindexes["time"]


def test_indexes_travel_and_are_copied(whole: xr.Dataset) -> None:
    part = whole.sel(time="2024-03-01")
    again = pickle.loads(pickle.dumps(part))
    xr.testing.assert_identical(again.sel(device="d1"), part.sel(device="d1"))
    copied = copy.deepcopy(part)
    assert copied.xindexes["time"] is part.xindexes["time"]
    assert copied.copy(deep=True).xindexes["time"] is part.xindexes["time"]
    shallow = copy.copy(part.xindexes["time"])
    assert shallow is part.xindexes["time"]


def test_indexes_of_archives_in_memory_say_that_they_were_lost() -> None:
    schema = pipeline.Schema([pipeline.Channel("level", "float64")])
    fleet = pipeline.Archive.create("memory://").create_fleet("rooms", schema)
    fleet.append({"device": ["a"], "time": ["2024-03-01T00:00Z"], "level": [1.0]})
    again = pickle.loads(pickle.dumps(fleet.to_xarray().load()))
    with pytest.raises(InvalidInputError, match="its archive in memory did not"):
        again.sel(device="a")
    other = fleet.to_xarray().xindexes["time"]
    assert not again.xindexes["time"].equals(other)
    assert not again.xindexes["time"].equals(other, exclude=frozenset({"row"}))
    xr.testing.assert_identical(again, again.copy())
    assert again.drop_indexes(INDEXED)["level"].values.tolist() == [1.0]


def test_devices_stand_in_time_order_across_unordered_blocks(rooms: pipeline.Fleet) -> None:
    one = rooms.to_xarray().sel(device="d4")
    assert one.indexes["time"].is_monotonic_increasing
    assert one.sizes["time"] == 2 * DAY // 10 + 20 + DAY // 10
