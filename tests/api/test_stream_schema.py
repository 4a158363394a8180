"""Streams that are given columns their fleet has no channel for."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.errors import InvalidInputError, NotFoundError, SchemaError, StorageError
from pipeline.schema.changes import AddChannel, ChangeUnits, RenameChannel
from tests.support import minutes


@pytest.fixture
def fleet() -> pipeline.Fleet:
    schema = pipeline.Schema([pipeline.Channel("level", "float64", units="m")])
    return pipeline.Archive.create("memory://").create_fleet("tanks", schema)


def rows(at: int, **columns: Any) -> dict[str, Any]:
    return {"device": ["a"], "time": minutes(at), "level": [float(at)]} | columns


def values(fleet: pipeline.Fleet, channel: str) -> list[Any]:
    found: list[Any] = fleet.read("a").read_all().sort_by("time")[channel].to_pylist()
    return found


@pytest.mark.parametrize("logged", [True, False])
def test_new_columns_become_channels(fleet: pipeline.Fleet, tmp_path: Path, logged: bool) -> None:
    fleet.set_schema_policies(unknown="add")
    log = tmp_path / "log" if logged else None
    with fleet.stream(log, durability="log" if logged else "commit") as stream:
        stream.write(rows(0))
        assert stream.schema_version == 1
        stream.write(rows(1, wind=[7]), source="radio")
        assert stream.schema_version == 2
        stream.write(rows(2))
        stream.write(rows(3, wind=[9], gusts=[None]))
        assert stream.read("a").read_all().sort_by("time")["wind"].to_pylist() == [None, 7, None, 9]
        assert stream.counters.ignored == 0
    assert fleet.schemas[-1].comment == "columns of a batch from radio"
    assert values(fleet, "wind") == [None, 7, None, 9]
    assert values(fleet, "level") == [0.0, 1.0, 2.0, 3.0]
    assert fleet.schema.names == ("level", "wind")


def test_rows_of_both_versions_are_found_in_the_log(
    fleet: pipeline.Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = fleet.stream(tmp_path / "log", flush={"age": "1 day"})
    stream.write(rows(0))
    stream.write(rows(1, wind=[7]), unknown="add")
    stream.write(rows(2, wind=[8]))
    assert len(stream.held()[0]) == 2, "what came before was committed"
    # As if the process had died: nothing of what is held is committed.
    monkeypatch.setattr(stream._committer, "act", lambda _: 1 / 0)
    with pytest.raises(StorageError):
        stream.close()
    with fleet.stream(tmp_path / "log") as stream:
        assert stream.counters.replayed == 2
    assert values(fleet, "wind") == [None, 7, 8]


def test_values_are_set_aside_or_left_out(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    fleet.set_schema_policies(unknown="quarantine")
    with fleet.stream(tmp_path / "log") as stream:
        assert stream.write(rows(0, wind=[7]), source="radio").quarantined == 1
        stream.write(rows(1, wind=[None]))
        stream.write(rows(2, wind=[7]), unknown="ignore")
        assert stream.counters.ignored == 1
    aside = fleet.quarantine().to_pylist()
    assert [(one["reason"], one["source"]) for one in aside] == [
        ("schema conflict: 'wind' is no channel", "radio")
    ]
    assert values(fleet, "level") == [1.0, 2.0]


def test_they_are_refused_by_default(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    with fleet.stream(tmp_path / "log") as stream:
        with pytest.raises(SchemaError, match="not channels"):
            stream.write(rows(0, wind=[7]))
        with pytest.raises(InvalidInputError, match="unknown='drop'"):
            stream.write(rows(0, wind=[7]), unknown="drop")
        with pytest.raises(SchemaError):
            stream.write(rows(0, wind=[{"speed": 7}]), unknown="add")
        stream.write(rows(1))
    assert values(fleet, "level") == [1.0]


def test_earlier_names_are_known(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    fleet.evolve(RenameChannel("level", "depth"))
    with fleet.stream(tmp_path / "log") as stream, pytest.warns(FutureWarning, match="'depth'"):
        stream.write(rows(1))
    assert values(fleet, "depth") == [1.0]


def test_other_writers_may_have_added_the_same(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    fleet.set_schema_policies(unknown="add")
    with fleet.stream(tmp_path / "log") as one, fleet.stream(tmp_path / "more") as other:
        one.write(rows(0, wind=[7]))
        other.write(rows(1, wind=[8]))
        assert one.schema_version == other.schema_version == 2
    assert values(fleet, "wind") == [7, 8]


def test_a_schema_that_changed_otherwise_is_not_followed(
    fleet: pipeline.Fleet, tmp_path: Path
) -> None:
    fleet.set_schema_policies(unknown="add")
    with fleet.stream(tmp_path / "log") as stream:
        fleet.evolve(ChangeUnits("level", "cm", multiply=100))
        with pytest.raises(SchemaError, match="have version 1 of the schema"):
            stream.write(rows(0, wind=[7]))
        stream.write(rows(1))
    assert values(fleet, "level") == [100.0]


@pytest.mark.parametrize("how", ["argument", "column", "tag of the device", "tag of the batch"])
def test_rows_of_other_versions(fleet: pipeline.Fleet, tmp_path: Path, how: str) -> None:
    fleet.evolve(ChangeUnits("level", "cm", multiply=100))
    fleet.set_schema_policies(
        version_field="v" if how == "column" else "",
        version_tag="firmware" if how.startswith("tag") else "",
    )
    if how == "tag of the device":
        fleet.set_tags({"a": {"firmware": "1"}})
    told: dict[str, Any] = {}
    if how == "argument":
        told = {"schema_version": 1}
    elif how == "tag of the batch":
        told = {"tags": {"a": {"firmware": "1"}}}
    with fleet.stream(tmp_path / "log") as stream:
        data = rows(1) | ({"v": [1]} if how == "column" else {})
        assert stream.write(data, **told).rows == 1
        stream.write({"device": ["b"], "time": minutes(2), "level": [70.0]})
        if how == "column":
            both = {"device": ["a", "b", "a"], "time": minutes(3, 3, 4), "level": [3.0, 5.0, 6.0]}
            receipt = stream.write(both | {"v": [1, 2, 9]})
            assert (receipt.rows, receipt.quarantined) == (2, 1)
        assert stream.read("a").read_all()["level"].to_pylist()[0] == 100.0
    assert values(fleet, "level")[0] == 100.0
    assert fleet.read("b").read_all()["level"].to_pylist()[0] == 70.0
    if how == "column":
        assert values(fleet, "level") == [100.0, 300.0]
        assert "there is no version '9'" in fleet.quarantine()["reason"][0].as_py()


def test_rows_of_a_version_that_came_after_the_stream(
    fleet: pipeline.Fleet, tmp_path: Path
) -> None:
    fleet.set_schema_policies(version_field="v", unknown="quarantine")
    with fleet.stream(tmp_path / "log") as stream:
        stream.write(rows(1, v=["1"]))
        fleet.evolve(ChangeUnits("level", "cm", multiply=100))
        stream.write(rows(2, v=["2"]))
        assert stream.schema_version == 2
        stream.write(rows(3))
        stream.write(rows(4, v=["1"], wind=[None]))
        stream.write(rows(5, v=["1"], wind=[1]))
        with pytest.raises(NotFoundError, match="7"):
            stream.write(rows(6), schema_version=7)
    assert values(fleet, "level") == [100.0, 2.0, 300.0, 400.0], "untold is what it was at first"
    assert fleet.quarantine().num_rows == 1


def test_channels_are_added_to_rows_of_the_newest_version_alone(
    fleet: pipeline.Fleet, tmp_path: Path
) -> None:
    fleet.evolve(AddChannel(pipeline.Channel("flow", "int64")))
    fleet.set_schema_policies(version_field="v", unknown="add")
    with fleet.stream(tmp_path / "log") as stream:
        both = {"device": ["a", "a"], "time": minutes(1, 2), "level": [1.0, 2.0], "v": [1, 2]}
        stream.write(both | {"wind": [None, 7]})
        assert stream.schema_version == 3
        with pytest.raises(SchemaError, match="not channels"):
            stream.write(both | {"gusts": [6, None]})
    assert values(fleet, "wind") == [None, 7]


def test_writers_at_once(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    fleet.set_schema_policies(unknown="add")
    errors: list[BaseException] = []

    def write(stream: Any, writer: int) -> None:
        try:
            for at in range(20):
                columns = {f"c{at // 10}": [at]} if writer == 0 else {}
                minute = minutes(100 * writer + at)
                stream.write({"device": ["a"], "time": minute, "level": [1.0], **columns})
        except BaseException as error:
            errors.append(error)

    with fleet.stream(tmp_path / "log") as stream:
        threads = [threading.Thread(target=write, args=(stream, one)) for one in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert len(values(fleet, "level")) == 80
    for name, expected in (("c0", range(10)), ("c1", range(10, 20))):
        assert [one for one in values(fleet, name) if one is not None] == list(expected)
    assert np.array_equal(fleet.aggregate({"c1": "count"})["c1_count"].values, [10])


def test_from_an_event_loop(fleet: pipeline.Fleet, tmp_path: Path) -> None:
    async def write() -> None:
        async with fleet.stream(tmp_path / "log") as stream:
            await stream.write(rows(0))
            await stream.write(rows(1, wind=[7]), unknown="add")

    asyncio.run(write())
    assert values(fleet, "wind") == [None, 7]
