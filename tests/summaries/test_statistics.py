"""Mergeable statistics agree with computing at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.summaries.statistics import STATISTICS, Statistics, finalise
from tests.summaries.chunks import chunk

values = st.lists(
    st.tuples(
        st.floats(-1e9, 1e9) | st.just(float("nan")),
        st.booleans(),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=80,
)


def expected(numbers: NDArray[Any], statistic: str) -> float:
    if statistic == "count":
        return len(numbers)
    if statistic == "sum":
        return float(np.sum(numbers))
    if statistic in ("first", "last"):
        return float(numbers[0 if statistic == "first" else -1])
    return float(getattr(np, statistic)(numbers))


def assert_same(states: Statistics, groups: list[NDArray[Any]]) -> None:
    for statistic in STATISTICS:
        found, present = finalise(states, statistic)
        for at, numbers in enumerate(groups):
            if len(numbers) == 0:
                assert present[at] == (statistic in ("count", "sum"))
                assert statistic != "count" or found[at] == 0
                continue
            assert present[at]
            scale = float(np.max(np.abs(numbers)))
            spread = {"var": scale**2, "std": scale * 1e-3}.get(statistic, scale)
            assert found[at] == pytest.approx(
                expected(numbers, statistic), rel=1e-12, abs=1e-12 * spread * len(numbers)
            )


@given(values, st.integers(0, 79))
def test_chunks_combine_and_reduce_to_the_whole(
    rows: list[tuple[float, bool, int]], cut: int
) -> None:
    numbers = np.array([row[0] for row in rows])
    valid = np.array([row[1] for row in rows])
    group = np.array([row[2] for row in rows], np.int64)
    present = valid & ~np.isnan(numbers)
    groups = [numbers[present & (group == at)] for at in range(4)]
    single = chunk(numbers, valid, np.arange(len(rows)))
    assert_same(single.reduce(group, 4), groups)
    cut = min(cut, len(rows))
    early = chunk(numbers[:cut], valid[:cut], np.arange(cut)).reduce(group[:cut], 4)
    rest = np.arange(len(rows) - cut)
    late = chunk(numbers[cut:], valid[cut:], rest).reduce(group[cut:], 4)
    assert_same(early.combine(late), groups)


@given(values)
def test_runs_are_chunked_at_their_starts(rows: list[tuple[float, bool, int]]) -> None:
    group = np.sort(np.array([row[2] for row in rows]))
    numbers = np.array([row[0] for row in rows])
    valid = np.array([row[1] for row in rows])
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    present = valid & ~np.isnan(numbers)
    groups = [numbers[present & (group == at)] for at in np.unique(group)]
    assert_same(chunk(numbers, valid, starts), groups)
    if present.all():
        assert_same(chunk(numbers, None, starts), groups)


@pytest.mark.parametrize("dtype", ["int8", "uint64", "int64", "float32"])
def test_extremes_stay_in_the_dtype_of_the_column(dtype: str) -> None:
    kind = np.dtype(dtype)
    info: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    numbers = np.array([1, info.max, info.min, 2], kind)
    states = chunk(numbers, None, np.array([0]))
    for name, value in {"min": info.min, "max": info.max, "first": 1, "last": 2}.items():
        found, _ = finalise(states, name)
        assert found.dtype == kind
        assert found[0] == kind.type(value)


@given(npst.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e-3, 1e-3)))
def test_a_large_offset_does_not_spoil_the_spread(noise: NDArray[np.float64]) -> None:
    numbers = 1e6 + noise
    parts = [chunk(part, None, np.array([0])) for part in np.array_split(numbers, 7) if len(part)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.combine(part)
    assert finalise(merged, "std")[0][0] == pytest.approx(np.std(numbers), rel=1e-6, abs=1e-9)


def test_infinities_sum_like_numpy() -> None:
    states = chunk(np.array([1.0, np.inf, 2.0, -1.0]), None, np.array([0, 3]))
    assert finalise(states, "sum")[0].tolist() == [np.inf, -1.0]
    merged = states.reduce(np.array([0, 0]), 1)
    assert finalise(merged, "sum")[0].tolist() == [np.inf]
    assert finalise(merged, "max")[0].tolist() == [np.inf]


@pytest.mark.parametrize("huge", [1e300, -1.7e308])
def test_squares_beyond_every_double_are_infinite_in_any_grouping(huge: float) -> None:
    numbers = np.array([huge, 0.1, 0.1, 21.5])
    with np.errstate(over="ignore"):
        each = chunk(numbers, None, np.arange(4))
        merged = [each.reduce(np.zeros(4, np.int64), 1)]
        halves = each.reduce(np.array([0, 0, 1, 1]), 2)
        merged += [halves.reduce(np.zeros(2, np.int64), 1), halves[:1].combine(halves[1:])]
    assert [finalise(states, "var")[0].tolist() for states in merged] == [[np.inf]] * 3


def test_no_groups() -> None:
    states = chunk(np.zeros(0), None, np.zeros(0, np.int64))
    assert states.count.shape == (0,)
    assert states.reduce(np.zeros(0, np.int64), 3).count.tolist() == [0, 0, 0]


def test_an_unknown_statistic_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="count, min, max"):
        finalise(Statistics.empty(1, np.dtype(float)), "kurtosis")
