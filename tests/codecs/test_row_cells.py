"""Cells of rows and their statistics agree with plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.codecs.row_cells import find_cells, summarise_runs
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
    counts, exact, moments = summarise_runs(values, valid, starts)
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
    counts, _, moments = summarise_runs(values, None, np.zeros(1, np.int64))
    exact = values.astype(np.longdouble)
    assert abs(moments[0, 0] - float(exact.sum())) <= 2 * np.spacing(float(exact.sum()))
    assert moments[1, 0] == pytest.approx(float(np.square(exact - exact.mean()).sum()), rel=1e-10)
    assert counts.tolist() == [100_000]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 49)), min_size=0, max_size=60),
    st.sets(st.integers(-49, 49), max_size=6),
)
def test_cells_begin_where_device_or_bin_changes(
    rows: list[tuple[int, int]], inner: set[int]
) -> None:
    rows = sorted(rows)
    edges = np.array([-50, *sorted(inner), 50], np.int64)
    codes = np.array([code for code, _ in rows], np.int32)
    times = np.array([time for _, time in rows], np.int64)
    starts, bins = find_cells(codes, times, edges)
    number = np.searchsorted(edges, times, "right") - 1
    change = [
        at for at in range(len(rows))
        if at == 0 or codes[at] != codes[at - 1] or number[at] != number[at - 1]
    ]  # fmt: skip
    assert starts.tolist() == change
    assert bins.tolist() == number[change].tolist()
