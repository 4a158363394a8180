"""Rows of equal steps are stored as a first value and a step."""

from __future__ import annotations

import struct
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import (
    HEADER_BYTES,
    decode_block,
    describe,
    encode_block,
    read_header,
    read_pieces,
)
from pipeline.codecs.frame import BlockStatistics, join_linear
from pipeline.codecs.statistics import block_statistics
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import DTYPE_NAMES, same_bits, times
from tests.codecs.block_frames import checksum

INTEGERS = tuple(name for name in DTYPE_NAMES if "int" in name)


def bits(statistics: BlockStatistics) -> list[object]:
    """Statistics as something that tells zeros and NaNs apart."""
    return [struct.pack("<d", x) if isinstance(x, float) else x for x in astuple(statistics)]


def steps(dtype: str, first: int, step: int, rows: int) -> NDArray[Any]:
    return np.array([first + at * step for at in range(rows)], dtype)


def assert_linear(values: NDArray[Any], step: int) -> None:
    block = encode_block(values)
    header = read_header(block[:HEADER_BYTES])
    assert (header.step, header.size, header.payload_bytes) == (step, len(block), 0)
    assert header.constant is None
    assert not header.vacant
    assert bits(header.statistics) == bits(block_statistics(values, None))
    assert len(block) <= 34
    decoded = decode_block(block)
    assert decoded.valid is None
    assert same_bits(decoded.values, values)
    decoded.values[:] = 0  # rows belong to the caller


def assert_not_linear(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> None:
    block = encode_block(values, valid)
    assert read_header(block).step == 0
    decoded = decode_block(block)
    keep = slice(None) if valid is None else valid
    assert same_bits(decoded.values[keep], values[keep])


@st.composite
def any_steps(draw: st.DrawFn) -> tuple[str, int, int, int]:
    dtype = draw(st.sampled_from(INTEGERS))
    info = np.iinfo(dtype)
    rows = draw(st.integers(2, 100))
    first = draw(st.integers(info.min, info.max) | st.sampled_from((info.min, info.max, 0)))
    lowest, highest = -((first - info.min) // (rows - 1)), (info.max - first) // (rows - 1)
    step = draw(st.integers(max(lowest, -(2**63)), min(highest, 2**63 - 1)))
    return dtype, first, step, rows


@given(any_steps())
def test_any_steps_come_back(case: tuple[str, int, int, int]) -> None:
    dtype, first, step, rows = case
    values = steps(dtype, first, step, rows)
    if step:
        assert_linear(values, step)
    else:
        assert read_header(encode_block(values)).constant is not None


@pytest.mark.parametrize("dtype", INTEGERS)
def test_steps_to_the_ends_of_every_dtype(dtype: str) -> None:
    info = np.iinfo(dtype)
    rows = 256
    step = (info.max - info.min) // (rows - 1)
    assert_linear(steps(dtype, info.min, step, rows), step)
    assert_linear(steps(dtype, info.max, -step, rows), -step)
    assert_linear(steps(dtype, info.max - 9, 3, 4), 3)
    assert_linear(steps(dtype, info.min + 9, -3, 4), -3)


def test_long_columns() -> None:
    for first, step in ((1_700_000_000_000_000, 60_000_000), (-5, -7), (2**62, 2**40)):
        assert_linear(first + step * np.arange(65_536), step)
    top = np.uint64(2**64 - 1) - np.arange(65_536, dtype=np.uint64)
    assert_linear(top, -1)
    assert_linear(top[::-1], 1)


def test_regular_times_are_small() -> None:
    for seconds in (1, 60, 3600, 86_400):
        start = 1_700_000_000_000_000 + 123_456
        block = encode_block(start + seconds * 1_000_000 * np.arange(65_536))
        assert len(block) <= 30
    block = encode_block(times(1, 300))
    told = describe(block)
    assert (told["linear"], told["step"], told["constant"]) == (True, 60_000_000, False)
    assert (told["bytes"], told["stages"], told["section_bytes"]) == (len(block), {}, {})
    assert read_pieces(block) is None


def test_columns_that_are_nearly_linear() -> None:
    values = np.arange(0, 900, 3)
    for at in (0, 1, 2, 150, 298, 299):
        changed = values.copy()
        changed[at] += 1
        assert_not_linear(changed)
    assert_not_linear(times(2, 50))
    assert_not_linear(values, np.arange(300) != 7)
    assert_not_linear(values.astype(np.float64))
    assert_not_linear(np.array([False, True]))
    assert_not_linear(np.array([5]))


def test_wrapping_is_no_step() -> None:
    assert_not_linear(np.arange(300).astype(np.uint8))
    assert_not_linear(np.arange(100, 160).astype(np.int8) * np.int8(3))
    assert_not_linear(np.array([0, 2**63, 0, 2**63], np.uint64))
    assert_not_linear(np.array([0, 2**64 - 1], np.uint64))
    assert_not_linear(np.array([-(2**63), 2**63 - 1]))
    middle = np.arange(9, dtype=np.uint64)
    middle[4] += np.uint64(2**63)
    assert_not_linear(middle)
    assert_linear(np.array([2**63, 0], np.uint64), -(2**63))


def test_a_validity_that_hides_nothing() -> None:
    values = np.arange(70)
    assert encode_block(values, np.ones(70, np.bool_)) == encode_block(values)
    assert encode_block(np.repeat(values, 2)[::2]) == encode_block(values.astype(">i8"))


def test_steps_by_hand() -> None:
    block = join_linear(np.dtype("int16"), 3, -2, 5)
    assert block.hex(" ", 1).startswith("49 4f 54 42 02 03 42 03 03 0a")
    assert decode_block(block).values.tolist() == [-2, 3, 8]


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("05 42 00 00 02", "0 rows"),
        ("05 42 01 00 02", "1 rows of int64 with steps"),
        ("05 42 02 00 00", "steps of 0"),
        ("05 42 81 80 40 00 02", "1048577 rows"),
        ("01 42 02 00 02", "2 rows of bool"),
        ("11 42 02 00 00 02", "flags 66"),
        ("10 4a 02 00 00 00 00 02", "flags 74"),
        ("02 42 02 fe 01 02", "rows of 128, which is no int8"),
        ("02 42 03 fd 01 03", "rows of -131, which is no int8"),
        ("02 42 02 80 02 01", "rows of 128, which is no int8"),
        ("06 42 02 00 01", "rows of -1, which is no uint8"),
        ("06 42 80 02 01 02", "rows of 256, which is no uint8"),
        ("09 4a 02 ff ff ff ff ff ff ff ff 02", "which is no uint64"),
        ("05 42 03 00 ff ff ff ff ff ff ff ff ff 01", "which is no int64"),
        ("05 42 02 00 ff ff ff ff ff ff ff ff ff 03", "more than 64 bits"),
        ("05 46 02 00 02", "flags 70"),
        ("05 43 02 00 02", "flags 67"),
        ("05 c2 02 00 02", "flags 194"),
        ("25 42 02 00 02", "flags 322"),
    ],
)
def test_headers_that_cannot_be(head: str, says: str) -> None:
    data = b"IOTB\x02" + bytes.fromhex(head)
    with pytest.raises(CorruptBlockError, match=says):
        decode_block(data + checksum(data))


@pytest.mark.parametrize(
    "block", [encode_block(times(1, 9)), encode_block(times(1, 9).astype("u8"))]
)
def test_damage(block: bytes) -> None:
    for bit in range(8 * len(block)):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptBlockError):
            decode_block(bytes(damaged))
    for size in range(len(block)):
        with pytest.raises(CorruptBlockError):
            decode_block(block[:size])
    with pytest.raises(CorruptBlockError, match="1 bytes of payload"):
        decode_block(block + b"\0")
    for at in range(5, len(block) - 4):
        for damage in range(1, 256):
            forged = bytearray(block[:-4])
            forged[at] ^= damage
            try:
                decoded = decode_block(bytes(forged) + checksum(bytes(forged)))
            except CorruptBlockError:
                continue
            assert decoded.values.size <= 2**20
