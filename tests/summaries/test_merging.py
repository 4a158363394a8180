"""Additive states are brought together without losing digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.differences import difference
from pipeline.summaries.histograms import histogram_counts
from pipeline.summaries.merging import runs_of, slide, sum_by_cell
from pipeline.summaries.order_statistics import distinct_pairs, percentiles
from pipeline.summaries.statistics import Statistics, finalise
from tests.summaries.chunks import chunk

cells_and_values = st.lists(
    st.tuples(st.integers(0, 4), st.floats(-1e9, 1e9) | st.sampled_from([-0.0, math.inf])),
    max_size=60,
)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 12))
def test_windows_hold_the_sums_of_their_panes(span: int, stride: int, windows: int) -> None:
    panes = np.arange(windows * stride + span, dtype=np.int64) ** 2
    positions = np.arange(windows + 1) * stride
    found = slide(panes, np.add, lambda array, at: array[at], span, positions)
    assert found.tolist() == [panes[at : at + span].sum() for at in positions.tolist()]


@given(
    st.integers(1, 9), st.lists(st.lists(st.floats(-1e6, 1e6), max_size=4), min_size=9, max_size=20)
)
def test_states_of_windows_are_those_of_their_readings(span: int, panes: list[list[float]]) -> None:
    values = np.array([value for pane in panes for value in pane])
    cell = np.repeat(np.arange(len(panes)), [len(pane) for pane in panes])
    starts = runs_of(cell)
    states = chunk(values, None, starts).reduce(cell[starts], len(panes))
    positions = np.arange(len(panes) - span + 1)
    found = slide(states, Statistics.combine, lambda part, at: part[at], span, positions)
    for at in positions.tolist():
        inside = np.array([value for pane in panes[at : at + span] for value in pane])
        assert found.count[at] == len(inside)
        if len(inside):
            assert (found.first[at], found.last[at]) == (inside[0], inside[-1])
            assert (found.min[at], found.max[at]) == (inside.min(), inside.max())
            scale = np.abs(inside).max()
            assert finalise(found, "mean")[0][at] == pytest.approx(inside.mean(), abs=1e-9 * scale)
            assert finalise(found, "std")[0][at] == pytest.approx(inside.std(), abs=1e-6 * scale)


def test_floats_are_added_pairwise() -> None:
    values = np.full(1_000_000, 0.1)
    found = sum_by_cell(np.zeros(len(values), np.int64), values, 2)
    assert abs(found[0] - 100_000) < 1e-9
    assert found[1] == 0
    assert sum_by_cell(np.zeros(0, np.int64), np.zeros(0), 2).tolist() == [0, 0]


@given(cells_and_values, st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_percentiles_equal_those_of_numpy(
    rows: list[tuple[int, float]], quantiles: list[float]
) -> None:
    cells = np.array([cell for cell, _ in rows], np.int64)
    values = np.array([value for _, value in rows], np.float64)
    found = percentiles(cells, values, 5, quantiles)
    for cell in range(5):
        inside = values[cells == cell]
        if len(inside) == 0:
            assert np.isnan(found[:, cell]).all()
        elif np.isfinite(inside).all():
            np.testing.assert_allclose(
                found[:, cell], np.quantile(inside, quantiles), rtol=1e-12, atol=1e-3
            )
            assert ((found[:, cell] >= inside.min()) & (found[:, cell] <= inside.max())).all()
        else:
            assert not np.isnan(found[:, cell]).any()


def test_percentiles_between_far_ends_do_not_overflow() -> None:
    values = np.array([-1.7e308, 1.7e308])
    assert percentiles(np.zeros(2, np.int64), values, 1, [0.5])[0, 0] == 0
    ends = np.array([-np.inf, np.inf])
    assert percentiles(np.zeros(2, np.int64), ends, 1, [0.2, 0.9])[:, 0].tolist() == [
        -np.inf,
        np.inf,
    ]


@given(cells_and_values)
def test_distinct_values_equal_those_of_a_set(rows: list[tuple[int, float]]) -> None:
    cells = np.array([cell for cell, _ in rows], np.int64)
    values = np.array([value for _, value in rows], np.float64)
    found = list(zip(*(part.tolist() for part in distinct_pairs(cells, values)), strict=True))
    assert found == sorted(set(rows))


@given(cells_and_values, st.lists(st.integers(-5, 5), min_size=2, max_size=6, unique=True))
def test_histograms_equal_those_of_numpy(rows: list[tuple[int, float]], edges: list[int]) -> None:
    cells = np.array([cell for cell, _ in rows], np.int64)
    values = np.array([value / 1e8 for _, value in rows], np.float64)
    bounds = np.array(sorted(edges), np.float64)
    buckets = len(bounds) - 1
    found, counts = histogram_counts(cells, values, bounds)
    dense = np.zeros(5 * buckets, np.int64)
    dense[found] = counts
    for cell in range(5):
        inside = values[cells == cell]
        wanted = np.histogram(inside[np.isfinite(inside)], bounds)[0]
        assert dense[cell * buckets : (cell + 1) * buckets].tolist() == wanted.tolist()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_differences_of_extremes_do_not_overflow(dtype: str) -> None:
    info = np.iinfo(dtype)
    low, high = np.array([info.min, 5], dtype), np.array([info.max, 3], dtype)
    found = difference(high, low)
    assert found.dtype == (np.float64 if info.bits == 64 else np.int64)
    assert found.tolist() == [float(int(info.max) - int(info.min)), -2]
