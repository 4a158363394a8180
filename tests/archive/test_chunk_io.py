"""Work on all cores, in order."""

from __future__ import annotations

import threading
import time

import pytest
from zarr.storage import MemoryStore

import pipeline
from pipeline.archive import chunk_io
from pipeline.archive.chunk_io import ahead, get_many, get_sizes, in_threads
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from tests.support import memory_archive


def slow(number: int) -> int:
    """Return a number, the first ones later than others."""
    time.sleep(0.002 * (5 - number % 5))
    return number


def test_results_come_in_the_order_of_the_arguments() -> None:
    assert list(ahead(slow, range(20))) == list(range(20))
    assert in_threads(slow, range(20)) == list(range(20))


def test_threads_that_use_threads_do_not_wait_for_one_another() -> None:
    def nested(number: int) -> int:
        return sum(in_threads(slow, range(number))) + sum(ahead(slow, range(number)))

    expected = [sum(range(number)) * 2 for number in range(8)]
    assert in_threads(nested, range(8)) == expected
    assert list(ahead(nested, range(8))) == expected


def test_no_more_is_done_ahead_than_the_cores_need() -> None:
    begun: list[int] = []
    results = ahead(begun.append, range(10_000))
    next(results)
    time.sleep(0.05)
    assert len(begun) < 10_000
    results.close()


def test_an_error_arrives_at_its_place() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise ValueError(number)
        return number

    results = ahead(fail, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)


def test_the_first_error_in_order_is_raised_and_little_more_is_done() -> None:
    done: list[int] = []

    def fail(number: int) -> None:
        slow(number)
        done.append(number)
        if number in (3, 4):
            raise ValueError(number)

    for _ in range(3):
        with pytest.raises(ValueError, match="3"):
            in_threads(fail, range(1000))
    assert len(done) < 100
    assert in_threads(slow, range(20)) == list(range(20))


def test_who_waits_for_work_does_a_part_of_it() -> None:
    def here(_: int) -> int:
        time.sleep(0.01)
        return threading.get_ident()

    threads = in_threads(here, range(20))
    assert threading.get_ident() in threads
    assert len(set(threads)) > 1


def test_single_arguments_need_no_thread() -> None:
    here = threading.current_thread()
    assert list(ahead(lambda _: threading.current_thread(), [0])) == [here]
    assert in_threads(lambda _: threading.current_thread(), [0]) == [here]


def test_sizes_are_those_of_the_values_and_none_where_there_is_none() -> None:
    store = Repository.open(Location.parse(memory_archive().url)).snapshot().store
    whole = get_many(store, ["zarr.json"])[0]
    assert whole is not None
    assert get_sizes(store, ["zarr.json", "none/c/0", "fleet/zarr.json"]) == [whole.nbytes, 0, 0]
    assert get_sizes(MemoryStore(), ["none"]) == [0]
    assert get_sizes(store, []) == []


def test_sizes_of_chunks_that_are_absent() -> None:
    archive = memory_archive()
    archive.create_fleet("fleet", pipeline.Schema([pipeline.Channel("t", "int8")]))
    store = Repository.open(Location.parse(archive.url)).snapshot().store
    assert get_sizes(store, ["fleet/raw/t/c/7/0/0"]) == [0]


def test_threads_that_call_at_the_same_time_share_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunk_io, "_cores", lambda: 3)
    take = chunk_io._AT_WORK.take
    with take(2) as first, take(3) as second, take(3) as third:
        assert (first, second, third) == (2, 1, 1)  # the last one has no core, but works itself
    with take(9) as all_of_them:
        assert all_of_them == 3
