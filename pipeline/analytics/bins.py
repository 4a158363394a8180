"""Time bins of an aggregate: the whole range, fixed lengths, or calendar months and years."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import parse_duration
from pipeline.partitioning.windows import WindowLength

__all__ = ["Bins", "make_bins"]

_MAX_CELLS: Final = 50_000_000
_CALENDAR: Final = {"month": WindowLength.MONTH, "year": WindowLength.YEAR}


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Half-open time bins without gaps.

    Parameters
    ----------
    edges
        ``int64``, shape (bins + 1,): microseconds since 1970-01-01 UTC.
    length
        Length of every bin in microseconds; None for calendar bins.
    """

    edges: NDArray[np.int64]
    length: int | None

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """Start of every bin, ``int64`` microseconds since 1970-01-01 UTC."""
        return self.edges[:-1]

    def numbers(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bin of each time inside the edges."""
        if self.length is not None:
            numbers: NDArray[np.int64] = (time - self.edges[0]) // self.length
            return numbers
        return np.searchsorted(self.edges, time, side="right").astype(np.int64) - 1

    def hold_whole(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each half-open period inside the edges whether one bin holds all of it."""
        whole: NDArray[np.bool_] = self.numbers(starts) == self.numbers(stops - 1)
        return whole


def make_bins(every: Any, start: int, stop: int, groups: int = 1) -> Bins:
    """Return the bins that cover ``[start, stop)``.

    Parameters
    ----------
    every
        None for one bin; a duration such as ``"5 min"``, aligned to 1970-01-01 UTC; or
        ``"1 month"``, ``"1 year"``, aligned to the calendar.
    start, stop
        Microseconds since 1970-01-01 UTC.
    groups
        Number of groups that have those bins each.

    Raises
    ------
    InvalidInputError
        If `every` is no duration, or asks for more bins than fit in memory.
    """
    if every is None or start >= stop:
        return Bins(np.array([start, max(stop, start + 1)], np.int64), max(stop - start, 1))
    calendar = _calendar(every)
    if calendar is not None:
        numbers = np.arange(calendar.number(start), calendar.number(stop - 1) + 2)
        return Bins(calendar.starts(numbers), None)
    length = parse_duration(every)
    first, last = start // length, -(-stop // length)
    if (last - first) * groups > _MAX_CELLS:
        msg = f"every={every!r} makes {last - first} bins for each of {groups} groups; ask for longer bins or a shorter time range"
        raise InvalidInputError(msg)
    return Bins(np.arange(first, last + 1, dtype=np.int64) * length, length)


def _calendar(every: Any) -> WindowLength | None:
    if not isinstance(every, str):
        return None
    words = every.strip().lower().removeprefix("1").strip().removesuffix("s")
    return _CALENDAR.get(words)
