"""Windows: numbering, bounds and calendar arithmetic."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.partitioning.windows import GRID_START, GRID_STOP, WindowLength

times = st.integers(GRID_START, GRID_STOP - 1)
lengths = st.sampled_from(list(WindowLength))


@given(lengths, st.lists(times, min_size=1, max_size=50))
def test_every_time_lies_in_its_window(length: WindowLength, values: list[int]) -> None:
    time = np.array(values, np.int64)
    numbers = length.numbers(time)
    assert (length.starts(numbers) <= time).all()
    assert (time < length.starts(numbers + 1)).all()
    assert (numbers >= 0).all()
    assert (numbers < length.count).all()


@given(lengths, times)
def test_one_time_agrees_with_many(length: WindowLength, time: int) -> None:
    number = length.number(time)
    assert number == length.numbers(np.array([time]))[0]
    assert length.start(number) == length.starts(np.array([number]))[0]


@pytest.mark.parametrize(
    ("length", "code"),
    [
        (WindowLength.HOUR, "h"),
        (WindowLength.DAY, "D"),
        (WindowLength.MONTH, "M"),
        (WindowLength.YEAR, "Y"),
    ],
)
def test_windows_are_the_calendar_periods_of_pandas(length: WindowLength, code: str) -> None:
    stamps = [
        "1900-01-01",
        "1967-03-31T23:59:59.999999",
        "1970-01-01",
        "2000-02-29T12:00",
        "2199-12-31T23:59:59",
    ]
    for stamp in stamps:
        time = int(np.datetime64(stamp, "us").astype(np.int64))
        start = pd.Timestamp(length.start(length.number(time)), unit="us")
        assert start == pd.Period(stamp, freq=code).start_time


def test_no_times_have_no_windows() -> None:
    assert WindowLength.MONTH.numbers(np.zeros(0, np.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("text", "length"),
    [("1 hour", "HOUR"), ("daily", "DAY"), ("1d", "DAY"), (" 1 Month ", "MONTH"), ("year", "YEAR")],
)
def test_spellings(text: str, length: str) -> None:
    assert WindowLength.parse(text) is WindowLength[length]
    assert WindowLength.parse(WindowLength[length]) is WindowLength[length]


def test_an_unknown_window_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match="'1 hour', '1 day', '1 month', '1 year'"):
        WindowLength.parse("fortnight")


def test_nesting() -> None:
    assert WindowLength.HOUR.nests_in(WindowLength.DAY)
    assert WindowLength.DAY.nests_in(WindowLength.DAY)
    assert not WindowLength.YEAR.nests_in(WindowLength.MONTH)
