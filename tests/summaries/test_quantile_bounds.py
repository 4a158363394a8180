"""Quantiles lie within their bounds, whatever the readings are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.moment_bounds import Moments
from pipeline.summaries.order_statistics import percentiles
from pipeline.summaries.parts import Parts
from pipeline.summaries.quantile_bounds import quantile_bounds
from tests.summaries.chunks import chunk
from tests.summaries.part_cells import Cells, cells, parts_of, whole_parts

QUANTILES = [0.0, 0.001, 0.05, 0.5, 0.9, 0.95, 0.999, 1.0]


def exact(given: Cells, cell: int, quantile: float) -> float:
    inside = given.inside(cell)
    return float(percentiles(np.zeros(len(inside), np.int64), inside, 1, [quantile])[0, 0])


@given(cells(), st.sampled_from(QUANTILES) | st.floats(0, 1))
def test_the_exact_quantile_lies_between_the_bounds(some: Cells, quantile: float) -> None:
    found = quantile_bounds(parts_of(some), quantile)
    for cell in range(len(some.parts)):
        wanted = exact(some, cell, quantile)
        if not np.isnan(wanted):
            assert found.low[cell] <= wanted <= found.high[cell]
        assert found.low[cell] <= found.estimate[cell] <= found.high[cell]


@given(cells("int64"), st.sampled_from(QUANTILES))
def test_integers_too(some: Cells, quantile: float) -> None:
    found = quantile_bounds(parts_of(some), quantile)
    for cell in range(len(some.parts)):
        wanted = exact(some, cell, quantile)
        assert np.isnan(wanted) or found.low[cell] <= wanted <= found.high[cell]


@given(cells(), st.floats(-3, 3))
def test_no_more_readings_lie_below_than_moments_allow(some: Cells, where: float) -> None:
    parts = parts_of(some)
    runs = [values for cell in some.parts for values, _ in cell]
    with np.errstate(all="ignore"):
        numbers = np.nan_to_num(parts.low + (parts.high - parts.low) * where)
    for sign in (1, -1):
        moments = Moments.of(parts) if sign == 1 else Moments.of(parts).mirrored()
        most = moments.tails().most_below(sign * numbers)
        actual = [
            np.count_nonzero(sign * run <= sign * at) for run, at in zip(runs, numbers, strict=True)
        ]
        assert (most >= actual).all()
        assert (most <= parts.states.count).all()


def test_moments_rule_out_more_than_ends() -> None:
    random = np.random.default_rng(3)
    runs = [random.normal(20, 1, 1000) for _ in range(50)]
    states = chunk(np.concatenate(runs), None, np.arange(50) * 1000)
    every = whole_parts(states, np.zeros(50, np.int64), 1)
    ends = replace(states, m2=np.full(50, np.nan))
    bare = whole_parts(ends, np.zeros(50, np.int64), 1)
    one, two = quantile_bounds(every, 0.9), quantile_bounds(bare, 0.9)
    assert two.low[0] < one.low[0] < 21.28 < one.high[0] < two.high[0]
    assert one.high[0] - one.low[0] < 0.6 * (two.high[0] - two.low[0])
    assert one.estimate[0] == pytest.approx(21.28, abs=0.5)


def test_equal_readings_are_exact() -> None:
    states = chunk(np.full(10, 7.25), None, np.array([0, 4]))
    parts = Parts(
        np.zeros(2, np.int64),
        states,
        np.array([True, False]),
        np.array([1, 0.5]),
        1,
        np.zeros(2, np.int64),
    )
    found = quantile_bounds(parts, 0.5)
    assert (found.low[0], found.estimate[0], found.high[0]) == (7.25, 7.25, 7.25)


def test_cells_of_different_lengths_are_sorted_alike() -> None:
    random = np.random.default_rng(5)
    lengths = [1, 200, 3, 2, 1, 1, 1, 1, 1]
    values = random.normal(0, 1, sum(lengths))
    values[5] = np.inf
    states = chunk(values, None, np.arange(len(values)))
    cell = np.repeat(np.arange(len(lengths)), lengths)
    parts = whole_parts(states, cell, len(lengths))
    found = quantile_bounds(parts, 0.5)
    for at in range(len(lengths)):
        inside = values[cell == at]
        assert found.low[at] <= np.quantile(inside, 0.5) <= found.high[at]
        assert found.low[at] in inside
