"""Transforms for floats that were computed or printed: exact, specified, and safe to read."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import (
    DECIMALS,
    MAX_STEPS,
    OVER,
    PLUS,
    SIGNIFICANT,
    SINGLE,
    TIMES,
    Arithmetic,
    Step,
)
from pipeline.codecs.block import decode_block, encode_block
from pipeline.codecs.cursor import Cursor, sized
from pipeline.codecs.entropy import VARINTS
from pipeline.codecs.mappings import map_arithmetic, map_decimal, map_dictionary, map_significant
from pipeline.codecs.sections import apply_corrections, write_corrections
from pipeline.codecs.significant import Significant
from pipeline.codecs.streams import write_nested
from pipeline.codecs.transforms import MendedDictionary, read_transform
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import assemble, forced, hard_floats, same_bits, sensor, walk

FLOAT64 = np.dtype(np.float64)

finite = st.floats(allow_nan=False, allow_infinity=False).filter(bool)
steps = st.one_of(
    st.builds(Step, st.sampled_from((TIMES, OVER, PLUS)), finite),
    st.builds(Step, st.just(DECIMALS), st.integers(0, 22).map(float)),
    st.builds(Step, st.just(SIGNIFICANT), st.integers(1, 17).map(float)),
    st.just(Step(SINGLE)),
)
numbers = hnp.arrays(np.int64, st.integers(1, 40)) | hnp.arrays(
    np.int64, st.integers(1, 40), elements=st.integers(-(10**6), 10**6)
)


def by_the_book(number: int, way: tuple[Step, ...]) -> float:
    """Take one number through the steps in Python's floats, as their table says."""
    value = float(number)
    for step in way:
        if step.kind == TIMES:
            value *= step.parameter
        elif step.kind == OVER:
            value /= step.parameter
        elif step.kind == PLUS:
            value += step.parameter
        elif step.kind == SINGLE:
            with np.errstate(over="ignore"):
                value = float(np.float32(value))
        else:
            value = rounded(value, step)
    return value


def rounded(value: float, step: Step) -> float:
    exponent = int(step.parameter)
    if step.kind == SIGNIFICANT:
        tens = [float(f"1e{power}") for power in range(-30, 41)]
        if not tens[0] <= abs(value) < tens[-1]:
            return value
        exponent -= 1 + max(at for at, ten in enumerate(tens) if ten <= abs(value)) - 30
    if not -22 <= exponent <= 22:
        return value
    power = float(10 ** abs(exponent))
    scaled = value * power if exponent >= 0 else value / power
    whole = scaled if math.isinf(scaled) else math.copysign(float(round(scaled)), scaled)
    return whole / power if exponent >= 0 else whole * power


@given(numbers, st.lists(steps, max_size=MAX_STEPS).map(tuple))
def test_arithmetic_does_what_its_table_says(
    column: NDArray[np.int64], way: tuple[Step, ...]
) -> None:
    values = Arithmetic(way).inverse(column.view(np.uint64), FLOAT64)
    expected = [by_the_book(number, way) for number in column.tolist()]
    assert same_bits(values, np.array(expected))


@given(st.lists(steps, max_size=MAX_STEPS).map(tuple))
def test_arithmetic_is_read_as_it_was_written(way: tuple[Step, ...]) -> None:
    cursor = Cursor(memoryview(Arithmetic(way).write()))
    assert read_transform(Arithmetic.id, cursor, 5, FLOAT64) == Arithmetic(way)
    cursor.finish()


@given(st.integers(1, 17), st.integers(0, 22), hnp.arrays(np.int64, st.integers(1, 40)))
def test_significant_digits_are_those_of_the_printed_numbers(
    digits: int, exponent: int, raw: NDArray[np.int64]
) -> None:
    transform, unit = Significant(digits, exponent), 10 ** (digits - 1)
    last = 10 * unit + 9 * unit * (exponent + 22)
    column = np.concatenate((raw, raw % last, [0, unit, 10 * unit - 1, 10 * unit, last - 1]))
    expected = []
    for number in column.tolist():
        size, decade = abs(number), 0
        if size >= 10 * unit:
            decade = (size - 10 * unit) // (9 * unit) + 1
            size = unit + (size - 10 * unit) % (9 * unit)
        power = float(10 ** abs(exponent - decade)) if decade <= exponent + 22 else math.nan
        value = float(size) / power if decade <= exponent else float(size) * power
        expected.append(-value if number < 0 else value)
    values = transform.inverse(column.view(np.uint64), FLOAT64)
    assert np.array_equal(values, expected, equal_nan=True)
    if digits <= 15:
        real = np.abs(column.astype(object)) < last
        assert np.array_equal(transform.forward(values[real]), column[real])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
@np.errstate(all="ignore")  # as encoding and decoding do: signalling NaN warn when they are cast
def test_mappings_list_all_that_they_do_not_bring_back(dtype: str, data: st.DataObject) -> None:
    words = hnp.arrays(f"u{np.dtype(dtype).itemsize}", st.integers(1, 30))
    hard = data.draw(words).view(dtype)
    easy = (data.draw(hnp.arrays(np.int32, 10)) / 60).astype(dtype)
    values = np.concatenate((hard, easy, hard_floats(dtype)))
    way = data.draw(st.lists(steps, max_size=3).map(tuple))
    for mapped in (
        map_arithmetic(values, Arithmetic(way), 1.0),
        map_arithmetic(values, Arithmetic((Step(OVER, 60.0),)), 1.0),
        map_significant(values, Significant(7, 3), 1.0),
    ):
        assert mapped is not None
        back = mapped.transform.inverse(mapped.numbers.view(np.uint64), values.dtype)
        right = np.delete(np.arange(values.size), mapped.misfits)
        assert same_bits(back[right], values[right])
        if mapped.misfits.size:
            apply_corrections(
                Cursor(
                    memoryview(write_corrections(values, back, np.arange(values.size), values.size))
                ),
                back,
            )
        assert same_bits(back, values)


def test_rows_far_off_hold_their_neighbours_number() -> None:
    values = np.array([np.nan, 7e300, 2.0, 3.0, np.inf, 0.1, 4.0, 5.0 + 1e-9])
    mapped = map_arithmetic(values, Arithmetic((Step(OVER, 2.0),)), 1.0)
    assert mapped is not None
    assert mapped.numbers.tolist() == [4, 4, 4, 6, 6, 6, 8, 10]
    assert mapped.misfits.tolist() == [0, 1, 4, 5, 7]
    assert map_arithmetic(values, Arithmetic((Step(OVER, 2.0),)), 0.5) is None
    assert map_significant(np.full(4, np.nan), Significant(6, 2), 0.5) is None


def test_decimals_far_off_hold_their_neighbours_number() -> None:
    values = np.array([np.nan, 7e300, 0.5, -0.0, np.inf, 0.7000001, 0.4])
    mapped = map_decimal(values, 1, False, 1.0)
    assert mapped is not None
    assert mapped.numbers.tolist() == [5, 5, 5, 0, 0, 7, 4]
    assert mapped.misfits.tolist() == [0, 1, 3, 4, 5]
    noisy = np.nextafter(np.arange(1, 50) / 10, 99)
    shifted = map_decimal(noisy, 1, False, 1.0)
    assert shifted is not None
    assert shifted.numbers.tolist() == list(range(1, 50))
    assert shifted.misfits.size == 49
    assert map_decimal(np.full(3, np.nan), 1, False, 1.0) is not None


def test_one_misfit_does_not_spoil_the_entries_of_a_dictionary() -> None:
    levels = np.round(np.random.default_rng(5).normal(0, 500, 400), 3)
    values = levels[np.random.default_rng(6).integers(0, 400, 3000)]
    plain = len(encode_block(values))
    values[[5, 80, 900]] = [-0.0, np.inf, np.pi]
    block = encode_block(values)
    assert same_bits(decode_block(block).values, values)
    assert len(block) < plain + 100


def test_rounding_errors_everywhere_cost_bits() -> None:
    exact = np.cumsum(np.random.default_rng(1).integers(-4, 5, 20_000)) / 10.0 + 900.0
    noisy = exact + np.random.default_rng(2).integers(-1, 2, exact.size) * np.spacing(exact)
    assert len(encode_block(noisy)) < len(encode_block(exact)) + 0.3 * exact.size
    assert same_bits(decode_block(encode_block(noisy)).values, noisy)


def test_corrections_of_every_row_come_back() -> None:
    values = sensor(500)
    for share in (1, 2, 100):
        restored = values.copy()
        restored[::share] += 1e-9
        body = write_corrections(values, restored, np.arange(values.size), values.size)
        cursor = Cursor(memoryview(body))
        apply_corrections(cursor, restored)
        cursor.finish()
        assert same_bits(restored, values)


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        bytes((MAX_STEPS + 1,)),
        b"\x01",
        b"\x01\x00",
        b"\x01\x07",
        b"\x01\x04\x17",
        b"\x01\x05\x00",
        b"\x01\x05\x12",
        b"\x01\x01" + bytes(7),
        b"\x01\x01" + struct.pack("<d", math.nan),
        b"\x01\x03" + struct.pack("<d", math.inf),
        b"\x01\x02" + struct.pack("<d", 0.0),
        b"\x02\x06\x02" + struct.pack("<d", -0.0),
    ],
)
def test_arithmetic_that_cannot_be(parameters: bytes) -> None:
    with pytest.raises(CorruptBlockError):
        read_transform(Arithmetic.id, Cursor(memoryview(parameters)), 9, FLOAT64)


@pytest.mark.parametrize("parameters", [b"", b"\x06", b"\x00\x05", b"\x12\x05", b"\x06\x17"])
def test_significant_digits_that_cannot_be(parameters: bytes) -> None:
    with pytest.raises(CorruptBlockError):
        read_transform(Significant.id, Cursor(memoryview(parameters)), 9, FLOAT64)


def test_whole_numbers_have_no_arithmetic() -> None:
    for transform in (Arithmetic(()), Significant(6, 2)):
        with pytest.raises(CorruptBlockError, match="on int32 values"):
            read_transform(
                transform.id, Cursor(memoryview(transform.write())), 9, np.dtype(np.int32)
            )


def mended() -> MendedDictionary:
    values = np.array([-0.0, 0.5, 1.0, 2.0])
    mapped = map_dictionary(values, 4, lambda some: map_decimal(some, 1, False, 0.5))
    assert mapped is not None
    assert isinstance(mapped.transform, MendedDictionary)
    return mapped.transform


def test_mended_dictionaries_are_read_as_they_were_written() -> None:
    written = mended().write()
    cursor = Cursor(memoryview(written))
    read = read_transform(MendedDictionary.id, cursor, 4, FLOAT64)
    cursor.finish()
    assert read.write() == written
    values = read.inverse(np.array([3, 0, 1], np.uint64), FLOAT64)
    assert same_bits(values, np.array([2.0, -0.0, 0.5]))
    with pytest.raises(CorruptBlockError, match="entry 4 of 4"):
        read.inverse(np.array([4], np.uint64), FLOAT64)


@pytest.mark.parametrize("cut", range(1, 30))
def test_mended_dictionaries_that_are_cut(cut: int) -> None:
    written = mended().write()
    with pytest.raises(CorruptBlockError):
        read_transform(
            MendedDictionary.id,
            Cursor(memoryview(written[: max(0, len(written) - cut)])),
            4,
            FLOAT64,
        )


def test_mended_dictionaries_that_cannot_be() -> None:
    nested = bytes((MendedDictionary.id,)) + mended().write()
    with pytest.raises(CorruptBlockError, match="within a dictionary"):
        read_transform(MendedDictionary.id, Cursor(memoryview(nested)), 4, FLOAT64)
    head = b"\x01\x04" + write_nested(np.arange(4), 1)
    for corrections in (b"", b"\x05\x00", b"\x00\x01extra"):
        body = head + sized(corrections)
        with pytest.raises(CorruptBlockError):
            read_transform(MendedDictionary.id, Cursor(memoryview(body)), 4, FLOAT64)


@given(
    st.sampled_from([Arithmetic.id, Significant.id, MendedDictionary.id]), st.binary(max_size=60)
)
def test_random_parameters_raise_or_decode(id: int, payload: bytes) -> None:
    for dtype in ("float32", "float64"):
        block = assemble(dtype, 6, (id, 0, VARINTS), b"\x01" + payload)
        try:
            decoded = decode_block(block)
        except CorruptBlockError:
            continue
        assert decoded.values.size == 6


@pytest.mark.parametrize("transform", [Arithmetic((Step(OVER, 60.0),)), Significant(3, 2)], ids=str)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_computed_columns_under_every_predictor(transform: Any, order: int) -> None:
    column = walk(300, "int64")
    values = transform.inverse(column.view(np.uint64), FLOAT64)
    if isinstance(transform, Arithmetic):
        mapped = map_arithmetic(values, transform, 0.0)
    else:
        mapped = map_significant(values, transform, 0.0)
    assert mapped is not None
    assert np.array_equal(mapped.numbers, column)
    assert same_bits(decode_block(forced(values, mapped, order, VARINTS)).values, values)


@pytest.mark.parametrize("over", [3.0, 7.0, 10.0, 3600.0, 4096.0])
@pytest.mark.parametrize("digits", [0, 1, 5, 15, 22])
def test_steps_round_as_divisions_do(over: float, digits: int) -> None:
    rng = np.random.default_rng(digits)
    numbers = np.concatenate(
        (
            rng.integers(-(1 << 20), 1 << 20, 5_000),
            rng.integers(-(1 << 62), 1 << 62, 5_000),
            [0, -1],
        )
    )
    last = Step(DECIMALS, digits)
    steps = (Step(OVER, over), Step(TIMES, -1e-3), last, Step(TIMES, 1e300), last)
    found = Arithmetic(steps).inverse(numbers.view(np.uint64), np.dtype(np.float64))
    power = float(10**digits)
    with np.errstate(all="ignore"):
        wanted = np.rint(numbers / over * -1e-3 * power) / power
        wanted = np.rint(wanted * 1e300 * power) / power
    np.testing.assert_array_equal(found.view(np.int64), wanted.view(np.int64))
