"""Archives of every landed format open, and answer as on the day they were written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import xarray as xr

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from tests.golden.make_archive import FOLDER, KINDS, fill
from tests.rollup_checks import assert_right
from tests.support import memory_archive, minutes

FORMATS = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture(params=FORMATS, scope="module")
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def golden(form: str, tmp_path: Path) -> pipeline.Archive:
    shutil.copytree(FOLDER / form, tmp_path / "archive")
    return pipeline.Archive.open(tmp_path / "archive")


@pytest.fixture(scope="module")
def today(form: str) -> pipeline.Archive:
    archive = memory_archive()
    fill(archive, KINDS[form])
    return archive


def assert_agrees(one: xr.Dataset, two: xr.Dataset) -> None:
    """Check that answers are equal; stored sums may be rounded otherwise than those of today."""
    xr.testing.assert_equal(one.coords.to_dataset(), two.coords.to_dataset())
    assert list(one.data_vars) == list(two.data_vars)
    for name, values in one.data_vars.items():
        if str(name).endswith(("_mean", "_std", "_sum")):
            xr.testing.assert_allclose(values, two[name], rtol=1e-12)
        else:
            xr.testing.assert_equal(values, two[name])


def test_rows_answers_tags_and_quarantine_are_the_same(
    golden: pipeline.Archive, today: pipeline.Archive
) -> None:
    old, new = golden.fleet("golden"), today.fleet("golden")
    assert old.schema == new.schema
    assert old.partitioning == new.partitioning
    assert old.tags == new.tags
    rows = old.read().read_all()
    assert rows.num_rows == new.read().read_all().num_rows > 150
    assert str(rows.to_pylist()) == str(new.read().read_all().to_pylist())
    statistics = {"float64": ["count", "mean", "std", "last"], "int64": ["min", "max", "first"]}
    for every in (None, "1h", "7 min"):
        one, two = (fleet.aggregate(statistics, every=every) for fleet in (old, new))
        assert_agrees(one, two)
    xr.testing.assert_equal(old.latest(), new.latest())
    kept = ["reason", "record", "source"]
    assert old.quarantine().select(kept).equals(new.quarantine().select(kept))


def test_every_version_of_a_schema_is_the_same(
    golden: pipeline.Archive, today: pipeline.Archive
) -> None:
    old, new = golden.fleet("golden"), today.fleet("golden")
    assert [one.changes for one in old.schemas] == [one.changes for one in new.schemas]
    assert [one.arrays for one in old.schemas] == [one.arrays for one in new.schemas]
    assert old.schema_policies == new.schema_policies
    for version in range(1, len(old.schemas) + 1):
        one, two = (fleet.at_version(version) for fleet in (old, new))
        assert one.schema == two.schema
        assert str(one.read().read_all().to_pylist()) == str(two.read().read_all().to_pylist())
        statistics = {"int8": ["count", "max", "last"], "category": ["count", "first"]}
        assert_agrees(one.aggregate(statistics, every="1h"), two.aggregate(statistics, every="1h"))
    if len(old.schemas) > 1:
        old.migrate(verify=True)
        assert str(old.read().read_all().to_pylist()) == str(new.read().read_all().to_pylist())


def test_old_archives_can_be_added_to(golden: pipeline.Archive) -> None:
    fleet = golden.fleet("golden")
    before = fleet.read().read_all().num_rows
    fleet.append({"device": ["d0", "new"], "time": minutes(500, 500), "int8": [1, 2]})
    assert fleet.read().read_all().num_rows == before + 2
    assert fleet.devices.count("new") == 1
    fleet.set_tags({"d0": {"site": "south"}, "newer": {"site": "north"}})
    assert fleet.tags["newer"] == {"site": "north"}
    assert fleet.read(where={"site": "south"}).read_all().num_rows > 60
    registry = FleetStore(Repository.open(Location.parse(golden.url)), "golden").view().registry
    assert registry.has_lookup
    assert list(registry.ids_of(registry.codes(fleet.devices))) == fleet.devices
    assert golden.at(next(iter(list(golden.history())[1:])).snapshot).fleets == ["golden"]


def test_old_rollups_are_read_and_refreshed(
    golden: pipeline.Archive, today: pipeline.Archive
) -> None:
    old, new = golden.fleet("golden"), today.fleet("golden")
    assert list(old.rollups) == list(new.rollups)
    for name in old.rollups:
        one, two = old.rollups[name], new.rollups[name]
        assert one.state.statistics == two.state.statistics
        assert (one.state.fresh, one.state.stale) == (two.state.fresh, two.state.stale)
        assert_agrees(one.to_xarray(), two.to_xarray())
        assert one.to_xarray()["rows"].sum() > 150
    old.append({"device": ["d0", "new"], "time": minutes(500, 500), "int8": [1, 2]})
    for name in old.rollups:
        assert old.rollups[name].refresh().cells
        assert_right(old, name)
