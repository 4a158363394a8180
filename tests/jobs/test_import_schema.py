"""Imports into fleets whose schema has changed, or does not have the columns that come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.errors import JobError, SchemaError
from pipeline.schema.changes import AddChannel, ChangeUnits, RenameChannel
from tests.jobs.running import run

DECLARED = [{"name": "level", "dtype": "float64", "units": "m"}]


def write(path: Path, hour: int, **columns: Any) -> None:
    time = pa.array([(1_700_000_000 + 3600 * hour + at) * 1_000_000 for at in range(3)])
    table = {"device": ["a", "b", "a"], "time": time.cast(pa.timestamp("us", "UTC"))} | columns
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(table), path)


def step(folder: Path, **options: Any) -> dict[str, Any]:
    return {"import": {"fleet": "tanks", "source": {"parquet": {"path": str(folder)}}, **options}}


def opened(tmp_path: Path) -> pipeline.Fleet:
    return pipeline.Archive.open(tmp_path / "archive").fleet("tanks")


def levels(fleet: pipeline.Fleet, channel: str = "level") -> list[float | None]:
    return [
        value
        for device in ("a", "b")
        for value in fleet.read(device).read_all().sort_by("time")[channel].to_pylist()
    ]


@pytest.fixture
def fleet(tmp_path: Path) -> pipeline.Fleet:
    """A fleet with the rows of a file; `tmp_path / "new"` gets another with one more column."""
    write(tmp_path / "old" / "0.parquet", 0, level=[1.0, 2.0, 3.0])
    run(tmp_path, step(tmp_path / "old", schema=DECLARED))
    write(tmp_path / "new" / "1.parquet", 1, level=[4.0, 5.0, 6.0], wind=[None, 7, None])
    return opened(tmp_path)


@pytest.mark.parametrize("by_policy", [True, False])
@pytest.mark.parametrize("policy", ["reject", "ignore", "quarantine", "add"])
def test_columns_that_are_no_channel(
    fleet: pipeline.Fleet, tmp_path: Path, policy: str, by_policy: bool
) -> None:
    told = {} if by_policy else {"unknown": policy}
    if by_policy:
        fleet.set_schema_policies(unknown=policy)
    if policy == "reject":
        with pytest.raises(SchemaError, match=r"\['wind'\] are not channels"):
            run(tmp_path, step(tmp_path / "new", **told))
        return
    report = run(tmp_path, step(tmp_path / "new", **told)).report["steps"][0]
    fleet = opened(tmp_path)
    if policy == "add":
        assert (report["rows"], report["quarantined"], report["ignored"]) == (3, 0, 0)
        assert fleet.schema["wind"].dtype == "int64"
        assert [one for one in levels(fleet, "wind") if one is not None] == [7]
    elif policy == "quarantine":
        assert (report["rows"], report["quarantined"]) == (2, 1)
        assert fleet.quarantine()["reason"].to_pylist() == ["schema conflict: 'wind' is no channel"]
    else:
        assert (report["rows"], report["ignored"]) == (3, 1)
        assert fleet.schema.names == ("level",)


def test_columns_may_have_earlier_names(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    fleet.evolve(RenameChannel("level", "depth"), AddChannel(pipeline.Channel("wind", "int64")))
    with pytest.warns(FutureWarning, match="'depth'"):
        run(tmp_path, step(tmp_path / "new"))
    assert levels(opened(tmp_path), "depth") == [1.0, 3.0, 4.0, 6.0, 2.0, 5.0]


@pytest.mark.parametrize("older", ["convert", "keep"])
@pytest.mark.parametrize("told", [{"schema": DECLARED}, {"schema_version": 1}])
def test_rows_of_an_older_version(
    fleet: pipeline.Fleet, tmp_path: Path, told: dict[str, Any], older: str
) -> None:
    fleet.evolve(ChangeUnits("level", "cm", multiply=100))
    fleet.set_schema_policies(older=older)
    write(tmp_path / "new" / "1.parquet", 1, level=[4.0, 5.0, 6.0])
    run(tmp_path, step(tmp_path / "new", **told))
    fleet = opened(tmp_path)
    assert levels(fleet) == [100.0, 300.0, 400.0, 600.0, 200.0, 500.0]
    assert levels(fleet.at_version(1)) == [1.0, 3.0, 4.0, 6.0, 2.0, 5.0]
    assert pipeline.Archive.open(tmp_path / "archive").verify().is_clean


def test_a_schema_that_the_fleet_never_had(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    fleet.evolve(ChangeUnits("level", "cm", multiply=100))
    other = [{"name": "level", "dtype": "float64", "units": "km"}]
    with pytest.raises(JobError, match="exists with another schema"):
        run(tmp_path, step(tmp_path / "new", schema=other))
