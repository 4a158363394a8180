"""Assignment of rows to partitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.partitioning.assignment import Assignment, assign, split_evenly
from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_blocks, device_range
from pipeline.partitioning.ordering import order_rows
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START, GRID_STOP

HOUR = 3_600_000_000


@st.composite
def rows(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    count = draw(st.integers(0, 120))
    codes = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    steps = draw(st.lists(st.integers(-30, 30), min_size=count, max_size=count))
    device, time = np.array(codes, np.int32), np.array(steps, np.int64) * HOUR
    match draw(st.sampled_from(["as is", "by time", "by device"])):
        case "by time":
            order = np.argsort(time, kind="stable")
        case "by device":
            order = np.lexsort((time, device))
        case _:
            order = np.arange(count)
    return device[order], time[order]


schemes = st.builds(
    Partitioning,
    window=st.sampled_from(["1 hour", "1 day", "1 month", "1 year"]),
    devices_per_block=st.integers(1, 5),
    landing_rows=st.sampled_from([0, 3, 10]),
)


def positions(assignment: Assignment, rows: int) -> NDArray[np.int64]:
    """Return the position of each ordered row, and check what else is said of it."""
    found = assignment.order.indices()
    return np.arange(rows) if found is None else found


@given(rows(), schemes)
def test_each_row_is_in_exactly_its_partition(
    batch: tuple[NDArray[np.int32], NDArray[np.int64]], scheme: Partitioning
) -> None:
    codes, time = batch
    assignment = assign(codes, time, scheme)
    order = positions(assignment, len(time))
    assert sorted(order.tolist()) == list(range(len(time)))
    windows = scheme.window_length.numbers(time)
    blocks = device_blocks(codes, scheme.devices_per_block)
    reached = 0
    for part in assignment.partitions:
        assert part.start == reached < part.stop
        reached = part.stop
        members = order[part.start : part.stop]
        assert (windows[members] == part.window).all()
        sizes = [int(np.sum((windows == part.window) & (blocks == b))) for b in blocks[members]]
        if part.device_block == LANDING_BLOCK:
            assert max(sizes) < scheme.landing_rows
        else:
            assert (blocks[members] == part.device_block).all()
            assert len(members) >= scheme.landing_rows
    assert reached == len(time)
    places = [(part.window, part.device_block) for part in assignment.partitions]
    assert places == sorted(set(places))


@given(rows(), schemes)
def test_rows_are_sorted_by_device_and_time_and_ties_keep_their_order(
    batch: tuple[NDArray[np.int32], NDArray[np.int64]], scheme: Partitioning
) -> None:
    codes, time = batch
    assignment = assign(codes, time, scheme)
    order = positions(assignment, len(time))
    for part in assignment.partitions:
        members = order[part.start : part.stop].tolist()
        keys = [(int(codes[row]), int(time[row]), row) for row in members]
        assert keys == sorted(keys)


def test_rows_in_order_are_left_where_they_are() -> None:
    codes = np.repeat(np.arange(3, dtype=np.int32), 4)
    time = np.tile(np.arange(4, dtype=np.int64), 3)
    assignment = assign(codes, time, Partitioning(landing_rows=0))
    assert assignment.order.is_identity
    assert [(part.start, part.stop) for part in assignment.partitions] == [(0, 12)]


def test_no_rows_make_no_partition() -> None:
    assignment = assign(np.zeros(0, np.int32), np.zeros(0, np.int64), Partitioning())
    assert assignment.order.is_identity
    assert assignment.partitions == ()


@pytest.mark.parametrize("top", [10, 70_000, 2**31 - 1])
@pytest.mark.parametrize("span", [10, GRID_STOP - GRID_START])
def test_sorting_is_stable_whatever_the_range(top: int, span: int) -> None:
    rng = np.random.default_rng(5)
    codes: NDArray[Any] = rng.choice([0, 1, top], 500).astype(np.int32)
    time = GRID_START + rng.choice([0, 1, span - 1], 500).astype(np.int64)
    expected = np.lexsort((np.arange(500), time, codes))
    order = order_rows(codes, time).indices()
    assert order is not None
    np.testing.assert_array_equal(order, expected)


def test_rows_sorted_by_time_with_many_devices() -> None:
    codes = np.array([70_000, 1, 70_000, 1], np.int32)
    time = np.array([1, 1, 2, 3], np.int64)
    order = order_rows(codes, time).indices()
    assert order is not None
    assert order.tolist() == [1, 3, 0, 2]


def test_even_pieces() -> None:
    assert split_evenly(0, 10, 4) == [(0, 3), (3, 6), (6, 10)]
    assert split_evenly(5, 9, 4) == [(5, 9)]
    assert split_evenly(3, 3, 4) == []


def test_device_ranges_are_those_of_the_blocks() -> None:
    codes = np.arange(100)
    for block in np.unique(device_blocks(codes, 7)).tolist():
        start, stop = device_range(block, 7)
        members = codes[device_blocks(codes, 7) == block]
        assert members.min() == start
        assert members.max() == min(stop, 100) - 1
    assert (device_blocks(codes, 7) != LANDING_BLOCK).all()


def test_one_row_is_a_partition() -> None:
    assignment = assign(np.array([3], np.int32), np.array([0]), Partitioning(landing_rows=0))
    assert assignment.order.is_identity
    assert [part.device_block for part in assignment.partitions] == [1]
