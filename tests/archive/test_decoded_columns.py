"""Columns that are asked for again are kept decoded, and nothing shows but the time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.archive import converted_chunks, decoded_columns
from pipeline.archive.compact_columns import CompactColumn
from pipeline.archive.converted_chunks import decode_chunk
from pipeline.archive.decoded_columns import (
    MEMORY,
    DecodedColumns,
    DecodedMemory,
    Recurring,
    default_size,
)
from pipeline.archive.machine_memory import memory_size
from pipeline.archive.transactions.differences import Differences
from pipeline.codecs.block import encode_block
from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.model.batches import Column
from pipeline.schema.changes import ChangeDtype, ChangeUnits
from tests.support import memory_archive

_SIZE = 64 << 20
_DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@pytest.fixture
def memory() -> Iterator[DecodedMemory]:
    """The memory of the process, empty."""
    before, MEMORY.limit = MEMORY.limit, 0
    MEMORY.limit = _SIZE
    yield MEMORY
    MEMORY.limit = before


def _column(number: int) -> CompactColumn:
    return CompactColumn.of(Column(np.full(100, number, np.uint8)))


def test_a_column_is_wanted_when_it_is_asked_for_again() -> None:
    memory = DecodedMemory(10_000)
    assert memory.take("one", ["a", "b"], [100, 100]) == [False, False]
    assert memory.take("one", ["a"], [100]) == [True]
    assert memory.take("two", ["a"], [100]) == [False]
    column = _column(1)
    memory.keep("one", "a", column)
    assert memory.take("one", ["b", "a"], [100, 100]) == [True, column]
    assert memory.take("two", ["a"], [100]) == [True]
    memory.keep("one", "a", column)
    assert memory.nbytes == column.nbytes


def test_nothing_beyond_the_limit_is_held() -> None:
    size = _column(0).nbytes
    memory = DecodedMemory(3 * size)
    for number, key in enumerate("abc"):
        memory.keep("one", key, _column(number))
    memory.take("one", ["a"], [100])
    memory.keep("one", "d", _column(3))
    assert memory.nbytes == 3 * size
    kept = [isinstance(one, CompactColumn) for one in memory.take("one", list("abcd"), [100] * 4)]
    assert kept == [True, False, True, True]
    memory.limit = size
    assert (memory.limit, memory.nbytes) == (size, size)
    memory.limit = 0
    assert memory.nbytes == 0
    assert memory.take("one", ["d", "d"], [100, 100]) == [False, False]


def _touch(memory: DecodedMemory, key: str) -> bool:
    """Ask for a column as a reader does, which keeps it if it is told to; tell whether it was kept."""
    found = memory.take("one", [key], [100])[0]
    if found is True:
        memory.keep("one", key, _column(0))
    return isinstance(found, CompactColumn)


def test_a_scan_that_does_not_fit_in_finds_a_part_and_what_comes_back_sooner_replaces_it() -> None:
    memory = DecodedMemory(5 * _column(0).nbytes)
    found = [[_touch(memory, str(number)) for number in range(20)] for _ in range(5)]
    assert [sum(one) for one in found] == [0, 0, 5, 5, 5]
    hot = [[_touch(memory, key) for key in "ab"] for _ in range(4)]
    assert hot[-1] == [True, True]
    assert sum(_touch(memory, str(number)) for number in range(20)) == 3


def test_a_column_that_does_not_fit_in_drives_nothing_out() -> None:
    column = _column(1)
    memory = DecodedMemory(column.nbytes)
    assert [memory.take("one", ["large"], [1 << 20])[0] for _ in range(3)] == [False] * 3
    memory.keep("one", "a", column)
    assert [memory.take("one", ["large"], [1 << 20])[0] for _ in range(3)] == [False] * 3
    memory.keep("one", "large", CompactColumn.of(Column(np.random.default_rng(1).random(1000))))
    assert memory.take("one", ["a"], [100]) == [column]


def test_names_of_what_was_read_once_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_columns, "_NAMES", 3)
    memory = DecodedMemory(1000)
    assert memory.take("one", list("abcd"), [100] * 4) == [False] * 4
    assert memory.take("one", ["d", "a"], [100] * 2) == [True, False]


def test_the_default_goes_by_the_memory_of_machine_and_container(tmp_path: Path) -> None:
    assert default_size(None) == default_size(1 << 30) == 256 << 20
    assert default_size(16 << 30) == 1 << 30
    assert default_size(1 << 40) == 4 << 30
    machine = memory_size(tmp_path)
    assert machine is not None
    group = tmp_path / "sys/fs/cgroup"
    (group / "memory").mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert memory_size(tmp_path) == machine
    (group / "memory" / "memory.limit_in_bytes").write_text("536870912\n")
    assert memory_size(tmp_path) == 512 << 20


def test_a_small_part_of_a_large_block_does_not_decode_the_whole() -> None:
    memory = DecodedMemory(1 << 22)
    rows = 40_000
    values = np.random.default_rng(1).integers(0, 1000, rows)
    block = np.frombuffer(encode_block(values), np.uint8)
    for part, kept in [((0, 100), False), ((0, rows // 8), True)]:
        chunk = Recurring(block, DecodedColumns("one", memory))
        found = decode_chunk(chunk, "a", values.dtype, rows, part)
        assert found.values.tolist() == values[slice(*part)].tolist()
        assert (memory.nbytes > 0) is kept
    assert decode_chunk(chunk, "a", values.dtype, rows).values.tolist() == values.tolist()


def test_a_damaged_block_is_not_kept() -> None:
    memory = DecodedMemory(1 << 20)
    block = np.frombuffer(encode_block(np.arange(100) ** 2), np.uint8)
    with pytest.raises(CorruptBlockError, match="the index says 99"):
        decode_chunk(Recurring(block, DecodedColumns("one", memory)), "a", np.dtype(np.int64), 99)
    assert memory.nbytes == 0


def _fleet() -> pipeline.Fleet:
    schema = pipeline.Schema(
        [pipeline.Channel("t", "float64", units="m"), pipeline.Channel("n", "int32")]
    )
    partitioning = pipeline.Partitioning("1 hour", devices_per_block=2)
    fleet = memory_archive().create_fleet("fleet", schema, partitioning)
    rng = np.random.default_rng(7)
    rows = 600
    fleet.append(
        {
            "device": [f"device-{number % 5}" for number in range(rows)],
            "time": np.datetime64("2026-01-01", "us") + np.arange(rows) * np.timedelta64(30, "s"),
            "t": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
            "n": rng.integers(-5, 300, rows).astype(np.int32),
        }
    )
    return fleet


def _asked(fleet: pipeline.Fleet) -> list[Any]:
    """Ask what decodes blocks wholly, in ranges and row by row."""
    some = ["device-1", "device-2"]
    return [
        fleet.read().read_all().to_pydict(),
        fleet.read(some, ("2026-01-01T01:10", "2026-01-01T03:05")).read_all().to_pydict(),
        fleet.read(where={"n": "> 200"}).read_all().to_pydict(),
        fleet.aggregate({"t": ["sum", "count"], "n": ["max"]}, every="7 min").to_dict(),
        fleet.aggregate({"t": "mean"}, every="10 min", devices=some).to_dict(),
        fleet.aggregate({"t": "mean"}, every="1 hour", where={"n": "> 100"}).to_dict(),
    ]


@pytest.mark.parametrize("evolved", [False, True])
def test_answers_are_the_same_whether_columns_are_decoded_or_kept(
    evolved: bool, memory: DecodedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = _fleet()
    if evolved:
        fleet.evolve(ChangeDtype("n", "int64"), ChangeUnits("t", "mm", multiply=1000))
    memory.limit = 0
    without = _asked(fleet)
    memory.limit = _SIZE
    for _ in range(3):
        np.testing.assert_equal(_asked(fleet), without)
    assert memory.nbytes > 0

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("decoded again")

    monkeypatch.setattr(converted_chunks, "decode_block", refuse)
    np.testing.assert_equal(_asked(fleet), without)


def test_what_users_are_given_is_theirs(memory: DecodedMemory) -> None:
    fleet = _fleet()
    expected = fleet.read().read_all().to_pydict()
    for _ in range(3):
        data = fleet.to_xarray(["device-1"]).load()
        data["n"].values[:] = 0
        data["t"].values[:] = 0
    assert memory.nbytes > 0
    np.testing.assert_equal(fleet.read().read_all().to_pydict(), expected)


def test_the_size_is_set_for_the_process(memory: DecodedMemory) -> None:
    assert pipeline.set_cache_size(1 << 20) == _SIZE
    assert memory.limit == 1 << 20
    assert pipeline.set_cache_size(0) == 1 << 20
    with pytest.raises(InvalidInputError, match="give 0 or more"):
        pipeline.set_cache_size(-1)


def test_a_later_snapshot_has_what_did_not_change() -> None:
    memory = DecodedMemory(10_000)
    column = _column(1)
    for key in ("a", "b", "group/c"):
        memory.keep("one", key, column)
    memory.take("one", ["d", "group/e"], [1, 1])
    memory.hand_over("nothing", "two", Differences(frozenset()))
    memory.hand_over("one", "two", Differences(frozenset("b"), ("group/",)))
    wanted = ["a", "b", "group/c", "d", "group/e"]
    assert memory.take("two", wanted, [1] * 5) == [column, False, False, True, False]
    assert memory.take("one", ["a"], [1]) == [False]
    assert memory.nbytes == column.nbytes
    memory.keep("three", "a", column)
    memory.hand_over("two", "three", Differences(frozenset()))
    assert memory.take("two", ["a"], [1]) == [column]


def test_snapshots_that_were_left_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_columns, "_SNAPSHOTS", 2)
    memory = DecodedMemory(10_000)
    for snapshot in ("one", "two", "three"):
        memory.keep(snapshot, "a", _column(1))
    found = [memory.take(one, ["a"], [1])[0] for one in ("three", "two", "one")]
    assert [isinstance(one, CompactColumn) for one in found] == [True, True, False]
