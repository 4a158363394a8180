"""Times and durations in microseconds: single values here, columns in `time_columns`.

Every part of the archive speaks of time as ``int64`` microseconds since 1970-01-01 UTC; this
module is the one place to import their parsers from.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InvalidInputError
from pipeline.model.durations import parse_duration
from pipeline.model.time_columns import ParsedTimes, TimeFormat, parse_times

__all__ = [
    "ParsedTimes",
    "TimeFormat",
    "format_time",
    "from_microseconds",
    "parse_duration",
    "parse_times",
    "to_microseconds",
]


def to_microseconds(value: Any) -> int:
    """Return one point in time as microseconds since 1970-01-01 UTC.

    Parameters
    ----------
    value
        ISO 8601 text, ``datetime``, ``date``, ``numpy.datetime64`` or ``pandas.Timestamp``.
        Without an offset it is taken as UTC.

    Raises
    ------
    InvalidInputError
        If `value` is a bare number, no time at all, NaT, or finer than a microsecond.

    Examples
    --------
    >>> to_microseconds("2024-01-01T01:00:00+01:00")
    1704067200000000
    """
    if type(value) is str:
        return _of_text(value)
    return _parsed(_time_scalar(value))


@lru_cache(maxsize=1024)
def _of_text(text: str) -> int:
    # A column of one text takes half a millisecond to parse, and questions name the same times.
    return _parsed(pa.array([text]))


def _parsed(array: pa.Array) -> int:
    parsed = parse_times(array)
    if parsed.reasons:
        raise InvalidInputError(parsed.reasons[0])
    return int(parsed.time[0])


def _time_scalar(value: Any) -> pa.Array:
    if isinstance(value, np.datetime64):
        return pa.array([_arrow_unit(value)])
    if isinstance(value, datetime):
        if hasattr(value, "asm8"):  # pandas.Timestamp has three digits more, and may be NaT
            return pa.array([_arrow_unit(value.asm8)])
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        micros = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return pa.array([micros], pa.timestamp("us", tz="UTC"))
    if isinstance(value, date | str):
        return pa.array([value])
    msg = (
        f"{value!r} is not a time; use an ISO 8601 text, a datetime or a numpy.datetime64 "
        "(a bare number does not tell its unit)"
    )
    raise InvalidInputError(msg)


def _arrow_unit(value: np.datetime64) -> np.datetime64:
    """Return `value` in a unit that Arrow has, or say that it does not fit."""
    unit = np.datetime_data(value)[0]
    unit = "ns" if unit in ("ps", "fs", "as") else unit
    arrow_unit = unit if unit in ("s", "ms", "us", "ns") else "s"
    same: np.datetime64[Any] = value.astype(f"M8[{arrow_unit}]")
    if same != value and not np.isnat(value):
        msg = f"time {value} is finer than a nanosecond or too far from 1970"
        raise InvalidInputError(msg)
    return same


def from_microseconds(value: int) -> datetime:
    """Return microseconds since 1970-01-01 UTC as an aware ``datetime`` in UTC.

    Raises
    ------
    InvalidInputError
        If the year is not between 1 and 9999; `format_time` writes those too.
    """
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(value))
    except OverflowError as error:
        msg = f"{value} microseconds since 1970 is outside the years 1 to 9999 of datetime"
        raise InvalidInputError(msg) from error


def format_time(value: int) -> str:
    """Return microseconds since 1970-01-01 UTC as ISO 8601 text with microseconds and ``Z``."""
    return f"{np.datetime64(int(value), 'us')}Z"
