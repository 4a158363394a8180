from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.backends.plugins import list_engines

import pipeline
from pipeline.archive.requests import selection_of
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.xarray_engine.backend import IotArchiveBackend
from pipeline.xarray_engine.datasets import row_dataset
from tests.xarray_engine.fleets import rows_read, rows_shown

LEVEL = pipeline.Schema([pipeline.Channel("level", "float64")])


def test_rows_are_not_selected_lazily_by_values() -> None:
    fleet = pipeline.Archive.create("memory://by-values").create_fleet("rooms", LEVEL)
    with pytest.raises(InvalidInputError, match=r"'level' is a channel.*read\(\) finds rows"):
        xr.open_dataset("memory://by-values", engine="iot_archive", where={"level": "> 1"})
    view = fleet._view()
    selection = selection_of(view.registry, None, None, {"level": "> 1"}, view.meta)
    with pytest.raises(InvalidInputError, match="cannot select rows by their values"):
        row_dataset(view, selection, one_device=False)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"fleet": "rooms", "devices": "d1", "time": ("2024-03-01T10:00", None)},
        {"devices": ["d1", "d0"], "time": slice(None, np.datetime64("2024-03-01T07:00"))},
        {"devices": np.array(["d1", "d0"]), "time": [datetime(2024, 3, 1, 5, tzinfo=UTC), None]},
    ],
)
def test_the_engine_opens_folders(
    folder: Path, rooms: pipeline.Fleet, request_: dict[str, Any]
) -> None:
    request = {name: value for name, value in request_.items() if name != "fleet"}
    expected = rows_read(rooms, **request | {"time": _as_tuple(request.get("time"))})
    assert rows_shown(xr.open_dataset(folder, engine="iot_archive", **request_)) == expected
    assert rows_shown(xr.open_dataset(str(folder), **request_)) == expected


def _as_tuple(time: Any) -> Any:
    return tuple(time) if isinstance(time, list) else time


def test_the_engine_opens_urls() -> None:
    fleet = pipeline.Archive.create("memory://engine").create_fleet("rooms", LEVEL)
    fleet.append({"device": ["a", "b"], "time": ["2024-03-01T00:00Z"] * 2, "level": [1.0, 2.0]})
    dataset = xr.open_dataset("memory://engine", engine="iot_archive", storage_options={})
    assert rows_shown(dataset) == rows_read(fleet)


def test_old_snapshots_are_opened_by_id_or_time(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("rooms", LEVEL)
    fleet.append({"device": "a", "time": ["2024-03-01T00:00Z"], "level": [1.0]})
    first = next(archive.history())
    fleet.append({"device": "a", "time": ["2024-03-02T00:00Z"], "level": [2.0]})
    for at in (first.snapshot, first.time, first.time.isoformat()):
        dataset = xr.open_dataset(archive.url, engine="iot_archive", at=at)
        assert dataset["level"].values.tolist() == [1.0]
        assert dataset.attrs["snapshot"] == first.snapshot
    for wrong in ("0000ABCDEFGHJKMNPQRS", "nothing"):
        with pytest.raises(NotFoundError):
            xr.open_dataset(archive.url, engine="iot_archive", at=wrong)
    with pytest.raises(InvalidInputError, match="not a time"):
        xr.open_dataset(archive.url, engine="iot_archive", at=17)


def test_the_fleet_may_be_left_out_if_there_is_one(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    with pytest.raises(NotFoundError, match="no fleet yet"):
        xr.open_dataset(archive.url, engine="iot_archive")
    archive.create_fleet("rooms", LEVEL)
    assert xr.open_dataset(archive.url, engine="iot_archive").attrs["fleet"] == "rooms"
    archive.create_fleet("trucks", LEVEL)
    with pytest.raises(InvalidInputError, match="rooms, trucks"):
        xr.open_dataset(archive.url, engine="iot_archive")
    assert xr.open_dataset(archive.url, fleet="trucks").attrs["fleet"] == "trucks"


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"fleet": "cars"}, NotFoundError, "no fleet 'cars'.*rooms"),
        ({"devices": "d99"}, NotFoundError, "no device 'd99'"),
        ({"devices": ["d0", "d99"]}, NotFoundError, "no device 'd99'"),
        ({"channels": ["wind"]}, NotFoundError, "no channel 'wind'"),
        ({"time": "2024-03-01"}, InvalidInputError, r"give \(start, stop\)"),
        ({"time": ("2024-03-02", "2024-03-01")}, InvalidInputError, "ends before it starts"),
        ({"time": (5, None)}, InvalidInputError, "not a time"),
    ],
)
def test_impossible_requests_say_what_is_wrong(
    folder: Path, request_: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        xr.open_dataset(folder, engine="iot_archive", **request_)


def test_places_without_an_archive_say_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no archive here"):
        xr.open_dataset(tmp_path / "nothing", engine="iot_archive")
    with pytest.raises(InvalidInputError, match="give the folder or URL"):
        xr.open_dataset(BytesIO(b""), engine="iot_archive")


def test_variables_can_be_dropped(folder: Path) -> None:
    dropped = ["float64", "site", "unheard of"]
    dataset = xr.open_dataset(folder, engine="iot_archive", drop_variables=dropped)
    assert "float32" in dataset
    assert "float64" not in dataset.variables
    assert "site" not in dataset.variables
    one = xr.open_dataset(folder, engine="iot_archive", drop_variables="bool")
    assert "bool" not in one.variables


def test_archives_are_recognised(folder: Path, tmp_path: Path) -> None:
    guess = IotArchiveBackend().guess_can_open
    assert guess(folder)
    assert guess(str(folder))
    assert guess(folder.as_uri())
    zarr.create_group(tmp_path / "plain")
    (tmp_path / "file").write_text("text")
    others = [
        tmp_path,
        tmp_path / "plain",
        tmp_path / "file",
        tmp_path / "nothing",
        folder / "refs",
    ]
    assert not any(guess(other) for other in others)
    assert not any(guess(f"{scheme}://b/p") for scheme in ("s3", "memory", "https"))
    odd: list[Any] = [None, 5, b"bytes", BytesIO(), "a\0b", "", "s3://", {}]
    assert not any(guess(thing) for thing in odd)


def test_recognised_archives_need_no_engine(folder: Path) -> None:
    assert xr.open_dataset(folder).attrs["featureType"] == "timeSeries"


def test_other_stores_open_as_ever(tmp_path: Path) -> None:
    assert "iot_archive" in list_engines()
    group = zarr.create_group(tmp_path / "other.zarr")
    group.create_array("x", data=np.arange(3), dimension_names=["i"])
    opened = xr.open_zarr(tmp_path / "other.zarr", consolidated=False)
    assert opened["x"].values.tolist() == [0, 1, 2]
    again = xr.open_dataset(tmp_path / "other.zarr", consolidated=False)
    assert again["x"].values.tolist() == [0, 1, 2]


def test_xarray_knows_every_parameter() -> None:
    signature = inspect.signature(IotArchiveBackend.open_dataset)
    names = tuple(name for name in signature.parameters if name != "self")
    assert IotArchiveBackend.open_dataset_parameters == names
    assert "IoT archives" in repr(IotArchiveBackend())


def test_the_engine_module_is_light() -> None:
    heavy = ["icechunk", "zarr", "pyarrow", "numba", "dask"]
    code = f"""
import xarray, sys
before = set(sys.modules)
import pipeline.xarray_engine.backend
print([name for name in {heavy} if name in set(sys.modules) - before])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
