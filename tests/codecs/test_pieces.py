"""Statistics of pieces agree with the rows, and are safe to read whatever their bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, encode_block, read_header, read_pieces
from pipeline.codecs.cursor import Cursor, sized
from pipeline.codecs.frame import DTYPES, join_frame
from pipeline.codecs.pieces import PIECES, PieceStatistics, write_pieces
from pipeline.codecs.pieces import read_pieces as read_section
from pipeline.codecs.statistics import PIECE_ROWS, block_statistics, summarise
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value
from tests.codecs.block_columns import (
    DTYPE_NAMES,
    bits_column,
    hard_floats,
    same_bits,
    sensor,
    times,
    walk,
)

PLENTY = 10_000


def assert_pieces(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> bytes:
    body = write_pieces(values, valid, PLENTY)
    assert body is not None
    found = read_section(Cursor(memoryview(body)), values.size, values.dtype)
    present = np.ones(values.size, np.bool_) if valid is None else valid.copy()
    present &= values == values
    for at in range(-(-values.size // PIECE_ROWS)):
        rows = slice(at * PIECE_ROWS, (at + 1) * PIECE_ROWS)
        held = values[rows][present[rows]]
        assert found.count[at] == held.size
        expected = (held.min(), held.max()) if held.size else [fill_value(values.dtype)] * 2
        pair = np.array([found.min[at], found.max[at]])
        assert pair.dtype == values.dtype
        assert np.array_equal(pair, expected, equal_nan=values.dtype.kind == "f")
    assert found.count.shape == found.min.shape == found.max.shape
    return body


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("rows", [1025, 2048, 5000])
def test_pieces_of_every_dtype(dtype: str, rows: int) -> None:
    valid = np.random.default_rng(1).random(rows) < 0.7
    valid[1000:2100] = False
    for values in (walk(rows, dtype), bits_column(rows, dtype)):
        assert_pieces(values)
        if valid.any():
            assert_pieces(values, valid)


def test_decimals_are_small() -> None:
    for dtype in ("float32", "float64"):
        for digits in (0, 1, 2, 3, 5):
            body = assert_pieces((np.round(sensor(20_000) - 20, digits) + 0.0).astype(dtype))
            assert len(body) <= 14 + 20 * 2 * 3
    assert len(assert_pieces(sensor(20_000))) < 60


def test_odd_floats() -> None:
    for dtype in ("float32", "float64"):
        for value in hard_floats(dtype):
            values = sensor(3000).astype(dtype)
            values[1500] = value
            assert_pieces(values)
    zeros = np.repeat([-0.0, 0.0], 1024)
    body = write_pieces(zeros, None, PLENTY)
    assert body is not None
    found = read_section(Cursor(memoryview(body)), 2048, zeros.dtype)
    assert same_bits(found.min, zeros[[0, -1]])


def test_whole_numbers_at_both_ends() -> None:
    for dtype in ("int64", "uint64"):
        info = np.iinfo(dtype)
        values = np.repeat(np.array([info.min, info.max, 0], dtype), 1500)
        assert_pieces(values)
    assert_pieces(times(3, 1000))


def test_the_budget_is_kept() -> None:
    values = sensor(30_000)
    size = len(assert_pieces(values))
    assert write_pieces(values, None, size) is not None
    assert write_pieces(values, None, size - 1) is None
    assert write_pieces(values, None, 0) is None


def test_blocks_that_need_no_pieces() -> None:
    assert write_pieces(sensor(PIECE_ROWS), None, PLENTY) is None
    assert write_pieces(np.empty(0), None, PLENTY) is None
    assert write_pieces(np.full(3000, np.nan), None, PLENTY) is None
    assert write_pieces(sensor(3000), np.zeros(3000, np.bool_), PLENTY) is None


def test_pieces_that_are_known_already() -> None:
    values = sensor(5000)
    known, _ = summarise(values, None)
    assert write_pieces(values, None, PLENTY, known) == write_pieces(values, None, PLENTY)


def with_section(values: NDArray[Any], body: bytes) -> bytes:
    block = encode_block(values)
    header = read_header(block)
    stages = (header.transform, header.predictor, header.entropy)
    payload = bytes((PIECES,)) + sized(body) + block[header.size :]
    return join_frame(values.dtype, block_statistics(values, None), stages, payload)


def test_pieces_of_a_block() -> None:
    values = sensor(4000)
    body = write_pieces(values, None, PLENTY)
    assert body is not None
    block = with_section(values, body)
    found = read_pieces(block)
    assert isinstance(found, PieceStatistics)
    assert found.count.tolist() == [1024, 1024, 1024, 928]
    assert found.max.max() == values.max()
    assert same_bits(decode_block(block).values, values)
    assert read_pieces(encode_block(sensor(100))) is None
    assert read_pieces(encode_block(np.full(5000, 1.5))) is None


def test_pieces_that_disagree_with_the_header() -> None:
    values = sensor(4000)
    values[7] = np.nan
    body = write_pieces(sensor(4000), None, PLENTY)
    assert body is not None
    with pytest.raises(CorruptBlockError, match=r"block c/1 is corrupt.*counts other rows"):
        read_pieces(with_section(values, body), where="c/1")


@pytest.mark.parametrize(
    ("dtype", "body", "says"),
    [
        ("int8", "20 00 41 00", "widths"),
        ("int8", "01 00 00 00", "form 1"),
        ("float64", "12 00 00 00", "form 18"),
        ("float64", "21 00 00 00", "form 33"),
        ("int8", "20 08 08 00 00", "needs 4 bytes"),
        ("int8", "20 00 00 00 00", "1 bytes too many"),
        ("int8", "60 0b 00 00 00 ff ff ff", "missing"),
        ("int8", "20 00 01 fe 01 03", "not the smallest"),
        ("int8", "20", "needs 2 bytes"),
    ],
)
def test_sections_that_cannot_be(dtype: str, body: str, says: str) -> None:
    with pytest.raises(CorruptBlockError, match=says):
        read_section(Cursor(memoryview(bytes.fromhex(body))), 2000, np.dtype(dtype))


@given(
    st.sampled_from(list(DTYPES.values())),
    st.integers(0, 3000),
    st.lists(st.integers(0, 8) | st.integers(0, 255), max_size=60),
)
def test_random_sections_do_no_harm(dtype: np.dtype[Any], rows: int, body: list[int]) -> None:
    for form in (0, 2, 32, 64, 66, 96):
        try:
            found = read_section(Cursor(memoryview(bytes((form, *body)))), rows, dtype)
        except CorruptBlockError:
            continue
        assert found.count.shape == (-(-rows // PIECE_ROWS),)
        assert found.min.dtype == found.max.dtype == dtype
