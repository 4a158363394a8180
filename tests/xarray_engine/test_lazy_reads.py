from __future__ import annotations

import asyncio

import numpy as np
import pytest
import xarray as xr

from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.datasets import open_rows
from tests.xarray_engine.fleets import counted_view

DAY_ROWS = 2 * 86_400
BLOCK_ROWS = DAY_ROWS // 3
NOON = int(np.datetime64("2024-03-01T12:00", "us").astype(np.int64))


def columns_of(blocks: list[str]) -> set[str]:
    return {block.split("/")[0] for block in blocks}


def test_opening_a_whole_fleet_reads_no_block(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection(), None, one_device=False)
    assert dict(dataset.sizes) == {"row": 2 * DAY_ROWS, "device": 2}
    repr(dataset)
    assert store.blocks_read() == []


def test_a_slice_reads_the_blocks_that_hold_it_and_no_keys(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection(), None, one_device=False)
    rows = slice(BLOCK_ROWS - 10, BLOCK_ROWS + 10)
    values = dataset["level"].isel(row=rows).values
    blocks = store.blocks_read()
    assert len(blocks) == 2
    assert columns_of(blocks) == {"level"}
    np.testing.assert_array_equal(values, dataset["level"].values[rows])
    store.blocks_read()
    dataset["count"].isel(row=[5, DAY_ROWS + 7]).variable.load()
    assert len(store.blocks_read()) == 2
    dataset["time"].isel(row=-1).variable.load()
    assert columns_of(store.blocks_read()) == {"time"}


def test_a_time_range_reads_the_keys_of_its_edges_only(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection.of(start=NOON), None, one_device=False)
    assert dataset.sizes["row"] == DAY_ROWS // 2 + DAY_ROWS
    blocks = store.blocks_read()
    assert columns_of(blocks) == {"device_index", "time"}
    assert len({block.split("/")[1] for block in blocks}) == 1


@pytest.mark.parametrize("one_device", [True, False])
def test_columns_of_devices_are_read_without_the_keys(tall_url: str, one_device: bool) -> None:
    view, store = counted_view(tall_url)
    selection = Selection.of(codes=[1])
    dataset = open_rows(view, selection, None, one_device=one_device)
    opened = store.blocks_read()
    assert columns_of(opened) == {"device_index", "time"}
    # Device b fills the second half of each day: two of its three blocks.
    assert len(opened) == 2 * 2 * 2
    dataset["level"].variable.load()
    dataset["count"].variable.load()
    blocks = store.blocks_read()
    assert columns_of(blocks) == {"level", "count"}
    assert len(blocks) == 2 * 2 * 2


def test_one_devices_hour_reads_one_block_of_the_channel(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection.of(codes=[0]), ["level"], one_device=True)
    store.blocks_read()
    hour = dataset["level"].sel(time=slice("2024-03-02T03:00", "2024-03-02T03:59:59"))
    assert store.blocks_read() == []
    assert hour.values.tolist() == list(range(86_400 + 3 * 3600, 86_400 + 4 * 3600))
    assert len(store.blocks_read()) == 1


def test_what_was_read_is_kept_and_can_be_changed(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection.of(codes=[0]), None, one_device=True)
    untouched = dataset.copy(deep=True)
    dataset["level"].variable.load()
    store.blocks_read()
    assert dataset["level"].mean() == np.arange(2 * 86_400).mean()
    assert store.blocks_read() == []
    dataset["level"][0] = -1.0
    assert dataset["level"].values[0] == -1.0
    assert untouched["level"].values[0] == 0.0


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        slice(None, None, -5000),
        slice(BLOCK_ROWS + 5, 10, -7),
        slice(3, None, 9999),
        [7, 3, 3, -1, BLOCK_ROWS],
        np.zeros(0, int),
    ],
)
def test_any_index_gives_what_indexing_the_values_gives(tall_url: str, key: object) -> None:
    view, _ = counted_view(tall_url)
    whole = open_rows(view, Selection(), ["level"], one_device=False)["level"].values
    lazy = open_rows(view, Selection(), ["level"], one_device=False)["level"]
    np.testing.assert_array_equal(lazy.isel(row=key).values, whole[key])  # type: ignore[call-overload]


def test_pointwise_indexes_work(tall_url: str) -> None:
    view, _ = counted_view(tall_url)
    lazy = open_rows(view, Selection(), ["level"], one_device=False)["level"]
    points = xr.DataArray([[5, 1], [BLOCK_ROWS, 5]], dims=("x", "y"))
    found = lazy.isel(row=points)
    assert found.dims == ("x", "y")
    np.testing.assert_array_equal(found.values, lazy.values[points.values])


def test_datasets_load_asynchronously(tall_url: str) -> None:
    view, _ = counted_view(tall_url)
    dataset = open_rows(view, Selection(), ["level"], one_device=False)
    loaded = asyncio.run(dataset.isel(row=slice(0, 5)).load_async())
    assert loaded["level"].values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
