"""Durations in words or objects to whole microseconds."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidInputError

__all__ = ["parse_duration"]

_SIZES: Final = {
    1: ("us", "µs", "microsecond", "microseconds"),
    1000: ("ms", "millisecond", "milliseconds"),
    1_000_000: ("s", "sec", "second", "seconds"),
    60_000_000: ("m", "min", "minute", "minutes"),
    3_600_000_000: ("h", "hr", "hour", "hours"),
    86_400_000_000: ("d", "D", "day", "days"),
    604_800_000_000: ("w", "W", "week", "weeks"),
}
_UNITS: Final = {word: size for size, words in _SIZES.items() for word in words}
_TERM: Final = r"(\d+(?:\.\d+)?)\s*([A-Za-zµ]+)"


def parse_duration(value: Any) -> int:
    """Return a duration as whole microseconds.

    Parameters
    ----------
    value
        Text such as ``"5 min"``, ``"1h"``, ``"1 day"``, ``"1h 30min"`` or ``"0.5 s"``;
        ``timedelta``, ``numpy.timedelta64`` or ``pandas.Timedelta``.

    Raises
    ------
    InvalidInputError
        If `value` is not positive, not a whole number of microseconds, or names a unit without
        a fixed length (month, year).

    Examples
    --------
    >>> parse_duration("1h 30min")
    5400000000
    """
    micros = _exact(value)
    if micros is None:
        msg = (
            f"{value!r} is not a duration; use a text such as '5 min' or '1 day' (units us, ms, s, "
            "min, h, day, week), a timedelta or a numpy.timedelta64"
        )
        raise InvalidInputError(msg)
    if micros <= 0 or micros.denominator != 1:
        msg = f"duration {value!r} is not a positive whole number of microseconds"
        raise InvalidInputError(msg)
    return int(micros)


def _exact(value: Any) -> Fraction | None:
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, np.timedelta64):
        return _of_numpy(value)
    if isinstance(value, timedelta):
        nanoseconds = getattr(value, "nanoseconds", 0)  # pandas.Timedelta has three digits more
        return value // timedelta(microseconds=1) + Fraction(nanoseconds, 1000)
    return None


def _of_text(text: str) -> Fraction | None:
    terms = re.findall(_TERM, text)
    if not terms or re.fullmatch(rf"\s*(?:{_TERM}\s*)+", text) is None:
        return None
    if any(unit not in _UNITS for _, unit in terms):
        return None
    return sum((Fraction(number) * _UNITS[unit] for number, unit in terms), Fraction(0))


def _of_numpy(value: np.timedelta64) -> Fraction | None:
    unit, count = np.datetime_data(value)
    per_microsecond = {"ns": 1000, "ps": 10**6, "fs": 10**9, "as": 10**12}
    if np.isnat(value) or unit not in {*per_microsecond, *_UNITS}:
        return None
    amount = int(value.astype(np.int64)) * count
    if unit in per_microsecond:
        return Fraction(amount, per_microsecond[unit])
    return Fraction(amount * _UNITS[unit])
