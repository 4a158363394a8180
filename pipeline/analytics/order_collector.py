"""Gathers values for percentiles and distinct counts, and lets go of finished windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.collectors import Shape, Values
from pipeline.analytics.readings import Readings
from pipeline.analytics.windows import Windows
from pipeline.summaries.asked import Statistic
from pipeline.summaries.order_statistics import distinct_pairs, percentiles

__all__ = ["OrderCollector"]

_PENDING_VALUES: Final = 8_000_000


class OrderCollector:
    """Keeps values until their windows are complete.

    All values of a window are needed at once. Of tumbling and overlapping windows those that no
    later row can reach are finished whenever some million values have gathered, so that memory
    follows the length of a window and not that of the question.

    Parameters
    ----------
    statistics
        Percentiles and distinct counts that are asked of the channel.
    shape
        What the answer spans; without windows everything is kept until the end.
    pending
        Values to gather before windows are finished early.
    """

    def __init__(
        self, statistics: Sequence[Statistic], shape: Shape, pending: int = _PENDING_VALUES
    ) -> None:
        self._quantiles = sorted({s.quantile for s in statistics if s.quantile is not None})
        self._counts_distinct = any(s.kind == "distinct" for s in statistics)
        self._shape = shape
        self._limit = pending
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]] = []
        self._pending = 0
        self._done = 0
        self._finished: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []

    def add(self, readings: Readings) -> None:
        """Take the readings of the next part of the fleet's rows."""
        group, bins, values = readings.rows.group, readings.rows.bin, readings.values
        if not self._quantiles and len(values):
            width = int(bins.max()) + 1
            cells, values = distinct_pairs(group * width + bins, values)
            group, bins = np.divmod(cells, width)
        self._parts.append((group, bins, values))
        self._pending += len(values)

    def close(self, pane: int) -> None:
        """Finish the windows that end before a pane, if enough values have gathered."""
        windows = self._shape.windows
        if windows is None or self._pending < self._limit:
            return
        complete = min((pane - windows.span) // windows.stride + 1, len(windows))
        if complete > self._done:
            self._finish(complete)
        self._limit = max(self._limit, 2 * self._pending)

    def result(self, statistic: Statistic, shape: Shape) -> Values:
        """Return percentiles (NaN without a value) or counts of distinct values (0 without)."""
        windows = shape.windows
        size = shape.bins if windows is None else len(windows)
        if self._done < size:
            self._shape = shape
            self._finish(size)
        found = [np.zeros((len(self._quantiles) + 1, shape.groups, 0))]
        found += [np.concatenate([q, d[None]]) for q, d in self._finished]
        table = np.concatenate(found, axis=2)
        if statistic.kind == "distinct":
            counts = table[-1].astype(np.int64)
            return Values.always(counts, counts > 0)
        values = table[self._quantiles.index(statistic.quantile or 0.0)]
        return Values.where(values, ~np.isnan(values))

    def _finish(self, stop: int) -> None:
        """Answer windows from the first that is not done yet up to `stop`."""
        group, bins, values = self._joined()
        windows, start = self._shape.windows, self._done
        if windows is None or windows.is_panes:
            inside = bins < stop
            self._answer(group[inside], bins[inside] - start, values[inside], stop - start)
        else:
            repeats = -(-windows.span // windows.stride)
            parts = max(1, -(-len(values) * repeats // _PENDING_VALUES))
            for run in np.array_split(np.arange(start, stop), min(parts, stop - start)):
                bounds = int(run[0]), int(run[-1]) + 1
                self._answer_overlapping(group, bins, values, windows, *bounds)
        self._done = stop
        later = bins >= (stop if windows is None else stop * windows.stride)
        self._parts = [(group[later], bins[later], values[later])]
        self._pending = int(np.count_nonzero(later))

    def _joined(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        if not self._parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        group, bins, values = map(np.concatenate, zip(*self._parts, strict=True))
        return group, bins, values

    def _answer_overlapping(
        self,
        group: NDArray[np.int64],
        bins: NDArray[np.int64],
        values: NDArray[Any],
        windows: Windows,
        start: int,
        stop: int,
    ) -> None:
        """Answer windows ``[start, stop)``: every value goes to all windows that hold its pane."""
        first = np.maximum(-((windows.span - 1 - bins) // windows.stride), start)
        last = np.minimum(bins // windows.stride, stop - 1)
        repeats = np.maximum(last - first + 1, 0)
        begun = np.cumsum(repeats) - repeats
        at = np.repeat(np.arange(len(values)), repeats)
        window = first[at] + np.arange(len(at)) - begun[at]
        self._answer(group[at], window - start, values[at], stop - start)

    def _answer(
        self, group: NDArray[np.int64], window: NDArray[np.int64], values: NDArray[Any], size: int
    ) -> None:
        groups = self._shape.groups
        cells = group * size + window
        found = percentiles(cells, values, groups * size, self._quantiles)
        distinct = np.zeros(groups * size, np.int64)
        if self._counts_distinct and len(cells):
            distinct = np.bincount(distinct_pairs(cells, values)[0], minlength=groups * size)
        self._finished.append((found.reshape(-1, groups, size), distinct.reshape(groups, size)))
