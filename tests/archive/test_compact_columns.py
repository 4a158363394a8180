"""Columns that are kept decoded come back bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from pipeline.archive.compact_columns import CompactColumn
from pipeline.codecs.block import decode_block, encode_block
from pipeline.model.batches import Column

_DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


def _rows(kept: CompactColumn, start: int, stop: int) -> Column:
    values = np.empty(stop - start, kept.dtype)
    return Column(values, kept.write(values, slice(start, stop)))


def _decoded(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Column:
    """Return a column as a block gives it back: with the fill value where none is."""
    block = decode_block(encode_block(values, valid))
    return Column(block.values, block.valid)


@given(
    st.sampled_from(_DTYPES).flatmap(
        lambda name: arrays.arrays(np.dtype(name), st.integers(0, 20))
    ),
    st.booleans(),
    st.data(),
)
def test_values_come_back_bit_for_bit(
    values: NDArray[Any], gaps: bool, data: st.DataObject
) -> None:
    _check(_decoded(values, np.arange(len(values)) % 3 > 0 if gaps else None), data)


@given(
    st.integers(0, 7),
    st.lists(
        st.one_of(st.integers(-3000, 3000), st.integers(-(1 << 60), 1 << 60)),
        min_size=1,
        max_size=150,
    ),
    st.lists(st.sampled_from([-0.0, np.nan, np.inf, 1 / 3, 0.0]), max_size=2),
    st.booleans(),
    st.data(),
)
def test_decimals_come_back_bit_for_bit(
    digits: int, numbers: list[int], odd: list[float], gaps: bool, data: st.DataObject
) -> None:
    values = np.array([*(number / 10**digits for number in numbers), *odd])
    _check(_decoded(values, np.arange(len(values)) % 3 > 0 if gaps else None), data)


def _check(column: Column, data: st.DataObject) -> None:
    values, valid = column.values, column.valid
    kept = CompactColumn.of(column)
    assert len(kept) == len(values)
    start = data.draw(st.integers(0, len(values)))
    stop = data.draw(st.integers(start, len(values)))
    found = _rows(kept, start, stop)
    assert found.values.dtype == values.dtype
    assert found.values.tobytes() == values[start:stop].tobytes()
    assert (found.valid is None) is (valid is None)
    if valid is not None and found.valid is not None:
        assert found.valid.tolist() == valid[start:stop].tolist()


@pytest.mark.parametrize(
    ("values", "itemsize"),
    [
        (np.array([-3, 252], np.int64), 1),
        (np.array([-3, 253], np.int64), 2),
        (np.array([1 << 40, (1 << 40) + 65_536], np.int64), 4),
        (np.array([0, 1 << 32], np.uint64), 8),
        (np.array([-(1 << 63), (1 << 63) - 1], np.int64), 8),
        (np.array([0, 65_535], np.uint16), 2),
        (np.array([0.5, 26.0]), 1),
        (np.array([21.44, -3.07]), 2),
        (np.array([1e-6, 1e3]), 4),
        (np.array([0.5, 1e-7]), 8),
        (np.array([0.5, 1.5], np.float32), 4),
    ],
)
def test_numbers_are_kept_as_narrow_as_their_range(values: NDArray[Any], itemsize: int) -> None:
    kept = CompactColumn.of(Column(values))
    assert kept.values.itemsize == itemsize
    assert _rows(kept, 0, 2).values.tolist() == values.tolist()


def test_what_is_kept_shares_no_memory() -> None:
    values, valid = np.array([1 / 3, 2 / 3]), np.array([True, False])
    kept = CompactColumn.of(Column(values, valid))
    values[0], valid[0] = 9, False
    found = _rows(kept, 0, 2)
    found.values[1] = 9
    again = _rows(kept, 0, 2)
    assert again.values.tolist() == [1 / 3, 2 / 3]
    assert again.valid is not None
    assert again.valid.tolist() == [True, False]
