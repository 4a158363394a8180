from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.errors import InvalidInputError
from tests.xarray_engine.fleets import rows_read, rows_shown


@pytest.mark.parametrize("devices", [None, "d0", ["d0", "d3", "d4"]])
@pytest.mark.parametrize("chunks", [{}, -1])
def test_chunked_datasets_compute_to_the_rows(
    folder: Path, rooms: pipeline.Fleet, devices: Any, chunks: Any
) -> None:
    dataset = xr.open_dataset(folder, engine="iot_archive", devices=devices, chunks=chunks)
    assert all(variable.chunks for variable in dataset.data_vars.values())
    with dask.config.set(scheduler="threads"):
        assert rows_shown(dataset.compute()) == rows_read(rooms, devices=devices)


def test_reductions_of_chunks_agree(tall_url: str) -> None:
    dataset = pipeline.Archive.open(tall_url).fleet("rooms").to_xarray().chunk(row=50_000)
    rows = dataset.sizes["row"]
    with dask.config.set(scheduler="threads"):
        assert dataset["level"].mean().compute() == (rows - 1) / 2
        late = dataset["level"].where(dataset["time"] >= np.datetime64("2024-03-02"))
        assert late.count().compute() == rows // 2


@pytest.mark.parametrize("devices", [None, "a", ["a", "b"]])
def test_preferred_chunks_end_where_blocks_end(
    tall_url: str, monkeypatch: pytest.MonkeyPatch, devices: Any
) -> None:
    monkeypatch.setattr("pipeline.xarray_engine.datasets._ROWS_PER_CHUNK", 100_000)
    monkeypatch.setattr("pipeline.xarray_engine.datasets._ROWS_PER_GROUPED_CHUNK", 200_000)
    dataset = xr.open_dataset(tall_url, engine="iot_archive", devices=devices, chunks={})
    expected = {
        # Three blocks of 57,600 rows a day; one day of one device is 86,400 rows.
        None: (57_600,) * 6,
        "a": (86_400,) * 2,
        "ab": (172_800,) * 2,
    }[devices if devices is None else "".join(devices)]
    assert dataset["level"].chunks == (expected,)


def test_names_of_dask_arrays_depend_on_the_snapshot_and_request(folder: Path) -> None:
    def name(archive: pipeline.Archive, **request: Any) -> str:
        return str(archive.fleet("rooms").to_xarray(**request).chunk()["float64"].data.name)

    archive = pipeline.Archive.open(folder)
    older = next(commit.snapshot for commit in list(archive.history())[1:])
    assert name(archive) == name(pipeline.Archive.open(folder))
    different = {
        name(archive),
        name(archive.at(older)),
        name(archive, devices="d0"),
        name(archive, time=(None, "2024-03-02")),
    }
    assert len(different) == 4


def test_other_processes_find_the_rows_again(folder: Path, rooms: pipeline.Fleet) -> None:
    request: dict[str, Any] = {"devices": ["d0", "d3"], "channels": ["float64", "category"]}
    dataset = xr.open_dataset(folder, engine="iot_archive", chunks={}, **request)
    with dask.config.set(scheduler="processes", num_workers=1):
        computed = dataset.compute()
    assert rows_shown(computed) == rows_read(rooms, **request)


def test_archives_in_memory_cannot_leave_their_process() -> None:
    archive = pipeline.Archive.create("memory://")
    schema = pipeline.Schema([pipeline.Channel("level", "float64")])
    fleet = archive.create_fleet("rooms", schema)
    fleet.append({"device": "a", "time": ["2024-03-01T00:00Z"], "level": [1.0]})
    dataset = fleet.to_xarray().chunk()
    with dask.config.set(scheduler="threads"):
        assert dataset["level"].sum().compute() == 1.0
    with (
        dask.config.set(scheduler="processes", num_workers=1),
        pytest.raises(InvalidInputError, match="in memory lives in one process: use a folder"),
    ):
        dataset["level"].sum().compute()
