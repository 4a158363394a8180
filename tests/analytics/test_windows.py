"""Windows lie where calendars and clocks say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analytics.bins import Bins
from pipeline.analytics.steps import parse_origin, parse_step
from pipeline.analytics.windows import Windows, make_windows
from pipeline.analytics.zones import local_clock, named_zone
from pipeline.errors import InvalidInputError

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # midnight is shown twice
    "America/Sao_Paulo",  # midnight was skipped
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # skipped a day
    "Africa/Casablanca",
]
HOUR = 3_600_000_000
DAY = 24 * HOUR

moments = st.integers(
    int(np.datetime64("1960-01-01", "us").astype(np.int64)),
    int(np.datetime64("2030-01-01", "us").astype(np.int64)),
)


def us(text: str) -> int:
    return int(np.datetime64(text, "us").astype(np.int64))


def local(moment: int, zone: str) -> datetime:
    """Return what a clock shows, without its offset."""
    aware = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
    return aware.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def covers(windows: Windows, start: int, stop: int) -> None:
    """Check that windows touch a range, and all of it."""
    assert windows.starts[0] <= start
    assert windows.stops[-1] >= stop
    assert (windows.stops > start).all()
    assert (windows.starts < stop).all()
    assert (np.diff(windows.panes.edges) > 0).all()


@given(moments, st.integers(1, 40 * DAY), st.sampled_from(ZONES))
def test_every_local_day_is_one_bin(start: int, length: int, zone: str) -> None:
    windows = make_windows("1 day", start, start + length, timezone=zone)
    covers(windows, start, start + length)
    for begin, end in zip(windows.starts.tolist(), windows.stops.tolist(), strict=True):
        assert {local(at, zone).date() for at in (begin, end - 1)} == {local(begin, zone).date()}
    dates = [local(begin, zone).date() for begin in windows.starts.tolist()]
    assert len(set(dates)) == len(dates)


@given(
    moments,
    st.integers(1, 900 * DAY),
    st.sampled_from(
        [("week", "1 week"), ("month", "month"), ("quarter", "1 quarter"), ("year", "1 year")]
    ),
    st.sampled_from(ZONES),
)
def test_weeks_months_quarters_and_years_are_those_of_the_calendar(
    start: int, length: int, unit: tuple[str, str], zone: str
) -> None:
    windows = make_windows(unit[1], start, start + length, timezone=zone)
    covers(windows, start, start + length)

    def key(moment: int) -> Any:
        shown = local(moment, zone)
        iso = shown.isocalendar()
        return {
            "week": (iso.year, iso.week),
            "month": (shown.year, shown.month),
            "quarter": (shown.year, (shown.month - 1) // 3),
            "year": shown.year,
        }[unit[0]]

    keys = []
    for begin, end in zip(windows.starts.tolist(), windows.stops.tolist(), strict=True):
        assert key(begin) == key(end - 1)
        keys.append(key(begin))
    assert len(set(keys)) == len(keys)


@given(
    moments,
    st.integers(1, 5 * DAY),
    st.sampled_from(["10 min", "30 min", "1h", "2h", "6h"]),
    st.sampled_from(ZONES),
)
def test_short_bins_begin_where_the_clock_shows_a_multiple(
    start: int, length: int, every: str, zone: str
) -> None:
    windows = make_windows(every, start, start + length, timezone=zone)
    covers(windows, start, start + length)
    step = pd.Timedelta(every)
    for begin in windows.starts.tolist():
        shown, before = local(begin, zone), local(begin - 1, zone)
        since = shown - datetime.combine(shown.date(), datetime.min.time())
        skipped = shown - before > timedelta(microseconds=1)
        assert skipped or since % step.to_pytimedelta() == timedelta(0)
    # No multiple is left out.
    for moment in range(start - start % (HOUR // 6), start + length, HOUR // 6):
        shown = local(moment, zone)
        since = shown - datetime.combine(shown.date(), datetime.min.time())
        if moment >= start and since % step.to_pytimedelta() == timedelta(0):
            assert moment in windows.panes.edges


def test_short_bins_where_midnight_was_skipped() -> None:
    windows = make_windows(
        "6h", us("2018-11-03T21"), us("2018-11-04T12"), timezone="America/Sao_Paulo"
    )
    shown = [local(at, "America/Sao_Paulo").isoformat() for at in windows.starts.tolist()]
    assert shown == ["2018-11-03T18:00:00", "2018-11-04T01:00:00", "2018-11-04T06:00:00"]


def test_days_of_summer_time() -> None:
    spring = make_windows("1 day", us("2024-03-30"), us("2024-04-02"), timezone="Europe/Berlin")
    assert (np.diff(spring.panes.edges) // HOUR).tolist() == [24, 23, 24, 24]
    autumn = make_windows("1h", us("2024-10-26T22"), us("2024-10-27T23"), timezone="Europe/Berlin")
    assert len(autumn) == 25
    assert set((np.diff(autumn.panes.edges) // HOUR).tolist()) == {1}
    six = make_windows("6h", us("2024-10-26T22"), us("2024-10-27T23"), timezone="Europe/Berlin")
    assert (np.diff(six.panes.edges) // HOUR).tolist() == [7, 6, 6, 6]
    skipped = make_windows("1 day", us("2011-12-28T10"), us("2012-01-01"), timezone="Pacific/Apia")
    assert [local(at, "Pacific/Apia").day for at in skipped.starts.tolist()] == [28, 29, 31, 1]


@pytest.mark.parametrize("every", ["7 min", "1h", "1 day", "7 days", "36h"])
@given(moments, st.integers(1, 100 * DAY), st.none() | moments)
def test_fixed_bins_equal_those_of_pandas(
    every: str, start: int, length: int, origin: int | None
) -> None:
    given_origin = np.datetime64(origin or 0, "us")
    windows = make_windows(
        every, start, start + length, origin=None if origin is None else given_origin
    )
    covers(windows, start, start + length)
    index = pd.DatetimeIndex(np.array([start, start + length - 1]).astype("M8[us]"))
    anchor = pd.Timestamp(given_origin)
    step = pd.Timedelta(every)
    first = anchor + (index[0] - anchor) // step * step
    assert windows.starts[0] == int(first.to_datetime64().astype("M8[us]").astype(np.int64))
    assert windows.panes.length == int(step / pd.Timedelta("1us"))
    assert windows.is_panes


@given(moments, st.integers(1, 3 * DAY), st.integers(1, 90), st.integers(0, 200), moments)
def test_overlapping_windows_are_all_that_touch(
    start: int, length: int, every: int, more: int, origin: int
) -> None:
    minute = 60_000_000
    windows = make_windows(
        timedelta(minutes=every),
        start,
        start + length,
        window=timedelta(minutes=every + more),
        origin=np.datetime64(origin, "us"),
    )
    covers(windows, start, start + length)
    assert (windows.stops - windows.starts == (every + more) * minute).all()
    assert ((windows.starts - origin) % (every * minute) == 0).all()
    assert len(windows) == 1 or (np.diff(windows.starts) == every * minute).all()
    assert windows.starts[-1] + every * minute >= start + length
    assert windows.starts[0] - every * minute + (every + more) * minute <= start


def test_overlapping_windows_on_a_calendar() -> None:
    windows = make_windows(
        "1 month", us("2024-03-10"), us("2024-05-10"), window="1 quarter", timezone="Europe/Berlin"
    )
    covers(windows, us("2024-03-10"), us("2024-05-10"))
    spans = [
        (local(a, "Europe/Berlin").month, local(b, "Europe/Berlin").month)
        for a, b in zip(windows.starts.tolist(), windows.stops.tolist(), strict=True)
    ]
    assert spans == [(1, 4), (2, 5), (3, 6), (4, 7), (5, 8)]
    week = make_windows(
        "1 day", us("2024-04-01"), us("2024-04-02"), window="7 days", timezone="Europe/Berlin"
    )
    assert (len(week), week.span) == (8, 7)


def test_origins() -> None:
    fiscal = make_windows("1 year", us("2024-02-01"), us("2024-06-01"), origin="2020-04-01")
    assert fiscal.starts.tolist() == [us("2023-04-01"), us("2024-04-01")]
    shift = make_windows(
        "1 day",
        us("2024-03-30T12"),
        us("2024-03-31T12"),
        origin="2024-01-01T06:00",
        timezone="Europe/Berlin",
    )
    assert shift.starts.tolist() == [us("2024-03-30T05"), us("2024-03-31T04")]
    biweekly = make_windows(
        "2 weeks", us("2024-01-10"), us("2024-01-11"), origin="2024-01-03", timezone="UTC"
    )
    assert biweekly.starts.tolist() == [us("2024-01-03")]
    quarter_past = make_windows(
        "1h", us("2024-01-01T00:20"), us("2024-01-01T01"), origin="2000-01-01T00:15", timezone="UTC"
    )
    assert quarter_past.starts.tolist() == [us("2024-01-01T00:15")]


@pytest.mark.parametrize(
    ("value", "zone", "shown"),
    [
        ("2024-06-01", "Europe/Berlin", "2024-06-01"),
        ("2024-06-01T00:00Z", "Europe/Berlin", "2024-06-01T02"),
        (datetime(2024, 6, 1, tzinfo=UTC), "Europe/Berlin", "2024-06-01T02"),
        (datetime(2024, 6, 1), "Europe/Berlin", "2024-06-01"),  # noqa: DTZ001
        (np.datetime64("2024-06-01"), "Europe/Berlin", "2024-06-01"),
        ("2024-06-01T02:00+02:00", None, "2024-06-01"),
    ],
)
def test_origins_are_local_unless_they_say_otherwise(
    value: Any, zone: str | None, shown: str
) -> None:
    assert parse_origin(value, None if zone is None else ZoneInfo(zone)) == us(shown)


def test_one_window_for_the_whole_range() -> None:
    windows = make_windows(None, 5, 9)
    assert (windows.starts.tolist(), windows.stops.tolist()) == ([5], [9])
    assert len(make_windows("1h", 7, 7)) == 1
    assert len(make_windows(None, 7, 7)) == 1


def test_bins_tell_which_periods_they_hold() -> None:
    bins = Bins(np.array([0, 10, 30, 35]), None)
    starts, stops = np.array([0, 5, 10, 29]), np.array([10, 11, 30, 31])
    assert bins.hold_whole(starts, stops).tolist() == [True, False, True, False]
    assert len(bins) == 3


@pytest.mark.parametrize(
    ("every", "options", "message"),
    [
        ("often", {}, "not a duration"),
        ("0 months", {}, "positive"),
        ("7h", {"timezone": "Europe/Berlin"}, "divide a day"),
        ("36h", {"timezone": "Europe/Berlin"}, "divide a day"),
        ("1h", {"timezone": "Europe/Atlantis"}, "IANA"),
        ("1h", {"timezone": "../etc"}, "IANA"),
        ("1h", {"window": "30 min"}, "longer window"),
        ("1h", {"window": "1 month"}, "whole multiple"),
        ("1 month", {"window": "60 days"}, "whole multiple"),
        ("2 months", {"window": "3 months"}, "whole multiple"),
        ("1h", {"window": "90 min", "timezone": "UTC"}, "whole multiple"),
        ("1 us", {}, "longer bins"),
        ("1h", {"window": "1h 1us"}, "longer bins"),
        ("1 month", {"origin": "2024-01-30"}, "after the 28th"),
        ("1h", {"origin": "soon"}, "soon"),
        ("1h", {"origin": "soon", "timezone": "UTC"}, "soon"),
        (None, {"window": "1h"}, "give every="),
        (None, {"timezone": "UTC"}, "give every="),
        (None, {"origin": "2024-01-01"}, "give every="),
    ],
)
def test_windows_that_make_no_sense(every: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make_windows(every, 0, 400 * DAY, **options)


def test_steps_know_how_often_they_fit() -> None:
    year, month = parse_step("1 year", on_clock=False), parse_step("MONTHS", on_clock=False)
    assert (year.times(month), month.times(year)) == (12, None)
    assert parse_step(timedelta(days=1), on_clock=False).times(month) is None


@given(moments, st.integers(1, 3000 * DAY), st.sampled_from(ZONES))
def test_clocks_show_what_the_database_says(start: int, length: int, zone: str) -> None:
    clock = local_clock(named_zone(zone), start, start + length)
    for moment in np.linspace(start, start + length, 50).astype(np.int64).tolist():
        shown = np.datetime64(clock.local(moment), "us").item()
        assert shown == local(moment, zone)
    for moment in clock.starts[1:].tolist():
        assert local(moment, zone) - local(moment - 1, zone) != timedelta(microseconds=1)
