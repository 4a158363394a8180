"""Pruning never loses a row and leaves out what cannot match."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.partitioning.device_blocks import device_blocks
from pipeline.partitioning.pruning import Pruned, Selection, prune_blocks, pruned_by
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START, GRID_STOP

HOUR = 3_600_000_000
points = st.tuples(st.integers(0, 30), st.integers(-100, 100))
selections = st.builds(
    lambda a, b, codes: Selection.of(min(a, b) * HOUR, max(a, b) * HOUR, codes),
    st.integers(-100, 100),
    st.integers(-100, 100),
    st.none() | st.lists(st.integers(0, 30), max_size=6),
)


@given(selections, st.lists(points, min_size=1, max_size=60))
def test_windows_and_device_blocks_of_matching_rows_are_kept(
    selection: Selection, rows: list[tuple[int, int]]
) -> None:
    scheme = Partitioning("1 day", 4)
    codes = np.array([row[0] for row in rows], np.int64)
    time = np.array([row[1] for row in rows], np.int64) * HOUR
    matching = selection.mask(codes, time)
    windows = selection.windows(scheme)
    assert all(number in windows for number in scheme.window_length.numbers(time[matching]))
    blocks = selection.device_blocks(scheme)
    if blocks is not None:
        assert np.isin(device_blocks(codes[matching], 4), blocks).all()
    expected = [
        selection.start <= t < selection.stop and (selection.codes is None or c in selection.codes)
        for c, t in zip(codes.tolist(), time.tolist(), strict=True)
    ]
    assert matching.tolist() == expected


@given(selections, st.lists(st.lists(points, min_size=1, max_size=5), min_size=1, max_size=20))
def test_blocks_with_matching_rows_are_kept_and_disjoint_ones_are_not(
    selection: Selection, blocks: list[list[tuple[int, int]]]
) -> None:
    devices = [np.array([row[0] for row in block]) for block in blocks]
    times = [np.array([row[1] for row in block]) * HOUR for block in blocks]
    bounds = [
        np.array([t.min() for t in times]),
        np.array([t.max() for t in times]),
        np.array([d.min() for d in devices]),
        np.array([d.max() for d in devices]),
    ]
    kept = prune_blocks(selection, *bounds)
    for keep, device, time in zip(kept.tolist(), devices, times, strict=True):
        if selection.mask(device, time).any():
            assert keep
        if time.max() < selection.start or time.min() >= selection.stop:
            assert not keep
        if selection.codes is not None and not any(
            device.min() <= code <= device.max() for code in selection.codes
        ):
            assert not keep


def test_an_open_selection_takes_everything() -> None:
    selection = Selection.of()
    scheme = Partitioning("1 year")
    assert len(selection.windows(scheme)) == scheme.window_length.count
    assert selection.device_blocks(scheme) is None
    assert selection.covers(GRID_START, GRID_STOP)
    assert not selection.is_empty


def test_times_outside_the_grid_are_clipped() -> None:
    selection = Selection.of(GRID_START - 5, GRID_STOP + 5)
    assert (selection.start, selection.stop) == (GRID_START, GRID_STOP)
    assert Selection.of(GRID_STOP + 1, GRID_STOP + 2).is_empty


def test_empty_selections_touch_nothing() -> None:
    scheme = Partitioning()
    assert list(Selection.of(5, 5).windows(scheme)) == []
    nobody = Selection.of(codes=[])
    assert nobody.is_empty
    assert not prune_blocks(nobody, *(np.array([1]) for _ in range(4))).any()


def test_a_range_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="ends before it starts"):
        Selection.of(5, 4)


@given(selections, st.lists(st.lists(points, min_size=1, max_size=5), min_size=1, max_size=20))
def test_the_reason_is_the_first_that_rules_a_block_out(
    selection: Selection, blocks: list[list[tuple[int, int]]]
) -> None:
    scheme = Partitioning("1 day", 4)
    devices = [np.array([row[0] for row in block]) for block in blocks]
    times = [np.array([row[1] for row in block]) * HOUR for block in blocks]
    window = scheme.window_length.numbers(np.array([t.min() for t in times], np.int64))
    own = device_blocks(np.array([d.min() for d in devices]), 4)
    alone = [len(set(device_blocks(d, 4).tolist())) == 1 for d in devices]
    block = np.where(alone, own, 0)
    bounds = (
        np.array([t.min() for t in times]),
        np.array([t.max() for t in times]),
        np.array([d.min() for d in devices]),
        np.array([d.max() for d in devices]),
    )
    reasons = pruned_by(selection, scheme, window, block, bounds)
    kept = prune_blocks(selection, *bounds)
    of_time = selection.start < selection.stop
    first = scheme.window_length.number(selection.start)
    last = scheme.window_length.number(selection.stop - 1)
    wanted = selection.device_blocks(scheme)
    for at, reason in enumerate(reasons.tolist()):
        inside = of_time and first <= window[at] <= last
        assert (reason == Pruned.WINDOW) == (not inside)
        if reason in (Pruned.DEVICE_BLOCK, Pruned.DEVICE_BOUNDS):
            assert selection.codes is not None
        if reason == Pruned.DEVICE_BLOCK:
            assert block[at] != 0
            assert wanted is not None
            assert block[at] not in wanted
        if reason == Pruned.NOT:
            assert kept[at]
        elif inside and reason in (Pruned.TIME_BOUNDS, Pruned.DEVICE_BOUNDS):
            assert not kept[at]
