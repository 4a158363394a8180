"""Quotients made by multiplication are those of a division, bit for bit; so are other short ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config, njit
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_values import as_all, map_tile, write_values
from pipeline.codecs.kernels.bits import load
from pipeline.codecs.pointwise import Mapping, division

POWERS = [float(10**digits) for digits in range(23)]
OTHERS = [1.0, 3.0, 7.0, 3600.0, 2.0**51 - 1, 2.0**51 + 1, 2.0**74, 3 * 2.0**60, 1e22, 2.0**76]
EDGES = [0, 1, 2**24, 2**51, 2**53, 2**53 + 1, 2**62, 2**63 - 1]
COUNT = 40 if config.DISABLE_JIT else 4000  # type: ignore[attr-defined]
WIDTHS = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": -4, "float64": 8}


@njit
def _map(tile, floats, mapping, power, inverse, rest, lookup):  # type: ignore[no-untyped-def]
    return map_tile(
        tile,
        floats,
        tile.size // 4,
        mapping,
        np.int64(1),
        np.int64(0),
        power,
        inverse,
        rest,
        lookup,
    )


@njit
def _write(tile, mapping, offset, power, inverse, rest, lookup, width, out, starts):  # type: ignore[no-untyped-def]
    return write_values(
        tile, tile.view(np.float64), tile.size // 4, mapping, np.int64(1), offset, power, inverse,
        rest, lookup, width, as_all(out), starts,
    )  # fmt: skip


@njit
def _load(words, byte):  # type: ignore[no-untyped-def]
    return load(words, byte)


def quotients(numbers: NDArray[np.int64], mapping: Mapping) -> NDArray[np.float64]:
    """What a kernel makes of numbers, of which there are four times as many as anything."""
    tile = np.repeat(numbers, 4)
    with np.errstate(all="ignore"):
        assert _map(tile, tile.view(np.float64), *mapping)
    return tile.view(np.float64)[::4]


def written(
    numbers: NDArray[np.int64], mapping: Mapping, dtype: str, offset: int = 0
) -> NDArray[np.generic]:
    """What a kernel writes, each lane behind the one before; rows divide by four."""
    out = np.empty(numbers.size, dtype)
    steps = numbers.size // 4
    tile = numbers.reshape(4, steps).T.ravel().copy()
    starts = np.arange(4, dtype=np.uint64) * np.uint64(steps)
    with np.errstate(all="ignore"):
        told = np.int64(offset), *mapping[1:], WIDTHS[dtype], out.view(np.uint8), starts
        assert _write(tile, mapping.kind, *told)
    return out


def near_ties(power: int, count: int) -> NDArray[np.int64]:
    """Numbers whose quotient is as close to the middle between two floats as it can be.

    ``number * 2**k = middle * odd + rest`` with a middle of 54 bits that is odd, and a small rest.
    """
    odd = power // (power & -power)
    found = []
    for k in range(odd.bit_length() + 1, 55):
        inverse = pow(odd, -1, 1 << k)
        for rest in (1, -1, 3, -3, 5, -5, 7, -7):
            middle = -rest * inverse % (1 << k)
            middle += ((1 << 53) - middle + (1 << k) - 1 >> k) << k
            number = middle * odd + rest >> k
            if 1 << 53 <= middle < 1 << 54 and number < 1 << 53:
                found += [number, -number]
    return np.array(found[:count] or [1], np.int64)


def hard(power: float) -> NDArray[np.int64]:
    """Numbers of every size, products of the divisor, and those close to ties."""
    rng = np.random.default_rng(int(power) % 2**32)
    anywhere = rng.integers(-(2**63), 2**63 - 1, COUNT) >> rng.integers(0, 63, COUNT)
    around = np.concatenate([edge - np.arange(9) for edge in EDGES])
    ties = near_ties(int(power), COUNT)
    products = [int(power) * k + d for k in (1, 3, 2**20 - 1) for d in (-1, 0, 1)]
    some = np.array([number for number in products if abs(number) < 2**63], np.int64)
    return np.concatenate((anywhere, around, -around, ties, ties + 1, ties - 1, some))


@pytest.mark.parametrize("power", POWERS + OTHERS)
@pytest.mark.parametrize("single", [False, True])
def test_quotients_are_exact(power: float, single: bool) -> None:
    numbers = hard(power)
    expected = numbers / power
    if single:
        expected = expected.astype(np.float32).astype(np.float64)
    found = quotients(numbers, division(power, single))
    assert np.array_equal(found.view(np.int64), expected.view(np.int64))


def test_near_ties_are_near() -> None:
    """The quotient as a whole number of 54 bits is odd but for a few parts of the divisor."""
    power, odd = 10**5, 5**5
    numbers = near_ties(power, 100)
    assert numbers.size > 50
    for number in np.abs(numbers).tolist():
        bits = next(k for k in range(80) if (number << k) // odd >= 1 << 53)
        middle, rest = divmod(number << bits, odd)
        assert (middle % 2, rest < 8) == (1, True) or (middle % 2, odd - rest < 8) == (0, True)


def test_which_divisors_have_an_inverse() -> None:
    for power in (*POWERS, 3.0, 2.0**51 - 1, 3 * 2.0**60):
        odd = int(power) // (int(power) & -int(power))
        assert (division(power, False).inverse != 0.0) == (odd < 2**51), power
    for power in (0.5, 2.5, -10.0, 2.0**76, 2.0**51 + 1, np.inf, np.nan):
        assert division(power, False).inverse == 0.0


@given(st.integers(1, 2**51 - 1), st.integers(0, 24), st.lists(st.integers(-(2**63), 2**63 - 1),
       min_size=1, max_size=40))  # fmt: skip
def test_any_quotient(odd: int, shift: int, listed: list[int]) -> None:
    numbers = np.array(listed)
    power = float(odd << shift)
    found = quotients(numbers, division(power, False))
    assert np.array_equal(found.view(np.int64), (numbers / power).view(np.int64))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("power", [1e1, 1e2, 1e5, 7.0])
@pytest.mark.parametrize("shift", [12, 13, 40])
def test_quotients_and_products_written_in_one_pass(dtype: str, power: float, shift: int) -> None:
    """Above 2**51 in size they go a longer way, with the same values."""
    numbers = np.random.default_rng(shift).integers(-(2**63), 2**63 - 1, 400) >> shift
    edges = np.array([-(2**51), 2**51 - 1, 0, -1]) if shift > 12 else np.array([2**53, 1, -7, 0])
    numbers = np.concatenate((numbers, edges))
    total = (numbers + 5).astype(np.float64)
    found = written(numbers, division(power, False), dtype, 5)
    assert found.tobytes() == (total / power).astype(dtype).tobytes()
    found = written(numbers, Mapping(5, 1 / power), dtype, 5)
    assert found.tobytes() == (total * (1 / power)).astype(dtype).tobytes()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_whole_numbers_are_cut_to_their_width(dtype: str) -> None:
    numbers = np.random.default_rng(4).integers(-(2**63), 2**63 - 1, 200)
    with np.errstate(all="ignore"):
        expected = (numbers + np.int64(77)).astype(dtype)
    assert np.array_equal(written(numbers, Mapping(), dtype, 77), expected)


def test_words_are_loaded_from_any_byte() -> None:
    data = np.random.default_rng(2).integers(0, 256, 80, np.uint8)
    words = data.view(np.uint64)
    for byte in range(64):
        expected = int.from_bytes(data[byte : byte + 8].tobytes(), "little")
        assert int(_load(words, np.uint64(byte))) == expected
