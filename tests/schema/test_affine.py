from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SchemaError
from pipeline.schema.affine import IDENTITY, Affine

FAHRENHEIT = Affine(5, -160, 9)


def test_whole_degrees_stay_whole() -> None:
    found = FAHRENHEIT.apply(np.array([32.0, 212.0, -40.0, 98.6]))
    np.testing.assert_array_equal(found[:3], [0.0, 100.0, -40.0])
    assert found[3] == pytest.approx(37, rel=1e-15)
    assert FAHRENHEIT.inverse.apply(np.array([0.0, 100.0])).tolist() == [32.0, 212.0]
    assert FAHRENHEIT.factor == pytest.approx(5 / 9)
    assert FAHRENHEIT.offset == pytest.approx(-160 / 9)


def test_fractions_become_whole_parts_if_they_fit() -> None:
    assert Affine.of_fractions(Fraction(5, 9), Fraction(-160, 9)) == FAHRENHEIT
    assert Affine.of_fractions(Fraction(9, 5), Fraction(32)) == Affine(9, 160, 5)
    odd = Affine.of_fractions(Fraction(10**30 + 1, 3**40), Fraction(1, 7))
    assert odd.divide == 1
    assert odd.multiply == float(Fraction(10**30 + 1, 3**40))


@pytest.mark.parametrize(
    "parts", [(0,), (1, 0, 0), (math.nan,), (1, math.inf), ("2",), (True,), (None,)]
)
def test_a_map_that_is_none(parts: Any) -> None:
    with pytest.raises(SchemaError, match="finite number"):
        Affine(*parts)


def test_json() -> None:
    assert Affine.from_json(FAHRENHEIT.to_json()) == FAHRENHEIT
    with pytest.raises(SchemaError, match="takes multiply"):
        Affine.from_json({"multiply": 2})


def test_integers_are_exact_or_marked() -> None:
    values = np.array([1, 2, 30_000, -5], np.int16)
    mapped, bad = Affine(10).apply_whole(values, None)
    assert mapped.tolist() == [10, 20, 0, -50]
    assert bad is not None
    assert bad.tolist() == [False, False, True, False]
    halves, bad = Affine(1, 0, 2).apply_whole(values, np.array([False, True, True, True]))
    assert halves.tolist()[1:3] == [1, 15_000]
    assert bad is not None
    assert bad.tolist() == [False, False, False, True]


def test_integers_beyond_doubles_are_exact() -> None:
    values = np.array([2**63 - 1, 2**62 + 1, -(2**63)], np.int64)
    mapped, bad = Affine(1, 0, -1).apply_whole(values, None)
    assert mapped.tolist()[:2] == [-(2**63) + 1, -(2**62) - 1]
    assert bad is not None
    assert bad.tolist() == [False, False, True]
    big = np.array([2**64 - 2], np.uint64)
    assert Affine(1, 1).apply_whole(big, None)[0].tolist() == [2**64 - 1]


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(
    st.lists(numbers, min_size=2, max_size=20),
    st.sampled_from([FAHRENHEIT, Affine(-3, 7), Affine(1e-3), IDENTITY]),
)
def test_order_is_kept_or_turned(values: list[float], affine: Affine) -> None:
    mapped = affine.apply(np.sort(np.array(values)))
    steps = np.diff(mapped)
    assert (steps >= 0).all() if affine.factor > 0 else (steps <= 0).all()
    back = affine.inverse.apply(mapped)
    np.testing.assert_allclose(back, np.sort(values), rtol=1e-12, atol=1e-9)
