"""What depends on the way from one reading to the next: increases, weights by time, states.

A segment goes from one reading of a device to its next. Its states add up, over segments, panes
and devices; which pane a segment counts in is decided here:

- An increase counts where the later reading lies, with the time since the earlier one. The
  increases of neighbouring panes therefore add up to that of both together.
- Time is cut at the borders of panes. A segment that crosses one gives each side its share.

Before a device's first reading and after its last, nothing is known and nothing is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.differences import difference
from pipeline.summaries.merging import runs_of

__all__ = ["Increases", "Segments", "Spans", "cut", "increases", "mean_value", "whole"]


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Ways from one reading to the next, sorted by device and time; arrays of one shape.

    Parameters
    ----------
    series
        ``int64``: number of the device.
    start, stop
        ``int64``: times of both readings in microseconds, ``start <= stop``.
    first, last
        Values of both readings, the column's dtype, no NaN.
    """

    series: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    first: NDArray[Any]
    last: NDArray[Any]

    def __len__(self) -> int:
        return len(self.series)

    @classmethod
    def between(
        cls, series: NDArray[np.int64], time: NDArray[np.int64], values: NDArray[Any]
    ) -> Segments:
        """Return the segments between neighbouring readings of a device.

        Parameters
        ----------
        series, time, values
            Readings, shape (rows,), sorted by (series, time).
        """
        same = np.flatnonzero(series[1:] == series[:-1])
        return cls(series[same], time[same], time[same + 1], values[same], values[same + 1])

    def take(self, at: NDArray[Any]) -> Segments:
        """Return some of the segments."""
        return Segments(
            self.series[at], self.start[at], self.stop[at], self.first[at], self.last[at]
        )


@dataclass(frozen=True, slots=True, eq=False)
class Increases:
    """Increases of counters over runs of segments.

    Parameters
    ----------
    at
        ``int64``, shape (runs,): the first segment of each run.
    increase
        ``float64``, shape (runs,): the sum of steps. A reading below the one before it is a
        counter that began again at 0: its step is its value.
    elapsed
        ``int64``, shape (runs,): microseconds from the first reading to the last.
    """

    at: NDArray[np.int64]
    increase: NDArray[np.float64]
    elapsed: NDArray[np.int64]


def increases(segments: Segments, bins: NDArray[np.int64]) -> Increases:
    """Return the increase of each run of segments of one device whose ends lie in one bin.

    Parameters
    ----------
    segments
        Segments.
    bins
        ``int64``, shape (segments,): the bin in which each one ends.
    """
    starts = runs_of(segments.series, bins)
    if len(starts) == 0:
        return Increases(starts, np.zeros(0), np.zeros(0, np.int64))
    stops = np.append(starts[1:], len(segments)) - 1
    # Steps without a reset cancel but for the two ends, so only these are subtracted.
    ways = difference(segments.last[stops], segments.first[starts]).astype(np.float64)
    before_reset = np.where(segments.last < segments.first, segments.first, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        total = ways + np.add.reduceat(before_reset, starts)
    return Increases(starts, total, segments.stop[stops] - segments.start[starts])


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Stretches of time within one segment and one bin.

    Parameters
    ----------
    segment
        ``int64``, shape (spans,): number of the segment.
    bin
        ``int64``, shape (spans,): the bin that holds the span.
    start, stop
        ``int64``, shape (spans,): half-open, in microseconds, not empty.
    """

    segment: NDArray[np.int64]
    bin: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def length(self) -> NDArray[np.int64]:
        """Length of each span in microseconds."""
        return self.stop - self.start


def cut(
    segments: Segments,
    first_bin: NDArray[np.int64],
    last_bin: NDArray[np.int64],
    edges: NDArray[np.int64],
) -> Spans:
    """Cut segments at the edges of bins.

    Parameters
    ----------
    segments
        Segments.
    first_bin, last_bin
        ``int64``, shape (segments,): the bins in which each begins and ends.
    edges
        ``int64``, shape (bins + 1,): edges of the bins, in microseconds.
    """
    pieces = last_bin - first_bin + 1
    segment = np.repeat(np.arange(len(segments)), pieces)
    begun = np.repeat(np.cumsum(pieces) - pieces, pieces)
    bins = first_bin[segment] + (np.arange(len(segment)) - begun)
    start = np.maximum(segments.start[segment], edges[bins])
    stop = np.minimum(segments.stop[segment], edges[bins + 1])
    return _kept(segment, bins, start, stop)


def whole(segments: Segments, bins: NDArray[np.int64]) -> Spans:
    """Return each segment as one span of the bin that holds all of it."""
    return _kept(np.arange(len(segments)), bins, segments.start, segments.stop)


def mean_value(segments: Segments, spans: Spans, *, linear: bool) -> NDArray[np.float64]:
    """Return the mean of the signal over each span.

    Parameters
    ----------
    segments, spans
        Segments and what `cut` or `whole` made of them.
    linear
        Whether the signal goes straight from reading to reading; otherwise it keeps the earlier
        value until the next reading.
    """
    first = segments.first[spans.segment].astype(np.float64)
    if not linear:
        return first
    last = segments.last[spans.segment].astype(np.float64)
    start, stop = segments.start[spans.segment], segments.stop[spans.segment]
    # Twice the way to the middle of the span is a whole number of microseconds.
    part = ((spans.start - start) + (spans.stop - start)) / (2 * (stop - start))
    with np.errstate(invalid="ignore", over="ignore"):
        mean: NDArray[np.float64] = first * (1 - part) + last * part
    return mean


def _kept(
    segment: NDArray[np.int64],
    bins: NDArray[np.int64],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
) -> Spans:
    lasting = stop > start
    if lasting.all():
        return Spans(segment, bins, start, stop)
    return Spans(segment[lasting], bins[lasting], start[lasting], stop[lasting])
