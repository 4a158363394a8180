"""Streams under a lease."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.archive.leases import Lease, take_lease
from pipeline.errors import ConflictError, InvalidInputError, StorageError
from pipeline.ingest.lease_keeping import LeaseOptions
from tests.ingest.sinks import batch_of
from tests.ingest.test_pump import until


@pytest.fixture
def fleet() -> Any:
    archive = pipeline.Archive.create("memory://")
    return archive.create_fleet("rooms", pipeline.Schema([pipeline.Channel("v", "int64")]))


def lease_of(fleet: Any) -> Lease:
    found = Lease.find(fleet.positions, "west")
    assert found is not None
    return found


def now() -> int:
    return time.time_ns() // 1000


def test_one_stream_at_a_time_holds_it(fleet: Any) -> None:
    with fleet.stream(durability="commit", lease="west") as stream:
        stream.write(batch_of([1]))
        with pytest.raises(ConflictError, match="held by"):
            fleet.stream(durability="commit", lease="west")
        with fleet.stream(durability="commit", lease="east") as other:
            other.write(batch_of([2], "b"))
        stream.write(batch_of([3]))
    with fleet.stream(durability="commit", lease="west") as stream:
        stream.write(batch_of([4]))
    assert lease_of(fleet).epoch == 2
    assert len(fleet.read().read_all()) == 4


def test_opening_waits_for_a_lease_that_runs_out(fleet: Any) -> None:
    take_lease(fleet._store.repository, "rooms", "west", "gone", now(), 700_000)
    options = {"name": "west", "length": "10 s", "wait": "10 s"}
    with fleet.stream(durability="commit", lease=options) as stream:
        stream.write(batch_of([1]))
    assert lease_of(fleet).epoch == 2


def test_commits_renew_it_and_so_does_time(fleet: Any) -> None:
    with fleet.stream(durability="commit", lease={"name": "west", "length": "1 s"}) as stream:
        begun = lease_of(fleet).until
        stream.write(batch_of([1]))
        written = lease_of(fleet).until
        assert written > begun
        until(lambda: lease_of(fleet).until > written + 500_000)
        stream.write(batch_of([2]))
    assert lease_of(fleet).until <= now()


def test_who_lost_it_writes_no_more(fleet: Any) -> None:
    stream = fleet.stream(durability="none", flush={"age": "1 h"}, lease="west")
    stream.write(batch_of([1]))
    repository = fleet._store.repository
    take_lease(repository, "rooms", "west", "successor", lease_of(fleet).until, 30_000_000)
    with pytest.raises(StorageError, match="'successor' has it now"):
        stream.flush(20)
    with pytest.raises(StorageError, match="the stream stopped"):
        stream.write(batch_of([2]))
    with pytest.raises(StorageError):
        stream.close()
    assert len(fleet.read().read_all()) == 0
    assert lease_of(fleet).holder == "successor"


def test_an_idle_stream_learns_that_it_lost_it(fleet: Any) -> None:
    options = {"name": "west", "length": "600 ms"}
    stream = fleet.stream(durability="none", lease=options)
    repository = fleet._store.repository
    take_lease(repository, "rooms", "west", "successor", now() + 60_000_000, 30_000_000)
    until(lambda: stream.counters.state == "stopped")
    assert "successor" in stream.counters.error
    stream.close()


def test_a_stream_with_its_log_comes_back_without_waiting(fleet: Any, tmp_path: Path) -> None:
    """The folder shows that its former self is dead, so the lease is its own."""
    first = fleet.stream(tmp_path / "log", flush={"age": "1 h"}, lease="west")
    first.write(batch_of([1, 2]))
    holder = lease_of(fleet).holder
    first._state.log.close()
    with fleet.stream(tmp_path / "log", lease="west") as again:
        assert lease_of(fleet).holder == holder
        assert again.counters.replayed == 2
    with pytest.raises(StorageError, match="ran out"):
        first.flush(20)
    assert len(fleet.read().read_all()) == 2


@pytest.mark.parametrize("given", [3, "", {"length": "1 s"}, {"name": "a", "ttl": 3}])
def test_what_is_no_lease(given: Any) -> None:
    with pytest.raises(InvalidInputError, match="lease="):
        LeaseOptions.parse(given)


def test_rows_that_another_reader_has_stored_are_left_out(fleet: Any) -> None:
    def write(stream: Any, begin: int, end: int) -> None:
        stream.write(
            batch_of(list(range(begin, end))),
            positions={"k": {"0": end}},
            expects={"k": {"0": begin}},
            wait=False,
        )

    with (
        fleet.stream(durability="commit", flush={"age": "1 h"}) as asleep,
        fleet.stream(durability="commit", flush={"age": "1 h"}) as successor,
    ):
        write(asleep, 0, 4)
        write(asleep, 4, 6)
        write(successor, 0, 3)
        successor.flush(20)
        asleep.flush(20)
        assert asleep.counters.superseded == 6
        assert asleep.was_left_out(1)
        assert asleep.was_left_out(2)
        assert not asleep.was_left_out(2)
        write(successor, 3, 8)
        successor.flush(20)
        assert successor.counters.superseded == 0
    assert fleet.positions["k"] == {"0": 8}
    assert fleet.read().read_all()["v"].to_pylist() == list(range(8))
    assert int(fleet.aggregate({"v": ["count"]})["v_count"].sum()) == 8
