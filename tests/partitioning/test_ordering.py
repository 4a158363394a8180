"""Orders of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.partitioning.assignment import assign
from pipeline.partitioning.ordering import (
    RowOrder,
    gather,
    order_rows,
    sort_positions,
    sorted_runs,
)
from pipeline.partitioning.scheme import Partitioning

type Keys = tuple[NDArray[np.int32], NDArray[np.int64]]

DAY = 86_400_000_000


@st.composite
def keys(draw: st.DrawFn) -> Keys:
    """Draw runs of devices, most of them in time order, as batches really bring them."""
    runs = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(1, 40))))
    codes = [np.full(rows, device, np.int32) for device, _, rows in runs]
    times = [np.arange(start, start + rows) for _, start, rows in runs]
    none = np.zeros(0, np.int64)
    return np.concatenate([none.astype(np.int32), *codes]), np.concatenate([none, *times])


def lexsorted(codes: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64]:
    order: NDArray[np.int64] = np.lexsort((np.arange(len(time)), time, codes))
    return order


@given(keys(), st.data())
def test_any_part_of_the_order_is_that_of_a_stable_sort(batch: Keys, data: st.DataObject) -> None:
    codes, time = batch
    order, expected = order_rows(codes, time), lexsorted(codes, time)
    assert len(order) == len(time)
    start = data.draw(st.integers(0, len(time)))
    stop = data.draw(st.integers(start, len(time)))
    rows = np.arange(len(time))
    np.testing.assert_array_equal(gather(rows, order.part(start, stop)), expected[start:stop])
    np.testing.assert_array_equal(order.take(rows), expected)
    found = order.indices()
    np.testing.assert_array_equal(rows if found is None else found, expected)
    assert order.is_identity == bool((expected == rows).all()) or order.positions is not None


@given(keys())
def test_runs_are_known_to_repeat_a_device_and_time_only_if_they_do(batch: Keys) -> None:
    found = sorted_runs(*batch)
    pairs = np.stack(batch)
    if found is not None:
        assert found[1] == (np.unique(pairs, axis=1).shape[1] < pairs.shape[1])


@given(keys(), st.integers(0, 6))
def test_an_assignment_tells_the_device_of_every_row(batch: Keys, landing: int) -> None:
    codes, days = batch
    time = days * (DAY // 5)
    names = np.array([40, 10, 30, 0, 20], np.int32)
    found = assign(codes, time, Partitioning(devices_per_block=2, landing_rows=landing), names)
    for part in found.partitions:
        members = gather(np.arange(len(time)), found.order.part(part.start, part.stop))
        devices, lengths = found.runs(part.start, part.stop)
        assert (lengths > 0).all()
        np.testing.assert_array_equal(np.repeat(devices, lengths), names[codes[members]])
        ordered = [(int(names[codes[row]]), int(time[row]), int(row)) for row in members]
        assert ordered == sorted(ordered)


@given(keys())
def test_keeping_rows_keeps_what_is_said_of_them(batch: Keys) -> None:
    codes, time = batch
    found = assign(codes, time, Partitioning(devices_per_block=2, landing_rows=0))
    order = found.order.take(np.arange(len(time)))
    last = np.ones(len(time), np.bool_)
    again = (codes[order][1:] == codes[order][:-1]) & (time[order][1:] == time[order][:-1])
    last[:-1] = ~again
    kept = found.keeping(last)
    np.testing.assert_array_equal(kept.order.take(np.arange(len(time))), order[last])
    assert sum(part.stop - part.start for part in kept.partitions) == np.count_nonzero(last)
    devices, lengths = kept.runs(0, len(kept.order))
    assert (lengths > 0).all()
    np.testing.assert_array_equal(np.repeat(devices, lengths), codes[order[last]])


def test_runs_of_devices_are_put_in_order_as_a_whole() -> None:
    codes = np.repeat(np.array([2, 0, 1], np.int32), 1000)
    time = np.tile(np.arange(1000), 3)
    order = order_rows(codes, time)
    assert order.positions is None
    assert order.part(1500, 2500) == [slice(2500, 3000), slice(0, 500)]


@pytest.mark.parametrize("rows", [500, 100_000])
def test_mixed_devices_are_sorted_row_by_row(rows: int) -> None:
    codes = np.tile(np.arange(5, dtype=np.int32), rows // 5)
    time = np.repeat(np.arange(rows // 5), 5)
    np.testing.assert_array_equal(order_rows(codes, time).indices(), lexsorted(codes, time))
    np.testing.assert_array_equal(sort_positions(codes, time), lexsorted(codes, time))
    found = assign(codes, time, Partitioning(landing_rows=0))
    assert not found.repeated
    assert found.order.positions is not None


def test_overlapping_runs_are_merged() -> None:
    codes = np.zeros(60_000, np.int32)
    time = np.concatenate([np.arange(0, 60_000, 2), np.arange(1, 60_000, 2)])
    assert sorted_runs(codes, time) is None
    np.testing.assert_array_equal(order_rows(codes, time).take(time), np.arange(60_000))


@pytest.mark.parametrize("step", [DAY // 1000, DAY // 4, 100 * DAY])
def test_runs_are_cut_at_windows_however_long_these_are(step: int) -> None:
    time = np.tile(np.arange(3000) * step, 2)
    codes = np.repeat(np.array([0, 1], np.int32), 3000)
    found = assign(codes, time, Partitioning(landing_rows=0))
    days = time // DAY
    assert sum(part.stop - part.start for part in found.partitions) == 6000
    for part in found.partitions:
        members = gather(days, found.order.part(part.start, part.stop))
        assert len(np.unique(members)) == 1
    assert len(found.partitions) == len(np.unique(days))


def test_no_rows_have_an_order() -> None:
    order = order_rows(np.zeros(0, np.int32), np.zeros(0, np.int64))
    assert order.is_identity
    assert len(order) == 0
    assert order.take(np.zeros(0)).size == 0
    assert len(RowOrder.identity(3)) == 3
