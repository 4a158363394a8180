"""Windows of an aggregate: tumbling or overlapping, of fixed length or on a calendar.

Windows are runs of consecutive panes. Panes do not overlap, so that every row belongs to one;
what was found in panes is then merged into windows. Tumbling windows are panes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.steps import DAY, FIXED, MONTH, Step, parse_origin, parse_step
from pipeline.analytics.zones import Clock, local_clock, named_zone
from pipeline.errors import InvalidInputError

__all__ = ["Windows", "make_windows"]

_MAX_CELLS: Final = 50_000_000
_DAY_US: Final = 86_400_000_000
_MONTH_US: Final = 31 * _DAY_US
_MONDAY: Final = 4 * _DAY_US
"""1970-01-05, a Monday."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Half-open time windows of equal numbers of panes.

    Parameters
    ----------
    panes
        Bins without gaps.
    span
        Panes a window.
    stride
        Panes from the start of a window to the start of the next.
    timezone
        Name of the timezone whose calendar they follow, empty for UTC.
    """

    panes: Bins
    span: int = 1
    stride: int = 1
    timezone: str = ""

    def __len__(self) -> int:
        return (len(self.panes) - self.span) // self.stride + 1

    @property
    def positions(self) -> NDArray[np.int64]:
        """The first pane of each window, ``int64``."""
        return np.arange(len(self), dtype=np.int64) * self.stride

    @property
    def starts(self) -> NDArray[np.int64]:
        """Start of each window, ``int64`` microseconds since 1970-01-01 UTC."""
        return self.panes.edges[self.positions]

    @property
    def stops(self) -> NDArray[np.int64]:
        """Stop of each window, excluded, ``int64`` microseconds since 1970-01-01 UTC."""
        return self.panes.edges[self.positions + self.span]

    @property
    def is_panes(self) -> bool:
        """Whether every window is one pane."""
        return self.span == 1 and self.stride == 1

    def part(self, start: int, stop: int) -> Windows:
        """Return some consecutive windows, which have to be panes."""
        panes = Bins(self.panes.edges[start : stop + 1], self.panes.length)
        return Windows(panes, timezone=self.timezone)


def make_windows(
    every: Any,
    start: int,
    stop: int,
    groups: int = 1,
    *,
    window: Any = None,
    origin: Any = None,
    timezone: str | None = None,
) -> Windows:
    """Return all windows that touch ``[start, stop)``.

    Parameters
    ----------
    every
        From one window's start to the next: a duration such as ``"5 min"``, or ``"1 month"``,
        ``"quarter"``, ``"1 year"``; None for one window.
    start, stop
        Microseconds since 1970-01-01 UTC.
    groups
        Number of groups that have those windows each.
    window
        How long each is, at least `every` (so that they overlap); by default `every`. Lengths that
        vary (in a timezone, or months) have to be a whole multiple of `every`.
    origin
        Where a window starts; on the clock of `timezone` if it has no offset. By default
        1970-01-01, and in a timezone a Monday for whole weeks.
    timezone
        IANA name. Whole days, weeks, months, quarters and years then begin when the local clock
        reaches them, whatever its summer time does to their length; shorter windows begin
        whenever it shows a multiple of their length since midnight.

    Raises
    ------
    InvalidInputError
        If an argument makes no sense, or the windows do not fit in memory.
    """
    if every is None:
        if not (window is None and origin is None and timezone is None):
            msg = "window=, origin= and timezone= say how bins lie; give every= too"
            raise InvalidInputError(msg)
        return Windows(
            Bins(np.array([start, max(stop, start + 1)], np.int64), max(stop - start, 1))
        )
    zone = None if timezone is None else named_zone(timezone)
    step = parse_step(every, on_clock=zone is not None)
    length = (
        step if window is None else parse_step(window, on_clock=zone is not None, what="window")
    )
    shown = None if origin is None else parse_origin(origin, zone)
    span = _span(step, length, every, window, fixed=zone is None)
    if start >= stop:
        return Windows(Bins(np.array([start, start + 1], np.int64), 1), timezone=timezone or "")
    steps = (stop - start) // _shortest(step) + 2 + _shortest(length) // _shortest(step)
    pane = gcd(step.count, length.count) if step.unit == FIXED else step.count
    if steps * (step.count // pane) * groups > _MAX_CELLS:
        msg = f"every={every!r} makes some {steps} bins for each of {groups} groups; ask for longer bins or a shorter time range"
        raise InvalidInputError(msg)
    if zone is None and step.unit == FIXED:
        return _fixed(step.count, length.count, start, stop, shown or 0)
    edges = _on_clock(step, start, stop, shown, zone, span - 1)
    return Windows(Bins(edges, None), span, timezone=timezone or "")


def _span(step: Step, length: Step, every: Any, window: Any, *, fixed: bool) -> int:
    """Return how many steps a window lasts, which fixed lengths need not tell exactly."""
    span = length.times(step)
    if fixed and step.unit == length.unit == FIXED:
        if length.count < step.count:
            msg = f"window={window!r} is shorter than every={every!r}, so that rows between windows would be left out; give a longer window"
            raise InvalidInputError(msg)
        return 0
    if span is None:
        msg = f"window={window!r} has to be a whole multiple of every={every!r}, both in days, both in months, or both shorter than a day"
        raise InvalidInputError(msg)
    return span


def _shortest(step: Step) -> int:
    """Return about the shortest length of a step in microseconds, for estimates."""
    if step.unit == FIXED:
        return step.count
    return step.count * (_DAY_US if step.unit == DAY else 28 * _DAY_US)


def _fixed(every: int, window: int, start: int, stop: int, origin: int) -> Windows:
    first = (start - origin - window) // every + 1
    last = -((origin - stop) // every) - 1
    pane = gcd(every, window)
    edges = np.arange(
        origin + first * every, origin + last * every + window + 1, pane, dtype=np.int64
    )
    return Windows(Bins(edges, pane), window // pane, every // pane)


def _on_clock(
    step: Step, start: int, stop: int, origin: int | None, zone: ZoneInfo | None, around: int
) -> NDArray[np.int64]:
    """Return the edges of bins that cover ``[start, stop)`` and of `around` more on each side."""
    unit = {FIXED: 1, DAY: _DAY_US, MONTH: _MONTH_US}[step.unit]
    margin = (around + 2) * step.count * unit + 2 * _DAY_US
    low, high = start - margin, stop + margin
    if zone is None:
        clock = Clock(np.array([low], np.int64), np.zeros(1, np.int64))
    else:
        clock = local_clock(zone, low, high)
    edges = _edges(step, clock, low, high, origin)
    first = int(np.searchsorted(edges, start, side="right")) - 1 - around
    last = int(np.searchsorted(edges, stop, side="left")) + around
    return edges[first : last + 1]


def _edges(step: Step, clock: Clock, low: int, high: int, origin: int | None) -> NDArray[np.int64]:
    if step.unit == FIXED:
        return clock.shows_multiples(low, high, step.count, (origin or 0) % step.count)
    shown_low, shown_high = clock.local(low), clock.local(high)
    if step.unit == MONTH:
        shown = _months(step.count, shown_low, shown_high, origin or 0)
    else:
        whole_weeks = step.count % 7 == 0
        phase = origin if origin is not None else (_MONDAY if whole_weeks else 0)
        length = step.count * _DAY_US
        first, last = (shown_low - phase) // length, (shown_high - phase) // length
        shown = phase + np.arange(first, last + 1, dtype=np.int64) * length
    # A day that a zone skipped altogether has no bin.
    return np.unique(clock.reached(shown))


def _months(count: int, low: int, high: int, origin: int) -> NDArray[np.int64]:
    moments = np.array([origin, low, high], np.int64).astype("M8[us]")
    month, low_month, high_month = moments.astype("M8[M]").astype(np.int64).tolist()
    rest = origin - int(moments[0].astype("M8[M]").astype("M8[us]").astype(np.int64))
    if rest >= 28 * _DAY_US:
        msg = "origin= lies after the 28th, a day that not every month has; take an earlier one"
        raise InvalidInputError(msg)
    first, last = (low_month - month) // count, (high_month - month) // count
    numbers = month + np.arange(first, last + 1, dtype=np.int64) * count
    starts: NDArray[np.int64] = numbers.astype("M8[M]").astype("M8[us]").astype(np.int64)
    return starts + rest
