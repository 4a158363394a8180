"""The statistics in a block's header agree with the rows."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from pipeline.codecs.block import HEADER_BYTES, encode_block, read_header
from pipeline.codecs.frame import BlockStatistics
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


def test_the_header_is_small() -> None:
    assert HEADER_BYTES <= 96
    sizes = {dtype: read_header(encode_block(walk(9, dtype))).size for dtype in DTYPE_NAMES}
    assert sizes["float64"] == HEADER_BYTES
    assert sizes["int8"] == sizes["bool"] == 50
