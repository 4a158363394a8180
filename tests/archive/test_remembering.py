"""What a snapshot's store remembers of what was read."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

import pipeline
from pipeline.archive import chunk_io
from pipeline.archive.chunk_io import get_many, get_sizes, put_many
from pipeline.archive.remembering import (
    Remembered,
    RememberingStore,
    forgetting,
    remembered_of,
)
from pipeline.archive.tables import Table, read_chunks
from pipeline.archive.transactions.differences import Differences, differences_of
from pipeline.errors import StorageError
from pipeline.schema.changes import AddChannel
from tests.support import memory_archive, minutes

TABLE = Table("numbers", np.dtype(np.int64), (8,), (4,), ("at",))


class Source:
    """Arrays of so many bytes; remembers what was asked of it."""

    def __init__(self, size: int = 100) -> None:
        self.size = size
        self.asked: list[str] = []

    def ask(self, remembered: Remembered, *keys: str) -> list[NDArray[Any] | None]:
        def read(missing: list[int]) -> Sequence[NDArray[Any] | None]:
            self.asked += [keys[at] for at in missing]
            return [
                None if keys[at] == "none" else np.full(self.size, at, np.uint8) for at in missing
            ]

        return remembered.get_many(keys, read)


def test_what_is_known_is_not_read_again_nor_what_is_not_there() -> None:
    remembered, source = Remembered(), Source()
    first = source.ask(remembered, "a", "none", "b")
    again = source.ask(remembered, "b", "c", "none", "a")
    assert source.asked == ["a", "none", "b", "c"]
    assert again[0] is first[2]
    assert again[3] is first[0]
    assert again[2] is None
    with pytest.raises(ValueError, match="read-only"):
        first[0][0] = 1  # type: ignore[index]


def test_what_was_not_used_for_longest_is_given_up() -> None:
    remembered, source = Remembered(4 * 300), Source()  # each takes its 100 bytes and 200 more
    for key in "abcd":
        source.ask(remembered, key)
    source.ask(remembered, "a")
    source.ask(remembered, "e")
    assert remembered.nbytes == 4 * 300
    source.asked.clear()
    source.ask(remembered, "a", "e")
    assert source.asked == []
    source.ask(remembered, "b")
    assert source.asked == ["b"]


def test_a_scan_drives_nothing_out() -> None:
    remembered, source = Remembered(8 * 300), Source()
    source.ask(remembered, "a")
    source.ask(remembered, *"bcd")
    assert remembered.nbytes == 300
    source.asked.clear()
    source.ask(remembered, *"abc")
    assert source.asked == ["b", "c"]


def test_a_store_that_remembers_reads_chunks_and_values_once() -> None:
    plain = MemoryStore()
    TABLE.write(plain, {(0,): np.arange(4)})
    put_many(plain, {"value": b"12345678"})
    store = RememberingStore(plain, "one")
    assert forgetting(store) is plain
    assert remembered_of(plain) is None

    chunk, none = read_chunks(store, [(TABLE, (0,)), (TABLE, (1,))])
    value, prefix = get_many(store, ["value"])[0], get_many(store, ["value"], 3)[0]
    assert chunk is not None
    assert none is None
    assert chunk.tolist() == [0, 1, 2, 3]
    assert value is not None
    assert prefix is not None
    assert (bytes(value), bytes(prefix)) == (b"12345678", b"123")
    assert get_sizes(store, ["value", "nothing"]) == [8, 0]

    sync(plain.clear())
    assert read_chunks(store, [(TABLE, (0,)), (TABLE, (1,))])[0] is chunk
    assert get_many(store, ["value"])[0] is value
    assert get_many(store, ["value"], 3)[0] is prefix


def test_it_travels_without_what_it_remembers() -> None:
    plain = MemoryStore()
    put_many(plain, {"value": b"1"})
    store = RememberingStore(plain, "one")
    get_many(store, ["value"])
    travelled = pickle.loads(pickle.dumps(store))
    remembered = remembered_of(travelled)
    assert remembered is not None
    assert remembered.nbytes == 0
    assert sync(travelled.get("value", default_buffer_prototype())).to_bytes() == b"1"
    assert isinstance(store.with_read_only(True), RememberingStore)


def test_answers_follow_every_commit() -> None:
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = memory_archive().create_fleet("fleet", schema)
    for number in range(3):
        fleet.append({"device": "a", "time": minutes(number), "t": [float(number)]})
        for _ in range(2):
            assert float(fleet.aggregate({"t": "sum"}, by=[])["t_sum"]) == sum(range(number + 1))
            assert fleet.read().read_all().num_rows == number + 1


def test_reading_only_some_devices_reads_the_same_rows() -> None:
    fleet = memory_archive().create_fleet(
        "fleet",
        pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("late", "int16")]),
    )
    devices = [f"d{number}" for number in range(7) for _ in range(5)]
    time = np.tile(minutes(*range(5)), 7)
    values = np.arange(35.0)
    fleet.append({"device": devices, "time": time, "t": np.where(values % 4, values, np.nan)})
    fleet.append({"device": ["d3"], "time": minutes(2), "t": [99.0], "late": [5]})
    every = fleet.read().read_all().to_pandas()
    for wanted in (["d0"], ["d6", "d1", "d3"], ["d3", "d4", "d5"], sorted(set(devices))):
        chosen = every[every["device"].isin(wanted)].reset_index(drop=True)
        found = fleet.read(devices=wanted).read_all().to_pandas()
        assert found.astype({"device": str}).equals(chosen.astype({"device": str}))


class Watched:
    """The fleet of `memory_archive`, and which keys were fetched since it was asked last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.archive = memory_archive()
        schema = pipeline.Schema([pipeline.Channel("t", "float64")])
        hours = pipeline.Partitioning("1 hour", devices_per_block=2)
        self.fleet = self.archive.create_fleet("fleet", schema, hours)
        self._keys: list[str] = []
        fetch = chunk_io._fetch

        def note(store: Store, keys: Sequence[str], prefix: int | None) -> Any:
            self._keys += keys
            return fetch(store, keys, prefix)

        monkeypatch.setattr(chunk_io, "_fetch", note)

    def append(self, hour: int, device: str = "a") -> None:
        """Store ten rows of an hour."""
        time = minutes(*range(60 * hour, 60 * hour + 10))
        self.fleet.append({"device": device, "time": time, "t": np.arange(10.0) + hour})

    def sums(self) -> list[float]:
        """Ask for five-minute sums, which decodes blocks."""
        found = self.fleet.aggregate({"t": "sum"}, every="5 min", by=[], fill="none")
        return [float(one) for one in found["t_sum"].values]

    def fetched(self, part: str) -> list[str]:
        """Return the keys with a part in them, and forget."""
        keys = [key for key in self._keys if part in key]
        self._keys.clear()
        return keys


def test_a_commit_leaves_what_it_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    for hour in range(6):
        watched.append(hour)
    expected = [sum(range(5)) + 5 * hour + 25 * half for hour in range(6) for half in (0, 1)]
    for _ in range(3):
        assert watched.sums() == expected
    watched.fetched("")
    watched.append(6)
    expected += [40, 65]
    assert watched.sums() == expected
    newest = {key.split("/c/")[1].split("/")[0] for key in watched.fetched("/raw/t/")}
    assert len(newest) == 1
    watched.append(2, "b")
    expected[4:6] = [2 * expected[4], 2 * expected[5]]
    assert watched.sums() == expected
    fetched = {key.split("/c/")[1].split("/")[0] for key in watched.fetched("/raw/t/")}
    assert {int(one) - int(*newest) for one in fetched - newest} == {-4}
    assert watched.sums() == expected


def test_what_is_there_after_a_compaction_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    for device in "abc":
        watched.append(0, device)
    for _ in range(3):
        assert watched.sums() == [30, 105]
    watched.fleet.append({"device": "a", "time": minutes(0), "t": [100.0]})
    assert watched.sums() == [130, 105]
    watched.fleet.compact()
    for _ in range(3):
        assert watched.sums() == [130, 105]
    watched.fleet.delete(["b"])
    assert watched.sums() == [120, 70]


def test_views_of_old_snapshots_read_what_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    watched.append(0)
    old = pipeline.Archive.open(watched.archive.url).fleet("fleet")
    before = next(iter(watched.archive.history())).snapshot
    pinned = watched.archive.at(before).fleet("fleet")
    for _ in range(3):
        assert watched.sums() == [10, 35]
        assert float(pinned.aggregate({"t": "sum"}, by=[])["t_sum"]) == 45
    watched.fleet.append({"device": "a", "time": minutes(0), "t": [100.0]})
    assert watched.sums() == [110, 35]
    for _ in range(3):
        found = pinned.aggregate({"t": "sum"}, every="5 min", by=[], fill="none")
        assert found["t_sum"].values.tolist() == [10, 35]
    assert old.read().read_all()["t"].to_pylist()[0] == 100


def test_snapshots_that_do_not_follow_each_other_share_nothing() -> None:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = archive.create_fleet("fleet", schema)
    first = next(iter(archive.history())).snapshot
    fleet.append({"device": "a", "time": minutes(0), "t": [1.0]})
    second = next(iter(archive.history())).snapshot
    repository = archive._repository
    told = repository.differences(first, second)
    assert told is not None
    assert any(key.startswith("fleet/raw/t/c/") for key in told.keys)
    assert repository.differences(second, first) is None
    assert repository.differences("0" * 20, second) is None


def test_new_arrays_are_told_by_their_place() -> None:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = archive.create_fleet("fleet", schema)
    first = next(iter(archive.history())).snapshot
    fleet.evolve(AddChannel(pipeline.Channel("n", "int32")))
    second = next(iter(archive.history())).snapshot
    told = archive._repository.differences(first, second)
    assert told is not None
    assert told.touched(["fleet/raw/n/c/0/0/0", "fleet/raw/t/c/0/0/0"]) == ["fleet/raw/n/c/0/0/0"]


def test_the_differences_of_moved_nodes_are_not_told() -> None:
    class Diff:
        moved_nodes = ("/a", "/b")

    assert differences_of(Diff()) is None


def test_nothing_is_taken_over_from_very_long_ago() -> None:
    asked: list[tuple[str, str]] = []

    def compare(older: str, newer: str) -> Differences:
        asked.append((older, newer))
        return Differences(frozenset())

    plain = MemoryStore()
    put_many(plain, {"value": b"1"})
    for steps, expected in [(3, [("0", "3")]), (64, [("0", "64")]), (65, [])]:
        asked.clear()
        first = store = RememberingStore(plain, "0")
        known = get_many(store, ["value"])[0]
        for number in range(1, steps + 1):
            later = RememberingStore(plain, str(number))
            later.follow(store, compare)
            store = later
        assert (get_many(store, ["value"])[0] is known) is bool(expected)
        assert asked == expected
        assert (first.remembered.nbytes == 0) is bool(expected)
    store = RememberingStore(plain, "1")
    store.follow(plain, compare)
    assert store.remembered.nbytes == 0


def test_what_was_fetched_of_any_kind_goes_when_it_changes() -> None:
    plain = MemoryStore()
    TABLE.write(plain, {(0,): np.arange(4), (1,): np.arange(4)})
    put_many(plain, {"value": b"12345678", "group/a": b"1", "group/b": b"2"})
    store = RememberingStore(plain, "one")
    keys = ["value", "group/a", "group/b"]
    get_many(store, keys)
    get_many(store, ["value"], 3)
    read_chunks(store, [(TABLE, (0,)), (TABLE, (1,))])
    later = RememberingStore(plain, "two")
    changed = Differences(frozenset(["value", "numbers/c/1"]), ("group/",))
    later.follow(store, lambda older, newer: changed)
    put_many(plain, dict.fromkeys(keys, b"new"))
    TABLE.write(plain, {(0,): np.zeros(4, np.int64), (1,): np.zeros(4, np.int64)})
    assert [bytes(one) for one in get_many(later, keys) if one is not None] == [b"new"] * 3
    assert [bytes(one) for one in get_many(later, ["value"], 3) if one is not None] == [b"new"]
    kept, read = read_chunks(later, [(TABLE, (0,)), (TABLE, (1,))])
    assert kept is not None
    assert read is not None
    assert (kept.tolist(), read.tolist()) == ([0, 1, 2, 3], [0, 0, 0, 0])


def test_who_reads_while_something_is_taken_over_waits_for_it() -> None:
    plain = MemoryStore()
    put_many(plain, {"value": b"1"})
    store, later = RememberingStore(plain, "one"), RememberingStore(plain, "two")
    known = get_many(store, ["value"])[0]
    comparing, compared = threading.Event(), threading.Event()

    def compare(older: str, newer: str) -> Differences:
        comparing.set()
        assert compared.wait(10)
        return Differences(frozenset())

    later.follow(store, compare)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(get_many, later, ["value"])
        assert comparing.wait(10)
        second = pool.submit(get_many, later, ["value"])
        compared.set()
        assert first.result()[0] is known
        assert second.result()[0] is known


def test_a_comparison_that_fails_is_told_once() -> None:
    plain = MemoryStore()
    put_many(plain, {"value": b"1"})
    store, later = RememberingStore(plain, "one"), RememberingStore(plain, "two")
    get_many(store, ["value"])

    def compare(older: str, newer: str) -> Differences:
        raise StorageError("gone")

    later.follow(store, compare)
    with pytest.raises(StorageError, match="gone"):
        get_many(later, ["value"])
    assert bytes(get_many(later, ["value"])[0]) == b"1"  # type: ignore[arg-type]
