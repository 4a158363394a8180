"""What gathers answers from decoded rows, one class for each way of gathering.

A collector is given the readings of one channel, part by part, earlier ones first, and returns
in the end one value for each group and window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.readings import Carry, Readings
from pipeline.analytics.windows import Windows
from pipeline.summaries.asked import Statistic
from pipeline.summaries.courses import Segments, Spans, cut, increases, mean_value, whole
from pipeline.summaries.histograms import histogram_counts
from pipeline.summaries.merging import slide, sum_by_cell

__all__ = ["Collector", "CourseCollector", "HistogramCollector", "Shape", "Values", "slid"]

_SECOND = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What an answer spans.

    Parameters
    ----------
    groups
        Number of groups.
    bins
        Number of panes, or of sessions.
    windows
        The windows made of the panes; None for sessions.
    """

    groups: int
    bins: int
    windows: Windows | None


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Values of a statistic, and which cells have one.

    Parameters
    ----------
    values
        Shape (groups, windows) or (groups, windows, parts).
    present
        Bool, shape (groups, windows).
    seen
        Bool, shape (groups, windows): where a reading was found. A count has a value, 0, where
        there was none.
    """

    values: NDArray[Any]
    present: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @classmethod
    def always(cls, values: NDArray[Any], seen: NDArray[np.bool_]) -> Values:
        """Return values of a statistic that every cell has."""
        return cls(values, np.ones(seen.shape, np.bool_), seen)

    @classmethod
    def where(cls, values: NDArray[Any], present: NDArray[np.bool_]) -> Values:
        """Return values of a statistic that cells with readings have."""
        return cls(values, present, present)

    @classmethod
    def concat(cls, parts: Sequence[Values], axis: int) -> Values:
        """Return values side by side: groups (axis 0) or windows (axis 1) of one after the other's."""
        return cls(
            np.concatenate([part.values for part in parts], axis),
            np.concatenate([part.present for part in parts], axis),
            np.concatenate([part.seen for part in parts], axis),
        )

    def ordered(self, at: NDArray[np.int64]) -> Values:
        """Return the values with windows in another order."""
        return Values(self.values[:, at], self.present[:, at], self.seen[:, at])


class Collector(Protocol):
    """Gathers what some statistics of a channel need."""

    def add(self, readings: Readings) -> None:
        """Take the readings of the next part of the fleet's rows."""

    def close(self, pane: int) -> None:
        """Know that all readings to come lie in this pane or later."""

    def result(self, statistic: Statistic, shape: Shape) -> Values:
        """Return the values of a statistic."""


def slid(panes: NDArray[Any], windows: Windows | None) -> NDArray[Any]:
    """Add additive states up from panes (second axis) to windows."""
    if windows is None or windows.is_panes:
        return panes
    add: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] = np.add
    return slide(panes, add, lambda array, at: array[:, at], windows.span, windows.positions)


class _Sums:
    """Sums by cell, gathered as they come and added up in the end."""

    def __init__(self, dtype: type) -> None:
        self._dtype = dtype
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]] = []

    def add(self, group: NDArray[np.int64], bins: NDArray[np.int64], values: NDArray[Any]) -> None:
        """Add values to cells; runs of one cell are added up at once."""
        width = int(bins.max(initial=0)) + 1
        cells, inverse = np.unique(group * width + bins, return_inverse=True)
        sums = sum_by_cell(inverse, values.astype(self._dtype), len(cells))
        self._parts.append((cells // width, cells % width, sums))

    def total(self, shape: Shape) -> NDArray[Any]:
        """Return the sums by window, shape (groups, windows)."""
        return self.totals(shape, 1)[..., 0]

    def totals(self, shape: Shape, parts: int) -> NDArray[Any]:
        """Return the sums by window and part, shape (groups, windows, parts).

        Parameters
        ----------
        shape
            What the answer spans.
        parts
            Into how many each pane was divided: bins were given as ``pane * parts + part``.
        """
        sizes = (shape.groups, shape.bins, parts)
        if not self._parts:
            return slid(np.zeros(sizes, self._dtype), shape.windows)
        group, bins, values = map(np.concatenate, zip(*self._parts, strict=True))
        size = shape.groups * shape.bins * parts
        summed = sum_by_cell(group * (shape.bins * parts) + bins, values, size)
        return slid(summed.reshape(sizes), shape.windows)


class HistogramCollector:
    """Counts readings between edges."""

    def __init__(self, statistic: Statistic) -> None:
        self._edges = np.array(statistic.edges)
        self._sums = _Sums(np.int64)

    def add(self, readings: Readings) -> None:
        """Take the readings of the next part of the fleet's rows."""
        buckets = len(self._edges) - 1
        group = readings.rows.group
        width = int(readings.rows.bin.max(initial=0)) + 1
        cells = group * width + readings.rows.bin
        found, counts = histogram_counts(cells, readings.values, self._edges)
        cell, bucket = np.divmod(found, buckets)
        self._sums.add(cell // width, (cell % width) * buckets + bucket, counts)

    def close(self, pane: int) -> None:
        """Do nothing: counts are small, and are kept to the end."""

    def result(self, statistic: Statistic, shape: Shape) -> Values:
        """Return the counts, shape (groups, windows, buckets)."""
        buckets = len(statistic.edges) - 1
        counts = self._sums.totals(shape, buckets)
        return Values.always(counts, counts.any(axis=2))


class CourseCollector:
    """Follows every device from reading to reading.

    Parameters
    ----------
    statistics
        What is asked of the channel and depends on the way between readings.
    devices
        How many series there are.
    dtype
        Of the stored column.
    edges
        Edges of the panes in microseconds; None for sessions, where segments between readings of
        different sessions do not count.
    of_series
        ``int64``, shape (devices,): group of each series; None where every part of it has another.
    states
        How many states a category or bool has.
    """

    def __init__(
        self,
        statistics: Sequence[Statistic],
        devices: int,
        dtype: np.dtype[Any],
        edges: NDArray[np.int64] | None,
        of_series: NDArray[np.int64],
        states: int,
    ) -> None:
        kinds = {statistic.kind for statistic in statistics}
        self._carry = Carry(devices, dtype)
        self._edges = edges
        self._of_series = of_series
        self._states = states
        self._sums = {name: _Sums(kind) for name, kind, users in _SUMS if kinds & set(users)}

    def add(self, readings: Readings) -> None:
        """Take the readings of the next part of the fleet's rows."""
        segments, first_bin, last_bin = self._carry.segments(readings)
        if self._edges is None:
            same = first_bin == last_bin
            segments, first_bin, last_bin = segments.take(same), first_bin[same], last_bin[same]
        if len(segments) == 0:
            return
        group = self._of_series[segments.series]
        if "increase" in self._sums:
            self._add_increases(segments, group, last_bin)
        if set(self._sums) & {"linear", "previous", "states"}:
            spans = (
                whole(segments, last_bin)
                if self._edges is None
                else cut(segments, first_bin, last_bin, self._edges)
            )
            self._add_spans(segments, spans, group[spans.segment])

    def close(self, pane: int) -> None:
        """Do nothing: sums are small, and are kept to the end."""

    def result(self, statistic: Statistic, shape: Shape) -> Values:
        """Return the values of a statistic."""
        kind = statistic.kind
        if kind == "time_in_state":
            seconds = self._sums["states"].totals(shape, self._states) / _SECOND
            return Values.always(seconds, seconds.any(axis=2))
        if kind in ("increase", "rate"):
            elapsed = self._sums["elapsed"].total(shape)
            increase = self._sums["increase"].total(shape)
            if kind == "increase":
                return Values.where(increase, self._sums["segments"].total(shape) > 0)
            lasted = np.where(elapsed > 0, elapsed, 1) / _SECOND
            return Values.where(increase / lasted, elapsed > 0)
        name = "linear" if kind == "time_weighted_mean" else "previous"
        covered = self._sums["covered"].total(shape)
        weighted = self._sums[name].total(shape)
        return Values.where(weighted / (np.where(covered > 0, covered, 1) / _SECOND), covered > 0)

    def _add_increases(
        self, segments: Segments, group: NDArray[np.int64], bins: NDArray[np.int64]
    ) -> None:
        found = increases(segments, bins)
        cell = group[found.at], bins[found.at]
        self._sums["increase"].add(*cell, found.increase)
        self._sums["elapsed"].add(*cell, found.elapsed)
        self._sums["segments"].add(*cell, np.ones(len(found.at)))

    def _add_spans(self, segments: Segments, spans: Spans, group: NDArray[np.int64]) -> None:
        if "covered" in self._sums:
            self._sums["covered"].add(group, spans.bin, spans.length)
        for name in ("linear", "previous"):
            if name in self._sums:
                mean = mean_value(segments, spans, linear=name == "linear")
                with np.errstate(over="ignore"):
                    self._sums[name].add(group, spans.bin, mean * (spans.length / _SECOND))
        if "states" in self._sums:
            state = segments.first[spans.segment].astype(np.int64)
            self._sums["states"].add(group, spans.bin * self._states + state, spans.length)


_SUMS: tuple[tuple[str, type, tuple[str, ...]], ...] = (
    ("increase", np.float64, ("increase", "rate")),
    ("elapsed", np.int64, ("increase", "rate")),
    ("segments", np.int64, ("increase", "rate")),
    ("linear", np.float64, ("time_weighted_mean",)),
    ("previous", np.float64, ("time_weighted_mean_previous",)),
    ("covered", np.int64, ("time_weighted_mean", "time_weighted_mean_previous")),
    ("states", np.int64, ("time_in_state",)),
)
"""What is summed, as which dtype, and which statistics need it."""
