from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import (
    format_time,
    from_microseconds,
    parse_duration,
    to_microseconds,
)

NEW_YEAR = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-01",
        "2024-01-01T01:00:00+01:00",
        date(2024, 1, 1),
        datetime(2024, 1, 1),  # noqa: DTZ001
        datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        np.datetime64("2024-01-01"),
        np.datetime64("2024"),
        np.datetime64("2024-01-01T00:00:00.000000000"),
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-01-01T01:00", tz="Europe/Brussels"),
    ],
)
def test_one_point_in_time_in_many_forms(value: Any) -> None:
    assert to_microseconds(value) == NEW_YEAR


@pytest.mark.parametrize(
    "value",
    [
        5,
        1.5,
        None,
        "soon",
        pd.NaT,
        np.datetime64("NaT", "s"),
        pd.Timestamp("2024-01-01T00:00:00.000000001"),
        np.datetime64(1, "ns"),
        np.datetime64(1, "ps"),
        np.datetime64(2**60, "s"),
    ],
)
def test_what_is_no_exact_time_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError):
        to_microseconds(value)


def test_a_bare_number_is_told_to_name_its_unit() -> None:
    with pytest.raises(InvalidInputError, match="does not tell its unit"):
        to_microseconds(1_700_000_000)


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_microseconds_survive_the_way_there_and_back(value: int) -> None:
    when = from_microseconds(value)
    assert when.tzinfo is UTC
    assert to_microseconds(when) == value
    assert to_microseconds(format_time(value)) == value


def test_years_beyond_datetime() -> None:
    with pytest.raises(InvalidInputError, match="1 to 9999"):
        from_microseconds(2**62)
    assert format_time(2**62).startswith("148108-")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1h", 3_600_000_000),
        ("5 min", 300_000_000),
        ("1 day", 86_400_000_000),
        ("2 weeks", 1_209_600_000_000),
        ("0.5 s", 500_000),
        (" 1h 30min ", 5_400_000_000),
        ("1h30m", 5_400_000_000),
        ("250us", 250),
        ("0.001 ms", 1),
        (timedelta(milliseconds=1.5), 1500),
        (np.timedelta64(5, "m"), 300_000_000),
        (np.timedelta64(5000, "ns"), 5),
        (pd.Timedelta("1 day"), 86_400_000_000),
    ],
)
def test_durations(value: Any, expected: int) -> None:
    assert parse_duration(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "1 month",
        "1 year",
        "hour",
        "5",
        "",
        "-1h",
        "1h and a bit",
        "0 s",
        "0.1 us",
        60,
        None,
        timedelta(0),
        timedelta(seconds=-1),
        np.timedelta64(1, "M"),
        np.timedelta64("NaT", "s"),
        np.timedelta64(1, "ns"),
        pd.Timedelta(1, "ns"),
    ],
)
def test_what_is_no_positive_whole_duration_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="duration"):
        parse_duration(value)
