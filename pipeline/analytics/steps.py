"""What `every` and `window` say: a fixed length, or days or months of a calendar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import parse_duration, to_microseconds

__all__ = ["DAY", "FIXED", "MONTH", "Step", "parse_origin", "parse_step"]

FIXED: Final = "fixed"
DAY: Final = "day"
MONTH: Final = "month"

_DAY_US: Final = 86_400_000_000
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_CALENDAR: Final = re.compile(r"\s*(\d*)\s*(month|quarter|year)s?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """The length of a bin or window.

    Parameters
    ----------
    unit
        `FIXED`, `DAY` (local days of 23 to 25 hours) or `MONTH`.
    count
        Microseconds, days or months; at least 1.
    """

    unit: str
    count: int

    def times(self, of: Step) -> int | None:
        """Return how often `of` fits, None if not a whole number of times."""
        same = self.unit == of.unit and self.count % of.count == 0
        return self.count // of.count if same else None


def parse_step(value: Any, *, on_clock: bool, what: str = "every") -> Step:
    """Return the step that a user names.

    Parameters
    ----------
    value
        A duration (`pipeline.model.durations.parse_duration`), or a number of months, quarters or
        years: ``"1 month"``, ``"quarter"``, ``"2 years"``.
    on_clock
        Whether a timezone is named, in which whole days are days of its calendar.
    what
        The argument's name, for messages.

    Raises
    ------
    InvalidInputError
        If `value` is neither, or in a timezone neither divides a day nor is made of whole days.
    """
    found = _CALENDAR.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        count = int(found[1] or 1) * _MONTHS[found[2].lower()]
        if count == 0:
            msg = f"{what}={value!r} has to be positive"
            raise InvalidInputError(msg)
        return Step(MONTH, count)
    length = parse_duration(value)
    if not on_clock:
        return Step(FIXED, length)
    if length % _DAY_US == 0:
        return Step(DAY, length // _DAY_US)
    if _DAY_US % length:
        msg = f"{what}={value!r} in a timezone has to divide a day or to be whole days; leave out timezone= for bins of equal length"
        raise InvalidInputError(msg)
    return Step(FIXED, length)


def parse_origin(value: Any, zone: ZoneInfo | None) -> int:
    """Return an origin in microseconds since 1970-01-01T00:00 on the clock of the bins.

    Parameters
    ----------
    value
        A time. Without an offset it is what the clock of `zone` shows, UTC without a zone.
    zone
        The timezone of the bins; None for UTC.

    Raises
    ------
    InvalidInputError
        If `value` is no time.
    """
    if zone is None:
        return to_microseconds(value)
    moment = _with_offset(value)
    if moment is None:
        return to_microseconds(value)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    return int(np.datetime64(shown, "us").astype(np.int64))


def _with_offset(value: Any) -> datetime | None:
    """Return a time that says how far from UTC it is; None if it does not."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    is_moment = isinstance(value, date) and isinstance(value, datetime)
    return value if is_moment and value.tzinfo is not None else None
