"""Periods of a rollup: a fixed length that fits into days or is made of them, or whole months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.durations import parse_duration
from pipeline.partitioning.windows import WindowLength

__all__ = ["Period"]

_DAY: Final = 86_400_000_000
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
_CALENDAR: Final = re.compile(r"\s*(\d*)\s*(month|quarter|year)s?\s*", re.IGNORECASE)
_OF_WINDOW: Final = {WindowLength.MONTH: 1, WindowLength.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Period:
    """The length of a rollup's periods, which lie as the bins of an aggregate in UTC do.

    Periods are numbered from 1970-01-01; earlier ones have negative numbers.

    Parameters
    ----------
    length
        Microseconds; 0 for months.
    months
        Number of months; 0 for a fixed length.
    """

    length: int
    months: int = 0

    @classmethod
    def parse(cls, value: Any) -> Period:
        """Return the period that a user names.

        Parameters
        ----------
        value
            A duration that divides a day or is made of whole days (``"5 min"``, ``"1h"``,
            ``"7 days"``), or a number of months, quarters or years (``"1 month"``, ``"year"``).

        Raises
        ------
        InvalidInputError
            If it is neither.

        Examples
        --------
        >>> Period.parse("quarter").text
        '3 months'
        """
        found = _CALENDAR.fullmatch(value) if isinstance(value, str) else None
        if found is not None:
            months = int(found[1] or 1) * _MONTHS[found[2].lower()]
            if months == 0:
                msg = f"every={value!r} has to be positive"
                raise InvalidInputError(msg)
            return cls(0, months)
        length = parse_duration(value)
        if _DAY % length and length % _DAY:
            msg = f"every={value!r} neither divides a day nor is made of whole days; periods of a rollup have to"
            raise InvalidInputError(msg)
        return cls(length)

    @classmethod
    def of_window(cls, window: WindowLength) -> Period:
        """Return the period that windows or summaries of a length are."""
        if window in _OF_WINDOW:
            return cls(0, _OF_WINDOW[window])
        return cls(_DAY if window is WindowLength.DAY else _DAY // 24)

    @property
    def text(self) -> str:
        """What `parse` reads as this, in a plain unit."""
        if self.months:
            count, unit = (self.months // 12, "year") if self.months % 12 == 0 else (self.months, "month")  # fmt: skip
        else:
            sizes = {"day": _DAY, "hour": _DAY // 24, "minute": 60_000_000, "second": 1_000_000}
            fits = (one for one, size in sizes.items() if self.length % size == 0)
            unit = next(fits, "microsecond")
            count = self.length // sizes.get(unit, 1)
        return f"{count} {unit}{'' if count == 1 else 's'}"

    @property
    def typical(self) -> int:
        """About how long a period is, in microseconds."""
        return self.length or self.months * 30 * _DAY

    def numbers(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the period of each time: ``int64``, the shape of `time` in microseconds UTC."""
        if self.length:
            numbers: NDArray[np.int64] = time // self.length
            return numbers
        months = time.astype("M8[us]").astype("M8[M]").astype(np.int64)
        found: NDArray[np.int64] = months // self.months
        return found

    def number(self, time: int) -> int:
        """Return the period of one time in microseconds since 1970-01-01 UTC."""
        return int(self.numbers(np.array([time], np.int64))[0])

    def starts(self, numbers: NDArray[Any]) -> NDArray[np.int64]:
        """Return where periods start: ``int64``, microseconds since 1970-01-01 UTC."""
        numbers = np.asarray(numbers, np.int64)
        if self.length:
            return numbers * self.length
        return (numbers * self.months).astype("M8[M]").astype("M8[us]").astype(np.int64)

    def start(self, number: int) -> int:
        """Return where one period starts, in microseconds since 1970-01-01 UTC."""
        return int(self.starts(np.array([number]))[0])

    def touched(self, start: int, stop: int) -> range:
        """Return the periods that the time range ``[start, stop)`` touches."""
        return range(self.number(start), self.number(stop - 1) + 1) if start < stop else range(0)

    def holds(self, other: Period) -> bool:
        """Tell whether every period of this length is made of whole ones of `other`."""
        if self.months:
            months = self.months % other.months == 0 if other.months else None
            return _DAY % other.length == 0 if months is None else months
        return other.months == 0 and self.length % other.length == 0
