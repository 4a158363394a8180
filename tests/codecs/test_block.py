"""Blocks bring back every bit, whatever the column."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from pipeline.codecs.block import HEADER_BYTES, decode_block, describe, encode_block, read_header
from pipeline.codecs.frame import MAX_ROWS
from pipeline.errors import InvalidInputError
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

RAW_OVERHEAD = 20


def assert_round_trip(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> bytes:
    block = encode_block(values, valid)
    decoded = decode_block(block)
    native = values.astype(values.dtype.newbyteorder("="))
    if valid is None or valid.all():
        assert decoded.valid is None
        assert same_bits(decoded.values, native)
        return block
    assert decoded.valid is not None
    assert np.array_equal(decoded.valid, valid)
    assert same_bits(decoded.values[valid], native[valid])
    missing = np.full(int((~valid).sum()), fill_value(native.dtype), native.dtype)
    assert same_bits(decoded.values[~valid], missing)
    return block


@given(any_column())
def test_any_column_comes_back_bit_for_bit(
    column: tuple[NDArray[Any], NDArray[np.bool_] | None],
) -> None:
    values, valid = column
    block = assert_round_trip(values, valid)
    masks = 0 if valid is None else values.size // 8 + RAW_OVERHEAD
    assert len(block) <= HEADER_BYTES + values.nbytes + RAW_OVERHEAD + masks


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 8, 9, 300])
def test_every_dtype_and_length(dtype: str, rows: int) -> None:
    assert_round_trip(bits_column(rows, dtype))
    assert_round_trip(walk(rows, dtype))


@pytest.mark.parametrize("dtype", ["int16", "uint64", "float64"])
def test_lengths_around_the_sample(dtype: str) -> None:
    for rows in (4096, 4097):
        assert_round_trip(bits_column(rows, dtype))
        assert_round_trip(walk(rows, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_that_compare_oddly(dtype: str) -> None:
    values = hard_floats(dtype)
    assert_round_trip(values)
    assert_round_trip(np.tile(values, 20))
    for value in values:
        assert_round_trip(np.full(5, value, dtype))
        column = sensor(400).astype(dtype)
        column[[0, 1, 17, 200, 399]] = value
        assert_round_trip(column)


@pytest.mark.parametrize("dtype", [name for name in DTYPE_NAMES if "int" in name])
def test_integers_at_the_ends_of_their_range(dtype: str) -> None:
    info = np.iinfo(dtype)
    ends = np.array([info.min, info.max], dtype)
    near = np.array([info.min, info.min + 1, info.max - 1, info.max, 0, 1], dtype)
    assert_round_trip(np.tile(ends, 50))
    assert_round_trip(np.repeat(ends, 50))
    assert_round_trip(np.tile(near, 40))
    assert_round_trip(np.concatenate((np.arange(90, dtype=dtype), ends, near)))


def test_mixed_magnitudes_of_floats() -> None:
    assert_round_trip(np.tile([1e308, 1e-308, 20.5, -1e308], 100))
    assert_round_trip(np.tile([1e15 + 0.5, 0.1], 100))
    assert_round_trip(np.array([2.0**53, 2.0**53 + 2, 0.1, -(2.0**60)]))
    assert_round_trip(np.tile(np.array([3e38, 1e-45, 0.1], np.float32), 100))


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_missing_rows_read_as_the_fill_value(dtype: str) -> None:
    rng = np.random.default_rng(11)
    values = walk(1000, dtype)
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 1.0):
        assert_round_trip(values, rng.random(1000) >= share)
    gap = np.ones(1000, np.bool_)
    gap[300:650] = False
    assert_round_trip(values, gap)


def test_missing_rows_cost_next_to_nothing() -> None:
    values = sensor(1000)
    valid = np.ones(1000, np.bool_)
    valid[200:500] = False
    garbage = np.where(valid, values, np.random.default_rng(2).normal(size=1000))
    assert len(encode_block(garbage, valid)) < len(encode_block(values))
    assert len(encode_block(values, np.zeros(1000, np.bool_))) < HEADER_BYTES + 20


def test_a_validity_that_hides_nothing_costs_nothing() -> None:
    values = sensor(500)
    assert encode_block(values, np.ones(500, np.bool_)) == encode_block(values)


def test_nan_rows_are_values_and_cheap() -> None:
    values = sensor(2000)
    values[np.random.default_rng(4).random(2000) < 0.3] = np.nan
    block = assert_round_trip(values)
    assert describe(block)["stages"]["transform"].startswith("Decimal")
    assert len(block) < HEADER_BYTES + 2000 // 8 + 1000 + 40


def test_fill_values_within_integers_do_not_spoil_the_rest() -> None:
    values = walk(2000, "int64")
    plain = read_header(assert_round_trip(values)).payload_bytes
    values[100:160] = fill_value(values.dtype)
    assert read_header(assert_round_trip(values)).payload_bytes < plain + 60
    assert_round_trip(np.full(70, fill_value(values.dtype)))


def test_any_layout_of_memory() -> None:
    values = sensor(600)
    assert_round_trip(values[::3])
    assert_round_trip(values[::-1])
    assert_round_trip(values.astype(">f8"))
    assert_round_trip(times(2, 100).astype(">i8"))
    shifted = np.frombuffer(b"\0" + values.tobytes(), np.uint8)[1:].view(np.float64)
    assert not shifted.flags.aligned
    assert_round_trip(shifted)


def test_decoded_rows_belong_to_the_caller() -> None:
    for values in (sensor(50), times(1, 50), bits_column(50, "int64"), walk(50, "int8")):
        decoded = decode_block(encode_block(values))
        decoded.values[:] = 1


def test_every_form_of_buffer_decodes() -> None:
    values = sensor(100)
    block = encode_block(values)
    for data in (
        block,
        memoryview(block),
        memoryview(bytearray(block)),
        np.frombuffer(block, np.uint8),
    ):
        assert same_bits(decode_block(data).values, values)
        assert read_header(data).rows == 100


@pytest.mark.parametrize(
    ("values", "valid"),
    [
        (np.zeros((2, 2)), None),
        (np.zeros(3, np.complex128), None),
        (np.zeros(3, np.float16), None),
        (np.zeros(3, "datetime64[us]"), None),
        (np.zeros(MAX_ROWS + 1, np.int8), None),
        (np.zeros(3), np.ones(2, np.bool_)),
        (np.zeros(3), np.ones(3, np.int8)),
    ],
)
def test_columns_that_no_block_holds(values: NDArray[Any], valid: NDArray[Any] | None) -> None:
    with pytest.raises(InvalidInputError, match=r"block holds|validity"):
        encode_block(values, valid)


def test_the_longest_block() -> None:
    values = np.zeros(MAX_ROWS, np.int8)
    block = encode_block(values)
    assert len(block) < 100
    assert same_bits(decode_block(block).values, values)


def test_threads_share_nothing() -> None:
    columns = [sensor(LONG, seed=seed) for seed in range(4)] + [times(5, LONG // 5)] * 2
    expected = [encode_block(column) for column in columns]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(encode_block, columns)) == expected
        decoded = list(pool.map(decode_block, expected))
    assert all(same_bits(d.values, column) for d, column in zip(decoded, columns, strict=True))


def test_importing_loads_no_compiler() -> None:
    script = (
        "import sys, pipeline.codecs.block, pipeline.codecs.zarr_block\n"
        "assert 'numba' not in sys.modules and 'llvmlite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_describe_tells_what_is_stored() -> None:
    told = describe(encode_block(sensor(1000)))
    assert told["rows"] == 1000
    assert told["dtype"] == "float64"
    assert told["bytes"] == told["header_bytes"] + sum(told["section_bytes"].values()) + 1
    long = describe(encode_block(sensor(LONG)))
    assert set(long["section_bytes"]) == {"pieces", "values"}
    assert told["stages"]["transform"] == "Decimal(exponent=1, single=False)"
    assert told["stages"]["entropy"] == "bins"
    assert told["statistics"]["count"] == 1000
    dictionary = describe(encode_block(np.tile([0.123456789, 777.1, -3e9 / 7], 300)))
    assert dictionary["stages"]["transform"].startswith("Dictionary(")
    assert dictionary["stages"]["transform"].endswith(", 3 entries)")
    assert describe(encode_block(np.empty(0)))["stages"] == {}


def test_describe_tells_why() -> None:
    block = encode_block(sensor(1000))
    assert "considered" not in describe(block)
    told = describe(block, why=True)["considered"]
    assert told["chosen"] == {key: describe(block)["stages"][key] for key in told["chosen"]}
    assert told["transforms"]["Decimal(exponent=1, single=False)"] == min(
        told["transforms"].values()
    )
    assert min(told["predictors"], key=told["predictors"].get) == told["chosen"]["predictor"]
    assert min(told["stages"], key=told["stages"].get) == told["chosen"]["entropy"] == "bins"
    repeated = describe(encode_block(np.repeat(np.arange(50) % 7, 90)), why=True)["considered"]
    assert repeated["stages"]["runs"] == min(repeated["stages"].values())
    assert describe(encode_block(np.empty(0)), why=True)["considered"] == {"chosen": {}}
