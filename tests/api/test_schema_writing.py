from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.stored_chunks import raw_paths, stored_chunks
from pipeline.errors import ConflictError, InvalidInputError, NotFoundError, SchemaError
from pipeline.partitioning.pruning import Selection
from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeUnits,
    Describe,
    RemoveChannel,
    RenameChannel,
)
from pipeline.schema.policies import SchemaPolicies
from tests.api.schema_fleets import (
    SCHEMA,
    batch,
    evolved_fleet,
    first_fleet,
    frame,
)
from tests.support import memory_archive, minutes

Channel = pipeline.Channel


def raw_chunks(fleet: pipeline.Fleet) -> set[str]:
    view = fleet._view()
    paths = raw_paths(view.store, view.meta.layout)
    return {f"{path}{at}" for path in paths for at in stored_chunks(view.store, path)}


@pytest.mark.parametrize(
    "change",
    [
        AddChannel(Channel("x", "int8")),
        RemoveChannel("count"),
        RenameChannel("count", "n"),
        ChangeDtype("count", "int64"),
        ChangeUnits("level", "mm", multiply=1000),
    ],
)
def test_no_row_is_written_when_a_schema_changes(change: Change) -> None:
    fleet = first_fleet()
    before, stats = raw_chunks(fleet), fleet._store.repository
    commits = len(list(stats.history()))
    made = fleet.evolve(change, comment="why", author="ann")
    assert raw_chunks(fleet) == before
    assert len(list(stats.history())) == commits + 1
    newest = next(iter(stats.history()))
    assert newest.metadata["kind"] == "evolve"
    assert newest.metadata["author"] == "ann"
    assert (made.number, made.comment) == (2, "why")


def test_two_writers_at_once_are_both_named() -> None:
    fleet = first_fleet()
    mine, theirs = (pipeline.Fleet(FleetStore(fleet._store.repository, "fleet")) for _ in range(2))
    real = mine._store.view()
    theirs.evolve(RemoveChannel("count"), author="ann", comment="not needed")
    mine._store.view = lambda at=None: real  # type: ignore[method-assign]
    with pytest.raises(ConflictError, match=r"by ann.*remove 'count'.*by bob.*add 'x'"):
        mine.evolve(AddChannel(Channel("x", "int8")), author="bob")
    assert [one.author for one in fleet.schemas] == ["", "ann"]


def test_many_writers_make_one_version_each_or_are_refused() -> None:
    fleet = first_fleet()
    made: list[int] = []
    refused: list[str] = []

    def evolve(number: int) -> None:
        own = pipeline.Fleet(FleetStore(fleet._store.repository, "fleet"))
        try:
            made.append(own.evolve(AddChannel(Channel(f"x{number}", "int8"))).number)
        except ConflictError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=evolve, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) + len(refused) == 4
    assert sorted(made) == list(range(2, 2 + len(made)))
    assert len(fleet.schemas) == 1 + len(made)


def test_a_version_is_defined_once() -> None:
    fleet = first_fleet()
    changes = (AddChannel(Channel("x", "int8")), Describe("count", "of doors"))
    made = fleet.evolve(*changes, version=2)
    assert fleet.evolve(*changes, version=2) == made
    with pytest.raises(
        SchemaError, match=r"add 'x', describe 'count'.*defined otherwise, by: add 'x'"
    ):
        fleet.evolve(changes[0], version=2)
    with pytest.raises(SchemaError, match="cannot follow version 2"):
        fleet.evolve(RemoveChannel("x"), version=5)
    with pytest.raises(SchemaError, match="how the fleet was created"):
        fleet.evolve(RemoveChannel("x"), version=1)
    assert len(fleet.schemas) == 2


def test_policies_of_compatibility() -> None:
    fleet = first_fleet()
    assert fleet.schema_policies == SchemaPolicies()
    fleet.set_schema_policies(compatibility="full", unknown="ignore")
    assert fleet.schema_policies.unknown == "ignore"
    with pytest.raises(SchemaError, match="not full compatible"):
        fleet.evolve(ChangeDtype("count", "int64"))
    assert not fleet.compatibility(ChangeDtype("count", "int64")).forward
    fleet.set_schema_policies(compatibility="backward")
    fleet.evolve(ChangeDtype("count", "int64"))
    with pytest.raises(InvalidInputError, match="use one of"):
        fleet.set_schema_policies(unknown="perhaps")
    assert fleet.schema_policies.to_json()["unknown"] == "ignore"


def test_rows_say_their_version_and_are_converted() -> None:
    fleet = evolved_fleet()
    fleet.append(batch(200, 10), schema_version=1)
    fleet.at_version(2).append(batch(210, 10) | {"site": 1})
    found = frame(fleet, time=("2024-01-01T03:20", None))
    np.testing.assert_allclose(found["level"][:3], (np.array([200, 201, 202]) / 4 - 2) * -10 + 5)
    assert set(found["state"].dropna()) == {"running", "off"}
    assert set(found["site"].dropna()) == {7, 1}
    view = fleet._view()
    assert set(view.blocks(Selection()).schema_version[-2:]) == {3}
    with pytest.raises(NotFoundError):
        fleet.append(batch(300, 1), schema_version=7)


def test_rows_that_do_not_fit_are_set_aside() -> None:
    fleet = memory_archive().create_fleet("f", pipeline.Schema([Channel("n", "int32")]))
    fleet.evolve(ChangeDtype("n", "int16"))
    rows = {"device": ["a", "b", "c"], "time": minutes(1, 2, 3), "n": np.array([5, 70_000, 6])}
    result = fleet.append(rows, schema_version=1, source="old.csv")
    assert (result.rows, result.quarantined) == (2, 1)
    aside = fleet.quarantine().to_pylist()[0]
    assert aside["reason"].startswith(
        "schema conflict: channel 'n' takes int16 in version 2, and 70000"
    )
    assert '"device": "b"' in aside["record"]
    assert frame(fleet)["n"].tolist() == [5, 6]


def test_rows_may_be_kept_as_they_are() -> None:
    fleet = evolved_fleet()
    fleet.set_schema_policies(older="keep")
    fleet.append(batch(135, 30), schema_version=1)
    versions = fleet._view().blocks(Selection()).schema_version
    assert sorted(set(versions.tolist())) == [1, 2, 3]
    found = frame(fleet, time=("2024-01-01T02:15", None))
    np.testing.assert_allclose(found["level"][0], (135 / 4 - 2) * -10 + 5)
    before = frame(fleet)
    for at in range(3):
        fleet.append(batch(170 + at, 1), schema_version=1)
    after = frame(fleet)
    assert len(after) == len(before) + 6
    fleet.compact()
    pd.testing.assert_frame_equal(frame(fleet), after)
    assert set(fleet._view().blocks(Selection()).schema_version.tolist()) == {1, 2, 3}


@pytest.mark.parametrize("policy", ["reject", "ignore", "quarantine", "add"])
def test_unknown_channels(policy: str) -> None:
    fleet = first_fleet()
    fleet.set_schema_policies(unknown=policy)
    rows = {
        "device": ["a", "a", "b"],
        "time": minutes(100, 101, 102),
        "level": [1.0, 2.0, 3.0],
        "wind": pd.array([None, 4.5, None], "Float64"),
    }
    if policy == "reject":
        with pytest.raises(SchemaError, match=r"\['wind'\] are not channels"):
            fleet.append(rows)
        return
    result = fleet.append(rows, source="radio")
    if policy == "ignore":
        assert (result.rows, result.ignored) == (3, 1)
        assert "wind" not in fleet.schema
    elif policy == "quarantine":
        assert (result.rows, result.quarantined) == (2, 1)
        aside = fleet.quarantine().to_pylist()[0]
        assert aside["reason"] == "schema conflict: 'wind' is no channel"
        assert aside["source"] == "radio"
        assert '"wind": 4.5' in aside["record"]
    else:
        assert result.rows == 3
        assert fleet.schema["wind"].dtype == "float64"
        assert fleet.schemas[-1].comment == "columns of a batch from radio"
        assert frame(fleet)["wind"].dropna().tolist() == [4.5]
        fleet.append(rows | {"time": minutes(110, 111, 112)})
        assert len(fleet.schemas) == 2


def test_streams_go_on_in_their_version(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA)
    with fleet.stream(tmp_path / "log") as stream:
        stream.write(batch(0, 5))
        stream.flush()
        fleet.evolve(ChangeUnits("level", "mm", multiply=1000), RemoveChannel("open"))
        stream.write(batch(5, 5))
        assert stream.read("a").read_all().num_rows == 10
        stream.flush()
    found = frame(fleet, devices="a")
    assert fleet.schema.names == ("level", "count", "mode")
    expected = [np.nan if at == 3 else (at / 4 - 2) * 1000 for at in range(10)]
    np.testing.assert_allclose(found["level"], expected)
    with fleet.stream(tmp_path / "log") as stream:
        stream.write({"device": ["a"], "time": minutes(50), "level": [1.0]})
    with fleet.at_version(1).stream(tmp_path / "other") as stream:
        stream.write(batch(60, 1, ("a",)))
    assert frame(fleet, devices="a")["level"].tolist()[-2:] == [1.0, 13_000.0]


def test_closed_categories() -> None:
    fleet = first_fleet()
    fleet.evolve(Categories("mode", allowed=("on", "off", "idle")))
    rows = {"device": ["a", "a"], "time": minutes(90, 91), "mode": ["on", "broken"]}
    result = fleet.append(rows)
    assert (result.rows, result.quarantined) == (1, 1)
    assert "takes 'on', 'off', 'idle', not 'broken'" in fleet.quarantine()["reason"][0].as_py()


def test_logged_rows_are_what_they_were_when_the_schema_changes(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", pipeline.Schema([Channel("level", "float64", "m")]))
    program = f"""
import os
import pipeline
fleet = pipeline.Archive.open({str(tmp_path / "archive")!r}).fleet("fleet")
stream = fleet.stream({str(tmp_path / "log")!r}, flush={{"age": "1 h"}})
stream.write({{"device": ["a"], "time": ["2024-01-01T00:00"], "level": [1.5]}})
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert frame(fleet).empty
    fleet.evolve(ChangeUnits("level", "mm", multiply=1000))
    for _ in range(2):
        with fleet.stream(tmp_path / "log") as stream:
            assert frame(fleet)["level"].tolist() == [1500.0]
    with fleet.stream(tmp_path / "log") as stream:
        stream.write({"device": ["a"], "time": minutes(1), "level": [2.0]})
    assert frame(fleet)["level"].tolist() == [1500.0, 2.0]


def test_rows_and_devices_tell_their_version() -> None:
    fleet = memory_archive().create_fleet("f", pipeline.Schema([Channel("t", "float64", "m")]))
    fleet.evolve(ChangeUnits("t", "mm", multiply=1000), AddChannel(Channel("mode", "category")))
    fleet.evolve(RenameChannel("t", "level"))
    fleet.set_schema_policies(version_field="v", version_tag="firmware")
    fleet.set_tags({"old": {"firmware": "1"}})
    result = fleet.append(
        {
            "device": ["old", "old", "new", "first", "odd", "mid"],
            "time": minutes(0, 1, 2, 3, 4, 5),
            "t": [1.0, None, None, 2.0, None, 3000.0],
            "level": [None, 5000.0, 6000.0, None, 1.0, None],
            "mode": [None, "on", "off", None, None, "on"],
            "v": pd.array([None, 3, None, None, 9, 2], "Int64"),
        },
        tags={"first": {"firmware": "1"}},
        source="radio",
    )
    assert (result.rows, result.quarantined) == (5, 1)
    found = frame(fleet)
    assert dict(zip(found["time"], found["level"], strict=True)) == dict(
        zip(
            minutes(0, 1, 2, 3, 5).astype("int64"),
            [1000.0, 5000.0, 6000.0, 2000.0, 3000.0],
            strict=True,
        )
    )
    assert found["mode"].notna().sum() == 3
    aside = fleet.quarantine().to_pylist()[0]
    assert aside["reason"] == "schema conflict: there is no version '9'; there are 1 to 3"
    assert aside["source"] == "radio"
    fleet.append({"device": ["old"], "time": minutes(9), "t": [7.0]})
    assert frame(fleet, devices="old")["level"].tolist()[-1] == 7000
    fleet.append({"device": ["odd"], "time": minutes(9), "level": [7.0], "v": ["x"]})
    assert fleet.quarantine().num_rows == 2
    with pytest.raises(InvalidInputError, match="of its own"):
        fleet.set_schema_policies(version_field="time")
