from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.archive.chunk_io import chunk_key, delete_many
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.errors import InvalidInputError, SchemaError
from pipeline.partitioning.pruning import Selection
from pipeline.schema.changes import (
    AddChannel,
    ChangeDtype,
    ChangeUnits,
    RemoveChannel,
)
from tests.api.schema_fleets import (
    SCHEMA,
    assert_rows,
    assert_statistics,
    batch,
    evolved_fleet,
    first_fleet,
    frame,
)
from tests.support import minutes

Channel = pipeline.Channel


@pytest.mark.parametrize("policy", ["keep_last", "keep_first", "keep_all"])
def test_rows_of_two_versions_with_one_device_and_time(policy: str) -> None:
    fleet = first_fleet(duplicates=policy)
    fleet.evolve(ChangeUnits("level", "mm", multiply=1000))
    again = batch(0, 30, ("a",)) | {"level": np.full(30, -1.0)}
    fleet.append(again)
    found = frame(fleet, devices="a")
    kept = found.groupby("time")["level"]
    assert len(found) == (60 if policy == "keep_all" else 30)
    if policy == "keep_last":
        assert (found["level"] == -1).all()
        assert fleet.aggregate({"level": "max"}, devices="a")["level_max"].values.tolist() == [-1]
    if policy == "keep_first":
        assert not (found["level"] == -1).any()
    assert kept.count().max() <= 2
    fleet.compact()
    np.testing.assert_array_equal(frame(fleet, devices="a")["level"], found["level"])


def test_upkeep_over_versions() -> None:
    fleet = evolved_fleet()
    for at in range(4):
        late = batch(at, 1)
        fleet.append(late, schema_version=1)
    assert_rows(fleet)
    fleet.compact()
    assert_rows(fleet)
    assert_statistics(fleet, "1h")
    fleet.repartition(pipeline.Partitioning("1 day", 1, "1 hour"))
    assert_rows(fleet)
    assert_statistics(fleet, "1h")
    fleet.repartition(pipeline.Partitioning("1 hour", 2, "1 hour"))
    fleet.compact()
    assert_rows(fleet)
    assert_statistics(fleet, None)
    before = frame(fleet)
    fleet.delete(devices="a", time=("2024-01-01T00:20", "2024-01-01T01:40"))
    gone = (before["device"] == "a") & (before["time"].between(*_span(20, 100), inclusive="left"))
    kept = before[~gone].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame(fleet), kept)
    assert_statistics(fleet, "1h")


def _span(first: int, last: int) -> tuple[int, int]:
    start, stop = minutes(first, last).astype("int64").tolist()
    return start, stop


def test_archives_with_versions_verify_and_are_repaired(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning("1 hour", 2, "1 hour"))
    fleet.append(batch(0, 30))
    fleet.evolve(ChangeUnits("level", "mm", multiply=1000), RemoveChannel("open"))
    later = batch(30, 60)
    fleet.append({name: later[name] for name in ("device", "time", "level", "count", "mode")})
    fleet.evolve(AddChannel(Channel("open", "bool")), ChangeDtype("count", "int32"))
    fleet.append(batch(90, 10))
    assert archive.verify().is_clean
    before = frame(fleet)

    def forget(store: Any) -> None:
        view = fleet._view()
        index = view.meta.layout.index
        delete_many(store, [chunk_key(index.path, at) for at in stored_chunks(store, index.path)])

    fleet._store.repository.commit(forget, "the index is lost")
    archive.repair()
    again = pipeline.Archive.open(tmp_path / "archive").fleet("fleet")
    pd.testing.assert_frame_equal(frame(again), before)
    versions = again._view().blocks(Selection()).schema_version
    assert set(versions.tolist()) == {1, 2, 3}
    assert archive.verify().is_clean


def test_retention_keeps_statistics_of_converted_channels() -> None:
    fleet = evolved_fleet()
    expected = fleet.aggregate({"level": ["min", "max", "sum", "std"], "open": "sum"}, every="1h")
    fleet.set_retention(raw="1 day")
    archive = pipeline.Archive(fleet._store.repository)
    archive.maintain(history="1 hour", safety="1 hour")
    assert fleet.read().read_all().num_rows == 0
    found = fleet.aggregate({"level": ["min", "max", "sum", "std"], "open": "sum"}, every="1h")
    for name in expected.data_vars:
        np.testing.assert_allclose(
            found[name].values, expected[name].values[:, : found[name].shape[1]], rtol=1e-9
        )
    with pytest.raises(InvalidInputError, match="retention dropped"):
        fleet.aggregate({"level": "last"}, every="1h")


def test_rollups_hold_what_they_hold() -> None:
    fleet = evolved_fleet()
    fleet.rollups.create("1h", {"level": ["mean", "max"]}).refresh()
    assert_statistics(fleet, "1h")
    fleet.evolve(AddChannel(Channel("more", "int8")))
    with pytest.raises(SchemaError, match=r"rollup '1h' holds \['level'\]"):
        fleet.evolve(ChangeUnits("level", "decimetre", multiply=1))
    with pytest.raises(SchemaError, match="drop it"):
        fleet.evolve(ChangeUnits("level", "m", multiply=2))
    old = fleet.at_version(1).aggregate(
        {"level": "max"}, every="1h", time=(None, "2024-01-01T01:00")
    )
    assert float(old["level_max"][0, 0]) == pytest.approx(58 / 4 - 2)
