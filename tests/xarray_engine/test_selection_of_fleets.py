"""Selecting from fleets of every kind: repeated rows, blocks by tag, schemas that changed, many blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.schema.changes import ChangeUnits, RenameChannel
from tests.xarray_engine.fleets import rows_read, rows_shown

LEVEL = pipeline.Schema([pipeline.Channel("level", "float64", "m")])
MINUTES = np.datetime64("2024-03-01", "us") + np.arange(100) * np.timedelta64(60, "m")


def rows(devices: list[str]) -> dict[str, Any]:
    return {
        "device": np.repeat(devices, len(MINUTES)),
        "time": np.tile(MINUTES, len(devices)),
        "level": np.arange(float(len(devices) * len(MINUTES))),
    }


@pytest.mark.parametrize("policy", ["keep_last", "keep_first", "keep_all"])
@pytest.mark.parametrize("devices", ["a", ["b", "a"], None])
def test_repeated_rows_are_selected_as_the_policy_says(policy: str, devices: Any) -> None:
    archive = pipeline.Archive.create("memory://")
    fleet = archive.create_fleet("tanks", LEVEL, duplicates=policy)
    for value in (1.0, 2.0, 3.0):
        fleet.append({**rows(["a", "b", "c"]), "level": value})
    labels = {} if devices is None else {"device": devices}
    time = ("2024-03-02", "2024-03-03")
    found = fleet.to_xarray().sel(time="2024-03-02", **labels)
    assert rows_shown(found) == rows_read(fleet, devices=devices, time=time)
    expected = fleet.aggregate({"level": "count"}, devices=devices, time=time)["level_count"]
    counts = found.iot.count()["level"]
    np.testing.assert_array_equal(counts.sortby("device").values, expected.values)


def test_fleets_that_are_partitioned_by_a_tag_have_codes_of_no_device() -> None:
    archive = pipeline.Archive.create("memory://")
    scheme = pipeline.Partitioning("1 day", devices_per_block=4, by="site")
    fleet = archive.create_fleet("tanks", LEVEL, scheme)
    tags = {name: {"site": site} for name, site in zip("abcde", "xyxyz", strict=True)}
    fleet.append(rows(list("abcde")), tags=tags)
    dataset = fleet.to_xarray()
    assert "" in dataset["device"].values
    assert rows_shown(dataset.sel(device=["e", "b"])) == rows_read(fleet, devices=["b", "e"])
    means = dataset.iot.mean(every="1 day")
    expected = fleet.aggregate({"level": "mean"}, every="1 day")
    assert means["device"].values.tolist() == expected["device"].values.tolist()
    np.testing.assert_array_equal(means["level"].values, expected["level_mean"].values)
    assert means["site"].values.tolist() == [
        tags[name]["site"] for name in means["device"].values.tolist()
    ]
    by_site = dataset.sel(device=["a", "b"]).iot.mean(by="site")
    assert by_site["site"].values.tolist() == ["x", "y"]


def test_old_versions_of_a_schema_are_asked_as_they_were(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("tanks", LEVEL)
    fleet.append(rows(["a", "b"]))
    fleet.evolve(RenameChannel("level", "depth"), ChangeUnits("depth", "cm", multiply=100))
    fleet.append({"device": ["c"] * 100, "time": MINUTES, "depth": np.arange(100.0)})
    for version, name in ((None, "depth"), (1, "level")):
        dataset = xr.open_dataset(archive.url, engine="iot_archive", schema_version=version)
        some = dataset.sel(device=["c", "a"], time="2024-03-02")
        answer = some.iot.mean()[name]
        values = some[name].values.reshape(2, -1)
        np.testing.assert_allclose(answer.values, values.mean(axis=1))
        assert answer.attrs["units"] == dataset[name].attrs["units"]
        one = dataset.sel(device="a")
        np.testing.assert_allclose(one.iot.max()[name].values, [one[name].max()])


def test_single_devices_of_many_small_blocks_are_selected() -> None:
    archive = pipeline.Archive.create("memory://")
    scheme = pipeline.Partitioning("1 day", devices_per_block=2, landing_rows=10)
    fleet = archive.create_fleet("tanks", LEVEL, scheme)
    rng = np.random.default_rng(1)
    for _ in range(12):
        size = int(rng.integers(1, 40))
        fleet.append(
            {
                "device": rng.choice(list("abcdef"), size),
                "time": rng.choice(MINUTES, size),
                "level": rng.random(size),
            }
        )
    dataset = fleet.to_xarray()
    for _ in range(20):
        devices = rng.choice(list("abcdef"), rng.integers(1, 6), replace=False).tolist()
        start, stop = np.sort(rng.choice(MINUTES, 2))
        known = [name for name in devices if name in fleet.devices]
        found = dataset.sel(device=known, time=slice(start, stop))
        end = stop + np.timedelta64(1, "us")
        assert rows_shown(found) == rows_read(fleet, devices=known, time=(start, end))
        again = dataset.sel(time=slice(start, stop)).sel(device=known)
        xr.testing.assert_identical(again.load(), found.load())
