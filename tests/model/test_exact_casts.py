from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.model.dtypes import CHANNEL_DTYPES
from pipeline.model.exact_casts import cast_exactly, explain_cast

NUMERIC = [name for name in CHANNEL_DTYPES if name not in ("bool", "category")]


def bad_rows(values: Any, dtype: str) -> list[bool]:
    array = np.asarray(values)
    _, bad = cast_exactly(array, dtype)
    return [False] * len(array) if bad is None else bad.tolist()


@pytest.mark.parametrize("source", NUMERIC)
@pytest.mark.parametrize("target", NUMERIC)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_what_is_not_marked_is_the_same_number(source: str, target: str, data: Any) -> None:
    values = data.draw(hnp.arrays(source, st.integers(0, 20)))
    cast, bad = cast_exactly(values, target)
    assert cast.dtype == np.dtype(target)
    good = np.ones(len(values), bool) if bad is None else ~bad
    for before, after in zip(values[good].tolist(), cast[good].tolist(), strict=True):
        same = before == after or (before != before and after != after)
        printed = source == "float64" and target == "float32"
        assert same or (printed and float(str(np.float32(after))) == before)


@pytest.mark.parametrize("target", NUMERIC)
@pytest.mark.parametrize("source", NUMERIC)
def test_the_ends_of_every_range(source: str, target: str) -> None:
    kind = np.dtype(source)
    if kind.kind == "f":
        values = np.array([-(2.0**63), 2.0**63, -(2.0**31), 2.0**64, np.inf, -np.inf], kind)
    else:
        info = np.iinfo(source)
        values = np.array([info.min, info.max], kind)
    goal = np.dtype(target)
    cast, bad = cast_exactly(values, target)
    marked = [False] * len(values) if bad is None else bad.tolist()
    for before, after, is_bad in zip(values.tolist(), cast.tolist(), marked, strict=True):
        if goal.kind == "f":
            assert is_bad is (before != after)
        else:
            assert is_bad is not (np.iinfo(target).min <= before <= np.iinfo(target).max)


def test_same_dtype_is_handed_on_without_a_copy() -> None:
    values = np.array([1.5, np.nan, np.inf])
    assert cast_exactly(values, "float64") == (values, None)


def test_doubles_in_a_float32_channel() -> None:
    taken = [21.3, 0.1, -40.0, 1013.25, 1e-7, 1.5e20, np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38]
    assert not any(bad_rows(taken, "float32"))
    assert all(bad_rows([21.34567891, 1 / 3, 16_777_217.0, 1e300, -1e39, 1e-60], "float32"))


@given(st.floats(width=32, allow_nan=False))
def test_every_float32_and_every_printed_float32_is_taken(value: float) -> None:
    single = np.float32(value)
    assert bad_rows([float(single), float(str(single))], "float32") == [False, False]


def test_bools_and_numbers() -> None:
    assert bad_rows([0, 1, 2, -1], "bool") == [False, False, True, True]
    assert bad_rows([0.0, 1.0, 0.5, np.nan], "bool") == [False, False, True, True]
    values, bad = cast_exactly(np.array([True, False]), "int8")
    assert bad is None
    assert values.tolist() == [1, 0]


def test_integers_that_a_float_would_round() -> None:
    values = np.array([2**53, 2**53 + 1, -(2**53) - 1, 2**60])
    assert bad_rows(values, "float64") == [False, True, True, False]
    assert bad_rows(np.array([2**24 + 1, 5], np.int32), "float32") == [True, False]


def test_explanations_name_the_value_and_the_way_out() -> None:
    assert explain_cast(300, "int8") == "takes int8, from -128 to 127, and 300 is outside"
    assert "whole numbers" in explain_cast(1.5, "int32")
    assert "whole numbers" in explain_cast(float("nan"), "int32")
    assert "declare the channel float64" in explain_cast(21.34567891, "float32")
    assert "declare the channel int64" in explain_cast(2**53 + 1, "float64")
    assert "beyond" in explain_cast(1e300, "float32")
    assert "0 or 1" in explain_cast(7, "bool")
