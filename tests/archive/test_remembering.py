"""What a snapshot's store remembers of what was read."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

import pipeline
from pipeline.archive.chunk_io import get_many, get_sizes, put_many
from pipeline.archive.remembering import (
    Remembered,
    RememberingStore,
    forgetting,
    remembered_of,
)
from pipeline.archive.tables import Table, read_chunks
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
