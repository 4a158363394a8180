"""Headers of version 2 are small, exact, and safe to read whatever their bytes."""

from __future__ import annotations

import math
import struct
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import HEADER_BYTES, decode_block, encode_block, read_header
from pipeline.codecs.frame import (
    DTYPE_CODES,
    MAX_ROWS,
    BlockStatistics,
    join_constant,
    join_frame,
    parse_header,
)
from pipeline.codecs.series import INHERITED
from pipeline.codecs.statistics import block_statistics
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value
from tests.codecs.block_columns import (
    DTYPE_NAMES,
    LONG,
    any_column,
    bits_column,
    hard_floats,
    same_bits,
    sensor,
    times,
    walk,
)
from tests.codecs.block_frames import as_version_1, checksum

PAYLOAD = b"nobody looks at this"


def bits(statistics: BlockStatistics) -> list[object]:
    """Statistics as something that tells zeros and NaNs apart."""
    fields = astuple(statistics)
    return [struct.pack("<d", x) if isinstance(x, float) else x for x in fields]


def stored(dtype: str, statistics: BlockStatistics) -> BlockStatistics:
    """Write statistics into a header, and read them."""
    block = join_frame(np.dtype(dtype), statistics, (3, 1, 4), PAYLOAD)
    header = read_header(block[:HEADER_BYTES])
    assert (header.version, header.dtype) == (2, np.dtype(dtype))
    assert header.rows == statistics.count + statistics.missing
    assert (header.transform, header.predictor, header.entropy) == (3, 1, 4)
    assert (header.size, header.payload_bytes) == (len(block) - len(PAYLOAD), len(PAYLOAD))
    assert header.constant is None
    assert not header.vacant
    return header.statistics


@given(any_column())
def test_statistics_of_any_column_come_back(
    column: tuple[NDArray[Any], NDArray[np.bool_] | None],
) -> None:
    values, valid = column
    statistics = block_statistics(values, valid)
    if statistics.count:
        assert bits(stored(str(values.dtype), statistics)) == bits(statistics)


@st.composite
def any_statistics(draw: st.DrawFn) -> tuple[str, BlockStatistics]:
    """Statistics that need not be those of any column, but for the order of their values."""
    dtype = draw(st.sampled_from(DTYPE_NAMES))
    kind = np.dtype(dtype)
    values: st.SearchStrategy[Any]
    if kind.kind == "f":
        hundredths = st.integers(-(2**22), 2**22).map(lambda k: float(kind.type(k / 100)))
        values = hundredths | st.floats(allow_nan=False, width=8 * kind.itemsize)  # type: ignore[arg-type]
    elif kind.kind == "b":
        values = st.integers(0, 1)
    else:
        info = np.iinfo(dtype)
        values = st.integers(info.min, info.max) | st.integers(0, 9)
    low, first, last, high = sorted(draw(st.lists(values, min_size=4, max_size=4)))
    count = draw(st.integers(1, MAX_ROWS))
    missing = draw(st.integers(0, MAX_ROWS - count))
    sums = st.floats() | st.integers(-(2**40), 2**40).map(float) | st.sampled_from((0.0, -0.0))
    total, m2 = draw(sums), draw(sums)
    return dtype, BlockStatistics(count, missing, low, high, total, m2, first, last)


@given(any_statistics())
def test_any_statistics_come_back(case: tuple[str, BlockStatistics]) -> None:
    dtype, statistics = case
    assert bits(stored(dtype, statistics)) == bits(statistics)


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_columns_of_every_dtype_keep_their_statistics(dtype: str) -> None:
    gaps = np.arange(2000) % 5 != 1
    for values in (walk(2000, dtype), bits_column(2000, dtype), walk(2, dtype)):
        for valid in (None, gaps[: values.size]):
            statistics = block_statistics(values, valid)
            assert bits(stored(dtype, statistics)) == bits(statistics)


@pytest.mark.parametrize(("dtype", "unit"), [("int8", 1), ("float32", 0.5)])
def test_sums_that_no_column_has(dtype: str, unit: float) -> None:
    low, high, first, last = 0 * unit, 9 * unit, 2 * unit, 3 * unit
    for m2 in (-1.0, -0.0, math.nan, math.inf):
        for total in (0.0, -0.0, 1.0, 17.0, -math.inf):
            statistics = BlockStatistics(8, 0, low, high, total, m2, first, last)
            assert bits(stored(dtype, statistics)) == bits(statistics)


def test_decimals_of_either_precision_keep_their_statistics() -> None:
    for digits in range(12):
        for dtype in ("float32", "float64"):
            statistics = block_statistics((sensor(500, digits) - 20).astype(dtype), None)
            assert bits(stored(dtype, statistics)) == bits(statistics)


def header_of(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> int:
    return read_header(encode_block(values, valid)).size


def test_sizes() -> None:
    numbers = (7, -1, 1_700_000_000_000_000, -(2**63), 2**63 - 1)
    assert max(len(encode_block(np.full(69, number))) for number in numbers) == 20
    floats = (0.0, -0.0, 20.1, 1e300, np.pi, np.nan, np.inf)
    assert max(len(encode_block(np.full(65_536, number))) for number in floats) == 22
    runs = np.arange(65_536) // 9000
    assert header_of(runs.astype(np.int8)) <= 32
    assert header_of(runs) <= 32
    assert header_of(runs % 2 == 0) <= 30
    assert header_of(sensor(LONG)) <= 44
    assert len(encode_block(runs, np.zeros(runs.size, np.bool_))) == 14
    assert len(encode_block(np.empty(0))) == 12
    assert HEADER_BYTES <= 80


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("rows", [1, 2, 69, 1024, 5000])
def test_constant_columns(dtype: str, rows: int) -> None:
    for value in (*bits_column(8, dtype), *walk(3, dtype), *bits_column(8, dtype, seed=9)):
        assert_constant(np.full(rows, value, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constant_columns_of_odd_floats(dtype: str) -> None:
    for at in range(len(hard_floats(dtype))):
        assert_constant(np.repeat(hard_floats(dtype)[at : at + 1], 70))


def assert_constant(values: NDArray[Any]) -> None:
    block = encode_block(values)
    header = read_header(block[:HEADER_BYTES])
    assert header.constant is not None
    assert (header.size, header.payload_bytes) == (len(block), 0)
    assert bits(header.statistics) == bits(block_statistics(values, None))
    decoded = decode_block(block)
    assert decoded.valid is None
    assert same_bits(decoded.values, values)
    decoded.values[:] = 0  # rows belong to the caller


def test_nearly_constant_columns_are_not_constant() -> None:
    for at in (0, 100, 150, 299):
        values = np.zeros(300)
        values[at] = -0.0
        block = encode_block(values)
        assert read_header(block).constant is None
        assert same_bits(decode_block(block).values, values)
    valid = np.arange(300) != 9
    block = encode_block(np.zeros(300), valid)
    assert read_header(block).constant is None
    assert header_of(np.zeros(300), valid) < 30


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_blocks_without_a_value(dtype: str, rows: int) -> None:
    block = encode_block(walk(rows, dtype), np.zeros(rows, np.bool_))
    header = read_header(block)
    assert header.vacant
    assert header.statistics == BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    decoded = decode_block(block)
    assert same_bits(decoded.values, np.full(rows, fill_value(np.dtype(dtype)), dtype))
    assert (decoded.valid is None) == (rows == 0)
    assert decoded.valid is None or not decoded.valid.any()


def headers() -> list[bytes]:
    gaps = np.arange(90) % 7 != 3
    return [
        encode_block(values, valid)
        for values, valid in (
            (np.empty(0), None),
            (np.full(500, 20.1), None),
            (np.full(5, -(2**63)), None),
            (np.full(300, True), None),
            (sensor(90), None),
            (sensor(90), gaps),
            (times(3, 30), gaps),
            (walk(90, "int8"), None),
            (walk(90, "uint16"), gaps),
            (bits_column(90, "float32"), None),
            (sensor(90).astype(np.float32), None),
        )
    ]


HEADERS = headers()


@pytest.mark.parametrize("block", HEADERS)
def test_damage_is_noticed(block: bytes) -> None:
    head = block[: read_header(block).size]
    for size in range(len(head)):
        with pytest.raises(CorruptBlockError):
            read_header(head[:size])
    for bit in range(8 * len(head)):
        damaged = bytearray(block)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptBlockError):
            read_header(bytes(damaged))


def harmless(head: bytes) -> None:
    """Read a header with a good checksum after each of its bytes."""
    for size in range(7, len(head) + 1):
        try:
            header = parse_header(memoryview(head[:size] + checksum(head[:size])))
        except CorruptBlockError:
            continue
        assert 0 <= header.rows <= MAX_ROWS
        assert header.statistics.count + header.statistics.missing == header.rows
        assert header.size == size + 4
        if header.statistics.count:
            low, high = header.statistics.min, header.statistics.max
            np.array([low, high], header.dtype)
            assert low <= high  # type: ignore[operator]


@pytest.mark.parametrize("block", HEADERS)
def test_forged_headers_do_no_harm(block: bytes) -> None:
    head = block[: read_header(block).size - 4]
    for at in range(5, len(head)):
        for damage in (1, 2, 8, 0x10, 0x80, 0xFF):
            forged = bytearray(head)
            forged[at] ^= damage
            harmless(bytes(forged))


@given(
    st.sampled_from(sorted(DTYPE_CODES.values())),
    st.sampled_from((0, 2, 4, 5, 10, 12, 20, 36, 52, 60, 61)),
    st.lists(st.integers(0, 8) | st.integers(0, 255), max_size=60),
)
def test_random_headers_do_no_harm(code: int, flags: int, rest: list[int]) -> None:
    harmless(bytes((*b"IOTB", 2, code, flags, *rest)))


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("03 00 00", "format version 3"),
        ("02 00 00 05", "dtype code 0"),
        ("02 05 40 05", "flags 64"),
        ("02 05 06 05 00", "flags 6"),
        ("02 05 02 00 01", "0 rows"),
        ("02 05 00 81 80 40", "1048577 rows"),
        ("02 05 05 05 06 00 00 00 00", "6 missing"),
        ("02 05 00 ff ff ff ff ff ff ff ff ff ff 01", "more than 64 bits"),
        ("02 01 02 05 02", "has rows of 2, which is no bool"),
        ("02 01 0a 05 02", "has rows of 2, which is no bool"),
        ("02 02 02 05 80 02", "has rows of 128, which is no int8"),
        ("02 11 02 05 0b 00", "decimals of 11 digits"),
        ("02 02 34 02 00 00 00 00 00 00 00 00 81 02 00", "within -129 and -129 of int8"),
        ("02 02 34 02 00 00 00 00 00 00 00 00 00 80 01 00 00 00 00", "impossible"),
        ("02 02 34 02 00 00 00 00 00 00 00 00 00 01 02 00 00 00", "impossible"),
        ("02 02 24 02 00 00 00 00 00 00 00 00 00 02 00 01 00", "an unknown sum"),
    ],
)
def test_headers_that_cannot_be(head: str, says: str) -> None:
    data = b"IOTB" + bytes.fromhex(head)
    with pytest.raises(CorruptBlockError, match=says):
        read_header(data + checksum(data))


def test_what_follows_a_block_without_payload() -> None:
    for block in (encode_block(np.full(5, 3)), encode_block(np.empty(0))):
        with pytest.raises(CorruptBlockError, match="1 bytes of payload"):
            decode_block(block + b"\0")


def test_the_longest_header() -> None:
    values = (-math.pi, math.pi * 1e9, math.e, math.e)
    low, high, first, last = values
    statistics = BlockStatistics(MAX_ROWS - 2**14, 2**14, low, high, math.pi, math.e, first, last)
    block = join_frame(np.dtype("float64"), statistics, (0, 0, 0), bytes(2**22))
    assert read_header(block[:HEADER_BYTES]).size <= HEADER_BYTES
    assert read_header(block).payload_bytes == 2**22


def _complete(block: bytes) -> bool:
    """Tell whether the payload can be read behind a header of version 1."""
    header = read_header(block)
    return header.payload_bytes > 0 and not header.entropy & INHERITED


@pytest.mark.parametrize("block", [block for block in HEADERS if _complete(block)])
def test_both_versions_say_the_same(block: bytes) -> None:
    old = as_version_1(block)
    one, two = read_header(old[:HEADER_BYTES]), read_header(block)
    told = replace(one, version=2, size=two.size, scale=two.scale)
    assert repr(told) == repr(two)
    assert same_bits(decode_block(old).values, decode_block(block).values)
    for size in range(one.size):
        with pytest.raises(CorruptBlockError, match="cut short"):
            read_header(old[:size])


def test_constants_by_hand() -> None:
    block = join_constant(np.dtype("int16"), 3, 0xFFFE)
    assert block.hex(" ", 1).startswith("49 4f 54 42 02 03 02 03 03")
    assert decode_block(block).values.tolist() == [-2, -2, -2]
