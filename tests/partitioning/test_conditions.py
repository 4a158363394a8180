"""Comparisons are exact in every dtype, and bounds never tell more than they know."""

from __future__ import annotations

import operator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.model.batches import Column
from pipeline.partitioning.comparisons import equal_to, parse_comparisons
from pipeline.partitioning.conditions import Condition, Conditions, Known
from pipeline.partitioning.intervals import OPERATORS, Intervals

COMPARE: dict[str, Any] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt,
    "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
DTYPES = ["int8", "int64", "uint64", "float32", "float64"]
NUMBERS = ["0", "-1", "5", "90.5", "0.1", "21.3", "1e300", "-1e300", "inf", "-inf", "127", "-128",
    str(2**53), str(2**53 + 1), str(2**63), str(2**63 - 1), str(2**64 - 1), str(2**64)]  # fmt: skip


def values_of(dtype: str) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        plain = [0.0, -0.0, 0.1, 21.3, 90.5, 5, 1e30, -1, np.inf, -np.inf, np.nan, 2.0**53, 2.0**63]
        found = np.array(plain, kind)
        with np.errstate(over="ignore", under="ignore"):
            beside = [np.nextafter(found, kind.type(end)) for end in (-np.inf, np.inf)]
        return np.concatenate([found, *beside])
    info = np.iinfo(dtype)
    near = {int(Fraction(number)) for number in NUMBERS if "inf" not in number}
    whole = {at + step for at in near | {int(info.min), int(info.max)} for step in (-1, 0, 1)}
    return np.array(sorted(at for at in whole if info.min <= at <= info.max), kind)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sign", OPERATORS)
def test_a_comparison_is_that_of_numbers(dtype: str, sign: str) -> None:
    values = values_of(dtype)
    floats = np.dtype(dtype).kind == "f"
    for number in NUMBERS:
        wanted = float(number) if floats or "inf" in number else Fraction(number)
        expected = [value == value and COMPARE[sign](value, wanted) for value in values.tolist()]
        found = parse_comparisons(f"{sign}{number}", np.dtype(dtype)).contain(values)
        assert found.tolist() == expected, (sign, number)


def test_whole_numbers_beyond_doubles_are_told_apart() -> None:
    values = np.array([2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
    assert equal_to(2**53 + 1, values.dtype).contain(values).tolist() == [False, True, False, False]
    assert equal_to(Decimal(2**63), values.dtype).bounds == ()
    big = np.array([2**64 - 1, 2**64 - 2], np.uint64)
    found = parse_comparisons("> 18446744073709551614", big.dtype)
    assert found.contain(big).tolist() == [True, False]


def test_float32_is_compared_as_the_double_that_it_is() -> None:
    values = np.array([21.3, 0.5], np.float32)
    assert not equal_to(21.3, values.dtype).contain(values).any()
    assert equal_to(np.float32(21.3), values.dtype).contain(values).tolist() == [True, False]
    assert parse_comparisons("== 0.5", values.dtype).contain(values).tolist() == [False, True]


@pytest.mark.parametrize(
    "text", ["90", "", "> ", "> x", "> 1 or < 2", "=> 1", "> 1 and", "> 1 < 2", "= 1", "> nan"]
)
def test_texts_that_are_no_comparison_are_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no comparison; write '> 90'"):
        parse_comparisons(text, np.dtype("float64"))


@pytest.mark.parametrize(
    ("value", "why"), [(True, "no number"), ("5", "no number"), (float("nan"), "use None")]
)
def test_values_that_nothing_is_equal_to_are_refused(value: Any, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        equal_to(value, np.dtype("int8"))


def test_neighbouring_intervals_are_joined() -> None:
    whole = np.dtype("int16")
    parts = [equal_to(at, whole) for at in (3, 1, 2, 7, 7)]
    assert Intervals.union(parts, whole).bounds == ((1, 3), (7, 7))
    assert parse_comparisons("!= 21.3", np.dtype("float32")).bounds == ((-np.inf, np.inf),)


bounds = st.integers(-20, 20)
sets = st.lists(bounds, max_size=8).map(
    lambda numbers: Intervals.union([equal_to(at, np.dtype("int8")) for at in numbers], np.dtype("int8"))
)  # fmt: skip
columns = st.lists(st.none() | bounds, min_size=1, max_size=8)


def column_of(values: list[int | None], dtype: str) -> Column:
    valid = np.array([value is not None for value in values])
    return Column(np.array([value or 0 for value in values], dtype), valid)


def known_of(column: Column) -> Known:
    assert column.valid is not None
    there = column.values[column.valid]
    low, high = (there.min(), there.max()) if len(there) else (0, 0)
    sizes = (np.array([size], np.int64) for size in (len(column), len(there)))
    return Known(*sizes, *(np.array([end], column.values.dtype) for end in (low, high)))


@given(sets, st.booleans(), sets, st.booleans(), columns, st.sampled_from(["int8", "float32"]))
def test_bounds_tell_what_holds_for_the_rows(
    one: Intervals, with_missing: bool, two: Intervals, others: bool, values: Any, dtype: str
) -> None:
    column = column_of(values, dtype)
    conditions = Conditions((Condition("a", one, with_missing), Condition("a", two, others)))
    found = conditions.matches({"a": column})
    wanted = [
        all(
            part.missing if value is None else any(low <= value <= high for low, high in part.values.bounds)
            for part in conditions.parts
        )
        for value in values
    ]  # fmt: skip
    assert found.tolist() == wanted
    known = {"a": known_of(column)}
    assert conditions.may_match(known)[0] or not found.any()
    assert found.all() or not conditions.must_match(known)[0]
    alone = Conditions(conditions.parts[:1])
    if one.bounds == ((-20, 20),):
        assert alone.must_match(known)[0] == found.all()


@pytest.mark.parametrize(
    ("count", "missing", "may", "must"),
    [(4, False, True, True), (3, False, True, False), (3, True, True, True), (0, False, False, False), (0, True, True, True)],
)  # fmt: skip
def test_rows_without_a_value_count(count: int, missing: bool, may: bool, must: bool) -> None:
    inside = Condition("a", Intervals(((0, 9),)), missing)
    known = Known(*(np.array([number]) for number in (4, count, 1, 2)))
    assert inside.may_match(known).tolist() == [may]
    if count:
        assert inside.must_match(known).tolist() == [must]


def test_nan_is_no_value() -> None:
    column = Column(np.array([1.0, np.nan, 5.0]), np.array([True, True, False]))
    every = Intervals(((-np.inf, np.inf),))
    assert Condition("a", every).matches(column).tolist() == [True, False, False]
    assert Condition("a", Intervals(), True).matches(column).tolist() == [False, True, True]


def test_conditions_are_hashable_and_false_without_any() -> None:
    one = Conditions((Condition("a", Intervals(((1, 2),))),))
    assert {one: 1}[Conditions((Condition("a", Intervals(((1, 2),))),))] == 1
    assert one
    assert not Conditions()
