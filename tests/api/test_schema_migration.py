from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.archive import migration
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.migration import MigrationOptions, compare_blocks, migrate
from pipeline.errors import ConflictError, NotFoundError, SchemaError
from pipeline.partitioning.pruning import Selection
from pipeline.schema.changes import AddChannel, ChangeDtype, ChangeUnits, RenameChannel
from tests.api.schema_fleets import (
    assert_rows,
    assert_statistics,
    batch,
    evolved_fleet,
    first_fleet,
    frame,
)
from tests.support import memory_archive, minutes


def versions(fleet: pipeline.Fleet) -> set[int]:
    return set(fleet._view().blocks(Selection()).schema_version.tolist())


def archive_of(fleet: pipeline.Fleet) -> pipeline.Archive:
    return pipeline.Archive(fleet._store.repository)


def test_everything_becomes_the_newest_version() -> None:
    fleet = evolved_fleet()
    before = frame(fleet)
    expected = fleet.migrate(dry_run=True)
    assert versions(fleet) == {1, 2, 3}
    done = fleet.migrate(verify=True)
    assert versions(fleet) == {3}
    assert (done.blocks, done.rows, done.target) == (expected.blocks, expected.rows, 3)
    assert done.verified == done.blocks > 2
    assert done.partitions == expected.partitions
    assert done.raw_bytes == expected.raw_bytes
    assert expected.seconds > 0
    pd.testing.assert_frame_equal(frame(fleet), before)
    assert_rows(fleet)
    assert_statistics(fleet, "1h")
    assert_statistics(fleet, None)
    assert archive_of(fleet).verify().is_clean
    again = fleet.migrate()
    assert (again.blocks, again.commits, again.snapshot) == (0, 0, "")
    fleet.compact()
    assert_rows(fleet)


def test_after_a_migration_statistics_alone_answer() -> None:
    fleet = evolved_fleet()
    fleet.migrate()
    touched = fleet.explain(statistics={"level": ["last", "max"], "count": "sum"}, every="1h")
    assert touched.blocks.touched == 0


def test_it_can_be_rolled_back_to_the_last_bit() -> None:
    fleet = evolved_fleet()
    before, first = frame(fleet), frame(fleet.at_version(2), channels=["level", "mode"])
    bits = _chunks(fleet)
    done = fleet.migrate()
    fleet.append(batch(300, 5), schema_version=1)
    added = frame(fleet)
    back = fleet.roll_back_migration(done.before)
    assert back.blocks == done.blocks
    assert versions(fleet) == {1, 2, 3}
    pd.testing.assert_frame_equal(frame(fleet), added)
    assert _chunks(fleet).items() >= bits.items()
    fleet.delete(time=("2024-01-01T05:00", "2024-01-01T06:00"))
    pd.testing.assert_frame_equal(frame(fleet), before)
    pd.testing.assert_frame_equal(frame(fleet.at_version(2), channels=["level", "mode"]), first)
    assert_statistics(fleet, "1h")
    assert archive_of(fleet).verify().is_clean
    with pytest.raises(NotFoundError):
        fleet.roll_back_migration("0000000000000000000A")


def _chunks(fleet: pipeline.Fleet) -> dict[str, bytes]:
    from pipeline.archive.chunk_io import chunk_key, get_many
    from pipeline.archive.stored_chunks import raw_paths, stored_chunks

    view = fleet._view()
    keys = [
        chunk_key(path, at)
        for path in raw_paths(view.store, view.meta.layout)
        for at in stored_chunks(view.store, path)
    ]
    found = get_many(view.store, keys)
    return {key: bytes(data) for key, data in zip(keys, found, strict=True) if data is not None}


def test_only_what_differs_is_written() -> None:
    fleet = first_fleet()
    fleet.evolve(RenameChannel("count", "n"), ChangeUnits("level", "mm", multiply=1000))
    before = _chunks(fleet)
    fleet.migrate()
    after = _chunks(fleet)
    written = {key.split("/raw/")[1].split("/")[0] for key in after.keys() - before.keys()}
    gone = {key.split("/raw/")[1].split("/")[0] for key in before.keys() - after.keys()}
    assert (written, gone) == ({"level~2"}, {"level"})
    assert all(after[key] == data for key, data in before.items() if "/level/" not in key)


def test_a_migration_to_an_older_version() -> None:
    fleet = first_fleet()
    fleet.evolve(ChangeDtype("count", "int64"), AddChannel(pipeline.Channel("x", "int8")))
    fleet.append(batch(30, 10, x=np.arange(20, dtype=np.int8)))
    before = frame(fleet)
    fleet.migrate(1)
    assert versions(fleet) == {1}
    kept = frame(fleet)
    assert kept["x"].isna().all()
    pd.testing.assert_frame_equal(kept.drop(columns="x"), before.drop(columns="x"))
    with pytest.raises(NotFoundError):
        fleet.migrate(9)


def test_what_does_not_fit_stays_and_is_told() -> None:
    fleet = memory_archive().create_fleet(
        "f",
        pipeline.Schema([pipeline.Channel("n", "int32")]),
        pipeline.Partitioning("1 hour", 1, landing_rows=1),
    )
    fleet.append({"device": "a", "time": minutes(0, 1), "n": [1, 2]})
    fleet.append({"device": "a", "time": minutes(90), "n": [70_000]})
    fleet.evolve(ChangeDtype("n", "int16"))
    with pytest.raises(SchemaError, match="70000"):
        fleet.migrate(partitions_per_commit=1)
    assert versions(fleet) == {1, 2}
    assert frame(fleet.at_version(1))["n"].tolist() == [1, 2, 70_000]


def test_it_goes_on_where_it_was_stopped() -> None:
    fleet = evolved_fleet()
    before = frame(fleet)

    class StoppedError(Exception):
        pass

    def stop(done: Any) -> None:
        raise StoppedError

    store = FleetStore(fleet._store.repository, "fleet")
    with pytest.raises(StoppedError):
        migrate(store, MigrationOptions(partitions=1), told=stop)
    assert versions(fleet) > {3}
    pd.testing.assert_frame_equal(frame(fleet), before)
    assert_statistics(fleet, "1h")
    fleet.migrate()
    assert versions(fleet) == {3}
    pd.testing.assert_frame_equal(frame(fleet), before)


def test_appends_go_on_meanwhile_and_nothing_is_lost() -> None:
    fleet = evolved_fleet()
    before, done = frame(fleet), threading.Event()
    added = [0]

    def write() -> None:
        own = pipeline.Fleet(FleetStore(fleet._store.repository, "fleet"))
        while not done.is_set() or added[0] < 3:
            own.append(batch(10, 1, ("c",)) | {"time": minutes(1000 + added[0])}, schema_version=1)
            own.append({"device": "a", "time": minutes(2000 + added[0]), "site": [added[0]]})
            added[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    store = FleetStore(fleet._store.repository, "fleet")
    migrate(store, MigrationOptions(partitions=1))
    done.set()
    writer.join()
    found = frame(fleet)
    assert len(found) == len(before) + 2 * added[0]
    assert versions(fleet) == {3}
    assert archive_of(fleet).verify().is_clean


def test_a_block_that_others_changed_is_planned_again() -> None:
    fleet = evolved_fleet()
    store = FleetStore(fleet._store.repository, "fleet")
    seen: list[int] = []

    def carry_out(view: Any, blocks: Any) -> Any:
        if not seen:
            fleet.delete(devices="a", time=("2024-01-01T00:05", "2024-01-01T00:10"))
        seen.append(len(blocks))
        return migration._on_all_cores()(view, blocks)

    done = migrate(store, carry_out=carry_out)
    assert done.retries == 1
    assert len(seen) == 2
    assert versions(fleet) == {3}
    assert archive_of(fleet).verify().is_clean

    again = evolved_fleet()

    def always(view: Any, blocks: Any) -> Any:
        minute = len(seen)
        seen.append(0)
        again.delete(
            devices="a", time=(f"2024-01-01T00:{minute:02}", f"2024-01-01T00:{minute + 1:02}")
        )
        return migration._on_all_cores()(view, blocks)

    with pytest.raises(ConflictError, match="migrate again later"):
        migrate(FleetStore(again._store.repository, "fleet"), carry_out=always)


def test_verification_notices_a_wrong_row() -> None:
    fleet, other = evolved_fleet(), evolved_fleet()
    view = fleet._view()
    blocks = view.blocks(Selection()).take(np.array([0]))
    other.append(batch(0, 30) | {"level": np.zeros(60)}, schema_version=1)
    other.compact()
    fleet.migrate()
    assert compare_blocks(view, fleet._view(), blocks) == 1
    with pytest.raises(SchemaError, match="not what it was"):
        compare_blocks(view, other._view(), blocks)


def test_throttled() -> None:
    fleet = evolved_fleet()
    raw = fleet.migrate(dry_run=True).raw_bytes
    done = fleet.migrate(bytes_per_second=raw / 0.5)
    assert done.seconds < 30
    assert done.raw_bytes == raw
