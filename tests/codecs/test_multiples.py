"""Floats near multiples of a factor come back bit for bit, and impossible parameters are refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.codecs.arithmetic import OVER, PLUS, TIMES, Arithmetic, Step
from pipeline.codecs.block import decode_block, describe, encode_block
from pipeline.codecs.cursor import Cursor, varint
from pipeline.codecs.multiples import Multiples, as_multiples
from pipeline.errors import CorruptBlockError
from tests.codecs.block_columns import same_bits

FLOAT = np.dtype(np.float64)
RADIANS = Arithmetic((Step(OVER, 3600.0), Step(TIMES, np.pi), Step(OVER, 180.0)))


def places(rows: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return latitudes in radians, typed in degrees, minutes and seconds, some of them finer."""
    rng = np.random.default_rng(seed)
    degrees, minutes, seconds = rng.integers((0, 0, 0), (80, 60, 60), (rows, 3)).T
    radians = (degrees + minutes / 60 + seconds / 3600) * np.pi / 180
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = np.where(
        rng.random(rows) < 0.1, radians + rng.normal(0, 1e-7, rows), radians
    )
    return found


def test_coordinates_come_back_without_corrections() -> None:
    values = places(9000)
    block = encode_block(values)
    assert same_bits(decode_block(block).values, values)
    told = describe(block)
    assert told["stages"]["transform"].startswith("Multiples(")
    assert "corrections" not in told["section_bytes"]
    assert len(block) < 0.6 * values.nbytes


@pytest.mark.parametrize("codec", ["runs", "bins", "small"])
def test_rows_of_a_part_have_their_own_exceptions(codec: str) -> None:
    values = np.repeat(places(3000), np.random.default_rng(1).integers(1, 3, 3000))
    block = encode_block(values, codec=codec)
    for start, stop in ((0, 10), (1500, 4000), (values.size - 7, values.size)):
        part = decode_block(block, rows=(start, stop))
        assert same_bits(part.values, values[start:stop])


@given(
    st.lists(st.floats(width=64), min_size=1, max_size=20),
    st.integers(-(2**20), 2**20),
    st.sampled_from([0.1, -3.0, 2.0**-900, 1e300]),
)
def test_whatever_is_far_is_an_exception(few: list[float], start: int, factor: float) -> None:
    numbers = start + np.arange(10 * len(few))
    with np.errstate(all="ignore"):
        values = numbers * factor
        values[:: values.size // len(few)] = few
        found = as_multiples(values, Arithmetic((Step(TIMES, factor),)), numbers)
        assert found is not None
        transform, whole = found
        read = Multiples.read(Cursor(memoryview(transform.write())), values.size, FLOAT)
        assert same_bits(read.inverse(whole.view(np.uint64), FLOAT), values)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_exceptions_may_stand_close_together(rows: int, share: float) -> None:
    rng = np.random.default_rng(rows)
    multiples, apart = rng.integers(1, 1000, rows), rng.integers(0, 3, rows)
    apart[rng.random(rows) < share] = 3
    far = rng.normal(size=int((apart == 3).sum()))
    expected = multiples * 0.1
    for distance, away in ((0, -np.inf), (2, np.inf)):
        expected[apart == distance] = np.nextafter(expected[apart == distance], away)
    expected[apart == 3] = far
    numbers = ((multiples << 2) + apart).astype(np.uint64)
    values = Multiples(0.1, 2, far.view(np.uint8)).inverse(numbers, FLOAT)
    assert (values == expected).all()


def test_not_all_arithmetic_is_a_multiple() -> None:
    numbers = np.arange(100)
    shifted = Arithmetic((Step(TIMES, 0.1), Step(PLUS, 273.15)))
    assert as_multiples(numbers * 0.1 + 273.15, shifted, numbers) is None
    assert as_multiples(np.random.default_rng(0).normal(size=100), RADIANS, numbers) is None
    assert as_multiples(numbers * 2.0**44, Arithmetic((Step(TIMES, 1.0),)), numbers << 44) is None


def parameters(factor: float = 0.1, bits: int = 2, rest: bytes = b"\x00") -> Cursor:
    return Cursor(memoryview(struct.pack("<dB", factor, bits) + rest))


@pytest.mark.parametrize(
    ("cursor", "dtype"),
    [
        (parameters(0.0), FLOAT),
        (parameters(np.inf), FLOAT),
        (parameters(np.nan), FLOAT),
        (parameters(bits=1), FLOAT),
        (parameters(bits=25), FLOAT),
        (parameters(rest=b""), FLOAT),
        (parameters(rest=varint(11)), FLOAT),
        (parameters(rest=varint(2) + bytes(15)), FLOAT),
        (parameters(), np.dtype(np.float32)),
        (parameters(), np.dtype(np.int64)),
    ],
)
def test_parameters_that_cannot_be(cursor: Cursor, dtype: np.dtype[np.generic]) -> None:
    with pytest.raises(CorruptBlockError):
        Multiples.read(cursor, 10, dtype)


@pytest.mark.parametrize("listed", [0, 1, 3])
def test_exceptions_must_be_as_many_as_marked(listed: int) -> None:
    numbers = np.array([3, 0, 7, 1], np.uint64)
    transform = Multiples(0.5, 2, np.zeros(8 * listed, np.uint8))
    with pytest.raises(CorruptBlockError, match=f"other exceptions than the {listed}"):
        transform.inverse(numbers, FLOAT)
