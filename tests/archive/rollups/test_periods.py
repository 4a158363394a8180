"""Periods of rollups lie as the bins of an aggregate do."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.archive.rollups.definition import DEVICES_PER_RUN, chunk_shape
from pipeline.archive.rollups.periods import Period
from pipeline.codecs.header import MAX_ROWS
from pipeline.errors import InvalidInputError
from pipeline.partitioning.windows import WindowLength

EVERY = ["1 s", "90 s", "5 min", "1h", "6 h", "1 day", "7 days", "month", "quarter", "2 years"]


@pytest.mark.parametrize("every", EVERY)
def test_a_period_starts_where_it_says_and_its_text_names_it(every: str) -> None:
    period = Period.parse(every)
    assert Period.parse(period.text) == period
    times = np.random.default_rng(3).integers(-(10**15), 2 * 10**15, 200)
    numbers = period.numbers(times)
    assert (period.starts(numbers) <= times).all()
    assert (times < period.starts(numbers + 1)).all()
    assert period.number(int(times[0])) == numbers[0]
    assert period.start(int(numbers[0])) == period.starts(numbers)[0]
    low, high = int(times.min()), int(times.max())
    assert period.touched(low, high) == range(int(numbers.min()), period.number(high - 1) + 1)
    assert not period.touched(low, low)


@pytest.mark.parametrize(
    ("every", "text"),
    [("60 min", "1 hour"), ("24h", "1 day"), ("12 months", "1 year"), ("3 months", "3 months"),
     ("0.5 s", "500000 microseconds"), ("1 week", "7 days")],
)  # fmt: skip
def test_texts_are_plain(every: str, text: str) -> None:
    assert Period.parse(every).text == text


@pytest.mark.parametrize(
    ("every", "told"),
    [("7 h", "neither divides a day"), ("36 h", "neither divides"), ("0 months", "positive"),
     ("now and then", "not a duration"), (5, "not a duration")],
)  # fmt: skip
def test_other_periods_are_refused(every: object, told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        Period.parse(every)


@pytest.mark.parametrize(
    ("coarse", "fine", "whole"),
    [("1 day", "1h", True), ("1h", "1 day", False), ("6h", "4h", False), ("7 days", "1 day", True),
     ("month", "1 day", True), ("month", "7 days", False), ("year", "quarter", True),
     ("quarter", "2 months", False), ("30 days", "month", False), ("1h", "1h", True)],
)  # fmt: skip
def test_which_periods_are_made_of_which(coarse: str, fine: str, whole: bool) -> None:
    assert Period.parse(coarse).holds(Period.parse(fine)) is whole


@pytest.mark.parametrize("window", list(WindowLength))
def test_windows_are_periods(window: WindowLength) -> None:
    period = Period.of_window(window)
    numbers = np.array([0, 100, 1000])[: 3 if window is not WindowLength.YEAR else 2]
    starts = window.starts(numbers)
    np.testing.assert_array_equal(period.starts(period.numbers(starts)), starts)
    assert period.start(period.number(int(starts[0])) + 1) == window.start(1)


@pytest.mark.parametrize("every", [*EVERY, "1 ms", "1 us", "400 days"])
def test_chunks_hold_devices_of_one_run_and_fit_into_a_block(every: str) -> None:
    devices, periods = chunk_shape(Period.parse(every))
    assert periods >= 1
    assert DEVICES_PER_RUN % devices == 0
    assert devices * periods <= MAX_ROWS


def test_a_year_is_a_few_chunks() -> None:
    shapes = {every: chunk_shape(Period.parse(every)) for every in ("5 min", "1h", "1 day")}
    assert shapes["1h"] == (32, 2208)
    assert shapes["1 day"] == (256, 366)
    assert shapes["5 min"][1] * 300 == 7 * 86_400
