"""What becomes of rows because of their time: taken, taken under another time, or set aside."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.policies import Limit, Otherwise
from pipeline.ingest.watermarks import Bounds, Watermarks, bounds_of
from pipeline.model.timestamps import format_time

__all__ = ["Timeliness", "Verdict"]


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The rows of a batch after a look at their times.

    Parameters
    ----------
    late
        Rows older than their device's watermark that are stored as they are.
    time
        ``int64``, shape (rows,): times to store, microseconds since 1970-01-01 UTC; None if they
        stay as they are.
    restamped
        Rows that are stored under the time of their receipt.
    rejected
        Why, for the rows that go to quarantine, by row number.
    """

    late: int = 0
    time: NDArray[np.int64] | None = None
    restamped: int = 0
    rejected: dict[int, str] = field(default_factory=dict)


_FINE = Verdict()


@dataclass(frozen=True, slots=True)
class Timeliness:
    """A stream's limits.

    Parameters
    ----------
    late
        How far behind its watermark a row may be.
    future
        How far ahead of the time of its receipt.
    """

    late: Limit
    future: Limit

    def judge(
        self,
        watermarks: Watermarks,
        codes: NDArray[np.int32],
        time: NDArray[np.int64],
        now: int,
        bounds: Bounds | None = None,
    ) -> Verdict:
        """Look at the times of a batch, and move the watermarks on.

        Parameters
        ----------
        watermarks
            Of the rows before.
        codes, time
            ``int32`` and ``int64``, shape (rows,): devices and times, in the order in which the rows
            came; both are left as they are from now on.
        now
            When they were received, microseconds since 1970-01-01 UTC.
        bounds
            Of `time`, if these are known.
        """
        bounds = bounds or bounds_of(time)
        if bounds is None:
            return _FINE
        newest = bounds[1]
        ahead = self.future.within is not None and newest > now + self.future.within
        met = None if ahead else watermarks.before(codes, time, bounds)
        if not ahead and met is None:
            watermarks.passed(codes, time, newest)
            return _FINE
        return self._judge_each(watermarks, codes, time, now)

    def _judge_each(
        self, watermarks: Watermarks, codes: NDArray[np.int32], time: NDArray[np.int64], now: int
    ) -> Verdict:
        rejected: dict[int, str] = {}
        stamps = now + np.arange(len(time))
        wrong, stored = np.zeros(len(time), np.bool_), time
        if self.future.within is not None:
            wrong = time > now + self.future.within
            if self.future.otherwise is Otherwise.RECEIVE_TIME:
                stored = np.where(wrong, stamps, stored)
            else:
                why = f"is more than {_seconds(self.future.within)} ahead of its receipt at {format_time(now)}"
                rejected |= {row: _reason(time, row, why) for row in np.flatnonzero(wrong).tolist()}
        taken = np.ones(len(time), np.bool_)
        taken[list(rejected)] = False
        late = self._late(watermarks, codes, stored, taken)
        beyond = np.zeros(len(time), np.bool_)
        if self.late.within is not None:
            beyond = late > self.late.within
            if self.late.otherwise is Otherwise.RECEIVE_TIME:
                stored = np.where(beyond, stamps, stored)
            else:
                why = (
                    f"is more than {_seconds(self.late.within)} behind the watermark of its device"
                )
                rejected |= {
                    row: _reason(time, row, why) for row in np.flatnonzero(beyond).tolist()
                }
                taken &= ~beyond
        watermarks.passed(codes[taken], stored[taken])
        return Verdict(
            int(np.count_nonzero((late > 0) & ~beyond)),
            None if stored is time else stored,
            int(np.count_nonzero(stored != time)),
            rejected,
        )

    @staticmethod
    def _late(
        watermarks: Watermarks,
        codes: NDArray[np.int32],
        time: NDArray[np.int64],
        taken: NDArray[np.bool_],
    ) -> NDArray[np.int64]:
        """Return by how much each row is behind the watermark it meets; 0 if it is not."""
        late = np.zeros(len(time), np.int64)
        rows = np.flatnonzero(taken)
        met = watermarks.before(codes[rows], time[rows]) if len(rows) else None
        if met is not None:
            late[rows] = np.maximum(met - time[rows], 0)
        return late


def _reason(time: NDArray[np.int64], row: int, why: str) -> str:
    return f"time {format_time(int(time[row]))} {why}"


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1e6:g} s"
