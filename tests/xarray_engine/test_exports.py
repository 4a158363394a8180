"""Selections as plain Zarr and as Parquet, and reading both back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pyarrow.parquet as pq
import pytest
import xarray as xr

import pipeline
from pipeline.errors import InvalidInputError
from tests.support import minutes
from tests.xarray_engine.fleets import every_dtype, rows_read

SELECTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "a day": {"time": "2024-03-01"},
    "devices": {"device": ["d3", "d0"], "time": slice("2024-03-01T10", None)},
    "one": {"device": "d1"},
    "none": {"device": ["d1"], "time": slice("2030", None)},
}


def plain(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset with no index of the archive's."""
    names = [
        name for name in ("device", "time", "device_index", "row_size") if name in dataset.xindexes
    ]
    return dataset.drop_indexes(names)


@pytest.mark.parametrize("labels", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("chunks", [None, {}])
def test_plain_zarr_reads_back_equal(
    folder: Path, tmp_path: Path, labels: dict[str, Any], chunks: Any
) -> None:
    selected = xr.open_dataset(folder, engine="iot_archive", chunks=chunks).sel(**labels)
    with dask.config.set(scheduler="threads"):
        selected.iot.to_zarr(tmp_path / "export.zarr", rows_per_chunk=200)
        again = xr.open_zarr(tmp_path / "export.zarr", consolidated=False).compute()
        xr.testing.assert_equal(plain(again), plain(selected.compute()))
    exact = xr.open_zarr(
        tmp_path / "export.zarr",
        consolidated=False,
        decode_times=xr.coders.CFDatetimeCoder(time_unit="us"),
    )
    assert exact["time"].dtype == selected["time"].dtype
    attributes = dict(again["float64"].attrs)
    assert attributes == selected["float64"].attrs
    if "row" in again.dims and again.sizes["row"]:
        on_disk = xr.open_zarr(tmp_path / "export.zarr", consolidated=False)
        assert on_disk["float64"].encoding["chunks"] == (200,)


@pytest.mark.parametrize("labels", SELECTIONS.values(), ids=SELECTIONS)
def test_a_loaded_selection_is_written_by_xarray_alone(
    folder: Path, tmp_path: Path, labels: dict[str, Any]
) -> None:
    names = ["float64", "int64", "int64_missing", "bool"]
    selected = xr.open_dataset(folder, engine="iot_archive").sel(**labels)
    selected = selected.drop_vars([name for name in selected.data_vars if name not in names])
    selected.to_zarr(tmp_path / "export.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "export.zarr", consolidated=False, chunks=None)
    xr.testing.assert_equal(plain(again).load(), plain(selected).load())


def test_changed_datasets_are_written_as_they_are(folder: Path, tmp_path: Path) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive").isel(row=slice(50, 80)).load()
    changed = dataset.assign(double=dataset["float64"] * 2)
    changed.iot.to_zarr(tmp_path / "export.zarr", mode="w", encoding={"double": {"chunks": (7,)}})
    again = xr.open_zarr(tmp_path / "export.zarr", consolidated=False)
    np.testing.assert_array_equal(again["double"].values, changed["double"].values)
    assert again["double"].encoding["chunks"] == (7,)
    assert again["category"].isnull().sum() == changed["category"].isnull().sum()
    with pytest.raises(InvalidInputError, match="at least one row"):
        changed.iot.to_zarr(tmp_path / "other.zarr", rows_per_chunk=0)


def test_the_mark_of_missing_texts_is_no_text_of_theirs(tmp_path: Path) -> None:
    schema = pipeline.Schema([pipeline.Channel("mode", "category")])
    fleet = pipeline.Archive.create("memory://").create_fleet("rooms", schema)
    texts = ["<missing>", None, "", "<missing>_"]
    fleet.append({"device": "a", "time": np.arange(4).astype("M8[s]"), "mode": texts})
    fleet.to_xarray("a").iot.to_zarr(tmp_path / "export.zarr")
    again = xr.open_zarr(tmp_path / "export.zarr", consolidated=False)["mode"]
    assert again.isnull().values.tolist() == [False, True, False, False]
    assert again.values[[0, 2, 3]].tolist() == ["<missing>", "", "<missing>_"]


@pytest.mark.parametrize("labels", SELECTIONS.values(), ids=SELECTIONS)
def test_parquet_reads_back_and_can_be_appended(
    folder: Path, rooms: pipeline.Fleet, tmp_path: Path, labels: dict[str, Any]
) -> None:
    selected = xr.open_dataset(folder, engine="iot_archive").sel(**labels)
    rows = selected.iot.to_parquet(tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    assert len(table) == rows == selected.sizes["time" if labels.get("device") == "d1" else "row"]
    other = pipeline.Archive.create("memory://").create_fleet("rooms", every_dtype())
    other.append(table)
    devices = labels.get("device")
    time: Any = {
        "a day": ("2024-03-01", "2024-03-02"),
        "devices": ("2024-03-01T10:00", None),
        "none": ("2030-01-01", None),
    }.get(next(name for name, one in SELECTIONS.items() if one is labels))
    assert rows_read(other) == rows_read(rooms, devices=devices, time=time)


def test_parquet_holds_what_is_stored_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive")
    file = tmp_path / "rows.parquet"
    dataset.iot.to_parquet(file, "float64", compression="none")
    assert pq.read_schema(file).names == ["device", "time", "float64"]
    with pytest.raises(InvalidInputError, match="not what the archive stores"):
        dataset.assign(float64=dataset["float64"] * 2).iot.to_parquet(file)
    with pytest.raises(InvalidInputError, match="picked by position"):
        dataset.isel(row=slice(5)).iot.to_parquet(file)
    assert sorted(tmp_path.glob("*.parquet*")) == [file]
    bits = np.array([0x7FF8000000000001, 0x7FF800000000BEEF, 0x7FF8000000000001], np.uint64)
    archive = pipeline.Archive.create(tmp_path / "bits")
    archive.create_fleet("f", pipeline.Schema([pipeline.Channel("v", "float64")])).append(
        {"device": ["a"] * 3, "time": minutes(0, 1, 2), "v": bits.view(np.float64)}
    )
    xr.open_dataset(tmp_path / "bits", engine="iot_archive").iot.to_parquet(file)
    found = pq.read_table(file)["v"].to_numpy()
    assert found.view(np.uint64).tolist() == bits.tolist(), "every NaN keeps its bits"
