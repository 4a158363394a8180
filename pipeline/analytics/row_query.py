"""Statistics that need every row: percentiles, distinct counts, histograms, courses, sessions.

Their plan has no summaries: all blocks of the selection are decoded, of the key columns and of
the channels that are asked about, unit by unit in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pipeline.analytics.collectors import (
    Collector,
    CourseCollector,
    HistogramCollector,
    Shape,
    Values,
)
from pipeline.analytics.groups import Groups
from pipeline.analytics.order_collector import OrderCollector
from pipeline.analytics.pieces import Piece, piece_of_rows
from pipeline.analytics.plan import FromRows, Step
from pipeline.analytics.readings import CellRows, readings_of
from pipeline.analytics.sessions import Sessions
from pipeline.analytics.windows import Windows
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import storage_dtype
from pipeline.summaries.asked import Statistic
from pipeline.summaries.merging import runs_of

__all__ = ["RowQuery", "check_parts", "states_of"]

_MAX_CELLS: Final = 50_000_000
_ORDERED: Final = ("median", "percentile", "distinct")


def states_of(view: FleetView, channel: str) -> list[str] | list[bool]:
    """Return what values a category or bool channel may have, in the order of their codes."""
    if view.meta.schema[channel].dtype == "bool":
        return [False, True]
    return list(view.meta.texts(channel))


@dataclass(slots=True, eq=False)
class RowQuery:
    """A checked request for statistics that need every row.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    wanted
        Statistics by channel; those that summaries hold only with sessions.
    groups
        Grouping of the devices.
    axis
        Windows, or sessions that are yet to be found.

    Raises
    ------
    InvalidInputError
        If an answer with buckets or states does not fit in memory.
    """

    view: FleetView
    wanted: Mapping[str, Sequence[Statistic]]
    groups: Groups
    axis: Windows | Sessions
    pieces: list[Piece] = field(default_factory=list)
    _collectors: dict[str, dict[Statistic, Collector]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for channel, statistics in self.wanted.items():
            self._collectors[channel] = self._collectors_of(channel, statistics)

    @property
    def shape(self) -> Shape:
        """What the answer spans, as far as it is known."""
        if isinstance(self.axis, Sessions):
            return Shape(1, len(self.axis), None)
        return Shape(self.groups.size, len(self.axis.panes), self.axis)

    def run(self, steps: Iterable[Step]) -> None:
        """Decode all rows of the units that are to be read, and gather what is asked.

        Parameters
        ----------
        steps
            From `pipeline.analytics.query.Query.row_steps`.
        """
        view, window = self.view, None
        channels = tuple(self.wanted)
        for step in steps:
            if not isinstance(step, FromRows):
                continue
            unit, part = step.unit, step.selection
            if unit.window != window:
                window = unit.window
                self._close(max(view.meta.scheme.window_length.start(window), part.start))
            rows = view.rows(unit, part, channels)
            if len(rows):
                self._add(rows)

    def result(self, channel: str, statistic: Statistic) -> Values:
        """Return the values of a statistic that is not stored, after `run`."""
        return self._collectors[channel][statistic].result(statistic, self.shape)

    def _add(self, rows: Rows) -> None:
        series = self.groups.ranks(rows.codes)
        if isinstance(self.axis, Sessions):
            bins, group = self.axis.assign(series, rows.time), np.zeros_like(series)
        else:
            bins, group = self.axis.panes.numbers(rows.time), self.groups.of_device[series]
        cells = CellRows(series, group, bins, rows.time)
        stored = [name for name, found in self.wanted.items() if any(s.is_stored for s in found)]
        if isinstance(self.axis, Sessions):
            starts = runs_of(rows.codes, bins)
            runs = starts, bins[starts]
            self.pieces.append(piece_of_rows(rows, runs, np.zeros_like(starts), stored))
        for channel, collectors in self._collectors.items():
            if collectors:
                readings = readings_of(cells, rows.columns[channel])
                for collector in dict.fromkeys(collectors.values()):
                    collector.add(readings)

    def _close(self, time: int) -> None:
        if isinstance(self.axis, Sessions):
            return
        pane = int(self.axis.panes.numbers(np.array([time], np.int64))[0])
        for collectors in self._collectors.values():
            for collector in dict.fromkeys(collectors.values()):
                collector.close(pane)

    def _collectors_of(
        self, channel: str, statistics: Sequence[Statistic]
    ) -> dict[Statistic, Collector]:
        found: dict[Statistic, Collector] = {}
        courses, ordered = [], []
        for statistic in statistics:
            if statistic.kind == "histogram":
                self._check_parts(channel, statistic, len(statistic.edges) - 1)
                found[statistic] = HistogramCollector(statistic)
            elif statistic.kind in _ORDERED:
                ordered.append(statistic)
            elif not statistic.is_stored:
                courses.append(statistic)
        if ordered:
            found |= dict.fromkeys(ordered, OrderCollector(ordered, self.shape))
        if courses:
            found |= dict.fromkeys(courses, self._course(channel, courses))
        return found

    def _course(self, channel: str, statistics: Sequence[Statistic]) -> CourseCollector:
        dtype: np.dtype[Any] = storage_dtype(self.view.meta.schema[channel].dtype)
        states = 0
        for statistic in statistics:
            if statistic.kind == "time_in_state":
                states = len(states_of(self.view, channel))
                self._check_parts(channel, statistic, states)
        by_session = isinstance(self.axis, Sessions)
        of_series = self.groups.of_device
        return CourseCollector(
            statistics,
            len(of_series),
            dtype,
            None if isinstance(self.axis, Sessions) else self.axis.panes.edges,
            np.zeros_like(of_series) if by_session else of_series,
            states,
        )

    def _check_parts(self, channel: str, statistic: Statistic, parts: int) -> None:
        check_parts(channel, statistic, self.shape.groups * self.shape.bins, parts)


def check_parts(channel: str, statistic: Statistic, cells: int, parts: int) -> None:
    """Refuse answers that fit in no memory.

    Parameters
    ----------
    channel, statistic
        What is asked.
    cells, parts
        Cells of the answer, and values in each.

    Raises
    ------
    InvalidInputError
        If there are too many.
    """
    if cells * parts > _MAX_CELLS:
        msg = f"{statistic.label} of channel {channel!r} has {parts} parts for each of {cells} groups and bins; ask for fewer, for longer bins or a shorter time range"
        raise InvalidInputError(msg)
