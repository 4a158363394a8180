"""Columns of times to microseconds since 1970-01-01 UTC, strict and vectorised.

Nothing is guessed and nothing is rounded in silence: a number needs a declared unit, digits
below the microsecond are refused unless they are declared to be dropped, and a local time that
a clock change makes ambiguous is a bad row with its reason.

References
----------
ISO 8601-1:2019, calendar dates with times of day and offsets from UTC.
IANA time zone database, https://www.iana.org/time-zones
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.arrow_arrays import (
    flat,
    is_text,
    null_mask,
    plain_texts,
    raw_values,
    value_texts,
)
from pipeline.model.time_fields import TimeProblem, expression_of, parse_fields, parse_iso
from pipeline.model.time_numbers import scale_decimal_texts, scale_floats, scale_integers

__all__ = ["ParsedTimes", "TimeFormat", "TimeUnit", "parse_times"]

TimeUnit = Literal["iso", "s", "ms", "us", "ns", "strptime"]

_WORDS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """How the times of a source are written.

    Parameters
    ----------
    unit
        ``"iso"`` for ISO 8601 texts; ``"s"``, ``"ms"``, ``"us"`` or ``"ns"`` for numbers (or
        texts of numbers) since 1970-01-01 UTC; ``"strptime"`` for texts like `pattern`.
    pattern
        Directives as of ``datetime.strptime``, only for the unit ``"strptime"``.
    timezone
        IANA name of the clock that texts and timestamps without an offset show.
    subsecond
        What becomes of digits below the microsecond: ``"reject"`` the row (default), or
        ``"floor"`` to the microsecond before. Digits that are zero are no loss.

    Raises
    ------
    InvalidInputError
        If a field is unknown, or `pattern` does not go with `unit`.
    """

    unit: TimeUnit = "iso"
    pattern: str = ""
    timezone: str = "UTC"
    subsecond: Literal["reject", "floor"] = "reject"

    def __post_init__(self) -> None:
        if self.unit not in get_args(TimeUnit):
            msg = f"unknown time unit {self.unit!r}; use one of {', '.join(get_args(TimeUnit))}"
            raise InvalidInputError(msg)
        if self.subsecond not in ("reject", "floor"):
            msg = f"subsecond is 'reject' or 'floor', not {self.subsecond!r}"
            raise InvalidInputError(msg)
        if (self.unit == "strptime") != bool(self.pattern):
            msg = (
                f"unit 'strptime' and a pattern go together, not {self.unit!r} and {self.pattern!r}"
            )
            raise InvalidInputError(msg)
        if self.pattern:
            expression_of(self.pattern)
        _check_timezone(self.timezone)

    def describe(self) -> str:
        """Return what a text has to be, for messages."""
        if self.unit == "strptime":
            return f"a time like {self.pattern!r}"
        if self.unit == "iso":
            return "an ISO 8601 time"
        return f"a decimal number of {_WORDS[self.unit]}"


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ValueError, LookupError, OSError) as error:
        msg = f"unknown timezone {name!r}; use an IANA name such as 'Europe/Brussels'"
        raise InvalidInputError(msg) from error


@dataclass(frozen=True, slots=True, eq=False)
class ParsedTimes:
    """The times of a column.

    Parameters
    ----------
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC; means nothing where
        `valid` is False. May be a read-only view of the input.
    valid
        Bool, shape (rows,); may be read-only.
    reasons
        Why, for the rows that are not valid, by row number.
    """

    time: NDArray[np.int64]
    valid: NDArray[np.bool_]
    reasons: dict[int, str]


_LIMIT: Final = 2**63 - 1
_Parts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]


def parse_times(
    values: pa.Array | pa.ChunkedArray, format: TimeFormat | None = None
) -> ParsedTimes:
    """Parse a column of times.

    Parameters
    ----------
    values
        Arrow timestamps and dates (their type tells the unit), texts (ISO 8601 unless `format`
        says otherwise) or numbers (only with a declared unit).
    format
        How the times are written; its timezone also applies to timestamps without one.

    Returns
    -------
    ParsedTimes
        Bad rows are marked there with their reason, never raised.

    Raises
    ------
    InvalidInputError
        If the type cannot hold times, or numbers come without a declared unit.
    """
    array = flat(values)
    form = format or TimeFormat()
    if _is_plain(array, form):
        time = raw_values(array)
        return ParsedTimes(time, np.broadcast_to(np.True_, time.shape), {})
    time, below, problem = _parse(array, form)
    if form.subsecond == "reject" and below.any():
        problem = np.where((problem == 0) & (below > 0), TimeProblem.PRECISION, problem)
    missing = null_mask(array)
    if missing is not None:
        problem = np.where(missing, TimeProblem.MISSING, problem)
    bad = np.flatnonzero(problem)
    texts = value_texts(array.take(pa.array(bad)))
    reasons = {
        int(row): _reason(TimeProblem(problem[row]), text, form)
        for row, text in zip(bad, texts, strict=True)
    }
    return ParsedTimes(time, problem == 0, reasons)


def _is_plain(array: pa.Array, form: TimeFormat) -> bool:
    """Tell whether a column holds microseconds since 1970 in UTC already, all of them times."""
    kind = array.type
    if not pa.types.is_timestamp(kind) or kind.unit != "us" or array.null_count:
        return False
    in_utc = kind.tz is not None or form.timezone == "UTC"
    return in_utc and (len(array) == 0 or int(raw_values(array).min()) >= -_LIMIT)


def _parse(array: pa.Array, form: TimeFormat) -> _Parts:
    kind = array.type
    if pa.types.is_timestamp(kind):
        time, below, problem = scale_integers(raw_values(array), kind.unit)
        return _localise(time, below, problem, form, zoned=kind.tz is not None)
    if pa.types.is_date(kind):
        days = raw_values(array.cast(pa.date32())).astype(np.int64)
        none = np.zeros(len(days), np.int64)
        return _localise(days * 86_400_000_000, none, none.astype(np.uint8), form, zoned=False)
    if pa.types.is_null(kind):
        none = np.zeros(len(array), np.int64)
        return none, none, none.astype(np.uint8)
    if form.unit in _WORDS:
        return _parse_numbers(array, form.unit)
    if is_text(kind) or (form.unit == "strptime" and pa.types.is_integer(kind)):
        return _parse_texts(plain_texts(array), form)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        msg = f"times of type {kind} need a declared unit, such as TimeFormat('s') or TimeFormat('ms')"
        raise InvalidInputError(msg)
    msg = f"a column of type {kind} cannot hold times; use timestamps, ISO 8601 texts or numbers"
    raise InvalidInputError(msg)


def _parse_numbers(array: pa.Array, unit: str) -> _Parts:
    kind = array.type
    if pa.types.is_integer(kind):
        return scale_integers(raw_values(array), unit)
    if pa.types.is_floating(kind):
        return scale_floats(raw_values(array), unit)
    if is_text(kind) or pa.types.is_decimal(kind):
        return scale_decimal_texts(plain_texts(array), unit)
    msg = f"a column of type {kind} cannot hold {_WORDS[unit]}; use integers, floats or texts"
    raise InvalidInputError(msg)


def _parse_texts(texts: pa.Array, form: TimeFormat) -> _Parts:
    if form.unit == "iso":
        time, zoned, below, problem = parse_iso(texts)
    else:
        time, zoned, below, problem = parse_fields(texts, expression_of(form.pattern))
    return _localise(time, below, problem, form, zoned=zoned)


def _localise(
    time: NDArray[np.int64],
    below: NDArray[np.int64],
    problem: NDArray[np.uint8],
    form: TimeFormat,
    *,
    zoned: NDArray[np.bool_] | bool,
) -> _Parts:
    """Take `time` from the declared clock to UTC where it does not name its offset."""
    if form.timezone == "UTC" or np.all(zoned):
        return time, below, problem
    rows = np.flatnonzero((problem == 0) & ~np.broadcast_to(zoned, time.shape))
    local = pa.array(time[rows].view("M8[us]"))
    early = _to_utc(local, form.timezone, "earliest", "earliest")
    twice = early != _to_utc(local, form.timezone, "latest", "earliest")
    skipped = early != _to_utc(local, form.timezone, "earliest", "latest")
    time, problem = time.copy(), problem.copy()
    time[rows] = early
    problem[rows[twice]] = TimeProblem.AMBIGUOUS
    problem[rows[skipped]] = TimeProblem.NONEXISTENT
    return time, below, problem


def _to_utc(local: pa.Array, timezone: str, ambiguous: str, nonexistent: str) -> NDArray[np.int64]:
    zoned = pc.assume_timezone(local, timezone, ambiguous=ambiguous, nonexistent=nonexistent)
    return np.asarray(zoned.cast(pa.int64()))


def _reason(problem: TimeProblem, text: str, form: TimeFormat) -> str:
    if problem == TimeProblem.MISSING:
        return "time is missing"
    saying = {
        TimeProblem.FORMAT: f"is not {form.describe()}",
        TimeProblem.DATE: "names a date or a time of day that does not exist",
        TimeProblem.PRECISION: "has digits below the microsecond; "
        "declare subsecond='floor' if they may be dropped",
        TimeProblem.AMBIGUOUS: f"happens twice in {form.timezone}, when clocks go back",
        TimeProblem.NONEXISTENT: f"never happens in {form.timezone}: clocks skip it",
        TimeProblem.RANGE: "is too far from 1970 for 64-bit microseconds",
        TimeProblem.NOT_FINITE: "is not a finite number",
    }
    return f"time {text!r} {saying[problem]}"
