"""Where a column's numbers come from is found out, whatever it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, describe, encode_block
from pipeline.codecs.choose import estimate_bits
from pipeline.codecs.choose_transform import choose_transform, recall_transform
from pipeline.codecs.mappings import Mapped
from tests.codecs.block_columns import any_column, bits_column, same_bits

COUNTS = np.cumsum(np.random.default_rng(4).integers(-900, 901, 12_000)) + 60_000
"""More distinct values than a dictionary is good for."""

PLAIN = len(encode_block(COUNTS))

SINGLES = COUNTS.astype(np.float32)

COLUMNS: dict[str, NDArray[Any]] = {
    "average of three, rounded": np.round(COUNTS / 3, 2),
    "average of six": COUNTS / 6,
    "average of six, 15 digits": np.array([float(f"{value:.15g}") for value in COUNTS / 6]),
    "minutes of a position": np.round(COUNTS / 6000, 5),
    "binary fraction": COUNTS / 128,
    "times a tenth": COUNTS * 0.1,
    "times a resolution": COUNTS * (3.3 / 4095),
    "times a resolution, negative": (COUNTS - 60_000) * 0.000598,
    "single times a resolution": SINGLES * np.float32(0.000598),
    "single times a resolution, widened": (SINGLES * np.float32(0.00861)).astype(np.float64),
    "single fraction": SINGLES / np.float32(3),
    "to kelvins": np.round(COUNTS * 0.01, 2) + 273.15,
    "from Fahrenheit": (np.round(COUNTS * 0.1, 1) - 32) * 5 / 9,
    "from Fahrenheit, over 1.8": (np.round(COUNTS * 0.1, 1) - 32) / 1.8,
    "to Fahrenheit": np.round(COUNTS * 0.1, 1) * 1.8 + 32,
    "to metres per second": np.round(COUNTS * 0.1, 1) / 3.6,
    "to radians": np.radians(COUNTS / 100_000),
    "to radians, divided last": COUNTS / 3600 * math.pi / 180,
    "gravity": COUNTS / 16384 * 9.80665,
    "two operations": COUNTS * 5.0 / 1023,
}


@pytest.mark.parametrize("name", COLUMNS)
def test_computed_columns_cost_little_more_than_what_was_counted(name: str) -> None:
    values = COLUMNS[name]
    block = encode_block(values)
    assert same_bits(decode_block(block).values, values)
    assert len(block) < PLAIN + 0.35 * values.size, describe(block)["stages"]


def test_bits_are_exact_where_the_operations_are_found() -> None:
    for name in ("average of six", "times a resolution", "to kelvins", "to radians, divided last",
                 "single times a resolution", "average of six, 15 digits"):  # fmt: skip
        told = describe(encode_block(COLUMNS[name]))
        assert told["stages"]["transform"].startswith("Arithmetic("), name
        assert set(told["section_bytes"]) <= {"pieces", "values"}, name


def test_significant_digits_are_counted_as_printed() -> None:
    values = np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, 12_000)))
    printed = np.array([float(f"{value / 10:.6g}") for value in values / np.median(values)])
    assert printed.min() < 0.1 < printed.max()
    block = encode_block(printed)
    assert same_bits(decode_block(block).values, printed)
    assert describe(block)["stages"]["transform"].startswith("Significant(digits=6")
    fixed = np.round(values, 6)
    assert describe(encode_block(fixed))["stages"]["transform"].startswith("Decimal(exponent=6")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_told_from_arithmetic(dtype: str) -> None:
    values = np.random.default_rng(9).normal(size=12_000).astype(dtype)
    assert describe(encode_block(values))["stages"]["transform"] == "Ordered()"


def test_thousands_of_distinct_values_may_make_a_dictionary() -> None:
    levels = np.sort(np.random.default_rng(1).normal(size=1500))
    values = levels[np.random.default_rng(2).integers(0, 1500, 40_000)]
    block = encode_block(values)
    assert describe(block)["stages"]["transform"] == "Dictionary(Ordered(), 1500 entries)"
    assert len(block) < 8 * levels.size + 1.7 * values.size


def test_the_cost_function_decides() -> None:
    values = np.round(COUNTS / 3, 2)
    seen: list[tuple[int, ...]] = []

    def most_digits(numbers: NDArray[Any]) -> float:
        seen.append(numbers.shape)
        return 30.0 - float(np.log2(numbers.max()))

    def fewest_digits(numbers: NDArray[Any]) -> float:
        return float(np.log2(numbers.max()))

    assert str(choose_transform(values, fewest_digits).transform) == (
        "Arithmetic(over 3, decimals 2)"
    )
    chosen = choose_transform(values, most_digits)
    assert str(chosen.transform) == "Decimal(exponent=2, single=False)"
    assert chosen.numbers.size == values.size
    assert set(seen) == {(8, 256)}


def restored(mapped: Mapped, dtype: np.dtype[Any]) -> NDArray[Any]:
    return mapped.transform.inverse(mapped.numbers.view(np.uint64), dtype)


LEVELS = np.round(np.random.default_rng(7).normal(0, 300, 60), 2)


@pytest.mark.parametrize("name", ["average of six", "to kelvins", "levels"])
def test_the_next_block_takes_what_suited_the_last(name: str) -> None:
    values = COLUMNS.get(name, LEVELS[COUNTS % LEVELS.size])
    mapped, first = recall_transform(values, estimate_bits)
    tried: list[int] = []

    def cost(numbers: NDArray[Any]) -> float:
        tried.append(numbers.size)
        return estimate_bits(numbers)

    again, second = recall_transform(values, cost, first)
    assert not tried
    assert str(again.transform) == str(mapped.transform)
    assert np.array_equal(again.numbers, mapped.numbers)
    assert second.left == first.left - 1
    assert same_bits(restored(again, values.dtype), values)


def test_another_column_is_looked_at_anew() -> None:
    counted, noise = COUNTS / 6, np.random.default_rng(2).normal(size=COUNTS.size)
    _, memory = recall_transform(counted, estimate_bits)
    for values in (noise, COUNTS / 10, counted * np.pi, LEVELS[COUNTS % 60], counted[:50]):
        mapped, memory = recall_transform(values, estimate_bits, memory)
        fresh = choose_transform(values, estimate_bits)
        assert str(mapped.transform) == str(fresh.transform)
        assert np.array_equal(mapped.numbers, fresh.numbers)


def test_what_suits_is_looked_for_again_after_some_blocks() -> None:
    values = np.round(COUNTS[:300] / 10, 1)
    _, memory = recall_transform(values, estimate_bits)
    left = []
    for _ in range(40):
        _, memory = recall_transform(values, estimate_bits, memory)
        left.append(memory.left)
    assert left[31:34] == [0, 32, 31]


def test_a_row_beyond_the_sample_may_refute_what_is_remembered() -> None:
    plain, spoilt = COUNTS / 10, COUNTS / 10
    _, memory = recall_transform(plain, estimate_bits)
    runs = np.arange(COUNTS.size) % 1678 > 300  # of which the sample takes none
    spoilt[runs] = np.random.default_rng(1).normal(size=np.count_nonzero(runs))
    mapped, _ = recall_transform(spoilt, estimate_bits, memory)
    assert str(mapped.transform) != str(choose_transform(plain, estimate_bits).transform)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 700])
@pytest.mark.parametrize("content", [0.0, -0.0, np.nan, np.inf, 5e-324, 1.7e308, 0.1, 1 / 3])
def test_columns_of_one_value(rows: int, content: float) -> None:
    for dtype in ("float32", "float64"):
        with np.errstate(over="ignore"):
            values = np.full(rows, content).astype(dtype)
        assert same_bits(decode_block(encode_block(values)).values, values)
        values[rows // 2] = 1.0
        assert same_bits(decode_block(encode_block(values)).values, values)


@given(any_column(), st.integers(1, 7))
def test_any_column_comes_back(column: Any, times: int) -> None:
    values = np.tile(column[0], times)
    assert same_bits(decode_block(encode_block(values)).values, values)


@given(st.sampled_from(sorted(COLUMNS)), st.integers(0, 2**32), st.integers(1, 400))
def test_mixtures_come_back(name: str, seed: int, spoilt: int) -> None:
    values = COLUMNS[name][:800].copy()
    rows = np.random.default_rng(seed).integers(0, values.size, spoilt)
    values[rows] = bits_column(spoilt, str(values.dtype), seed)
    assert same_bits(decode_block(encode_block(values)).values, values)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8", "bool"])
def test_whole_numbers_at_the_ends_of_their_range(dtype: str) -> None:
    low, high = (False, True) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = np.array([low, high, low, high, high] * 2000, dtype)
    block = encode_block(values)
    assert same_bits(decode_block(block).values, values)
    assert len(block) < 200
