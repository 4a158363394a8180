"""Statistics of whole numbers are exact, and counted in a scale they come back the same."""

from __future__ import annotations

import struct
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import HEADER_BYTES, read_header
from pipeline.codecs.frame import (
    DTYPE_CODES,
    MAX_ROWS,
    BlockHeader,
    BlockStatistics,
    join_frame,
    parse_header,
)
from pipeline.codecs.statistics import block_statistics
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import DTYPE_NAMES, LONG, bits_column, walk
from tests.codecs.block_frames import checksum

INTEGERS = tuple(name for name in DTYPE_NAMES if "int" in name)
START = 1_700_000_000_000_000 // 3_600_000_000 * 3_600_000_000
PAYLOAD = b"nobody looks at this"


def bits(statistics: BlockStatistics) -> list[object]:
    """Statistics as something that tells zeros and NaNs apart."""
    fields = astuple(statistics)
    return [struct.pack("<d", x) if isinstance(x, float) else x for x in fields]


def stored(dtype: str, statistics: BlockStatistics, scale: int) -> BlockHeader:
    """Write a header, check that its statistics come back, and return it."""
    block = join_frame(np.dtype(dtype), statistics, (3, 1, 4), PAYLOAD, scale=scale)
    header = read_header(block[:HEADER_BYTES])
    assert bits(header.statistics) == bits(statistics)
    assert header.size == len(block) - len(PAYLOAD) <= HEADER_BYTES
    assert header.scale in (1, scale)
    return header


@st.composite
def multiples(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.bool_] | None, int]:
    """Whole numbers that are multiples of a scale apart, some of them missing."""
    dtype = draw(st.sampled_from(INTEGERS))
    info = np.iinfo(dtype)
    scale = draw(st.integers(1, info.max // 4) | st.sampled_from((1, 5, 10, 60, 100)))
    low = draw(st.integers(info.min, info.max - scale) | st.just(info.max // scale // 2 * scale))
    most = (info.max - low) // scale
    steps = st.integers(0, most) | st.integers(0, min(3, most))
    values = np.array([low + k * scale for k in draw(st.lists(steps, min_size=1))], dtype)
    valid = draw(st.none() | st.lists(st.booleans(), min_size=values.size, max_size=values.size))
    return values, None if valid is None else np.array(valid, np.bool_), scale


@given(multiples())
def test_statistics_in_a_scale_come_back(
    column: tuple[NDArray[Any], NDArray[np.bool_] | None, int],
) -> None:
    values, valid, scale = column
    statistics = block_statistics(values, valid)
    if statistics.count:
        stored(str(values.dtype), statistics, scale)


@given(multiples())
def test_sums_of_whole_numbers_are_exact(
    column: tuple[NDArray[Any], NDArray[np.bool_] | None, int],
) -> None:
    values, valid, _ = column
    assert_exact(values, valid)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_sums_of_any_bits_are_exact(dtype: str) -> None:
    gaps = np.arange(3000) % 7 != 2
    for valid in (None, gaps):
        assert_exact(bits_column(3000, dtype), valid)
        assert_exact(
            np.repeat(np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype), 1500), valid
        )
        assert_exact(walk(3000, dtype), valid)


def assert_exact(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
    found = block_statistics(values, valid)
    rows = (values if valid is None else values[valid]).tolist()
    if rows:
        total = sum(rows)
        assert found.sum == float(total)
        assert found.m2 == (len(rows) * sum(x * x for x in rows) - total * total) / len(rows)


@given(
    st.sampled_from(DTYPE_NAMES), st.data(),
    st.integers(1, 40) | st.integers(1, 2**70), st.integers(1, 1000),
)  # fmt: skip
def test_a_scale_that_does_not_fit_does_no_harm(
    dtype: str, data: st.DataObject, scale: int, count: int
) -> None:
    whole = st.integers(0, 1) if dtype == "bool" else st.integers(0, 100)
    real = st.floats(-9, 9, width=32)
    values: st.SearchStrategy[Any] = real if "float" in dtype else whole
    low, first, last, high = sorted(data.draw(st.lists(values, min_size=4, max_size=4)))
    sums = st.floats() | st.integers(0, 2**40).map(float) | st.integers(0, 2**80).map(float)
    total, m2 = data.draw(sums), data.draw(sums)
    statistics = BlockStatistics(count, 0, low, high, total, m2, first, last)
    header = stored(dtype, statistics, scale)
    if "int" not in dtype or (high - low) % scale or (first - low) % scale or low == high:
        assert header.scale == 1 or dtype == "bool"


def nearly_regular(step: int, rows: int = LONG) -> NDArray[np.int64]:
    """Times of one device that sometimes misses a reading."""
    steps = 1 + (np.random.default_rng(8).random(rows) < 0.002)
    return START + np.cumsum(steps) * step


def fleet(step: int, devices: int = 8) -> NDArray[np.int64]:
    """Times of some devices that begin and end at different times, sorted by device."""
    rng = np.random.default_rng(9)
    rows = LONG // devices
    return np.concatenate(
        [nearly_regular(step, rows) + rng.integers(0, 99) * step for _ in range(devices)]
    )


@pytest.mark.parametrize("seconds", [1, 10, 60, 300, 3600])
def test_times_have_short_headers(seconds: int) -> None:
    step = seconds * 1_000_000
    for values in (nearly_regular(step), fleet(step)):
        statistics = block_statistics(values, None)
        header = stored("int64", statistics, step)
        assert header.scale == step
        assert header.size <= 42
        assert stored("int64", statistics, 1).size > header.size


def test_times_off_the_scale() -> None:
    values = nearly_regular(1_000_000) + 123_456
    assert stored("int64", block_statistics(values, None), 1_000_000).size <= 46


def test_the_scale_may_be_known_of_present_rows_only() -> None:
    values, valid = nearly_regular(1000, 500), np.arange(500) % 9 != 4
    values[~valid] = 77
    header = stored("int64", block_statistics(values, valid), 1000)
    assert (header.scale, header.statistics.missing) == (1000, 56)


def scaled_headers() -> list[bytes]:
    columns = (
        nearly_regular(60_000_000, 90),
        fleet(1_000_000, 8)[:900],
        nearly_regular(50, 90) + 7,
    )
    return [
        join_frame(values.dtype, block_statistics(values, None), (0, 0, 0), b"", scale=scale)
        for values, scale in zip(columns, (60_000_000, 1_000_000, 50), strict=True)
    ]


HEADERS = scaled_headers()


@pytest.mark.parametrize("head", HEADERS)
def test_damage_is_noticed(head: bytes) -> None:
    assert read_header(head).scale > 1
    for size in range(len(head)):
        with pytest.raises(CorruptBlockError):
            read_header(head[:size])
    for bit in range(8 * len(head)):
        damaged = bytearray(head)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptBlockError):
            read_header(bytes(damaged))


def harmless(head: bytes) -> None:
    try:
        header = parse_header(memoryview(head + checksum(head)))
    except CorruptBlockError:
        return
    assert 0 <= header.rows <= MAX_ROWS
    if header.statistics.count:
        found = header.statistics
        np.array([found.min, found.max, found.first, found.last], header.dtype)
        assert isinstance(found.sum, float)
        assert isinstance(found.m2, float)


@pytest.mark.parametrize("head", HEADERS)
def test_forged_headers_do_no_harm(head: bytes) -> None:
    for at in range(5, len(head) - 4):
        for damage in range(1, 256):
            forged = bytearray(head[:-4])
            forged[at] ^= damage
            harmless(bytes(forged))


@given(
    st.sampled_from(sorted(DTYPE_CODES.values())),
    st.sampled_from((0, 32, 64, 96, 128)),
    st.sampled_from((4, 5, 52, 68, 84, 116, 117, 180, 196, 244)),
    st.lists(st.integers(0, 8) | st.integers(0, 255), max_size=60),
)
def test_random_headers_do_no_harm(code: int, more: int, flags: int, rest: list[int]) -> None:
    for size in range(len(rest)):
        harmless(bytes((*b"IOTB", 2, code | more, flags, *rest[:size])))


COUNTED = "02 00 00 00 00 00 00 00 00"
"""Two rows, stages, no payload."""


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (f"05 74 {COUNTED} 00 00 01 00 00 00", "scale of 0"),
        (f"05 74 {COUNTED} 0f 00 01 00 00 00", "scale of 0"),
        (f"05 74 {COUNTED} 10 00 01 00 00 00", "scale of 1:"),
        (f"05 74 {COUNTED} ff ff ff ff ff ff ff ff ff 01 00 01 00", "scale of 1152921504606846975"),
        (f"02 74 {COUNTED} 20 00 40 00 00 00 00", "lie within 0 and 0|within 0 and 128"),
        (f"05 f4 {COUNTED} 1f ff ff ff ff 0f 01 00 00 00", "impossible"),
        (f"09 74 {COUNTED} 20 ff ff ff ff ff ff ff ff ff 01 01 00 00 00", "impossible"),
        (f"05 74 {COUNTED} 20 00 01 00 02 00", "0 and 4 lie within 0 and 2"),
        (f"11 74 {COUNTED} 20 00 00 00", "flags 116"),
        (f"05 b4 {COUNTED} 00 00", "flags 180"),
        (f"05 7c {COUNTED} 00 00", "flags 124"),
        (f"25 3c {COUNTED} 00 00", "flags 316"),
        (f"45 04 {COUNTED} 00 00", "flags 516"),
        (f"85 04 {COUNTED} 00 00", "flags 1028"),
        (f"51 34 {COUNTED} 00 00", "flags 564"),
        (f"05 64 {COUNTED} 20 00 02 00 02 00", "an unknown sum"),
        (f"45 74 {COUNTED} 20 00 02 00 02 05 00", "add up to -1"),
        (f"45 74 {COUNTED} 20 00 02 00 02 00 05", "squared deviations of -1"),
    ],
)
def test_headers_that_cannot_be(head: str, says: str) -> None:
    data = b"IOTB\x02" + bytes.fromhex(head)
    with pytest.raises(CorruptBlockError, match=says):
        read_header(data + checksum(data))


def test_a_scale_by_hand() -> None:
    data = b"IOTB\x02" + bytes.fromhex(f"65 f4 {COUNTED} 16 04 01 00")
    header = read_header(data + checksum(data))
    assert header.scale == 1_000_000
    assert header.statistics == BlockStatistics(
        2, 0, 2_000_000, 3_000_000, 5e6, 5e11, 2_000_000, 3_000_000
    )
