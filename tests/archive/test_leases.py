"""Leases: one holder at a time, whatever clocks and processes do."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime

import pytest

import pipeline
from pipeline.archive.fleet_meta import check_format
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.leases import Lease, read_leases, renew_lease, take_lease
from pipeline.archive.positions import positions_of
from pipeline.archive.retention import Retention
from pipeline.archive.transactions import Repository
from pipeline.errors import ConflictError, FencedError, LeaseHeldError
from tests.support import START

LENGTH = 30_000_000


@pytest.fixture
def repository() -> Repository:
    archive = pipeline.Archive.create("memory://")
    archive.create_fleet("rooms", pipeline.Schema([pipeline.Channel("v", "int64")]))
    found: Repository = archive.fleet("rooms")._store.repository
    return found


def take(repository: Repository, holder: str, now: int) -> Lease:
    return take_lease(repository, "rooms", "west", holder, now, LENGTH)


def test_a_free_lease_is_taken_and_renewed(repository: Repository) -> None:
    lease = take(repository, "a", START)
    assert lease == Lease("west", "a", 1, START + LENGTH)
    assert renew_lease(repository, "rooms", lease, START + 2 * LENGTH).until == START + 2 * LENGTH
    assert Lease.find(positions_of(repository, "rooms"), "west") == Lease(
        "west", "a", 1, START + 2 * LENGTH
    )


def test_another_waits_until_it_ran_out(repository: Repository) -> None:
    take(repository, "a", START)
    with pytest.raises(ConflictError, match="'west' of fleet 'rooms' is held by 'a' until"):
        take(repository, "b", START + LENGTH - 1)
    assert take(repository, "b", START + LENGTH).epoch == 2


def test_who_slept_too_long_is_fenced(repository: Repository) -> None:
    slept = take(repository, "a", START)
    take(repository, "b", START + LENGTH)
    with pytest.raises(FencedError, match="'west' of 'a' ran out, and 'b' has it now"):
        renew_lease(repository, "rooms", slept, START + 5 * LENGTH)
    with pytest.raises(FencedError, match="'b'"):
        slept.check(positions_of(repository, "rooms"))


def test_the_same_holder_begins_anew_and_fences_its_former_self(repository: Repository) -> None:
    former = take(repository, "a", START)
    assert take(repository, "a", START + 1).epoch == 2
    with pytest.raises(FencedError):
        former.check(positions_of(repository, "rooms"))


def test_a_lease_that_was_given_back_is_free_at_once(repository: Repository) -> None:
    lease = take(repository, "a", START)
    renew_lease(repository, "rooms", lease, START + 1)
    assert take(repository, "b", START + 1).holder == "b"


def test_leases_of_other_names_are_others(repository: Repository) -> None:
    take(repository, "a", START)
    assert take_lease(repository, "rooms", "east", "b", START, LENGTH).epoch == 1


def test_a_lease_that_nobody_ever_took_lets_nobody_write() -> None:
    with pytest.raises(FencedError, match="nobody has it now"):
        Lease("west", "a", 1, START).check({})


def test_of_many_at_once_one_gets_it(repository: Repository) -> None:
    got: list[str] = []

    def run(holder: str) -> None:
        with suppress(ConflictError):
            got.append(take(repository, holder, START).holder)

    threads = [threading.Thread(target=run, args=(f"h{at}",)) for at in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


class TestOfTheArchive:
    """Leases that belong to no fleet."""

    def test_they_are_beside_the_format_in_the_root(self, repository: Repository) -> None:
        one = take_lease(repository, None, "upkeep", "a", START, LENGTH)
        take_lease(repository, None, "other", "b", START, LENGTH)
        with pytest.raises(LeaseHeldError, match="the lease 'upkeep' is held by 'a' until"):
            take_lease(repository, None, "upkeep", "c", START, LENGTH)
        assert renew_lease(repository, None, one, START + 1).until == START + 1
        store = repository.snapshot().store
        assert set(read_leases(store, None)["leases"]) == {"upkeep", "other"}
        check_format(store)
        assert "leases" not in read_leases(store, "rooms")

    def test_what_was_fenced_changes_nothing(self, repository: Repository) -> None:
        slept = take_lease(repository, None, "upkeep", "a", START, LENGTH)
        fenced = repository.fenced(lambda store: slept.check(read_leases(store, None)))
        rooms = FleetStore(fenced, "rooms")
        rooms.set_retention(Retention.parse("30 days", None))
        take_lease(repository, None, "upkeep", "b", START + LENGTH, LENGTH)
        before = repository.tip()
        for change in (
            lambda: rooms.set_retention(Retention.parse("1 day", None)),
            lambda: fenced.expire(datetime.now(UTC)),
            lambda: fenced.collect_garbage(datetime.now(UTC)),
        ):
            with pytest.raises(FencedError, match="'b' has it now"):
                change()
        assert repository.tip() == before
        # Who has no lease to keep is not hindered.
        FleetStore(repository, "rooms").set_retention(Retention.parse("10 days", None))
