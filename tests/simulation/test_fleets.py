"""A simulated fleet is a source: the same rows for everybody, however it is split up."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.ports import Fragment, Source
from pipeline.simulation.faults import Faults
from pipeline.simulation.fleets import SimulatedFleet, SimulatedFragment, SimulatedSource
from pipeline.simulation.streams import SLAB, as_microseconds

MANY = ("temperature", "energy", "state", "motion", "outlet=temperature")
BROKEN = Faults(
    missing=0.01, nan=0.01, stuck=0.02, spikes=0.01, gaps=0.02, jitter="5 ms", drift_ppm=40.0,
    duplicates=0.02, corrupt_times=0.01,
)  # fmt: skip


def read(source: SimulatedSource) -> pa.Table:
    """Return all rows of a source with plain text devices."""
    tables = [intake.table for part in source.fragments() for intake in part.read()]
    for table in tables:
        assert table.schema.equals(source.arrow_schema(), check_metadata=True)
        table.validate(full=True)
    return pa.concat_tables([plain(table) for table in tables])


def plain(table: pa.Table) -> pa.Table:
    columns = [
        column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def micros(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table["time"].cast(pa.int64()))


def rows_in_any_order(table: pa.Table) -> list[str]:
    return sorted(map(repr, zip(*(column.to_pylist() for column in table.columns), strict=True)))


def test_the_default_fleet_is_a_million_rows_of_room_temperature() -> None:
    fleet = SimulatedFleet()
    source = SimulatedSource(fleet)
    table = read(source)
    assert len(table) == 1_000_000
    assert len(table["device"].unique()) == 1000
    values = np.asarray(table["temperature"])
    assert (values == np.round(values * 10) / 10).all()
    assert values.min() > -20
    assert values.max() < 45
    time = micros(table).reshape(1000, 1000)
    assert (np.diff(time, axis=1) == 60_000_000).all()


def test_sources_and_fragments_keep_the_protocols() -> None:
    source = SimulatedSource(SimulatedFleet(devices=3, readings=2))
    assert isinstance(source, Source)
    fragments = source.fragments()
    assert all(isinstance(fragment, Fragment) for fragment in fragments)
    (intake,) = fragments[0].read()
    assert not len(intake.rejects)
    assert intake.ignored == 0


def test_the_schema_names_types_and_units() -> None:
    schema = SimulatedSource(SimulatedFleet(channels=MANY)).arrow_schema()
    assert schema.names == ["device", "time", "temperature", "energy", "state", "motion", "outlet"]
    assert schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert schema.field("energy").type == pa.uint32()
    assert schema.field("motion").type == pa.bool_()
    assert schema.field("state").type == pa.dictionary(pa.int32(), pa.string())
    assert schema.field("temperature").metadata[b"units"] == b"degC"
    assert b"units" not in schema.field("motion").metadata
    assert schema.field("motion").metadata[b"description"]


@pytest.mark.parametrize("faults", [Faults(), BROKEN], ids=["sound", "broken"])
@pytest.mark.parametrize("order", ["device", "time"])
def test_rows_do_not_depend_on_how_the_fleet_is_split(
    faults: Faults, order: Literal["device", "time"]
) -> None:
    fleet = SimulatedFleet(devices=75, readings=60, channels=MANY, faults=faults)
    whole = rows_in_any_order(read(SimulatedSource(fleet, 75, order)))
    for width in (1, 7, 32, 40):
        assert rows_in_any_order(read(SimulatedSource(fleet, width, order))) == whole


def test_devices_keep_their_rows_when_the_fleet_grows() -> None:
    small, large = (
        read(SimulatedSource(SimulatedFleet(devices=devices, readings=50))) for devices in (40, 90)
    )
    assert large.slice(0, len(small)).equals(small)


def test_a_pickled_fragment_reads_the_same_alone() -> None:
    fleet = SimulatedFleet(devices=50, readings=40, channels=MANY, faults=BROKEN)
    fragments = SimulatedSource(fleet, 20).fragments()
    copy = pickle.loads(pickle.dumps(fragments[1]))
    (expected,), (alone,) = ([i.table for i in part.read()] for part in (fragments[1], copy))
    assert repr(alone.to_pylist()) == repr(expected.to_pylist())
    assert copy.name == fragments[1].name
    assert len({fragment.name for fragment in fragments}) == 3


def test_seeds_reproduce_and_differ() -> None:
    def table(seed: int) -> pa.Table:
        return read(SimulatedSource(SimulatedFleet(devices=40, readings=30, seed=seed)))

    assert table(1).equals(table(1))
    assert not table(1).equals(table(2))


@pytest.mark.parametrize("faults", [Faults(), Faults(jitter="50 ms")], ids=["sound", "jitter"])
def test_rows_come_in_the_order_asked_for(faults: Faults) -> None:
    fleet = SimulatedFleet(devices=40, readings=30, interval="1 s", faults=faults)
    by_device, by_time = (read(SimulatedSource(fleet, 40, order)) for order in ("device", "time"))
    devices = by_device["device"].to_pylist()
    assert devices == sorted(devices)
    assert (np.diff(micros(by_time)) >= 0).all()
    assert rows_in_any_order(by_device) == rows_in_any_order(by_time)


def test_long_fleets_come_in_pieces_that_join_without_a_seam() -> None:
    fleet = SimulatedFleet(devices=2, readings=2 * SLAB + 100, interval=10_000_000)
    (fragment,) = SimulatedSource(fleet).fragments()
    pieces = [intake.table for intake in fragment.read()]
    assert [len(piece) for piece in pieces] == [2 * SLAB, 2 * SLAB, 200]
    values = [np.asarray(piece["temperature"]).reshape(2, -1) for piece in pieces]
    time = np.concatenate([micros(piece).reshape(2, -1) for piece in pieces], axis=1)
    assert (np.diff(time, axis=1) == 10_000_000).all()
    for before, after in pairwise(values):
        assert np.abs(after[:, 0] - before[:, -1]).max() < 0.5


def test_times_start_where_told_and_may_be_microseconds_apart() -> None:
    fleet = SimulatedFleet(devices=1, readings=3, interval=1, start="2024-02-29T23:59:59.999999Z")
    time = read(SimulatedSource(fleet))["time"].cast(pa.timestamp("us")).to_pylist()
    assert [str(moment) for moment in time] == [
        "2024-02-29 23:59:59.999999",
        "2024-03-01 00:00:00",
        "2024-03-01 00:00:00.000001",
    ]


def test_every_device_has_a_site_and_a_model() -> None:
    source = SimulatedSource(SimulatedFleet(devices=120, readings=1, prefix="meter"))
    tags = source.tags()
    assert list(tags) == source.fleet.device_ids()
    assert tags["meter-00000"]["site"] == tags["meter-00049"]["site"]
    assert {tag["site"] for tag in tags.values()} == {"site-000", "site-001", "site-002"}
    assert len({tag["model"] for tag in tags.values()}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"devices": 0}, {"readings": 0}, {"interval": 0}, {"interval": -1}, {"seed": -1},
        {"interval": "soon"}, {"start": "yesterday"}, {"channels": ()}, {"channels": ("x",)},
    ],
)  # fmt: skip
def test_impossible_fleets_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        SimulatedFleet(**wrong)


@pytest.mark.parametrize("wrong", [{"devices_per_fragment": 0}, {"order": "random"}])
def test_impossible_sources_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be"):
        SimulatedSource(SimulatedFleet(), **wrong)


def test_durations_are_microseconds_or_texts() -> None:
    assert as_microseconds("1 min", "interval") == as_microseconds(60_000_000, "interval")


def test_a_fragment_without_faults_counts_nothing() -> None:
    fragment = SimulatedFragment(SimulatedFleet(devices=2, readings=2), 0, 2)
    ((_, counts),) = fragment.deliveries()
    assert counts == {}
