from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pipeline
from tests.xarray_engine.fleets import DAY, every_dtype, readings


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known that xarray's own tests bear."""
    for mark in ("asyncio", "flaky", "network", "skip_if_param", "skip_with_dask_array"):
        config.addinivalue_line("markers", f"{mark}: of xarray's own tests; means nothing here")


def fill(fleet: pipeline.Fleet) -> None:
    """Store days of readings the way fleets deliver them: in blocks, in drips, late and twice."""
    fleet.append(readings([f"d{n}" for n in range(5)], np.arange(0, 2 * DAY, 10)))
    fleet.append(readings(["d1", "d4"], np.arange(2 * DAY, 2 * DAY + 20), seed=1))
    fleet.append(readings(["d4", "d0"], np.arange(5, DAY, 10), seed=2))
    fleet.append(readings(["d0", "d3"], np.arange(0, DAY, 100), seed=3))
    fleet.append(readings(["d2"], np.arange(DAY, DAY + 30, 3), seed=4))
    fleet.set_tags({"d0": {"site": "north"}, "d1": {"site": "south", "floor": "3"}})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an archive with one fleet, ``rooms``, in every state of disorder."""
    root = tmp_path_factory.mktemp("archives") / "messy"
    partitioning = pipeline.Partitioning("1 day", devices_per_block=2, landing_rows=50)
    fill(pipeline.Archive.create(root).create_fleet("rooms", every_dtype(), partitioning))
    return root


@pytest.fixture(scope="session")
def rooms(folder: Path) -> pipeline.Fleet:
    """Return the fleet of `folder`."""
    return pipeline.Archive.open(folder).fleet("rooms")


@pytest.fixture(scope="session")
def tall_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of two days of two devices at 1 Hz: three full blocks a day."""
    url = str(tmp_path_factory.mktemp("archives") / "tall")
    schema = pipeline.Schema(
        [pipeline.Channel("level", "float64"), pipeline.Channel("count", "int64")]
    )
    fleet = pipeline.Archive.create(url).create_fleet("rooms", schema)
    seconds = np.arange(2 * 86_400)
    times = np.datetime64("2024-03-01", "us") + seconds * np.timedelta64(1_000_000, "us")
    fleet.append(
        {
            "device": np.repeat(["a", "b"], len(seconds)),
            "time": np.tile(times, 2),
            "level": np.arange(2.0 * len(seconds)),
            "count": np.arange(2 * len(seconds)),
        }
    )
    return url
