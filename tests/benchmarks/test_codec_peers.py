"""Sizes of the peers: the models against examples worked out by hand, and plain packing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs.zstd import compress
from numpy.typing import NDArray

from pipeline.errors import MissingDependencyError
from tests.benchmarks.codec_columns import Block, check_same
from tests.benchmarks.codec_columns_synthetic import synthetic_columns
from tests.benchmarks.codec_gorilla import delta_of_delta_bits, gorilla_bits, xor_bits
from tests.benchmarks.codec_parquet import encodings, parquet_size
from tests.benchmarks.codec_peers import (
    PEERS,
    blosc2_size,
    doubledelta_size,
    gorilla_size,
    second_differences,
    zstd_size,
)
from tests.benchmarks.codec_sides import OURS, PCODEC8, PCODEC12, bitmap_bytes, needed, stages_text

RANDOM = np.random.default_rng(7)


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([12.0], 64),
        ([12.0, 12.0], 64 + 1),
        # 12 ^ 24 is 0x0010 and zeros: 11 leading, one meaningful bit.
        ([12.0, 24.0], 64 + 2 + 5 + 6 + 1),
        # 24 ^ 15 is 0x0016: 4 meaningful bits, which stick out of the window below.
        ([12.0, 24.0, 15.0], 78 + 2 + 5 + 6 + 4),
        # 15 ^ 12 is 0x0006: it lies in the window, of 4 bits.
        ([12.0, 24.0, 15.0, 12.0], 95 + 2 + 4),
        # The window is not forgotten over an equal value.
        ([12.0, 24.0, 15.0, 15.0, 12.0], 95 + 1 + 2 + 4),
    ],
)
def test_bits_of_the_xor_scheme(values: list[float], bits: int) -> None:
    assert xor_bits(np.array(values)) == gorilla_bits(np.array(values)) == bits


def test_the_xor_scheme_has_narrower_fields_for_narrower_floats() -> None:
    # 12 ^ 24 is 0x00800000 in 32 bits, 8 leading zeros.
    assert xor_bits(np.array([12.0, 24.0], np.float32)) == 32 + 2 + 5 + 5 + 1


def plain_xor_bits(values: NDArray[np.float64]) -> int:
    """Count the bits of the XOR scheme step by step."""
    words = values.view(np.uint64).tolist()
    bits, window = 64, None
    for before, word in pairwise(words):
        text = f"{before ^ word:064b}"
        if "1" not in text:
            bits += 1
            continue
        leading, trailing = min(text.index("1"), 31), len(text) - 1 - text.rindex("1")
        if window is None or leading < window[0] or trailing < window[1]:
            window = (leading, trailing)
            bits += 5 + 6
        bits += 2 + 64 - sum(window)
    return bits


@given(st.lists(st.sampled_from([0.0, 1.0, 1.5, 20.1, 20.2, -7.0, 1e-300, 1e300, float("inf")])))
def test_the_xor_scheme_counts_as_if_it_packed(values: list[float]) -> None:
    array = np.array([0.25, *values])
    assert xor_bits(array) == plain_xor_bits(array)


def test_the_xor_scheme_counts_long_columns_as_if_it_packed() -> None:
    for values in (RANDOM.normal(0, 1, 3000), np.rint(RANDOM.normal(0, 20, 3000)) / 10):
        assert xor_bits(values) == plain_xor_bits(values)


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([5], 64),
        ([5, 5, 5], 64 + 1 + 1),
        # In units of 60: the first delta is 1, then nothing changes.
        ([0, 60, 120, 180], 64 + 9 + 1 + 1),
        # Deltas 1, 65, 66; of deltas 1, 64, 1.
        ([0, 1, 66, 132], 64 + 9 + 9 + 9),
        # Deltas 1, 66: 65 is beyond 7 bits. Deltas 1, -62: -63 is not.
        ([0, 1, 67], 64 + 9 + 12),
        ([0, 1, -61], 64 + 9 + 9),
        # 257 is beyond 9 bits, 2049 beyond 12.
        ([0, 1, 259], 64 + 9 + 16),
        ([0, 1, 2051], 64 + 9 + 36),
        ([0, 1, 2**40], 64 + 9 + 68),
    ],
)
def test_bits_of_the_scheme_of_deltas_of_deltas(values: list[int], bits: int) -> None:
    assert delta_of_delta_bits(np.array(values)) == gorilla_bits(np.array(values)) == bits


def test_the_first_of_narrow_integers_is_narrow() -> None:
    assert delta_of_delta_bits(np.array([4, 4, 4], np.int8)) == 8 + 2
    assert delta_of_delta_bits(np.array([True, True])) == 8 + 1


def test_bits_are_rounded_up_to_bytes_a_block() -> None:
    assert gorilla_size([Block(np.array([5, 5, 5]))] * 2) == 2 * 9


@pytest.mark.parametrize(
    ("values", "zigzag"),
    [
        # First the value, then the first delta less the value, then deltas of deltas.
        ([10, 12, 14, 15], [20, 15, 0, 1]),
        ([0, -1, 0], [0, 1, 4]),
    ],
)
def test_second_differences_worked_out_by_hand(values: list[int], zigzag: list[int]) -> None:
    for dtype in (np.int8, np.int32, np.int64):
        assert second_differences(np.array(values, dtype)).tolist() == zigzag


@pytest.mark.parametrize("dtype", ["i1", "i8", "f4", "f8"])
def test_second_differences_lose_nothing_where_they_wrap(dtype: str) -> None:
    bits = RANDOM.integers(0, 256, 800, np.uint8).view(dtype)
    zigzag = second_differences(bits)
    second = (zigzag >> 1) ^ (np.zeros_like(zigzag) - (zigzag & 1))
    back = np.cumsum(np.cumsum(second, dtype=zigzag.dtype), dtype=zigzag.dtype)
    assert back.tobytes() == bits.tobytes()


def test_double_delta_shuffles_bytes_where_that_is_smaller() -> None:
    steps = RANDOM.integers(-2000, 2000, 5000)
    block = Block(np.cumsum(np.cumsum(steps)))
    zigzag = second_differences(block.values)
    shuffled = np.ascontiguousarray(zigzag.view(np.uint8).reshape(-1, 8).T)
    sizes = [len(compress(zigzag, 9)), len(compress(shuffled, 9))]
    assert sizes[1] < sizes[0]
    assert doubledelta_size([block]) == sizes[1]


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_has_a_size_for_every_kind_of_column(name: str) -> None:
    for column in synthetic_columns(2000):
        blocks = column.blocks(1500)
        size = PEERS[name](blocks)
        assert 0 < size <= 1.4 * column.values.nbytes + 1000, column.name


@pytest.mark.parametrize("name", PEERS)
def test_blocks_without_any_value_have_a_size(name: str) -> None:
    assert 0 < PEERS[name]([Block(np.zeros(100), np.zeros(100, np.bool_))]) < 1000


def test_missing_rows_cost_peers_without_them_a_bitmap() -> None:
    values = RANDOM.normal(0, 1, 4000)
    valid = RANDOM.random(4000) < 0.5
    bitmap = len(bitmap_bytes(Block(values, valid)))
    assert 400 < bitmap < 600
    for size in (zstd_size, blosc2_size, doubledelta_size, gorilla_size):
        assert size([Block(values, valid)]) == size([Block(values[valid])]) + bitmap


def test_parquet_stores_runs_in_few_bytes_and_tries_what_the_type_allows() -> None:
    assert parquet_size([Block(np.zeros(60_000, np.int64))]) < 400
    tried = {way.get("column_encoding", {}).get("v") for way in encodings(pa.int64())}
    assert tried == {None, "PLAIN", "BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED"}
    assert {"v": "RLE"} in [way.get("column_encoding") for way in encodings(pa.bool_())]


def test_nan_is_a_value_to_parquet() -> None:
    with_nan = np.where(RANDOM.random(4000) < 0.5, np.nan, RANDOM.normal(0, 1, 4000))
    valid = ~np.isnan(with_nan)
    assert parquet_size([Block(with_nan)]) != parquet_size([Block(with_nan, valid)])


BLOCKS: list[Block] = [block for column in synthetic_columns(1000) for block in column.blocks(1000)]
ODD: list[tuple[Any, Any]] = [
    (np.zeros(50), np.zeros(50, np.bool_)),
    (np.array([np.nan, -0.0, np.inf]), None),
    (np.array([True, False, True]), np.array([True, True, False])),
]


@pytest.mark.parametrize("side", [OURS, PCODEC8, PCODEC12], ids=lambda side: side.name)
def test_sides_give_back_what_they_were_given(side: Any) -> None:
    for block in [*BLOCKS, *(Block(values, valid) for values, valid in ODD)]:
        kept = side.encode(block)
        assert side.size(kept) > 0
        check_same(side.name, "any", block, side.decode(kept))


def test_stages_are_told_in_a_line() -> None:
    text = stages_text(OURS.encode(Block(np.arange(100) / 10)))
    assert text
    assert "\n" not in text


def test_a_library_that_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(MissingDependencyError, match=r"needs no_such_library.*'bench'"):
        needed("no_such_library.part")
