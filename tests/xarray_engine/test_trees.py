"""Trees of fleets and rollups, and what travels to other processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.xarray_engine.backend import IotArchiveBackend
from pipeline.xarray_engine.ragged_index import RaggedIndex
from tests.xarray_engine.conftest import fill
from tests.xarray_engine.fleets import every_dtype, rows_read, rows_shown


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of two fleets, one of them with rollups."""
    folder = tmp_path_factory.mktemp("archives") / "site"
    archive = pipeline.Archive.create(folder)
    rooms = archive.create_fleet("rooms", every_dtype(), pipeline.Partitioning("1 day"))
    fill(rooms)
    for every in ("1h", "1 day"):
        rooms.rollups.create(every, {"float64": ["mean", "max"], "category": "last"}).refresh()
    tanks = archive.create_fleet("tanks", pipeline.Schema([pipeline.Channel("level", "float64")]))
    tanks.append({"device": ["t"], "time": ["2024-03-01T00:00Z"], "level": [1.0]})
    return folder


def test_a_tree_holds_rows_and_rollups_of_every_fleet(site: Path) -> None:
    tree = xr.open_datatree(site, engine="iot_archive")
    rooms = pipeline.Archive.open(site).fleet("rooms")
    assert set(tree.groups) == {
        "/", "/rooms", "/rooms/raw", "/rooms/rollup", "/rooms/rollup/1day", "/rooms/rollup/1h",
        "/tanks", "/tanks/raw",
    }  # fmt: skip
    assert tree["rooms"].attrs["fleet"] == "rooms"
    assert tree.attrs["snapshot"] == tree["tanks/raw"].attrs["snapshot"]
    raw = tree["rooms/raw"].to_dataset()
    assert not raw["float64"].variable._in_memory
    assert rows_shown(raw.sel(device="d1")) == rows_read(rooms, devices="d1")
    hourly = tree["rooms/rollup/1h"].to_dataset()
    xr.testing.assert_identical(hourly, rooms.rollups["1h"].to_xarray())
    assert hourly["site"].dims == ("device",)
    answer = tree["rooms/raw"].to_dataset().iot.mean(every="1h", channels="float64")
    np.testing.assert_allclose(answer["float64"], hourly["float64_mean"])


def test_trees_are_narrowed_like_datasets(site: Path) -> None:
    tree = xr.open_datatree(
        site,
        engine="iot_archive",
        fleet="rooms",
        devices=["d1", "d0"],
        time=("2024-03-02", None),
        drop_variables=["float32", "float64_max", "time_bounds"],
    )
    assert set(tree.children) == {"rooms"}
    assert tree["rooms/raw"].to_dataset()["device"].values.tolist() == ["d0", "d1"]
    assert tree["rooms/rollup/1day"].sizes == {"device": 2, "time": 2}
    assert "float32" not in tree["rooms/raw"].variables
    assert set(tree["rooms/rollup/1h"].data_vars) == {
        "rows",
        "float64_count",
        "float64_mean",
        "category_count",
        "category_last",
    }
    one = xr.open_datatree(site, engine="iot_archive", fleet="rooms", devices="d1")
    assert one["rooms/raw"]["float64"].dims == ("time",)
    groups = xr.open_groups(site, engine="iot_archive", where={"site": "north"}, fleet="rooms")
    assert groups["/rooms/raw"]["device"].values.tolist() == ["d0"]


def test_trees_of_chunks_compute_to_the_same(site: Path) -> None:
    chunked = xr.open_datatree(site, engine="iot_archive", chunks={})
    plain = xr.open_datatree(site, engine="iot_archive")
    hourly = chunked["rooms/rollup/1h"]["float64_mean"]
    assert hourly.chunks is not None
    xr.testing.assert_identical(
        hourly.compute(scheduler="threads"), plain["rooms/rollup/1h"]["float64_mean"]
    )


def test_older_states_are_opened_as_trees(site: Path) -> None:
    archive = pipeline.Archive.open(site)
    before = list(archive.history())[1].snapshot
    tree = xr.open_datatree(site, engine="iot_archive", at=before)
    assert tree["tanks/raw"].sizes["row"] == 0


def test_wrong_trees_say_why(site: Path) -> None:
    with pytest.raises(NotFoundError, match="no fleet 'cars'; there are: rooms, tanks"):
        xr.open_datatree(site, engine="iot_archive", fleet="cars")
    with pytest.raises(NotFoundError, match="no device 'd9'"):
        xr.open_datatree(site, engine="iot_archive", fleet="rooms", devices="d9")
    with pytest.raises(InvalidInputError, match="give the folder or URL"):
        IotArchiveBackend().open_datatree(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("dropped", ["time", "device_index", "device"])
def test_coordinates_of_the_index_can_be_dropped(site: Path, dropped: str) -> None:
    found = xr.open_dataset(site, engine="iot_archive", fleet="rooms", drop_variables=dropped)
    assert dropped not in found.variables
    assert not any(isinstance(index, RaggedIndex) for index in found.xindexes.values())


def test_trees_can_be_pickled(site: Path) -> None:
    tree = xr.open_datatree(site, engine="iot_archive")
    again = pickle.loads(pickle.dumps(tree))
    xr.testing.assert_identical(again["rooms/raw"].to_dataset(), tree["rooms/raw"].to_dataset())
    fresh = xr.open_datatree(site, engine="iot_archive", fleet="tanks")
    assert len(pickle.dumps(fresh)) < 20_000


def test_processes_of_a_cluster_compute_on_selections(site: Path) -> None:
    rooms = pipeline.Archive.open(site).fleet("rooms")
    dataset = xr.open_dataset(site, engine="iot_archive", fleet="rooms", chunks={})
    few = dataset.sel(device=["d4", "d0"], time="2024-03-01")
    with (
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        computed: Any = client.compute(few, sync=True)
        expected = rows_read(rooms, devices=["d0", "d4"], time=("2024-03-01", "2024-03-02"))
        assert rows_shown(computed) == expected
        lazy = rooms.to_xarray(devices="d1")
        mean = client.submit(lambda sent: float(sent["float64"].mean()), lazy).result()
        assert mean == float(rooms.to_xarray(devices="d1")["float64"].mean())
