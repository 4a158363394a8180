"""Leases: one holder at a time, whatever clocks and processes do."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

import pipeline
from pipeline.archive.leases import Lease, renew_lease, take_lease
from pipeline.archive.positions import positions_of
from pipeline.archive.transactions import Repository
from pipeline.errors import ConflictError, FencedError
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
