"""Time partitions: hours, days, months and years in UTC, half-open ``[start, stop)``.

Windows are numbered from the start of the grid, 1900-01-01T00:00 UTC, so that every time a
sensor archive can meaningfully hold has a non-negative number: the number is the position
along the ``window`` axis of the archive's pre-sized arrays. Old station records begin well
before 1970, so the Unix epoch would not do.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

__all__ = ["GRID_START", "GRID_STOP", "WindowLength"]

_EPOCH_YEAR = 1970
_FIRST_YEAR = 1900
_LAST_YEAR = 2200
_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000


def _microseconds(year: int) -> int:
    return int(np.datetime64(f"{year}-01-01", "us").astype(np.int64))


GRID_START = _microseconds(_FIRST_YEAR)
"""Microseconds since 1970-01-01 UTC at which window 0 starts (1900-01-01, negative)."""

GRID_STOP = _microseconds(_LAST_YEAR)
"""Microseconds since 1970-01-01 UTC at which the grid ends (2200-01-01, excluded)."""


class WindowLength(Enum):
    """How long a window is. Values are the spellings used in files and arguments."""

    HOUR = "1 hour"
    DAY = "1 day"
    MONTH = "1 month"
    YEAR = "1 year"

    @classmethod
    def parse(cls, text: str | WindowLength) -> WindowLength:
        """Return the length that `text` names (``"1 day"``, ``"day"``, ``"1d"``, ``"daily"`` …).

        Raises
        ------
        InvalidInputError
            If `text` names no window length.
        """
        if isinstance(text, WindowLength):
            return text
        found = _SPELLINGS.get(text.strip().lower().replace(" ", ""))
        if found is None:
            msg = f"unknown window {text!r}; use one of {', '.join(repr(w.value) for w in cls)}"
            raise InvalidInputError(msg)
        return found

    @property
    def count(self) -> int:
        """Number of windows in the grid."""
        return self.number(GRID_STOP - 1) + 1

    def numbers(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the window number of each time.

        Parameters
        ----------
        time
            ``int64``, any shape: microseconds since 1970-01-01 UTC within the grid.

        Returns
        -------
        ndarray
            ``int64``, the shape of `time`.
        """
        if self is WindowLength.HOUR:
            return (time - GRID_START) // _HOUR_US
        days: NDArray[np.int64] = (time - GRID_START) // _DAY_US
        if self is WindowLength.DAY or days.size == 0:
            return days
        # Calendar arithmetic on a few distinct days is far cheaper than on every row.
        first, last = int(days.min()), int(days.max())
        table = self._of_days(np.arange(first, last + 1))
        return table[days - first]

    def number(self, time: int) -> int:
        """Return the window number of one time in microseconds since 1970-01-01 UTC."""
        return int(self.numbers(np.array([time], np.int64))[0])

    def starts(self, numbers: NDArray[Any]) -> NDArray[np.int64]:
        """Return the start of each window: ``int64`` microseconds since 1970-01-01 UTC."""
        numbers = np.asarray(numbers, np.int64)
        if self is WindowLength.HOUR:
            return GRID_START + numbers * _HOUR_US
        if self is WindowLength.DAY:
            return GRID_START + numbers * _DAY_US
        unit = "M" if self is WindowLength.MONTH else "Y"
        origin = (_FIRST_YEAR - _EPOCH_YEAR) * (12 if unit == "M" else 1)
        return (numbers + origin).astype(f"M8[{unit}]").astype("M8[us]").astype(np.int64)

    def start(self, number: int) -> int:
        """Return the start of one window in microseconds since 1970-01-01 UTC."""
        return int(self.starts(np.array([number]))[0])

    def nests_in(self, other: WindowLength) -> bool:
        """Tell whether every window of `other` is made of whole windows of this length."""
        order = list(WindowLength)
        return order.index(self) <= order.index(other)

    def _of_days(self, days: NDArray[np.int64]) -> NDArray[np.int64]:
        unit = "M" if self is WindowLength.MONTH else "Y"
        origin = (_FIRST_YEAR - _EPOCH_YEAR) * (12 if unit == "M" else 1)
        dates = (days + GRID_START // _DAY_US).astype("M8[D]")
        return dates.astype(f"M8[{unit}]").astype(np.int64) - origin


_SPELLINGS = {
    spelling: length
    for length, spellings in {
        WindowLength.HOUR: ("1hour", "hour", "1h", "h", "hourly"),
        WindowLength.DAY: ("1day", "day", "1d", "d", "daily"),
        WindowLength.MONTH: ("1month", "month", "1mo", "monthly"),
        WindowLength.YEAR: ("1year", "year", "1y", "yearly"),
    }.items()
    for spelling in spellings
}
