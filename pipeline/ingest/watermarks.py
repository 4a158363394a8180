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

__all__ = ["Watermarks"]

_NEVER: Final = np.iinfo(np.int64).min // 2
"""Newest time of a device that has sent nothing; any disorder may be taken off it."""


class Watermarks:
    """Newest times of devices, by codes that are handed out here.

    Parameters
    ----------
    disorder
        Microseconds by which the rows of a device may be out of order.
    """

    def __init__(self, disorder: int) -> None:
        self._disorder = disorder
        self._codes: dict[str, int] = {}
        self._newest: NDArray[np.int64] = np.full(64, _NEVER)

    def __len__(self) -> int:
        return len(self._codes)

    def codes_of(self, devices: Sequence[str]) -> NDArray[np.int64]:
        """Return a code for each id, new ones for new devices; shape (rows,)."""
        try:
            return np.fromiter(map(self._codes.__getitem__, devices), np.int64, len(devices))
        except KeyError:
            self._learn(devices)
        return np.fromiter(map(self._codes.__getitem__, devices), np.int64, len(devices))

    def start_from(self, devices: Iterable[str], newest: NDArray[np.int64]) -> None:
        """Take newest times that are known from before, microseconds since 1970-01-01 UTC."""
        codes = self.codes_of(list(devices))
        np.maximum.at(self._newest, codes, np.maximum(newest, _NEVER))

    def newest(self, device: str) -> int | None:
        """Return the newest time of a device, None if it has sent nothing."""
        code = self._codes.get(device)
        found = _NEVER if code is None else int(self._newest[code])
        return None if found == _NEVER else found

    def before(self, codes: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the watermark that each row meets, None if no row is late; nothing changes.

        Parameters
        ----------
        codes, time
            ``int64``, shape (rows,), in the order in which the rows came.
        """
        known = self._newest[codes]
        # Nearly always all rows are newer than what any of them could meet.
        if int(time.min()) >= max(int(known.max()), int(time.max())) - self._disorder:
            return None
        met = _newest_before(codes, time, known) - self._disorder
        return met if bool((time < met).any()) else None

    def passed(self, codes: NDArray[np.int64], time: NDArray[np.int64]) -> None:
        """Move on by rows that were taken."""
        np.maximum.at(self._newest, codes, time)

    def _learn(self, devices: Sequence[str]) -> None:
        for device in devices:
            self._codes.setdefault(device, len(self._codes))
        if len(self._codes) > len(self._newest):
            room = np.full(2 * len(self._codes), _NEVER)
            room[: len(self._newest)] = self._newest
            self._newest = room


def _newest_before(
    codes: NDArray[np.int64], time: NDArray[np.int64], known: NDArray[np.int64]
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
