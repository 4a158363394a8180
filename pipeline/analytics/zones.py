"""Edges of time bins on the clocks of a named timezone.

A zone's offset from UTC is constant between its transitions. On each such stretch the local
clock is UTC plus a constant, so that edges are found by arithmetic on whole arrays, however
many there are; the days of 23 and 25 hours come out of it by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

__all__ = ["Clock", "local_clock", "named_zone"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND


def named_zone(name: str) -> ZoneInfo:
    """Return the timezone of that name.

    Raises
    ------
    InvalidInputError
        If the IANA database has none. It is the system's, or the one of the package tzdata.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError) as error:
        msg = f"unknown timezone {name!r}; use a name of the IANA database, such as 'Europe/Berlin'"
        raise InvalidInputError(msg) from error


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """The local clock over some time: stretches of constant offset, without gaps.

    Parameters
    ----------
    starts
        ``int64``, shape (stretches,): microseconds since 1970-01-01 UTC at which each begins; the
        first reaches back without end.
    offsets
        ``int64``, shape (stretches,): local clock minus UTC, in microseconds.
    """

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def local(self, time: int) -> int:
        """Return what the clock shows at a moment in UTC, both in microseconds since 1970."""
        at = max(int(np.searchsorted(self.starts, time, side="right")) - 1, 0)
        return time + int(self.offsets[at])

    def reached(self, shown: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when the clock first shows a time or a later one.

        A time that the clock skips is reached at the transition, one that it shows twice the
        first time.

        Parameters
        ----------
        shown
            ``int64``, ascending: times on the clock, in microseconds since 1970-01-01T00:00 local.

        Returns
        -------
        ndarray
            ``int64``: microseconds since 1970-01-01 UTC, ascending.
        """
        ends = np.maximum.accumulate(self.starts[1:] + self.offsets[:-1])
        at = np.searchsorted(ends, shown, side="right")
        begun = np.where(at > 0, self.starts[at], np.iinfo(np.int64).min)
        moments: NDArray[np.int64] = np.maximum(begun, shown - self.offsets[at])
        return moments

    def shows_multiples(self, start: int, stop: int, length: int, phase: int) -> NDArray[np.int64]:
        """Return all moments of ``[start, stop)`` at which the clock shows a multiple of a length.

        Parameters
        ----------
        start, stop
            Microseconds since 1970-01-01 UTC.
        length
            Microseconds, a divisor of a day.
        phase
            What is added to every multiple, in microseconds.

        Returns
        -------
        ndarray
            ``int64``, ascending: a time that the clock shows twice is there twice, one that it
            skips is there once, at the transition.
        """
        ends = np.append(self.starts[1:], stop)
        parts = []
        for begin, end, offset in zip(self.starts, ends, self.offsets, strict=True):
            low, high = max(int(begin), start) + int(offset), min(int(end), stop) + int(offset)
            first, last = -((phase - low) // length), -((phase - high) // length)
            parts.append(np.arange(first, last, dtype=np.int64) * length + phase - int(offset))
        for moment, before, after in zip(
            self.starts[1:], self.offsets[:-1], self.offsets[1:], strict=True
        ):
            skips = (moment + after - phase - 1) // length > (moment + before - phase - 1) // length
            if skips and start <= moment < stop:
                parts.append(np.array([moment], np.int64))
        return np.unique(np.concatenate(parts))


def local_clock(zone: ZoneInfo, start: int, stop: int) -> Clock:
    """Return the clock of a zone between two moments.

    Parameters
    ----------
    zone
        The timezone.
    start, stop
        Microseconds since 1970-01-01 UTC; transitions inside are found to the second. Two that
        undo each other within a day would be overlooked; the database has none such since 1900.
    """
    days = [start + step * _DAY for step in range((stop - start) // _DAY + 2)]
    offsets = [_offset(zone, day) for day in days]
    starts, found = [start], [offsets[0]]
    for at in range(1, len(days)):
        low, last = days[at - 1], offsets[at]
        while found[-1] != last:  # several, should a day have more than one
            moment = _next_transition(zone, low, days[at])
            starts.append(moment)
            found.append(_offset(zone, moment))
            low = moment
    return Clock(np.array(starts, np.int64), np.array(found, np.int64))


def _offset(zone: ZoneInfo, moment: int) -> int:
    shown = (_EPOCH + timedelta(microseconds=moment)).astimezone(zone).utcoffset()
    return 0 if shown is None else shown // timedelta(microseconds=1)


def _next_transition(zone: ZoneInfo, low: int, high: int) -> int:
    """Return the first whole second after `low` with another offset; `high` has one."""
    known = _offset(zone, low)
    low, high = low // _SECOND, -(-high // _SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle * _SECOND) == known:
            low = middle
        else:
            high = middle
    return high * _SECOND
