from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import TimeFormat, parse_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BRUSSELS = TimeFormat(timezone="Europe/Brussels")


def micros(*when: int) -> int:
    return (datetime(*when, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)  # type: ignore[misc,arg-type]


def parse_one(value: Any, format: TimeFormat | None = None, kind: Any = None) -> int | str:
    parsed = parse_times(pa.array([value], kind), format)
    assert bool(parsed.valid[0]) is not bool(parsed.reasons)
    return parsed.reasons[0] if parsed.reasons else int(parsed.time[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02T03:04:05Z", micros(2024, 1, 2, 3, 4, 5)),
        ("2024-01-02 03:04:05", micros(2024, 1, 2, 3, 4, 5)),
        ("2024-01-02T03:04:05.000006+00:00", micros(2024, 1, 2, 3, 4, 5, 6)),
        ("2024-01-02T03:04:05.5-0130", micros(2024, 1, 2, 4, 34, 5, 500_000)),
        ("2024-01-02T03:04:05.123456000Z", micros(2024, 1, 2, 3, 4, 5, 123_456)),
        ("2024-01-02T03+01", micros(2024, 1, 2, 2)),
        ("2024-01-02", micros(2024, 1, 2)),
        ("2000-02-29", micros(2000, 2, 29)),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("9999-12-31T23:59:59.999999Z", micros(9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_iso_texts_keep_the_microsecond(text: str, expected: int) -> None:
    assert parse_one(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2024-1-2T00:00:00Z",
        "2024-01-02T00:00:00z",
        "2024-01-02T00:00:00Zulu",
        " 2024-01-02",
        "20240102",
        "2024-01-02T00:00:00.1234567890Z",
    ],
)
def test_texts_of_another_form_are_bad_rows_that_quote_the_text(text: str) -> None:
    reason = str(parse_one(text))
    assert repr(text) in reason
    assert "ISO 8601" in reason


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30",
        "2023-02-29T00:00:00Z",
        "1900-02-29",
        "2024-13-01",
        "2024-00-01",
        "2024-01-00",
        "2024-04-31",
        "2024-01-01T24:00:00Z",
        "2024-01-01T23:60:00Z",
        "2024-01-01T23:59:60Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+01:60",
    ],
)
def test_dates_and_times_that_do_not_exist_are_not_normalised(text: str) -> None:
    reason = str(parse_one(text))
    assert "does not exist" in reason
    assert text in reason


def test_digits_below_the_microsecond_are_never_lost_in_silence() -> None:
    text = "2024-01-01T00:00:00.1234567Z"
    assert "below the microsecond" in str(parse_one(text))
    assert parse_one(text, TimeFormat(subsecond="floor")) == micros(2024, 1, 1, 0, 0, 0, 123_456)


def test_one_bad_text_does_not_touch_its_neighbours() -> None:
    good = [f"2024-01-01T00:{m:02}:{s:02}.25Z" for m in range(60) for s in range(60)]
    column = pa.chunked_array([good, ["broken", None], good])
    parsed = parse_times(column)
    assert sorted(parsed.reasons) == [len(good), len(good) + 1]
    assert parsed.reasons[len(good) + 1] == "time is missing"
    expected = micros(2024, 1, 1, 0, 0, 0, 250_000) + np.arange(3600) * 1_000_000
    assert np.array_equal(parsed.time[:3600], expected)
    assert np.array_equal(parsed.time[-3600:], expected)


def test_offsets_may_differ_from_row_to_row() -> None:
    parsed = parse_times(pa.array(["2024-01-01T00:00:00", "2024-01-01T00:00:00+01:00"]))
    assert (parsed.time[0] - parsed.time[1]) == 3_600_000_000


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_every_datetime_survives_its_iso_text(when: datetime) -> None:
    expected = (when.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert parse_one(when.isoformat()) == expected
    assert parse_one(when.isoformat(" ") + "Z") == expected


def test_naive_texts_show_the_declared_clock() -> None:
    assert parse_one("2024-07-01T12:00:00", BRUSSELS) == micros(2024, 7, 1, 10)
    assert parse_one("2024-01-01T12:00:00", BRUSSELS) == micros(2024, 1, 1, 11)
    assert parse_one("2024-07-01T12:00:00Z", BRUSSELS) == micros(2024, 7, 1, 12)


def test_clock_changes_make_bad_rows_not_guesses() -> None:
    assert "happens twice in Europe/Brussels" in str(parse_one("2024-10-27 02:30:00", BRUSSELS))
    assert "never happens in Europe/Brussels" in str(parse_one("2024-03-31 02:30:00", BRUSSELS))
    assert parse_one("2024-10-27 03:00:00", BRUSSELS) == micros(2024, 10, 27, 2)
    assert parse_one("2024-03-31 03:00:00", BRUSSELS) == micros(2024, 3, 31, 1)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%d/%m/%Y %H.%M.%S", "10/03/2004 18.00.00", micros(2004, 3, 10, 18)),
        ("%d/%m/%Y %H.%M.%S", "1/3/2004 8.0.0", micros(2004, 3, 1, 8)),
        ("%Y%m%d%H%M%S", "20040310180001", micros(2004, 3, 10, 18, 0, 1)),
        ("%Y%m%d%H%M", 200403101800, micros(2004, 3, 10, 18)),
        ("%m/%d/%y %I:%M %p", "03/10/04 12:30 AM", micros(2004, 3, 10, 0, 30)),
        ("%m/%d/%y %I:%M %p", "03/10/69 12:30 pm", micros(1969, 3, 10, 12, 30)),
        ("%d-%b-%Y %T.%f", "10-MAR-2004 18:00:00.25", micros(2004, 3, 10, 18, 0, 0, 250_000)),
        ("%FT%T%z", "2004-03-10T18:00:00+0100", micros(2004, 3, 10, 17)),
        ("%Y %j 100%%", "2004 060 100%", micros(2004, 2, 29)),
    ],
)
def test_declared_patterns(pattern: str, text: str | int, expected: int) -> None:
    assert parse_one(text, TimeFormat("strptime", pattern)) == expected


def test_a_pattern_is_strict_and_takes_the_declared_clock() -> None:
    form = TimeFormat("strptime", "%d/%m/%Y %H.%M.%S", timezone="Europe/Rome")
    assert parse_one("10/03/2004 18.00.00", form) == micros(2004, 3, 10, 17)
    assert "does not exist" in str(parse_one("31/04/2004 18.00.00", form))
    assert "does not exist" in str(parse_one("366 2023", TimeFormat("strptime", "%j %Y")))
    assert "'%d/%m/%Y %H.%M.%S'" in str(parse_one("10/03/2004 18.00.00 ", form))
    assert "does not exist" in str(parse_one("1-Foo-2004", TimeFormat("strptime", "%d-%b-%Y")))
    assert "does not exist" in str(
        parse_one("1/1/2004 13 PM", TimeFormat("strptime", "%d/%m/%Y %I %p"))
    )


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("s", 1_696_181_572, 1_696_181_572_000_000),
        ("ms", -1, -1000),
        ("us", 7, 7),
        ("ns", 7000, 7),
        ("s", 1_624_227_395.1366348, 1_624_227_395_136_635),
        ("s", -0.5, -500_000),
        ("ms", 0.25, 250),
        ("us", 3.0, 3),
        ("ns", 3000.0, 3),
        ("s", "1624227395.136634", 1_624_227_395_136_634),
        ("s", "-1.5", -1_500_000),
        ("ms", "+2.25", 2250),
        ("us", "12", 12),
        ("ns", "12000", 12),
        ("s", "5.", 5_000_000),
    ],
)
def test_numbers_with_a_declared_unit(unit: Any, value: Any, expected: int) -> None:
    assert parse_one(value, TimeFormat(unit)) == expected


@pytest.mark.parametrize(
    ("unit", "value", "floor"),
    [
        ("ns", 1001, 1),
        ("ns", -1, -1),
        ("us", 1.5, 1),
        ("ns", 1000.5, 1),
        ("s", "1624227395.1366348", 1_624_227_395_136_634),
        ("s", "-0.0000001", -1),
        ("us", "1.0000000001", 1),
        ("ns", "1000.1", 1),
    ],
)
def test_numbers_finer_than_a_microsecond(unit: Any, value: Any, floor: int) -> None:
    assert "below the microsecond" in str(parse_one(value, TimeFormat(unit)))
    assert parse_one(value, TimeFormat(unit, subsecond="floor")) == floor


@pytest.mark.parametrize(
    ("unit", "value", "kind", "words"),
    [
        ("s", 2**62, None, "too far from 1970"),
        ("s", -(2**62), None, "too far from 1970"),
        ("us", 2**64 - 1, pa.uint64(), "too far from 1970"),
        ("s", 1e300, None, "too far from 1970"),
        ("s", float("nan"), None, "not a finite number"),
        ("ms", float("-inf"), None, "not a finite number"),
        ("s", "1e5", None, "not a decimal number of seconds"),
        ("s", "soon", None, "not a decimal number of seconds"),
        ("s", "999999999999999999", None, "too far from 1970"),
        ("ns", "9223372036854775808", None, "too far from 1970"),
        ("ns", "17000000000000000000", None, "not a decimal number of nanoseconds"),
    ],
)
def test_absurd_numbers_are_bad_rows(unit: Any, value: Any, kind: Any, words: str) -> None:
    reason = str(parse_one(value, TimeFormat(unit), kind))
    assert words in reason
    assert str(value) in reason


def test_texts_of_nanoseconds_of_our_time() -> None:
    texts = pa.array(["1700000000000000000", "-1700000000000001000", "5000", "9223372036854775000"])
    parsed = parse_times(texts, TimeFormat("ns"))
    assert parsed.reasons == {}
    assert parsed.time.tolist() == [1_700_000_000_000_000, -1_700_000_000_000_001, 5, 9223372036854775]  # fmt: skip


def test_arrow_timestamps_carry_their_unit() -> None:
    for unit, value in [("s", 2), ("ms", 2000), ("us", 2_000_000), ("ns", 2_000_000_000)]:
        assert parse_one(value, None, pa.timestamp(unit)) == 2_000_000
        assert parse_one(value, None, pa.timestamp(unit, tz="Asia/Tokyo")) == 2_000_000
    assert parse_one(datetime(2024, 1, 2).date(), None) == micros(2024, 1, 2)  # noqa: DTZ001
    assert parse_one(86_400_000, None, pa.date64()) == 86_400_000_000


def test_arrow_timestamps_are_as_strict_as_texts() -> None:
    assert "below the microsecond" in str(parse_one(1, None, pa.timestamp("ns")))
    assert "too far from 1970" in str(parse_one(2**60, None, pa.timestamp("s")))
    naive = pa.array([micros(2024, 7, 1, 12)], pa.timestamp("us"))
    assert parse_times(naive, BRUSSELS).time[0] == micros(2024, 7, 1, 10)


def test_timestamps_in_microseconds_are_not_copied() -> None:
    array = pa.array(np.arange(1000), pa.timestamp("us", tz="UTC"))
    time = parse_times(array.slice(10)).time
    assert time[0] == 10
    assert time.ctypes.data == array.buffers()[1].address + 80


def test_dictionaries_decimals_and_nulls() -> None:
    texts = pa.array(["2024-01-01", None, "2024-01-01"]).dictionary_encode()
    parsed = parse_times(texts)
    assert parsed.valid.tolist() == [True, False, True]
    decimals = pa.array(["1.5"]).cast(pa.decimal128(10, 3))
    assert parse_times(decimals, TimeFormat("s")).time[0] == 1_500_000
    assert parse_times(pa.nulls(2)).reasons == {0: "time is missing", 1: "time is missing"}
    assert len(parse_times(pa.chunked_array([], pa.string())).time) == 0


@pytest.mark.parametrize("values", [[1], [1.5], pa.array(["1"]).cast(pa.decimal128(5, 0))])
def test_numbers_without_a_unit_are_refused(values: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"declared unit.*TimeFormat\('s'\)"):
        parse_times(pa.array(values) if isinstance(values, list) else values)


@pytest.mark.parametrize("format", [None, TimeFormat("s")])
def test_other_types_hold_no_times(format: TimeFormat | None) -> None:
    with pytest.raises(InvalidInputError, match="cannot hold"):
        parse_times(pa.array([True]), format)


@pytest.mark.parametrize(
    "arguments",
    [
        {"unit": "minutes"},
        {"unit": "strptime"},
        {"unit": "iso", "pattern": "%Y"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"subsecond": "round"},
        {"unit": "strptime", "pattern": "%Y-%m"},
        {"unit": "strptime", "pattern": "%Y-%m-%d %Y"},
        {"unit": "strptime", "pattern": "%Y-%m-%d %Q"},
        {"unit": "strptime", "pattern": "%Y-%m-%d %I"},
        {"unit": "strptime", "pattern": "%Y-%m-%d %"},
    ],
)
def test_a_wrong_format_is_refused_when_declared(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        TimeFormat(**arguments)
