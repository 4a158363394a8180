"""Cells are judged in runs that end between windows, and decoded no more than needed."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.value_plan import Cells, batches, parts_to_decode
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.scheme import Partitioning
from tests.support import HOUR, START

HOURLY = Partitioning("1 day", summary="1 hour")
FIRST = HOURLY.summary_length.number(START)


def test_runs_end_between_windows_and_at_long_gaps() -> None:
    numbers = FIRST + np.concatenate([np.arange(48), np.arange(240, 264), np.arange(264, 270)])
    runs = list(batches(numbers, HOURLY, 10))
    assert [len(run) for run in runs] == [48, 30]
    assert np.concatenate(runs).tolist() == numbers.tolist()
    many = list(batches(numbers, HOURLY, 1 << 17))
    assert [len(run) for run in many] == [24, 24, 24, 6]
    assert list(batches(numbers[:0], HOURLY, 10)) == []


def test_a_window_is_decoded_from_the_first_to_the_last_period_in_need() -> None:
    periods = range(FIRST, FIRST + 48)
    needed, answered = np.zeros((3, 48), bool), np.ones((3, 48), bool)
    needed[0, [5, 9]] = needed[2, 7] = needed[1, 30] = True
    answered &= ~needed
    codes = np.array([4, 6, 9])
    bounds = (START + HOUR // 2, START + 31 * HOUR - 1)
    selection = Selection.of(START, None)
    left, parts = parts_to_decode(
        Cells(periods, answered, needed), codes, HOURLY, selection, bounds
    )
    window = HOURLY.window_length.number(START)
    assert list(parts) == [window, window + 1]
    one, two = parts.values()
    assert (one.start, one.stop) == (START + 5 * HOUR, START + 10 * HOUR)
    assert (two.start, two.stop) == (START + 30 * HOUR, bounds[1])
    chosen = [None if part.codes is None else part.codes.tolist() for part in parts.values()]
    assert chosen == [[4, 9], [6]]
    assert np.argwhere(~left).tolist() == [
        *([0, at] for at in range(5, 10)),
        [1, 30],
        *([2, at] for at in range(5, 10)),
    ]
    every, parts = parts_to_decode(
        Cells(periods, ~needed, np.ones_like(needed)), codes, HOURLY, selection, bounds
    )
    assert not every.any()
    assert parts[window].codes is None
    assert parts[window].start == bounds[0]
