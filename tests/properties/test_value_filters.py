"""Whatever is asked of rows with given values equals what is computed from these rows alone."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import event, given
from hypothesis import strategies as st

import pipeline
from tests.properties.test_against_a_model import filled, partitionings, policies
from tests.properties.test_answers_against_pandas import (
    check_answers,
    check_sessions,
    windowings,
)
from tests.support import HOUR, START, rows_of

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass
class Wanted:
    """A condition on a channel, in users' words and as a plain test of a value."""

    channel: str
    given: Any
    test: Callable[[Any], bool]

    def __repr__(self) -> str:
        return f"{self.channel}: {self.given!r}"


def has_value(value: Any) -> bool:
    return value is not None and value == value


def compared(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    part = st.tuples(st.sampled_from(sorted(COMPARE)), numbers)
    return st.lists(part, min_size=1, max_size=3)


def by_comparison(channel: str, parts: list[tuple[str, float]]) -> Wanted:
    text = " and ".join(f"{sign} {number!r}" for sign, number in parts)
    return Wanted(
        channel,
        text,
        lambda value: (
            has_value(value) and all(COMPARE[sign](value, number) for sign, number in parts)
        ),
    )


def by_choice(channel: str, values: Any) -> Wanted:
    several = values if isinstance(values, list) else [values]
    return Wanted(channel, values, lambda value: (value if has_value(value) else None) in several)


def chosen(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.none() | st.lists(values | st.none(), max_size=4)


# Few devices, times and values: rows replace one another, and whole periods match or do not.
readings = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.integers(-5, 5).map(lambda step: START + step * HOUR // 2),
    st.sampled_from([None, float("nan"), -0.0, 0.1, 21.5, 1e9, 1.0, 2.0]),
    st.sampled_from([None, -1, 0, 1, 100, 2**15 - 1]),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["on", "off", ""]),
)
batches = st.lists(st.lists(readings, min_size=1, max_size=12), min_size=1, max_size=5)
spans = st.none() | st.tuples(st.integers(-6, 6), st.integers(-6, 6))

FLOATS = st.sampled_from([0.1, 0.0, 21.5, 1e300, -1e5, 1.5, float("inf")])
WHOLE = st.sampled_from([0, -1, 100, -(2**15), 2**15 - 1, 0.5, -99999])
conditions = st.one_of(
    st.builds(by_comparison, st.just("value"), compared(FLOATS)),
    st.builds(by_comparison, st.just("count"), compared(WHOLE)),
    st.builds(by_choice, st.just("value"), chosen(FLOATS)),
    st.builds(by_choice, st.just("count"), chosen(st.integers(-3, 3))),
    st.builds(by_choice, st.just("open"), chosen(st.booleans())),
    st.builds(by_choice, st.just("state"), chosen(st.sampled_from(["on", "off", "", "weg"]))),
)
wheres = st.lists(conditions, min_size=1, max_size=3, unique_by=lambda one: one.channel)


def where_of(wanted: list[Wanted]) -> dict[str, Any]:
    return {one.channel: one.given for one in wanted}


def matching(frame: pd.DataFrame, wanted: list[Wanted]) -> pd.DataFrame:
    kept = np.ones(len(frame), bool)
    for one in wanted:
        kept &= np.array([one.test(value) for value in frame[one.channel]], bool)
    event(f"matching: {'all' if kept.all() else 'some' if kept.any() else 'none'}")
    return frame[kept]


def stored(
    policy: str, partitioning: pipeline.Partitioning, content: list[Any], compacted: bool
) -> tuple[pipeline.Fleet, pd.DataFrame]:
    fleet, frame = filled(policy, partitioning, content)
    if compacted:
        fleet.compact()
    return fleet, frame


@given(policies, partitionings, batches, st.booleans(), wheres, windowings, spans, st.booleans())
def test_answers_are_those_of_the_matching_rows(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    compacted: bool,
    wanted: list[Wanted],
    options: dict[str, Any],
    span: tuple[int, int] | None,
    together: bool,
) -> None:
    fleet, frame = stored(policy, partitioning, content, compacted)
    check_answers(fleet, matching(frame, wanted), options, span, together, where=where_of(wanted))


@given(policies, partitionings, batches, st.booleans(), wheres, st.sampled_from([1, 3, 20]), spans)
def test_sessions_are_those_of_the_matching_rows(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    compacted: bool,
    wanted: list[Wanted],
    half_hours: int,
    span: tuple[int, int] | None,
) -> None:
    fleet, frame = stored(policy, partitioning, content, compacted)
    check_sessions(fleet, matching(frame, wanted), half_hours, span, where=where_of(wanted))


@given(
    policies,
    partitionings,
    batches,
    st.booleans(),
    wheres,
    spans,
    st.none() | st.lists(st.sampled_from(["value", "count", "open", "state"]), unique=True),
)
def test_a_read_is_the_matching_part_of_everything(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    compacted: bool,
    wanted: list[Wanted],
    span: tuple[int, int] | None,
    channels: list[str] | None,
) -> None:
    fleet, _ = stored(policy, partitioning, content, compacted)
    whole = rows_of(fleet.read()).astype(object).replace({np.nan: None})
    time: Any = None
    if span is not None:
        start, stop = (START + step * HOUR // 2 for step in sorted(span))
        time = (np.datetime64(start, "us"), np.datetime64(stop, "us"))
        whole = whole[(whole["time"] >= start) & (whole["time"] < stop)]
    expected = matching(whole, wanted).reset_index(drop=True)
    found = rows_of(fleet.read(time=time, channels=channels, where=where_of(wanted)))
    names = ["device", "time", *(expected.columns[2:] if channels is None else channels)]
    pd.testing.assert_frame_equal(
        found.astype(object).replace({np.nan: None}), expected[names], check_dtype=False
    )
    told = fleet.explain(time=time, channels=channels, where=where_of(wanted))
    assert told.rows.touched >= len(expected)
    assert sum(told.pruned.values()) + told.blocks.touched == told.blocks.total
