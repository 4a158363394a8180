"""Cells of rows and their statistics agree with plain NumPy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.codecs.row_cells import count_buckets, count_rows, find_cells, summarise_runs
from pipeline.summaries.histograms import histogram_counts
from tests.summaries.chunks import chunk

DTYPES = ["float64", "float32", "int8", "uint8", "int16", "int32", "int64", "uint64"]


@st.composite
def columns(draw: st.DrawFn) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.int64]]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    size = draw(st.integers(1, 40))
    floats = st.floats(-1e6, 1e6, width=32) | st.just(float("nan")) | st.just(float("inf"))
    elements = floats if dtype.kind == "f" else None
    values = draw(arrays(dtype, size, elements=elements))
    valid = draw(st.none() | arrays(np.bool_, size))
    inner = draw(st.sets(st.integers(1, max(size - 1, 1)), max_size=5)) if size > 1 else set()
    return values, valid, np.array([0, *sorted(inner)], np.int64)


@given(columns())
def test_runs_are_summarised_as_numpy_does(
    column: tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.int64]],
) -> None:
    values, valid, starts = column
    stops = np.append(starts[1:], len(values))
    counts, exact, moments = summarise_runs(values, valid, starts, stops)
    sums = summarise_runs(values, valid, starts, stops, sums_only=True)
    assert sums[0].tolist() == counts.tolist()
    np.testing.assert_array_equal(sums[2][0], moments[0])
    expected = chunk(values, valid, starts)
    some = counts > 0
    assert counts.tolist() == expected.count.tolist()
    for ours, theirs in zip(exact, expected.arrays()[1:5], strict=True):
        assert ours.dtype == values.dtype
        assert ours[some].tolist() == theirs[some].tolist()
    size = np.abs(values[np.isfinite(values)].astype(np.float64)).max(initial=1.0)
    np.testing.assert_allclose(moments[0][some], expected.total[some], 1e-12, 1e-12 * size)
    finite = some & np.isfinite(expected.m2)
    np.testing.assert_allclose(moments[1][finite], expected.m2[finite], 1e-9, 1e-12 * size**2)
    assert not moments[:, ~some].any()


def test_sums_are_as_good_as_exact_ones() -> None:
    random = np.random.default_rng(3)
    values = np.round(random.normal(1e6, 1.0, 100_000), 3)
    counts, _, moments = summarise_runs(values, None, np.zeros(1, np.int64), np.array([100_000]))
    exact = values.astype(np.longdouble)
    assert abs(moments[0, 0] - float(exact.sum())) <= 2 * np.spacing(float(exact.sum()))
    assert moments[1, 0] == pytest.approx(float(np.square(exact - exact.mean()).sum()), rel=1e-10)
    assert counts.tolist() == [100_000]


@given(columns(), st.lists(st.integers(-3, 3), min_size=2, max_size=5, unique=True))
def test_rows_between_edges_are_counted(
    column: tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.int64]], inner: list[int]
) -> None:
    values, valid, starts = column
    stops = np.append(starts[1:], len(values))
    edges = np.array(sorted(inner), np.float64)
    counts = count_buckets(values, valid, starts, stops, edges)
    there = values == values if valid is None else (values == values) & valid
    runs = np.repeat(np.arange(len(starts)), stops - starts)
    found, expected = histogram_counts(runs[there], values[there], edges)
    every = np.zeros(counts.size, np.int64)
    every[found] = expected
    assert counts.ravel().tolist() == every.tolist()


def test_chosen_rows_are_counted() -> None:
    chosen = np.array([True, False, True, True, False])
    starts, stops = np.array([0, 3]), np.array([3, 4])
    assert count_rows(chosen, starts, stops).tolist() == [2, 1]


def _asked(parts: int, span: tuple[int, int], devices: int) -> NDArray[np.int64]:
    return np.repeat(np.array([[*span, 0, devices]]).T, parts, axis=1)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 49)), max_size=40),
        min_size=1,
        max_size=3,
    ),
    st.sets(st.integers(-49, 49), max_size=6),
    st.sets(st.integers(0, 4)),
    st.tuples(st.integers(-60, 60), st.integers(-60, 60)).map(sorted),
)
def test_cells_begin_where_device_or_bin_changes(
    parts: list[list[tuple[int, int]]], inner: set[int], devices: set[int], span: list[int]
) -> None:
    rows = [(part, *row) for part, found in enumerate(parts) for row in sorted(found)]
    edges = np.array([-50, *sorted(inner), 50], np.int64)
    codes = np.array([code for _, code, _ in rows], np.int32)
    times = np.array([time for _, _, time in rows], np.int64)
    ends = np.cumsum([len(found) for found in parts])
    wanted = np.array(sorted(devices), np.int64)
    asked = _asked(len(parts), (span[0], span[1]), len(wanted))
    starts, stops, bins = find_cells(codes, times, ends, edges, wanted, asked)
    cells = [
        (part, code, int(np.searchsorted(edges, time, "right")) - 1)
        if code in devices and span[0] <= time < span[1]
        else None
        for part, code, time in rows
    ]
    runs = [at for at in range(len(rows)) if at == 0 or cells[at] != cells[at - 1]]
    expected = [
        (at, stop, cell[2])
        for at, stop in pairwise([*runs, len(rows)])
        if (cell := cells[at]) is not None
    ]
    assert list(zip(starts.tolist(), stops.tolist(), bins.tolist(), strict=True)) == expected
