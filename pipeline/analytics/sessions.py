"""Sessions: runs of a device's rows that are never further apart than a gap."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.summaries.merging import runs_of

__all__ = ["SessionTable", "Sessions"]

_NEVER: Final = np.iinfo(np.int64).min
_MAX_SESSIONS: Final = 20_000_000


@dataclass(frozen=True, slots=True, eq=False)
class SessionTable:
    """All sessions that were found, in the order of device and time.

    Parameters
    ----------
    number
        ``int64``, shape (sessions,): what `Sessions.assign` called each.
    series
        ``int64``: number of the device.
    first, last
        ``int64``: times of the first and the last row, in microseconds since 1970-01-01 UTC.
    """

    number: NDArray[np.int64]
    series: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Sessions:
    """Tells the session of every row, while rows come in, earlier ones first.

    Parameters
    ----------
    gap
        Microseconds; a row further from the one before it begins a session.
    devices
        How many series there are.
    """

    gap: int
    devices: int
    _found: int = 0
    _open: NDArray[np.int64] = field(init=False)
    _last: NDArray[np.int64] = field(init=False)
    _parts: list[tuple[NDArray[np.int64], ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._open = np.full(self.devices, -1, np.int64)
        self._last = np.full(self.devices, _NEVER, np.int64)

    def __len__(self) -> int:
        return self._found

    def assign(self, series: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the session of each row.

        Parameters
        ----------
        series, time
            Rows, at least one, sorted by (series, time), all later than those of the same
            series before.

        Raises
        ------
        InvalidInputError
            If there are more sessions than fit in memory.
        """
        run_starts = runs_of(series)
        begins = np.append(True, np.diff(time) > self.gap)
        begins[run_starts] = self._begin(series[run_starts], time[run_starts])
        cuts = begins.copy()
        cuts[run_starts] = True
        starts = np.flatnonzero(cuts)
        stops = np.append(starts[1:], len(time))
        is_new = begins[starts]
        numbers = np.where(is_new, self._found + np.cumsum(is_new) - 1, self._open[series[starts]])
        self._found += int(np.count_nonzero(is_new))
        if self._found > _MAX_SESSIONS:
            msg = f"the gap makes more than {_MAX_SESSIONS} sessions; ask for a longer gap= or a shorter time range"
            raise InvalidInputError(msg)
        ends = np.append(run_starts[1:], len(time)) - 1
        self._last[series[ends]] = time[ends]
        last_of_series = np.append(series[starts][1:] != series[starts][:-1], True)
        self._open[series[ends]] = numbers[last_of_series]
        self._parts.append((numbers, series[starts], time[starts], time[stops - 1]))
        return np.repeat(numbers, stops - starts)

    def table(self) -> SessionTable:
        """Return the sessions found so far."""
        if not self._parts:
            nothing = np.zeros(0, np.int64)
            return SessionTable(nothing, nothing, nothing, nothing)
        numbers, series, first, last = map(np.concatenate, zip(*self._parts, strict=True))
        order = np.lexsort((first, numbers))
        starts = runs_of(numbers[order])
        stops = np.append(starts[1:], len(order)) - 1
        begun, ended = order[starts], order[stops]
        sorted_at = np.lexsort((first[begun], series[begun]))
        begun, ended = begun[sorted_at], ended[sorted_at]
        return SessionTable(numbers[begun], series[begun], first[begun], last[ended])

    def _begin(self, series: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.bool_]:
        last = self._last[series]
        known = last != _NEVER
        begins: NDArray[np.bool_] = ~known | (time - np.where(known, last, time) > self.gap)
        return begins
