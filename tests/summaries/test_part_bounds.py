"""Exact statistics lie within the bounds that parts give, wherever partial readings lie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.histogram_bounds import histogram_bounds
from pipeline.summaries.histograms import histogram_counts
from pipeline.summaries.part_bounds import BOUNDED, bounds_of, count_bounds
from pipeline.summaries.parts import Parts
from pipeline.summaries.statistics import Statistics, finalise
from tests.summaries.chunks import chunk
from tests.summaries.part_cells import Cells, cells, parts_of, whole_parts

PLAIN = ["count", "sum", "mean", "var", "std", "min", "max", "first", "last", "range", "delta"]


def exact(states: Statistics, kind: str) -> float:
    if kind == "range":
        return float(states.max[0]) - float(states.min[0])
    if kind == "delta":
        return float(states.last[0]) - float(states.first[0])
    return float(finalise(states, kind)[0][0])


@given(cells(), st.sampled_from(PLAIN))
def test_statistics_lie_between_their_bounds(some: Cells, kind: str) -> None:
    found = bounds_of(parts_of(some), kind)
    for cell in range(len(some.parts)):
        inside = some.inside(cell)
        if len(inside) == 0 and kind not in ("count", "sum"):
            continue
        with np.errstate(all="ignore"):
            states = chunk(inside, None, np.zeros(min(len(inside), 1), np.int64))
            wanted = exact(states, kind) if len(inside) else 0.0
        if math.isnan(wanted) or math.isnan(float(found.low[cell])):
            continue
        low, high = float(found.low[cell]), float(found.high[cell])
        if kind in ("var", "std") and not np.isfinite(low):
            continue  # squares overflow
        if all(mask.all() for _, mask in some.parts[cell]):
            # Added up in another order: what is whole is exact but for rounding.
            scale = float(np.abs(inside[np.isfinite(inside)]).max(initial=0.0))
            slack = {"sum": scale * len(inside), "var": scale**2 if scale < 1e154 else np.inf}
            room = 1e-12 * slack.get(kind, scale)
            if kind == "std":
                room = 1e-7 * scale
            low, high = low - room, high + room
        assert low <= wanted <= high


@given(cells("int64"), st.sampled_from(["min", "max", "range", "delta", "sum", "distinct"]))
def test_integers_keep_their_type(some: Cells, kind: str) -> None:
    found = bounds_of(parts_of(some), kind)
    if kind in ("min", "max", "distinct"):
        assert {found.value.dtype, found.low.dtype, found.high.dtype} == {np.dtype(np.int64)}
    for cell in range(len(some.parts)):
        inside = some.inside(cell)
        if len(inside) and kind in ("min", "max"):
            wanted = inside.min() if kind == "min" else inside.max()
            assert found.low[cell] <= wanted <= found.high[cell]
        if kind == "distinct":
            assert found.low[cell] <= len(np.unique(inside)) <= found.high[cell]


@given(
    cells(),
    st.sampled_from(["time_weighted_mean", "time_weighted_mean_previous"]),
    st.integers(0, 9),
)
def test_any_weighted_mean_lies_between_the_extremes(some: Cells, kind: str, seed: int) -> None:
    found = bounds_of(parts_of(some), kind)
    for cell in range(len(some.parts)):
        inside = some.inside(cell)
        if len(inside) and np.isfinite(inside).all() and np.abs(inside).max() < 1e200:
            weights = np.random.default_rng(seed).random(len(inside))
            assert found.low[cell] <= np.average(inside, weights=weights) <= found.high[cell]


@given(cells(), st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5, unique=True))
def test_histograms_lie_between_their_bounds(some: Cells, edges: list[float]) -> None:
    # Edges at readings, too: buckets are half-open, the last one closed.
    known = [float(run[0]) for run, _ in some.parts[0] if np.isfinite(run[0])]
    ordered = np.unique(np.array([*edges, *known]))
    found = histogram_bounds(parts_of(some), ordered)
    for cell in range(len(some.parts)):
        inside = some.inside(cell)
        wanted = np.zeros(len(ordered) - 1, np.int64)
        at, counts = histogram_counts(np.zeros(len(inside), np.int64), inside, ordered)
        wanted[at] = counts
        assert (found.low[cell] <= wanted).all()
        assert (wanted <= found.high[cell]).all()
        assert (found.low[cell] <= found.value[cell]).all()
        assert (found.value[cell] <= found.high[cell]).all()


@given(cells(), st.sampled_from(sorted(BOUNDED)))
def test_values_lie_between_their_bounds(some: Cells, kind: str) -> None:
    found = bounds_of(parts_of(some), kind)
    known = ~(np.isnan(found.value * 1.0) | np.isnan(found.low * 1.0) | np.isnan(found.high * 1.0))
    assert (found.low <= found.value)[known].all()
    assert (found.value <= found.high)[known].all()


def test_whole_parts_are_exact() -> None:
    states = chunk(np.arange(100.0), None, np.array([0, 30, 60]))
    parts = whole_parts(states, np.array([0, 0, 2]), 3)
    for kind in PLAIN:
        found = bounds_of(parts, kind)
        assert found.low[0] == found.value[0] == found.high[0]
    assert bounds_of(parts, "count").value.tolist() == [60, 0, 40]
    assert bounds_of(parts, "mean").value[2] == 79.5


def test_partial_parts_move_a_mean_as_far_as_their_readings_can() -> None:
    states = chunk(np.array([10.0] * 10 + [0.0, 20.0] + [12.0] * 5), None, np.array([0, 10, 12]))
    whole = np.array([True, False, False])
    parts = Parts(
        np.zeros(3, np.int64), states, whole, np.array([1, 0.5, 0.5]), 1, np.zeros(3, np.int64)
    )
    found = bounds_of(parts, "mean")
    assert found.low[0] == pytest.approx(
        100 / 12, rel=1e-4
    )  # both readings of the second part at 0
    assert found.high[0] == pytest.approx((100 + 2 * 20 + 5 * 12) / 17, rel=1e-4)
    assert found.low[0] <= 100 / 12
    total = bounds_of(parts, "sum")
    assert (total.low[0], total.high[0]) == pytest.approx((100, 180))


def test_counts_allow_for_what_may_lie_outside() -> None:
    whole = np.array([True, False, False])
    found = count_bounds(
        np.array([0, 0, 1]), np.array([5, 10, 3]), whole, np.array([1, 0.3, 0.9]), 3
    )
    assert found.low.tolist() == [5, 0, 0]
    assert found.value.tolist() == [8, 3, 0]
    assert found.high.tolist() == [15, 3, 0]
