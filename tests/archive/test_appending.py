"""Appends: policies, late rows, quarantine, devices, tags, categories."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import pipeline
from pipeline.archive.fleet_meta import Duplicates
from pipeline.errors import (
    DuplicateRowsError,
    InvalidInputError,
    NotFoundError,
    SchemaError,
)
from tests.support import as_any, memory_archive, minutes, rows_of

TEMPERATURE = pipeline.Schema([pipeline.Channel("t", "float64", units="degC")])


def fleet_of(schema: pipeline.Schema = TEMPERATURE, **options: Any) -> pipeline.Fleet:
    return memory_archive().create_fleet("fleet", schema, **options)


def test_all_or_nothing_when_duplicates_are_errors() -> None:
    fleet = fleet_of(duplicates="error")
    rows = {"device": ["a", "b"], "time": minutes(5, 5), "t": [1.0, 2.0]}
    fleet.append(rows)
    repeated_inside = {"device": ["c", "c"], "time": minutes(6, 6), "t": [1.0, 1.0]}
    repeated_stored = {"device": ["d", "b"], "time": minutes(5, 5), "t": [5.0, 5.0]}
    for batch in (repeated_inside, repeated_stored):
        with pytest.raises(DuplicateRowsError, match="nothing was stored"):
            fleet.append(batch)
    assert fleet.devices == ["a", "b"]
    assert rows_of(fleet.read())["t"].tolist() == [1.0, 2.0]
    late = fleet.append({"device": ["b"], "time": minutes(1), "t": [9.0]})
    assert late.late == 1
    assert fleet.aggregate({"t": "first"})["t_first"].values.tolist() == [1.0, 9.0]


def test_what_an_append_did_is_told() -> None:
    fleet = fleet_of()
    done = fleet.append(
        {"device": ["a", "a", "b", None], "time": minutes(0, 0, 1, 2), "t": [1.0, 2.0, 3.0, 4.0]}
    )
    assert (done.rows, done.duplicates, done.quarantined, done.late) == (2, 1, 1, 0)
    assert done.blocks == 1
    assert done.bytes > 0
    assert done.snapshot


def test_small_batches_share_the_landing_block_and_large_ones_do_not() -> None:
    scheme = pipeline.Partitioning(devices_per_block=2, landing_rows=10)
    fleet = fleet_of(partitioning=scheme)
    few = {"device": ["a", "b", "c", "d"], "time": minutes(0, 0, 0, 0), "t": np.arange(4.0)}
    assert fleet.append(few).blocks == 1
    many = {"device": ["c"] * 12, "time": minutes(*range(1, 13)), "t": np.arange(12.0)}
    assert fleet.append(many).blocks == 1
    mixed = {
        "device": ["a"] * 12 + ["c"] * 3,
        "time": minutes(*range(20, 35)),
        "t": np.arange(15.0),
    }
    assert fleet.append(mixed).blocks == 2
    assert fleet.read().read_all().num_rows == 31


def test_rows_that_cannot_be_stored_are_kept_whole_with_the_reason() -> None:
    schema = pipeline.Schema([pipeline.Channel("n", "int8")])
    fleet = fleet_of(schema)
    table = pa.table(
        {
            "device": ["a", None, "b", "c"],
            "time": pa.array([*minutes(0, 1).tolist(), None, minutes(3)[0]], pa.timestamp("us")),
            "n": pa.array([1, 2, 3, 300], pa.int64()),
        }
    )
    done = fleet.append(table, source="gateway-7")
    assert (done.rows, done.quarantined) == (1, 3)
    fleet.append({"device": [""], "time": minutes(9), "n": [1]})
    kept = fleet.quarantine()
    assert kept.num_rows == 4
    assert kept["source"].to_pylist() == ["gateway-7"] * 3 + [""]
    records = [json.loads(text) for text in kept["record"].to_pylist()]
    assert [record["n"] for record in records] == [2, 3, 300, 1]
    assert "device" in kept["reason"][0].as_py()
    assert "int8" in kept["reason"][2].as_py()
    assert kept["received"].null_count == 0
    assert fleet.read().read_all().num_rows == 1


def test_times_outside_the_grid_are_quarantined_at_its_very_edge() -> None:
    fleet = fleet_of()
    times = np.array(
        ["1899-12-31T23:59:59.999999", "1900-01-01", "2199-12-31T23:59:59.999999", "2200-01-01"],
        "M8[us]",
    )
    done = fleet.append({"device": ["a"] * 4, "time": times, "t": np.arange(4.0)})
    assert (done.rows, done.quarantined) == (2, 2)
    assert rows_of(fleet.read())["t"].tolist() == [1.0, 2.0]
    answer = fleet.aggregate({"t": ["min", "max"]}, every="1 year")
    assert answer.sizes["time"] == 300


def test_microseconds_are_kept() -> None:
    fleet = fleet_of()
    times = minutes(0) + np.array([0, 1, 2], "m8[us]")
    fleet.append({"device": ["a"] * 3, "time": times, "t": [1.0, 2.0, 3.0]})
    assert fleet.read().read_all()["time"].cast("int64").to_pylist() == times.astype(int).tolist()


def test_columns_the_schema_does_not_have() -> None:
    fleet = fleet_of()
    rows = {"device": ["a"], "time": minutes(0), "t": [1.0], "humidity": [2.0]}
    with pytest.raises(SchemaError, match="humidity"):
        fleet.append(rows)
    assert fleet.append(rows, unknown="ignore").rows == 1
    with pytest.raises(InvalidInputError, match="unknown='maybe'"):
        fleet.append(rows, unknown="maybe")


def test_an_empty_batch_changes_nothing_but_may_move_positions() -> None:
    fleet = fleet_of()
    empty = {"device": pa.array([], pa.string()), "time": minutes(), "t": np.zeros(0)}
    assert fleet.append(empty).rows == 0
    assert fleet.devices == []
    assert fleet.aggregate({"t": "mean"}).sizes == {"device": 0}
    assert fleet.latest().sizes == {"device": 0}
    assert fleet.read().read_all().num_rows == 0
    assert fleet.aggregate({"t": "mean"}, every="1h").sizes["time"] <= 1


def test_tags_are_set_added_and_changed() -> None:
    fleet = fleet_of()
    fleet.append(
        {"device": ["a", "b"], "time": minutes(0, 0), "t": [1.0, 2.0]},
        tags={"a": {"site": "north"}},
    )
    fleet.set_tags({"b": {"site": "south", "model": "x"}, "c": {"model": "y"}})
    fleet.set_tags({"a": {"site": "west"}})
    assert fleet.devices == ["a", "b", "c"]
    assert fleet.tags == {
        "a": {"site": "west"},
        "b": {"site": "south", "model": "x"},
        "c": {"model": "y"},
    }
    with pytest.raises(InvalidInputError, match="tags are named texts"):
        fleet.set_tags({"a": {"floor": as_any(3)}})
    with pytest.raises(NotFoundError, match="model, site"):
        fleet.aggregate({"t": "mean"}, by="floor")


def test_setting_the_same_tags_again_makes_no_commit() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", TEMPERATURE)
    fleet.set_tags({"a": {"site": "north"}})
    before = next(archive.history()).snapshot
    fleet.set_tags({"a": {"site": "north"}})
    assert next(archive.history()).snapshot == before


def test_categories_keep_their_codes_as_texts_arrive() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", pipeline.Schema([pipeline.Channel("s", "category")]))
    for step, texts in enumerate((["on", "off"], ["standby now", "on"], [None, "off"])):
        rows = {"device": ["a", "b"], "time": minutes(step, step), "s": pa.array(texts)}
        fleet.append(rows)
    frame = rows_of(fleet.read("a"))
    assert frame["s"].astype(object).where(frame["s"].notna(), None).tolist() == [
        "on",
        "standby now",
        None,
    ]
    answer = fleet.aggregate({"s": ["count", "first", "last"]})
    assert answer["s_last"].values.tolist() == ["standby now", "off"]
    with pytest.raises(InvalidInputError, match="no mean"):
        fleet.aggregate({"s": "mean"})


def test_policies_are_named() -> None:
    with pytest.raises(InvalidInputError, match="keep_last"):
        fleet_of(duplicates="whatever")
    assert Duplicates.parse("keep_all") is Duplicates.KEEP_ALL


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "läuft", "a b"])
def test_fleet_names(name: str) -> None:
    with pytest.raises(InvalidInputError, match="fleet name"):
        memory_archive().create_fleet(name, TEMPERATURE)


def test_an_unknown_fleet_or_device_is_told_with_what_there_is() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("rooms", TEMPERATURE)
    assert "rooms" in archive
    assert archive["rooms"].name == "rooms"
    with pytest.raises(NotFoundError, match="rooms"):
        archive.fleet("trucks")
    with pytest.raises(NotFoundError, match="'x'"):
        fleet.read("x")
    with pytest.raises(NotFoundError, match="humidity"):
        fleet.aggregate({"humidity": "mean"})
    assert "rooms" in repr(fleet)
    assert archive.url in repr(archive)


@pytest.mark.parametrize(
    "name", ["PM2.5", "CO(GT)", "Volume Flow RateRMS", "a/b", "..", "__x", "µg/m³"]
)
def test_channels_have_the_names_that_devices_use(name: str) -> None:
    fleet = fleet_of(pipeline.Schema([pipeline.Channel(name, "float32")]))
    fleet.append({"device": ["a"], "time": minutes(0), name: np.array([1.5], np.float32)})
    assert fleet.read().read_all()[name].to_pylist() == [1.5]
    assert fleet.aggregate({name: "mean"})[f"{name}_mean"].values.tolist() == [1.5]


def test_a_partition_larger_than_a_block_is_cut() -> None:
    fleet = fleet_of()
    count = 70_000
    times = minutes(0)[0] + np.arange(count) * np.timedelta64(1, "s")
    done = fleet.append({"device": "a", "time": times, "t": np.arange(count) / 10})
    assert done.blocks == 2
    table = fleet.read().read_all()
    np.testing.assert_array_equal(table["t"].to_numpy(), np.arange(count) / 10)
    answer = fleet.aggregate({"t": ["count", "max"]}, every="1 min")
    assert answer["t_count"].sum() == count


def test_more_blocks_in_a_partition_than_an_index_chunk_has_slots() -> None:
    fleet = fleet_of(partitioning=pipeline.Partitioning(landing_rows=0))
    for step in range(11):
        fleet.append({"device": ["a"], "time": minutes(step), "t": [float(step)]})
    assert rows_of(fleet.read())["t"].tolist() == [float(step) for step in range(11)]


def test_a_category_channel_that_never_had_a_text() -> None:
    fleet = fleet_of(pipeline.Schema([pipeline.Channel("s", "category")]))
    fleet.append({"device": ["a"], "time": minutes(0), "s": pa.array([None], pa.string())})
    assert fleet.read().read_all()["s"].to_pylist() == [None]
    assert fleet.latest()["s"].values.tolist() == [""]


def test_partitioning_and_schema_are_read_back() -> None:
    scheme = pipeline.Partitioning("1 month", 16, "1 day", 9)
    fleet = fleet_of(partitioning=scheme)
    assert fleet.partitioning == scheme
    assert fleet.schema == TEMPERATURE
    assert fleet.schema == replace(TEMPERATURE)
