"""The statistics in a block's header agree with the rows."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from pipeline.codecs.block import HEADER_BYTES, encode_block, read_header
from pipeline.codecs.frame import BlockStatistics
from pipeline.codecs.statistics import block_statistics
from tests.codecs.block_columns import (
    DTYPE_NAMES,
    LONG,
    any_column,
    bits_column,
    sensor,
    times,
    walk,
)


def statistics_of(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> BlockStatistics:
    block = encode_block(values, valid)
    header = read_header(block[:HEADER_BYTES])
    assert repr(header) == repr(read_header(block))  # a NaN in it equals nothing
    assert header.rows == values.size
    assert header.dtype == values.dtype
    assert header.size + header.payload_bytes == len(block)
    return header.statistics


def present(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    rows = values if valid is None else values[valid]
    return rows[~np.isnan(rows)] if rows.dtype.kind == "f" else rows


@given(any_column())
def test_exact_parts_of_any_column(column: tuple[NDArray[Any], NDArray[np.bool_] | None]) -> None:
    values, valid = column
    found = statistics_of(values, valid)
    rows = present(values, valid)
    assert (found.count, found.missing) == (rows.size, values.size - rows.size)
    if rows.size == 0:
        assert found == BlockStatistics(0, values.size, None, None, 0.0, 0.0, None, None)
        return
    expected = rows.view(np.uint8) if rows.dtype.kind == "b" else rows
    assert found.min == expected.min().item()
    assert found.max == expected.max().item()
    assert found.first == expected[0].item()
    assert found.last == expected[-1].item()
    assert {type(found.min), type(found.first)} == {float if rows.dtype.kind == "f" else int}


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 257, 2000])
def test_sums_of_every_dtype(dtype: str, rows: int) -> None:
    assert_sums(walk(rows, dtype))
    if "int" in dtype:
        assert_sums(bits_column(rows, dtype))
        info = np.iinfo(dtype)
        assert_sums(np.array([info.min, info.max, info.max] * rows, dtype))


def test_sums_far_from_zero_keep_their_digits() -> None:
    assert_sums(times(5, 300))
    assert_sums(np.iinfo(np.int64).max - walk(500, "int64"))
    assert_sums(np.iinfo(np.uint64).max - walk(500, "uint64"))
    assert_sums(1e9 + sensor(1500))


def test_sums_of_a_long_column() -> None:
    values = np.random.default_rng(1).normal(1000, 3, LONG)
    found = statistics_of(values)
    assert found.sum == pytest.approx(math.fsum(values), rel=1e-13)
    mean = math.fsum(values) / LONG
    assert found.m2 == pytest.approx(math.fsum((values - mean) ** 2), rel=1e-12)
    assert found.m2 == pytest.approx(float(np.var(values)) * LONG, rel=1e-12)


def assert_sums(values: NDArray[Any]) -> None:
    found = statistics_of(values)
    exact = [Fraction(value) for value in values.tolist()]
    mean = sum(exact) / len(exact)
    assert found.sum == pytest.approx(float(sum(exact)), rel=1e-13)
    assert found.m2 == pytest.approx(float(sum((x - mean) ** 2 for x in exact)), rel=1e-12)


def test_equal_values_do_not_vary() -> None:
    assert statistics_of(np.full(1000, 0.1)).m2 == 0.0
    assert statistics_of(np.full(1000, np.float32(0.1))).m2 == 0.0
    assert statistics_of(np.full(1000, 2**62 + 1)).m2 == 0.0


def test_missing_rows_and_nan_do_not_count() -> None:
    values = np.array([np.nan, 1.0, 5.0, 3.0, np.nan, 9.0])
    valid = np.array([True, True, True, True, True, False])
    found = statistics_of(values, valid)
    assert found == BlockStatistics(3, 3, 1.0, 5.0, 9.0, 8.0, 1.0, 3.0)


def test_infinities_are_ordinary_values() -> None:
    found = statistics_of(np.array([1.0, np.inf, 2.0]))
    assert (found.count, found.max, found.sum) == (3, np.inf, np.inf)
    assert math.isnan(found.m2)
    both = statistics_of(np.array([np.inf, -np.inf, 2.0]))
    assert (both.min, both.max) == (-np.inf, np.inf)
    assert math.isnan(both.sum)
    assert statistics_of(np.full(3, np.inf)).sum == np.inf
    assert statistics_of(np.tile([1e200, -1e200], 9)).m2 == np.inf


def test_float32_keeps_its_own_digits() -> None:
    value = np.float32(0.1)
    found = statistics_of(np.array([value, value * 2]))
    assert found.min == float(value)
    assert found.sum == float(value) + float(value * 2)


def test_zeros_of_both_signs() -> None:
    found = statistics_of(np.array([0.0, -0.0, 0.0]))
    assert [math.copysign(1, x) for x in (found.min, found.max, found.first)] == [-1, 1, 1]  # type: ignore[arg-type]
    assert (found.sum, found.m2) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("rows", [1023, 1024, 1025, 2048, 3000])
def test_lengths_around_pieces(dtype: str, rows: int) -> None:
    values = walk(rows, dtype)
    assert_sums(values)
    valid = np.random.default_rng(rows).random(rows) < 0.5
    valid[:1030] = False
    found, rest = block_statistics(values, valid), block_statistics(values[valid], None)
    assert found == replace(rest, missing=rows - rest.count)


def test_a_first_value_far_from_all_others_costs_no_digits() -> None:
    values = 20 + sensor(1500) / 7
    values[[0, 1024]] = 1e12, -1e9
    found = statistics_of(values)
    exact = [Fraction(value) for value in values.tolist()]
    mean = sum(exact) / len(exact)
    assert found.sum == pytest.approx(float(sum(exact)), rel=1e-15)
    assert found.m2 == pytest.approx(float(sum((x - mean) ** 2 for x in exact)), rel=1e-13)


def test_whole_numbers_near_and_far_in_one_column() -> None:
    values = walk(5000, "int64")
    assert_sums(values)
    values[3000:] += 2**62
    assert_sums(values)
    values[4999] = -(2**63)
    assert_sums(values)


def test_squares_of_near_whole_numbers_are_rounded_once() -> None:
    values = np.random.default_rng(8).integers(-(2**20), 2**20, 3000)
    exact = [Fraction(value) for value in values.tolist()]
    mean = sum(exact) / len(exact)
    assert statistics_of(values).m2 == float(sum((x - mean) ** 2 for x in exact))


def test_columns_that_cannot_be_written_to() -> None:
    values, valid = sensor(500), np.arange(500) % 3 != 0
    expected = block_statistics(values, valid)
    values.flags.writeable = valid.flags.writeable = False
    assert block_statistics(values, valid) == expected
    assert block_statistics(np.repeat(values, 2)[::2], np.repeat(valid, 2)[::2]) == expected
