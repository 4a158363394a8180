from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import pipeline
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.datasets import open_rows
from tests.xarray_engine.fleets import counted_view, rows_read, rows_shown

_READER = """
import pathlib, pickle, sys
dataset = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
print(float(dataset["float64"].sum()), dataset["category"].count().item(), dataset.sizes)
"""


@pytest.mark.parametrize("devices", [None, "d0", ["d0", "d3", "d4"]])
def test_pickled_datasets_find_their_rows_again(rooms: pipeline.Fleet, devices: Any) -> None:
    dataset = rooms.to_xarray(devices=devices, time=("2024-03-01T10:00", None))
    pickled = pickle.dumps(dataset)
    again = pickle.loads(pickled)
    assert not again["float64"].variable._in_memory
    xr.testing.assert_identical(again, dataset)
    assert rows_shown(again) == rows_read(rooms, devices=devices, time=("2024-03-01T10:00", None))


def test_pickles_carry_an_address_and_no_rows(tall_url: str) -> None:
    fleet = pipeline.Archive.open(tall_url).fleet("rooms")
    assert len(pickle.dumps(fleet.to_xarray(devices=["a"]))) < 10_000


def test_another_process_reads_a_pickled_dataset(rooms: pipeline.Fleet, tmp_path: Path) -> None:
    dataset = rooms.to_xarray(devices=["d0", "d3"])
    file = tmp_path / "dataset.pickle"
    file.write_bytes(pickle.dumps(dataset))
    done = subprocess.run(
        [sys.executable, "-c", _READER, str(file)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    expected = (float(dataset["float64"].sum()), dataset["category"].count().item(), dataset.sizes)
    assert done.stdout.split("\n")[0] == " ".join(map(str, expected))


def test_columns_of_one_dataset_find_their_rows_once(folder: Path) -> None:
    fleet = pipeline.Archive.open(folder).fleet("rooms")
    dataset = fleet.to_xarray(devices=["d0"], time=("2024-03-01", "2024-03-02"))
    one, two = (pickle.loads(pickle.dumps(dataset[name])) for name in ("float64", "int8"))
    sources = [column.variable._data.array.array.array.source for column in (one, two)]
    assert sources[0] is sources[1]


def test_archives_in_memory_cannot_be_pickled() -> None:
    archive = pipeline.Archive.create("memory://")
    schema = pipeline.Schema([pipeline.Channel("level", "float64")])
    fleet = archive.create_fleet("rooms", schema)
    fleet.append({"device": "a", "time": ["2024-03-01T00:00Z"], "level": [1.0]})
    dataset = fleet.to_xarray()
    with pytest.raises(InvalidInputError, match="archive in memory lives in one process"):
        pickle.dumps(dataset)
    assert pickle.loads(pickle.dumps(dataset.load()))["level"].values.tolist() == [1.0]


def test_copies_share_the_rows_they_found(tall_url: str) -> None:
    view, store = counted_view(tall_url)
    dataset = open_rows(view, Selection(), None, one_device=False)
    again = copy.deepcopy(dataset)
    assert store.blocks_read() == []
    xr.testing.assert_identical(again, dataset)
