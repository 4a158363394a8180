"""Watermarks: how far each device's readings have come, and which rows are late.

A device's watermark is the newest time it has sent, less the disorder that is allowed. A row is late
if it is older than the watermark that the rows before it made. Late rows are rows like any other;
they are counted, and a stream may set limits.

References
----------
Akidau et al., "The Dataflow Model", VLDB 8(12), 2015, section 1.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.text_codes import TextCodes

__all__ = ["Bounds", "Watermarks", "bounds_of"]

type Bounds = tuple[int, int]
"""The oldest and the newest of some times."""

_NEVER: Final = np.iinfo(np.int64).min // 2
"""Newest time of a device that has sent nothing; any disorder may be taken off it."""

_BACKLOG: Final = 1 << 14


def bounds_of(time: NDArray[np.int64]) -> Bounds | None:
    """Return the oldest and the newest of some times; None if there are none."""
    return (int(time.min()), int(time.max())) if len(time) else None


class Watermarks:
    """Newest times of devices, by their codes.

    Parameters
    ----------
    disorder
        Microseconds by which the rows of a device may be out of order.
    devices
        The codes of devices.
    """

    def __init__(self, disorder: int, devices: TextCodes | None = None) -> None:
        self._disorder = disorder
        self._devices = TextCodes() if devices is None else devices
        self._newest: NDArray[np.int64] = np.full(64, _NEVER)
        self._top = _NEVER
        # Rows that were taken move the devices on together: one by one, batches of 100 rows took ten
        # times as long a row.
        self._backlog: list[tuple[NDArray[np.int32], NDArray[np.int64]]] = []
        self._rows = 0

    def __len__(self) -> int:
        return len(self._devices)

    def codes_of(self, devices: Sequence[str]) -> NDArray[np.int32]:
        """Return a code for each id, new ones for new devices; shape (rows,)."""
        return self._devices.codes_of(devices)

    def start_from(self, devices: Iterable[str], newest: NDArray[np.int64]) -> None:
        """Take newest times that are known from before, microseconds since 1970-01-01 UTC."""
        self.passed(self.codes_of(list(devices)), np.maximum(newest, _NEVER))

    def newest(self, device: str) -> int | None:
        """Return the newest time of a device, None if it has sent nothing."""
        self._settle()
        code = self._devices.get(device)
        # A device may have a code, and no row yet.
        known = code is not None and code < len(self._newest)
        found = int(self._newest[code]) if known else _NEVER
        return None if found == _NEVER else found

    def before(
        self, codes: NDArray[np.int32], time: NDArray[np.int64], bounds: Bounds | None = None
    ) -> NDArray[np.int64] | None:
        """Return the watermark that each row meets, None if no row is late; nothing changes.

        Parameters
        ----------
        codes, time
            ``int32`` and ``int64``, shape (rows,), in the order in which the rows came; at least one.
        bounds
            Of `time`, if these are known.
        """
        oldest, newest = bounds or (int(time.min()), int(time.max()))
        # Nearly always all rows are newer than what any of them could meet.
        if oldest >= max(self._top, newest) - self._disorder:
            return None
        self._settle()
        known = self._newest[codes]
        if oldest >= max(int(known.max()), newest) - self._disorder:
            return None
        met = _newest_before(codes, time, known) - self._disorder
        return met if bool((time < met).any()) else None

    def passed(
        self, codes: NDArray[np.int32], time: NDArray[np.int64], newest: int | None = None
    ) -> None:
        """Move on by rows that were taken.

        Parameters
        ----------
        codes, time
            As for `before`; both are left as they are from now on.
        newest
            The newest time, if that is known.
        """
        if not len(time):
            return
        self._top = max(self._top, int(time.max()) if newest is None else newest)
        self._backlog.append((codes, time))
        self._rows += len(time)
        if self._rows > _BACKLOG:
            self._settle()

    def _settle(self) -> None:
        """Move the devices on by the rows that were taken since the last time."""
        if len(self._devices) > len(self._newest):
            room = np.full(2 * len(self._devices), _NEVER)
            room[: len(self._newest)] = self._newest
            self._newest = room
        if not self._backlog:
            return
        codes, times = zip(*self._backlog, strict=True)
        np.maximum.at(self._newest, np.concatenate(codes), np.concatenate(times))
        self._backlog, self._rows = [], 0


def _newest_before(
    codes: NDArray[np.int32], time: NDArray[np.int64], known: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the newest time that each row's device had before it, shape (rows,)."""
    order = np.argsort(codes, kind="stable")
    codes, time = codes[order], time[order]
    starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    before = np.append(_NEVER, time[:-1])
    before[starts] = known[order][starts]
    lengths = np.diff(starts, append=len(codes))
    found = np.empty_like(before)
    found[order] = _running_maximum(before, starts, lengths)
    return found


def _running_maximum(
    values: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[Any]:
    """Return the running maximum of each run; runs with more than one row are few or short."""
    result = values.copy()
    for start, length in zip(starts[lengths > 1], lengths[lengths > 1], strict=True):
        run = result[start : start + length]
        np.maximum.accumulate(run, out=run)
    return result
