"""Filters in our own words, and what has to be read for them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import pipeline
from pipeline.api.rows.arrow_filters import literal_of, parse_expression
from pipeline.api.rows.filters import (
    UNKNOWN,
    Compare,
    Every,
    Filter,
    Missing,
    Moment,
    OneOf,
    Present,
    Some,
    every,
    some,
)
from pipeline.api.rows.narrowing import narrowed
from pipeline.partitioning.pruning import Selection
from tests.api.rows.plant import day
from tests.support import START

NOBODY = Compare("device", "==", "nobody")
ON = Compare("on", "==", True)
NOTHING_RULED_OUT: list[Filter] = [
    UNKNOWN,
    Compare("elsewhere", "==", 1),
    Compare("device", "==", 1),
    Compare("device", ">", "d1"),
    Compare("time", ">", 1),
    Compare("on", "==", 1),
    Compare("mode", "==", True),
    Compare("f64", "==", "x"),
    Compare("i16", "==", True),
    Compare("i16", "==", 1.5),
    Compare("f32", "==", 2**24 + 1),
    Compare("f64", "==", float("nan")),
    Present("f64"),
    OneOf("device", ("d1", 5)),
    Some((ON, UNKNOWN)),
    Every(()),
]
ALL_RULED_OUT: list[Filter] = [
    NOBODY,
    Every((ON, NOBODY)),
    Some((NOBODY, Missing("time"))),
    Every((ON, Compare("on", "==", False))),
    OneOf("mode", ()),
    Compare("time", "<", Moment(Decimal(-(10**30)))),
    Compare("time", "==", Moment(Decimal(START) + Decimal("0.5"))),
]


@pytest.mark.parametrize("wanted", NOTHING_RULED_OUT)
def test_what_is_not_understood_rules_out_nothing(plant: pipeline.Fleet, wanted: Filter) -> None:
    selection = narrowed(plant._view(), Selection(), wanted)
    assert (selection.start, selection.stop) == (Selection().start, Selection().stop)
    assert selection.codes is None
    assert not selection.conditions


@pytest.mark.parametrize("wanted", ALL_RULED_OUT)
def test_what_no_row_can_satisfy(plant: pipeline.Fleet, wanted: Filter) -> None:
    assert narrowed(plant._view(), Selection(), wanted).is_empty


def test_what_is_known_and_what_is_not(plant: pipeline.Fleet) -> None:
    view = plant._view()
    both = Every((UNKNOWN, OneOf("device", ("d1", "d2", "nobody")), ON))
    selection = narrowed(view, Selection(codes=np.array([2, 3])), both)
    assert selection.codes is not None
    assert selection.codes.tolist() == [2]
    assert selection.conditions.channels == ("on",)
    either = Some((Every((ON, Compare("device", "==", "d1"))), Compare("device", "==", "d4")))
    selection = narrowed(view, Selection(), either)
    assert selection.codes is not None
    assert selection.codes.tolist() == [1, 4]
    assert not selection.conditions
    days = [Moment(Decimal(int(day(number).astype(np.int64)))) for number in (1, 2)]
    early = Compare("time", "<", days[0])
    assert narrowed(view, Selection(int(days[1].microseconds)), early).is_empty
    apart = Some((Compare("time", "==", days[0]), Compare("time", "==", days[1])))
    selection = narrowed(view, Selection(), apart)
    assert (selection.start, selection.stop - 1) == tuple(int(at.microseconds) for at in days)


def test_lists_of_conditions_are_flat() -> None:
    assert every([ON, every([NOBODY, ON])]) == Every((ON, NOBODY, ON))
    assert every([UNKNOWN, ON]) == ON
    assert every([]) == UNKNOWN
    assert some([some([ON, NOBODY]), ON]) == Some((ON, NOBODY, ON))
    assert some([some([ON, NOBODY]), UNKNOWN]) == UNKNOWN
    assert some([ON]) == ON


def test_thousands_of_conditions(plant: pipeline.Fleet) -> None:
    expression = pc.field("device") == "d1"
    for number in range(3000):
        expression |= pc.field("device") == f"nobody {number}"
    parsed = parse_expression(expression)
    selection = narrowed(plant._view(), Selection(), parsed.filter)
    assert selection.codes is not None
    assert selection.codes.tolist() == [1]


@pytest.mark.parametrize("name", ["two\nlines", "quote'd", "end: 'x'"])
def test_strange_names(name: str) -> None:
    parsed = parse_expression((pc.field(name) == 1) & (pc.field("x") == 2))
    if parsed.columns is None:
        assert parsed.filter == UNKNOWN
    else:
        assert parsed.columns == {name, "x"}


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        (pc.field("a", "b") == 1, None),
        (pc.scalar(None), frozenset()),
        (pc.field("t") == pa.scalar(1, pa.timestamp("us")), {"t"}),
        (pc.field("t").isin(pa.array([1], pa.timestamp("us"))), {"t"}),
        (pc.field("x") == pa.scalar(None, pa.int8()), {"x"}),
        (pc.field("x") == pa.scalar(b"x"), {"x"}),
    ],
)
def test_expressions_that_are_left_to_arrow(expression: pc.Expression, columns: object) -> None:
    parsed = parse_expression(expression)
    assert parsed.filter == UNKNOWN
    assert parsed.columns == columns


def test_literals() -> None:
    assert literal_of(pa.scalar(1500, pa.timestamp("ns", "UTC"))) == Moment(Decimal("1.5"))
    assert literal_of(pa.scalar(2, pa.timestamp("s", "Asia/Tokyo"))) == Moment(Decimal(2_000_000))
    assert literal_of(pa.scalar("x", pa.large_string())) == "x"
    assert literal_of(pa.scalar("x", pa.dictionary(pa.int8(), pa.string()))) == "x"
    assert literal_of(pa.scalar(np.float16(1))) is None
