"""Series come back whatever their stages, the first time and in those of a series before."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import Memory, decode_block, encode_block
from pipeline.codecs.cursor import Cursor, sized
from pipeline.codecs.memory import parts_of
from pipeline.codecs.recipes import Recipe
from pipeline.codecs.runs_encode import find_runs
from pipeline.codecs.series import LIST, RUNS, read_part
from pipeline.codecs.series_encode import encode_series, repeat_series, write_part
from pipeline.codecs.short_encode import encode_short, scale_of
from pipeline.codecs.streams import EncodedStream
from tests.codecs.block_columns import same_bits

ROWS = 2000
AUTO = Recipe()
RNG = np.random.default_rng(11)

SERIES: dict[str, NDArray[np.int64]] = {
    "devices": np.repeat(np.arange(7, 17), ROWS // 10),
    "clocks": np.tile(np.arange(0, ROWS // 8 * 10, 10) + 1_700_000_000, 8),
    "back and forth": np.abs(np.arange(ROWS) % 500 - 250) * 6 - 9,
    "equal": np.full(ROWS, -3),
    "steps": np.arange(ROWS) * -25 + 9,
    "walk": np.cumsum(RNG.integers(-9, 10, ROWS)),
    "noise": RNG.integers(0, 1 << 40, ROWS),
    "patterns": np.tile(RNG.integers(0, 1000, 97), 50)[:ROWS],
    "states": RNG.integers(0, 3, ROWS),
    "few": np.array([5, 1, 9, -4]),
    "one": np.array([1 << 62]),
}

SHORT = st.lists(
    st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-99, 99), min_size=1, max_size=31
)


def restored(stream: EncodedStream, rows: int) -> NDArray[np.int64]:
    part = bytes((stream.predictor, stream.entropy)) + sized(stream.body)
    cursor = Cursor(memoryview(part))
    found = read_part(cursor, rows, runs=True)
    cursor.finish()
    return found.view(np.int64)


@pytest.mark.parametrize("name", list(SERIES))
def test_a_series_comes_back_and_so_does_the_next(name: str) -> None:
    numbers, memory = SERIES[name], Memory()
    first = encode_series(numbers, memory=memory)
    assert np.array_equal(restored(first.stream, numbers.size), numbers)
    assert (first.offset, first.scale) == scale_of(numbers.tolist())
    again = repeat_series(numbers[::-1].copy(), None, AUTO, memory)
    if again is not None:
        assert np.array_equal(restored(again.stream, numbers.size), numbers[::-1])
        assert again.stream.entropy == first.stream.entropy


@pytest.mark.parametrize("name", list(SERIES)[:9])
def test_what_suited_a_series_is_not_looked_for_again(name: str) -> None:
    numbers, memory = SERIES[name], Memory()
    first = encode_series(numbers, memory=memory)
    again = repeat_series(numbers, None, AUTO, memory)
    assert again is not None
    assert len(again.stream.body) <= 1.05 * len(first.stream.body) + 4
    assert memory.series is not None
    assert memory.series.uses == 1


def test_another_series_is_looked_at_anew() -> None:
    memory = Memory()
    encode_series(SERIES["devices"], memory=memory)
    assert repeat_series(SERIES["noise"], None, AUTO, memory) is None
    encode_series(SERIES["noise"], memory=memory)
    assert repeat_series(SERIES["states"], None, AUTO, memory) is None
    assert repeat_series(SERIES["noise"], None, Recipe(RUNS), memory) is None
    assert repeat_series(SERIES["few"], None, AUTO, memory) is None


def test_what_suited_is_looked_for_again_after_some_blocks() -> None:
    memory, repeated = Memory(), 0
    encode_series(SERIES["walk"], memory=memory)
    while repeat_series(SERIES["walk"], None, AUTO, memory) is not None:
        repeated += 1
    assert repeated == 16


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    "name", ["devices", "clocks", "back and forth", "equal", "steps", "states"]
)
def test_runs_are_what_they_repeat(name: str, order: int) -> None:
    numbers = SERIES[name]
    runs = find_runs(numbers, order, numbers.size)
    assert runs is not None
    repeated = np.repeat(runs.values, runs.lengths)
    assert (runs.values[1:] != runs.values[:-1]).all()
    if order:
        repeated = np.cumsum(np.concatenate(([runs.first], repeated)))
    assert np.array_equal(repeated * runs.scale + runs.offset, numbers)
    assert (runs.offset, runs.scale) == scale_of(numbers.tolist())
    assert find_runs(numbers, order, runs.values.size) is not None
    if runs.values.size > 1:
        assert find_runs(numbers, order, runs.values.size - 1) is None


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_differences_that_wrap_are_no_runs(dtype: str) -> None:
    limits = np.iinfo(dtype)
    for ends in ([limits.min, limits.max], [limits.max, limits.min]):
        numbers = np.repeat(np.array(ends, dtype), 50)
        assert find_runs(numbers, 1, 100) is None
        runs = find_runs(numbers, 0, 100)
        assert runs is not None
        assert runs.lengths.tolist() == [50, 50]
        assert same_bits(decode_block(encode_block(numbers)).values, numbers)
    long = np.arange(100).astype(dtype) * np.array(1 << 61).astype(dtype)
    assert find_runs(long, 1, 100) is None
    assert same_bits(decode_block(encode_block(long)).values, long)


@given(SHORT)
def test_few_numbers_come_back(numbers: list[int]) -> None:
    stream = encode_short(numbers)
    assert restored(stream, len(numbers)).tolist() == numbers
    assert stream.entropy == LIST or len(stream.body) < 10 * len(numbers)
    offset, scale = scale_of(numbers)
    assert offset == min(numbers)
    assert scale == (math.gcd(*(number - offset for number in numbers)) or 1)


def test_few_numbers_are_short() -> None:
    assert len(encode_short([70_000] * 30).body) == 5
    assert len(encode_short(list(range(0, 30_000, 1000))).body) <= 6
    assert encode_short([3]).entropy == LIST
    assert len(encode_short([10**15 + 7 * k * k for k in range(30)]).body) < 60


def test_parts_are_remembered_by_their_place() -> None:
    memory = Memory()
    for _ in range(2):
        with parts_of(memory, "mask"):
            write_part(SERIES["walk"])
            write_part(SERIES["noise"])
            write_part(SERIES["few"])
    write_part(SERIES["states"])
    assert {key: plan.uses for key, plan in memory.parts.items()} == {"mask 1": 1, "mask 2": 1}


def test_a_memory_of_blocks_with_sections_does_no_harm() -> None:
    """Masks, corrections and entries change from block to block, and even vanish."""
    memory = Memory()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        values = np.round(np.cumsum(rng.normal(size=ROWS)), seed % 3)
        values[rng.random(ROWS) < 0.02 * seed] = np.nan
        values[rng.random(ROWS) < 0.01 * (seed % 2)] += 1e-9
        valid = rng.random(ROWS) < 1.0 - 0.1 * (seed % 4)
        found = decode_block(encode_block(values, valid, memory=memory))
        kept = np.ones(ROWS, np.bool_) if found.valid is None else found.valid
        assert np.array_equal(kept, valid)
        assert same_bits(found.values[valid], values[valid])
