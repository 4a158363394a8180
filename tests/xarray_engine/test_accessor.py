"""``dataset.iot``: what the archive answers about a dataset, and what it refuses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import pipeline
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.datasets import open_rows
from tests.xarray_engine.fleets import counted_view

CHANGED = "'float64' is not what the archive stores"
PICKED = "picked by position or by their values"
_SQUARE = xr.DataArray([[0, 1], [2, 3]], dims=("a", "b"))


@pytest.fixture(params=["lazy", "chunked", "loaded"])
def whole(request: pytest.FixtureRequest, folder: Path) -> xr.Dataset:
    """Return the fleet as it comes, in Dask arrays, and in memory."""
    chunks: Any = {} if request.param == "chunked" else None
    dataset = xr.open_dataset(folder, engine="iot_archive", chunks=chunks)
    return dataset.load() if request.param == "loaded" else dataset


def plain(answer: xr.Dataset) -> xr.Dataset:
    """Return an answer as a fleet gives it: devices by name, no tags, and bare coordinates."""
    bare = answer.drop_vars(["site", "floor"], errors="ignore").sortby("device")
    for name in bare.coords:
        bare[name].attrs.clear()
    return bare


@pytest.mark.parametrize(
    ("labels", "request_"),
    [
        ({}, {}),
        ({"time": "2024-03-02"}, {"time": ("2024-03-02", "2024-03-03")}),
        (
            {"device": ["d3", "d0"], "time": slice("2024-03-01T05", "2024-03-02")},
            {"devices": ["d0", "d3"], "time": ("2024-03-01T05:00", "2024-03-03")},
        ),
        ({"device": ["d4"]}, {"devices": ["d4"]}),
        ({"device": "d1"}, {"devices": "d1"}),
        (
            {"device": "d4", "time": slice("2024-03-01T06:00", "2024-03-01T11:55")},
            {"devices": "d4", "time": ("2024-03-01T06:00", "2024-03-01T11:56")},
        ),
    ],
)
def test_answers_are_those_of_the_fleet(
    rooms: pipeline.Fleet, whole: xr.Dataset, labels: dict[str, Any], request_: dict[str, Any]
) -> None:
    asked = {"float64": ["mean", "std", "p95", "count"], "category": "last", "bool": "mean"}
    selected = whole.sel(**labels)
    for every in (None, "1h"):
        found = selected.iot.aggregate(asked, every)
        xr.testing.assert_identical(plain(found), rooms.aggregate(asked, every, **request_))
    if isinstance(labels.get("device"), list):
        assert found["device"].values.tolist() == labels["device"]
    assert set(found.coords) == {"device", "time", "site", "floor"}


@pytest.mark.parametrize(
    "name", ["count", "min", "max", "sum", "mean", "std", "var", "first", "last", "median"]
)
def test_statistics_have_the_names_of_their_channels(
    rooms: pipeline.Fleet, folder: Path, name: str
) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive", devices=["d0", "d1"])
    found = getattr(dataset.iot, name)("6h", channels=["float64", "int8"])
    expected = rooms.aggregate({"float64": name, "int8": name}, "6h", devices=["d0", "d1"]).rename(
        {f"float64_{name}": "float64", f"int8_{name}": "int8"}
    )
    xr.testing.assert_identical(plain(found), expected)


def test_percentiles_are_asked_by_number(rooms: pipeline.Fleet, folder: Path) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive")
    found = dataset.iot.percentile(99.9, channels="float64", every="1 day", timezone="Asia/Tokyo")
    expected = rooms.aggregate({"float64": "p99.9"}, "1 day", timezone="Asia/Tokyo")
    np.testing.assert_array_equal(found["float64"].values, expected["float64_p99.9"].values)
    near = dataset.iot.mean(channels="float64", approximate=True)
    assert {"float64", "float64_low", "float64_high"} == set(near.data_vars)


def test_all_channels_that_have_the_statistic_are_taken(folder: Path) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive")
    assert "category" not in dataset.iot.mean()
    assert "category" in dataset.iot.count()
    assert set(dataset[["float64", "category"]].iot.mean()) == {"float64"}
    with pytest.raises(InvalidInputError, match=r"no channel of this dataset has a mean.*category"):
        dataset[["category"]].iot.mean()
    with pytest.raises(NotFoundError, match="no channel 'int8' in this dataset; it has: category"):
        dataset[["category"]].iot.mean(channels=["int8"])
    by_site = dataset.iot.mean(by=["site"], channels="float64")
    assert by_site.sizes == {"site": 3}


def test_answers_come_from_stored_statistics(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection(), None, one_device=False)
    store.keys.clear()
    found = dataset.iot.mean(every="1 day")
    assert store.blocks_read() == []
    np.testing.assert_allclose(found["level"].values[0, 0], (86_400 - 1) / 2)


def test_grids_are_dense(rooms: pipeline.Fleet, folder: Path) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive").sel(device=["d3", "d1"])
    grid = dataset.iot.to_grid("1 min", channels=["float64", "category"])
    assert grid["float64"].dims == ("device", "time")
    assert (np.diff(grid["time"].values) == np.timedelta64(1, "m")).all()
    assert grid["float64"].attrs["units"] == "1"
    assert grid["site"].values.tolist() == ["", "south"]
    expected = rooms.aggregate({"float64": "mean"}, "1 min", devices=["d1", "d3"])
    np.testing.assert_array_equal(
        grid["float64"].sel(device=["d1", "d3"]).values, expected["float64_mean"].values
    )
    assert grid["category"].attrs["cell_methods"] == "time: point"
    full = dataset.iot.to_grid("1 min", {"float64": "max"}, fill="linear")
    assert set(full.data_vars) == {"float64"}
    assert full["float64"].count() > grid["float64"].count()
    mixed = dataset.iot.to_grid("1 min", fill="linear", channels=["category", "float64"])
    np.testing.assert_array_equal(
        mixed["float64"].values,
        dataset.iot.to_grid("1 min", fill="linear", channels="float64")["float64"].values,
    )
    held = dataset.iot.to_grid("1 min", fill="previous", channels="category")
    xr.testing.assert_identical(mixed[["category"]], held)
    one = dataset.sel(device="d1").iot.to_grid("1h", "median", channels="float64")
    assert one.sizes["device"] == 1
    with pytest.raises(InvalidInputError, match="every='1 min'"):
        dataset.iot.to_grid(None)


def test_rows_that_were_picked_otherwise_are_refused(whole: xr.Dataset) -> None:
    one = whole.sel(device="d1")
    for picked in (
        whole.isel(row=slice(5)),
        whole.isel(row=slice(None, None, 2)).sel(device=["d0"]),
        whole.sel(time=["2024-03-01T00:10", "2024-03-01T00:20"]),
        one.isel(time=slice(None, None, 2)),
        one.isel(time=[0, 2]),
    ):
        with pytest.raises(InvalidInputError, match=PICKED):
            picked.iot.mean(channels="float64")
    for changed in (
        whole[["float64"]].isel(row=slice(0, 5)),
        whole[["float64"]].isel(row=slice(None, None, -1)),
        whole.isel(row=[2, 1]),
        whole.isel(row=3),
    ):
        with pytest.raises(InvalidInputError, match=f"{PICKED}|{CHANGED}"):
            changed.iot.mean(channels="float64")
    inside = one.isel(time=slice(5, 50))
    assert inside.iot.count(channels="bool")["bool"].item() == inside["bool"].count()
    assert one.sel(time="2024-03-01").isel(time=slice(0, 0)).iot.count()["bool"].item() == 0


def test_values_that_were_changed_are_refused(whole: xr.Dataset) -> None:
    swapped = whole.rename(float64="other").assign(float64=whole["float32"].astype("float64"))
    for changed in (
        whole.assign(float64=whole["float64"] * 2),
        whole.assign(float64=whole["float64"].where(whole["bool"] == 1)),
        whole.assign(float64=whole["float64"][::-1].variable),
        whole.assign(float64=("row", whole["int8"].variable.data)),
        whole.assign(float64=whole["float64"].expand_dims("extra")),
        whole.assign(float64=whole["float64"].isel(row=_SQUARE).variable),
        whole.fillna({"float64": 0}),
        swapped,
    ):
        with pytest.raises(InvalidInputError, match=CHANGED):
            changed.iot.mean(channels="float64")
    # Other channels are still what is stored.
    same = whole.assign(float64=whole["float64"] * 2).iot.mean(channels="float32")
    xr.testing.assert_identical(same, whole.iot.mean(channels="float32"))


def test_what_was_read_or_written_over_is_compared(folder: Path) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive")
    dataset["float64"].mean()
    dataset["float64"].variable.load()
    before = dataset.iot.mean(channels="float64")
    xr.testing.assert_identical(before, dataset.iot.mean(channels="float64"))
    dataset["float64"][7] = 1e9
    with pytest.raises(InvalidInputError, match=CHANGED):
        dataset.iot.mean(channels="float64")
    untouched = xr.open_dataset(folder, engine="iot_archive")
    untouched["float64"][7] = 1e9
    with pytest.raises(InvalidInputError, match=CHANGED):
        untouched.iot.mean(channels="float64")


def test_arrays_that_do_more_than_take_rows_are_refused(folder: Path) -> None:
    chunked = xr.open_dataset(folder, engine="iot_archive", chunks={})
    expected = chunked.iot.mean(channels="float64")
    xr.testing.assert_identical(chunked.chunk(row=100).iot.mean(channels="float64"), expected)
    with dask.config.set(scheduler="threads"):
        xr.testing.assert_identical(
            chunked.persist().drop_indexes([]).compute().iot.mean(channels="float64"), expected
        )
        persisted = chunked.persist()
    joined = chunked.assign(float64=chunked["float64"] + chunked["float32"])
    data: Any = dask.array.from_array(np.zeros(chunked.sizes["row"]), chunks=100)  # type: ignore[no-untyped-call]
    held: Any = dask.array.from_array(zarr.array(np.zeros(chunked.sizes["row"])), chunks=100)  # type: ignore[no-untyped-call]
    arrays = [chunked.assign(float64=("row", one)) for one in (data, held)]
    for other in (persisted, joined, *arrays):
        with pytest.raises(InvalidInputError, match=CHANGED):
            other.iot.mean(channels="float64")


def test_other_datasets_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not lead to an archive"):
        xr.Dataset({"x": ("t", [1.0])}).iot.mean()
    one = xr.open_dataset(folder, engine="iot_archive", devices="d0")
    with pytest.raises(TypeError, match="colour"):
        one.iot.mean(colour="red")


def test_names_of_tags_give_way_to_those_of_the_answer() -> None:
    schema = pipeline.Schema([pipeline.Channel("level", "float64")])
    fleet = pipeline.Archive.create("memory://").create_fleet("tanks", schema)
    fleet.append({"device": ["a"], "time": ["2024-03-01T00:00Z"], "level": [1.0]})
    fleet.set_tags({"a": {"level_mean": "high", "time": "east"}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fleet.to_xarray().iot.aggregate({"level": "mean"}, every="1h")
    assert found["level_mean"].values.tolist() == [[1.0]]
    assert found["time_"].values.tolist() == ["east"]
    assert found["level_mean_"].values.tolist() == ["high"]
