"""Whatever a column holds, its block gives it back bit for bit, and is never much longer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.codecs.block import Memory, decode_block, describe, encode_block, read_header
from pipeline.codecs.pieces import PIECES
from pipeline.model.codec_names import CODECS
from pipeline.model.dtypes import fill_value
from tests.codecs.block_columns import DTYPE_NAMES, any_column, same_bits
from tests.codecs.hard_numbers import (
    COLUMNS,
    INTERPRETED,
    MISSING,
    SERIES,
    SIZES,
    column,
    missing,
)

NUMERIC = tuple(name for name in DTYPE_NAMES if name != "bool")
MARGIN = 20
"""Bytes that a block may be longer than its header and what it holds."""


def comes_back(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> bytes:
    """Encode and decode a column, and check everything that holds for all columns."""
    before = values.tobytes(), None if valid is None else valid.tobytes()
    block = encode_block(values, valid)
    assert (values.tobytes(), None if valid is None else valid.tobytes()) == before
    decoded = decode_block(block)
    expected = values
    if valid is not None and not valid.all():
        expected = np.where(valid, values, np.full(1, fill_value(values.dtype), values.dtype))
        assert decoded.valid is not None
        assert np.array_equal(decoded.valid, valid)
    else:
        assert decoded.valid is None
    assert same_bits(decoded.values, expected)
    header = read_header(block)
    assert (header.rows, header.dtype) == (values.size, values.dtype)
    told = describe(block)
    assert told["rows"] == values.size
    bitmap = 0 if valid is None else -(-values.size // 8)
    pieces = told["section_bytes"].get(str(PIECES), 0)
    assert pieces <= 0.02 * len(block) + 8
    assert len(block) <= header.size + values.nbytes + bitmap + pieces + MARGIN
    return block


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_dtype(name: str, dtype: str) -> None:
    for rows in (1, 2, 3, 31, 33, 300):
        comes_back(column(name, rows, dtype))
    if not INTERPRETED:
        comes_back(column(name, 3000, dtype))


@pytest.mark.parametrize("name", ["bits", "alternating", "zeros", "long runs", "walk"])
def test_columns_of_bools(name: str) -> None:
    for rows in (0, *SIZES):
        comes_back(column(name, rows, "bool") if rows else np.empty(0, np.bool_))


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("any bits", "float64"), ("extremes", "float64"), ("noise", "float64"),
        ("walk", "float32"), ("walk", "int16"), ("near the ends", "int64"),
        ("wrapping", "uint64"), ("clock", "int64"), ("ramp", "int32"), ("spikes", "int64"),
        ("alternating", "uint8"), ("long runs", "uint32"), ("tiny and huge", "int64"),
        ("span 0x10000", "int64"), ("span 0x4000000000", "int64"), ("bursts", "int8"),
    ],
)  # fmt: skip
def test_columns_of_every_size(name: str, dtype: str, rows: int) -> None:
    comes_back(column(name, rows, dtype, seed=1))


@pytest.mark.parametrize("pattern", MISSING)
@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_columns_with_rows_missing(dtype: str, pattern: str) -> None:
    for name in ("walk", "any bits", "clock"):
        for rows in (1, 2, 9, 64, 500) if INTERPRETED else (1, 2, 9, 64, 500, 5000):
            comes_back(column(name, rows, dtype), missing(pattern, rows))


@given(any_column())
def test_any_column(drawn: tuple[NDArray[Any], NDArray[np.bool_] | None]) -> None:
    comes_back(*drawn)


@given(st.sampled_from(sorted(COLUMNS)), st.sampled_from(NUMERIC), st.integers(1, 3000),
       st.integers(0, 2**32), st.sampled_from(["none", *MISSING]))  # fmt: skip
def test_any_hard_column(name: str, dtype: str, rows: int, seed: int, pattern: str) -> None:
    rows = rows % 300 + 1 if INTERPRETED else rows
    comes_back(column(name, rows, dtype, seed), missing(pattern, rows, seed))


@given(
    hnp.arrays(np.int64, st.integers(32, 80), elements=st.integers(-(2**63), 2**63 - 1)),
    st.integers(0, 63),
    st.integers(0, 40),
)
def test_any_whole_numbers_at_any_scale(
    numbers: NDArray[np.int64], narrower: int, wider: int
) -> None:
    comes_back((numbers >> narrower) << wider)
    comes_back(np.cumsum(numbers >> narrower))


def payloads() -> NDArray[np.float64]:
    """NaNs of all kinds, infinities, negative zero and subnormals, by their bits."""
    words = (0x7FF8000000000001, 0x7FF0DEAD00000000, 0xFFF8000000000000, 0x7FF0000000000000,
             0xFFF0000000000000, 0x8000000000000000, 1, 0x000FFFFFFFFFFFFF)  # fmt: skip
    return np.array(words, np.uint64).view(np.float64)


@pytest.mark.parametrize("digits", range(4))
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_decimals_among_odd_floats(share: float, digits: int) -> None:
    rng = np.random.default_rng(digits)
    for rows in SIZES:
        walk = np.round(np.cumsum(rng.normal(0, 0.1, rows)) + 20, digits)
        odd = rng.random(rows) < share
        walk[odd] = rng.choice(payloads(), int(odd.sum()))
        comes_back(walk)
        with np.errstate(invalid="ignore"):  # signalling NaNs
            single = walk.astype(np.float32)
        single[rng.random(rows) < 0.05] = np.nan
        comes_back(single)


@pytest.mark.parametrize("rows", SIZES)
def test_whole_numbers_at_both_ends_of_64_bits(rows: int) -> None:
    """Differences of such columns overflow: an earlier codec lost 24 of them."""
    rng = np.random.default_rng(rows)
    ends = np.array([0, -(2**63), 2**63 - 1])
    comes_back(ends[rng.integers(0, 3, rows)])
    comes_back(rng.integers(-(2**63), 2**63 - 1, rows))
    comes_back(rng.choice([-(2**63), 2**63 - 1], rows) // rng.integers(1, 5, rows))
    comes_back(np.where(rng.random(rows) < 0.02, -(2**63), rng.integers(0, 1000, rows)))
    comes_back(np.where(rng.random(rows) < 0.02, 2**63 - 1, rng.integers(-1000, 0, rows)))
    comes_back(rng.integers(0, 2**64 - 1, rows, np.uint64, endpoint=True))


@pytest.mark.parametrize("rows", SIZES)
def test_floats_of_extreme_magnitude(rows: int) -> None:
    rng = np.random.default_rng(rows)
    walk = np.round(np.cumsum(rng.normal(0, 0.1, rows)) + 20, 2)
    comes_back(np.round(walk * 1e6) * 1e6)
    comes_back(walk * 1e-9)
    comes_back(walk * 5e-324 * 1e3)
    comes_back(np.full(rows, np.nan))
    comes_back(np.full(rows, -0.0))
    comes_back(rng.integers(0, 2**64 - 1, rows, np.uint64).view(np.float64))
    comes_back(rng.integers(0, 2**32 - 1, rows, np.uint32).view(np.float32))


@pytest.mark.parametrize("jitter", [2, 1000])
@pytest.mark.parametrize("unit", [10**6, 10**9])
@pytest.mark.parametrize("seconds", [1, 60, 3600, 86_400])
def test_clocks(seconds: int, unit: int, jitter: int) -> None:
    """An hour in nanoseconds is a step that no bin's base can hold."""
    rng = np.random.default_rng(seconds)
    for rows in (40, 300, 700) if INTERPRETED else (40, 300, 3000, 40_000):
        clock = np.arange(rows) * seconds * unit + rng.integers(0, jitter, rows)
        comes_back(1_700_000_000 * unit + clock)
        comes_back(
            1_700_000_000 * unit + clock + seconds * unit * np.cumsum(rng.random(rows) < 0.1)
        )


@pytest.mark.parametrize("where", [0, 1, 255, 256, 749, 750, 2999])
@pytest.mark.parametrize("far", [2**41, 2**61, -(2**62)])
def test_a_single_row_far_off(where: int, far: int) -> None:
    rows = 300 if INTERPRETED else 3000
    values = np.random.default_rng(6).integers(-50, 50, rows)
    values[where % rows] = far
    comes_back(values)
    comes_back(np.cumsum(values))


def varied() -> list[NDArray[Any]]:
    rows = 200 if INTERPRETED else 3000
    return [column(name, rows, dtype) for name in ("walk", "clock", "noise", "spikes", "long runs",
            "bursts", "any bits") for dtype in ("int64", "float64", "int16")]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_that_can_be_named(codec: str) -> None:
    rows = 200 if INTERPRETED else 1500
    for name in ("walk", "clock", "spikes", "long runs", "extremes", "any bits", "near the ends"):
        for dtype in ("int64", "uint64", "float64", "int8"):
            values = column(name, rows, dtype)
            assert same_bits(decode_block(encode_block(values, codec=codec)).values, values)


def test_a_memory_of_other_columns_does_no_harm() -> None:
    """Every second column is nothing like those that the encoder remembers."""
    memory = Memory()
    for number in range(2):
        for name in COLUMNS:
            values = column(name, 300 if INTERPRETED else 1500, "int64", seed=number)
            block = encode_block(values, memory=memory)
            assert same_bits(decode_block(block).values, values), name


def test_parts_of_a_block_are_its_rows() -> None:
    for values in varied():
        valid = missing("stretches", values.size)
        for block in (encode_block(values), encode_block(values, valid)):
            whole = decode_block(block)
            for start, stop in ((0, 0), (0, 1), (99, 101), (150, 200), (0, 10**6), (10**6, 10**6)):
                part = decode_block(block, rows=(start, stop))
                assert same_bits(part.values, whole.values[start:stop])
                if part.valid is not None:
                    assert whole.valid is not None
                    assert np.array_equal(part.valid, whole.valid[start:stop])


def test_equal_columns_have_equal_blocks() -> None:
    for values in varied():
        assert encode_block(values) == encode_block(values.copy())
        assert encode_block(values) == encode_block(np.repeat(values, 2)[::2])
        assert encode_block(values) == encode_block(values.astype(values.dtype.newbyteorder(">")))


def test_columns_that_must_not_be_written_to() -> None:
    for values in varied():
        values = values.copy()
        values.flags.writeable = False
        comes_back(values)


def test_threads_do_not_disturb_each_other() -> None:
    columns = varied()
    blocks = [encode_block(values) for values in columns]

    def work(number: int) -> bool:
        good = True
        for shift in range(len(columns)):
            i = (shift + number * (number % 2)) % len(columns)  # same ones, and different ones
            good &= encode_block(columns[i]) == blocks[i]
            good &= same_bits(decode_block(blocks[i]).values, columns[i])
        return good

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8 if INTERPRETED else 24)))


def test_every_series_is_stored_smaller_than_raw_unless_it_is_noise() -> None:
    rows = 700 if INTERPRETED else 5000
    for name in SERIES:
        values = column(name, rows, "int64")
        assert len(comes_back(values)) < (1.02 if "span" in name else 0.8) * values.nbytes + 100
