"""Points kept for a plot are readings, and keep its shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.analytics.plot_points import largest_triangles, min_max

series = st.lists(
    st.tuples(
        st.integers(0, 10_000), st.floats(-1e6, 1e6) | st.sampled_from([np.inf, -np.inf, 1e308])
    ),
    min_size=1,
    max_size=200,
)


def arrays(rows: list[tuple[int, float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    ordered = sorted(rows)
    return np.array([t for t, _ in ordered], np.int64), np.array([v for _, v in ordered])


@pytest.mark.parametrize("method", [largest_triangles, min_max])
@given(series, st.integers(2, 50))
def test_at_most_so_many_readings_in_order(
    method: object, rows: list[tuple[int, float]], points: int
) -> None:
    time, values = arrays(rows)
    kept = method(time, values, points)  # type: ignore[operator]
    assert len(kept) <= points
    assert (np.diff(kept) > 0).all()
    if len(time) <= points:
        assert kept.tolist() == list(range(len(time)))
    elif method is largest_triangles:
        assert len(kept) == points
        assert (kept[0], kept[-1]) == (0, len(time) - 1)


@given(series, st.integers(2, 50))
def test_min_max_loses_no_peak(rows: list[tuple[int, float]], points: int) -> None:
    time, values = arrays(rows)
    kept = values[min_max(time, values, points)]
    assert (kept.min(), kept.max()) == (values.min(), values.max())


def test_min_max_is_that_of_each_stretch() -> None:
    time = np.arange(100, dtype=np.int64)
    values = np.sin(time / 3)
    kept = min_max(time, values, 20)
    for start in range(0, 100, 10):
        inside = kept[(kept >= start) & (kept < start + 10)]
        part = values[start : start + 10]
        assert {values[inside].min(), values[inside].max()} == {part.min(), part.max()}


def reference_lttb(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> list[int]:
    """Choose as the thesis does, bucket by bucket and point by point."""
    size = len(x)
    edges = [1 + bucket * (size - 2) // (points - 2) for bucket in range(points - 1)]
    kept = [0]
    for bucket in range(points - 2):
        following = (
            range(edges[bucket + 1], edges[bucket + 2])
            if bucket < points - 3
            else range(size - 1, size)
        )
        cx, cy = np.mean([x[i] for i in following]), np.mean([y[i] for i in following])
        a = kept[-1]
        areas = [
            abs((x[a] - cx) * (y[i] - y[a]) - (x[a] - x[i]) * (cy - y[a])) / 2
            for i in range(edges[bucket], edges[bucket + 1])
        ]
        kept.append(edges[bucket] + int(np.argmax(areas)))
    return [*kept, size - 1]


@pytest.mark.parametrize("points", [3, 10, 37, 199])
def test_lttb_equals_the_reference(points: int) -> None:
    random = np.random.default_rng(points)
    time = np.cumsum(random.integers(1, 50, 200)).astype(np.int64)
    values = np.cumsum(random.normal(size=200))
    wanted = reference_lttb(time.astype(np.float64), values, points)
    assert largest_triangles(time, values, points).tolist() == wanted


def test_two_points_are_both_ends() -> None:
    assert largest_triangles(np.arange(9), np.arange(9.0), 2).tolist() == [0, 8]


def test_a_spike_stays() -> None:
    values = np.zeros(10_000)
    values[5_432] = 1.0
    assert 5_432 in largest_triangles(np.arange(10_000), values, 50)
