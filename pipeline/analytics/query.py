"""A checked request for an aggregate, and how its parts are read.

Stored summaries answer what they cover, block headers what they cover of the rest, and only
rows at the ragged edges are decoded; but for statistics that need every row, all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.groups import Groups, group_devices
from pipeline.analytics.pieces import Piece, piece_of_rows
from pipeline.analytics.plan import (
    FromHeaders,
    FromRows,
    FromSummaries,
    Step,
    plan_query,
    plan_rows,
    plan_steps,
)
from pipeline.analytics.shares import RowShare, spread
from pipeline.analytics.thinned import kept_units
from pipeline.analytics.value_steps import ValueSteps
from pipeline.analytics.windows import Windows, make_windows
from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import read_block_headers
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.archive.summary_tables import read_extent, read_statistics
from pipeline.codecs.frame import BlockHeader
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import storage_dtype
from pipeline.model.timestamps import parse_duration
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic, check_statistics, parse_statistics
from pipeline.summaries.statistics import Statistics

__all__ = ["Asked", "Grouping", "Query", "make_query"]

Asked = str | Statistic | Sequence[str | Statistic]
"""What is asked of a channel: one statistic or several."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """How readings are put together: into windows or sessions, and devices by their tags.

    Parameters
    ----------
    every, window, origin, timezone
        How windows lie (see `pipeline.analytics.windows.make_windows`); no `every` for the whole
        range at once.
    by
        None for every device on its own, tag names to merge devices with equal tags, or an empty
        list to merge all.
    gap
        A duration: sessions instead of windows, runs of a device's rows that are never further
        apart.
    """

    every: Any = None
    by: str | Sequence[str] | None = None
    window: Any = None
    origin: Any = None
    timezone: str | None = None
    gap: Any = None


def make_query(
    view: FleetView,
    statistics: Mapping[str, Asked],
    selection: Selection,
    grouping: Grouping,
) -> Query:
    """Check a request; parameters and errors are those of `pipeline.analytics.aggregate.aggregate`."""
    by = [grouping.by] if isinstance(grouping.by, str) else grouping.by
    wanted = {name: _checked(view, name, names, by) for name, names in statistics.items()}
    if grouping.gap is not None:
        _check_sessions(grouping)
    used = view.windows(selection)
    bounds = view.time_bounds(used)
    groups = group_devices(view.registry, selection.codes, by)
    windows = make_windows(
        grouping.every,
        max(selection.start, bounds[0]),
        min(selection.stop, bounds[1]),
        max(groups.size, 1),
        window=grouping.window,
        origin=grouping.origin,
        timezone=grouping.timezone,
    )
    length = None if grouping.gap is None else parse_duration(grouping.gap)
    return Query(view, wanted, selection, used, bounds, windows, groups, length)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A checked request, and how its parts are read.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    statistics
        Statistics by channel.
    selection
        Times and devices.
    used, bounds
        Windows of the fleet inside the selection that hold rows, and the time range of their rows.
    windows, groups
        The cells of the answer.
    gap
        Microseconds between sessions, which then take the place of windows; None without.
    """

    view: FleetView
    statistics: Mapping[str, tuple[Statistic, ...]]
    selection: Selection
    used: Sequence[int]
    bounds: tuple[int, int]
    windows: Windows
    groups: Groups
    gap: int | None = None

    @property
    def bins(self) -> Bins:
        """The panes of the windows."""
        return self.windows.panes

    @property
    def stored(self) -> dict[str, list[Statistic]]:
        """Statistics by channel that summaries and headers answer where they can."""
        return {} if self.gap is not None else self._named(stored=True)

    @property
    def decoded(self) -> dict[str, list[Statistic]]:
        """Statistics by channel for which every row is decoded."""
        if self.gap is not None:
            return {channel: list(names) for channel, names in self.statistics.items()}
        return self._named(stored=False)

    def dtype(self, channel: str) -> np.dtype[Any]:
        """Return the stored dtype of a channel."""
        return storage_dtype(self.view.meta.schema[channel].dtype)

    def steps(self) -> Iterator[Step]:
        """Yield what has to be read for the stored statistics; only the index is read for it."""
        if not self.stored:
            return iter(())
        if self.selection.conditions:
            return self._value_steps().steps(stored=True)
        scheme = self.view.meta.scheme
        plan = plan_query(self.used, scheme, self.selection, self.bounds, self.bins)
        units = partial(kept_units, self.view)
        return plan_steps(plan, units, self.bins, self.groups.dimension is None)

    def row_steps(self) -> Iterator[Step]:
        """Yield what has to be read for the statistics that need every row."""
        if not self.decoded:
            return
        if self.selection.conditions:
            yield from self._value_steps().steps(stored=False)
            return
        for part in plan_rows(self.selection, self.bounds).decode:
            for unit in kept_units(self.view, part):
                yield FromRows(unit, part)

    def share(self, share: RowShare) -> Query:
        """Return the question about some of the cells."""
        query, (start, stop) = self, (self.selection.start, self.selection.stop)
        if share.groups not in (None, (0, self.groups.size)):
            groups = self.groups.part(*share.groups)
            query = replace(
                query, groups=groups, selection=replace(self.selection, codes=groups.codes)
            )
        if share.windows not in (None, (0, len(self.windows))):
            windows = self.windows.part(*share.windows)
            first, last = windows.panes.edges[[0, -1]].tolist()
            times = replace(query.selection, start=max(start, first), stop=min(stop, last))
            query = replace(query, windows=windows, selection=times)
        return query

    def rows_by_device(self) -> NDArray[np.int64]:
        """Return about how many rows there are of each device asked for, as the index tells."""
        blocks = self.view.blocks(self.selection.of_any_value)
        first = np.searchsorted(self.groups.codes, blocks.device_min, "left")
        stop = np.searchsorted(self.groups.codes, blocks.device_max, "right")
        return spread(blocks.rows, first, stop, len(self.groups.codes))

    def rows_by_window(self) -> NDArray[np.int64]:
        """Return about how many rows there are in each pane, as the index tells."""
        blocks = self.view.blocks(self.selection.of_any_value)
        low, high = self.bins.edges[0], self.bins.edges[-1] - 1
        first = self.bins.numbers(np.clip(blocks.time_min, low, high))
        stop = self.bins.numbers(np.clip(blocks.time_max, low, high)) + 1
        return spread(blocks.rows, first, stop, len(self.bins))

    def pieces(self, steps: Iterable[Step]) -> Iterator[Piece]:
        """Yield partial answers of the stored statistics, from some of `steps`."""
        channels = tuple(self.stored)
        for step in steps:
            match step:
                case FromSummaries(periods, cells):
                    yield self._from_summaries(periods, channels, cells)
                case FromHeaders(blocks):
                    yield self._from_headers(blocks, channels)
                case FromRows(unit, part):
                    rows = self.view.rows(unit, part, channels)
                    if len(rows):
                        yield self._from_rows(rows, channels)

    def _from_summaries(
        self, periods: range, channels: Sequence[str], cells: NDArray[np.bool_] | None
    ) -> Piece:
        view, layout = self.view, self.view.meta.layout
        chosen = slice(None) if cells is None else np.flatnonzero(cells.any(axis=1))
        codes, group = self.groups.codes[chosen], self.groups.of_device[chosen]
        rows = read_extent(view.store, layout, codes, periods)[0]
        found = np.nonzero(rows if cells is None else cells[chosen])
        starts = view.meta.scheme.summary_length.starts(periods.start + found[1])
        starts = np.maximum(starts, self.bounds[0])
        states = {
            name: read_statistics(view.store, layout, view.meta.schema[name], codes, periods)[found]
            for name in channels
        }
        return Piece(group[found[0]], self.bins.numbers(starts), starts, rows[found], states)

    def _from_headers(self, blocks: BlockTable, channels: Sequence[str]) -> Piece:
        states = {
            name: _header_states(
                read_block_headers(self.view.store, self.view.meta.layout, blocks, name),
                self.dtype(name),
            )
            for name in channels
        }
        bins = self.bins.numbers(blocks.time_min)
        return Piece(self._groups_of(blocks), bins, blocks.time_min, blocks.rows, states)

    def _groups_of(self, blocks: BlockTable) -> NDArray[np.int64]:
        if self.groups.dimension is None:
            return np.zeros(len(blocks), np.int64)
        return self.groups.of_codes(blocks.device_min)

    def _from_rows(self, rows: Rows, channels: Sequence[str]) -> Piece:
        bins = self.bins.numbers(rows.time)
        return piece_of_rows(rows, self.groups.of_codes(rows.codes), bins, channels)

    def _value_steps(self) -> ValueSteps:
        asked = (self.view, self.selection, self.groups.codes, self.used, self.bounds, self.bins)
        return ValueSteps(*asked)

    def _named(self, *, stored: bool) -> dict[str, list[Statistic]]:
        named = {
            channel: [statistic for statistic in names if statistic.is_stored is stored]
            for channel, names in self.statistics.items()
        }
        return {channel: statistics for channel, statistics in named.items() if statistics}


def _checked(
    view: FleetView, channel: str, names: Asked, by: Sequence[str] | None
) -> tuple[Statistic, ...]:
    wanted = parse_statistics(names, channel)
    check_statistics(wanted, channel, view.meta.schema[channel].dtype, merged=by is not None)
    return wanted


def _check_sessions(grouping: Grouping) -> None:
    others = [one.name for one in fields(grouping) if one.name != "gap"]
    names = [f"{name}=" for name in others if getattr(grouping, name) is not None]
    if names:
        msg = f"sessions are of each device and lie where its rows do; leave out {', '.join(names)} or gap="
        raise InvalidInputError(msg)


def _header_states(headers: Sequence[BlockHeader | None], dtype: np.dtype[Any]) -> Statistics:
    states = Statistics.empty(len(headers), dtype)
    for at, header in enumerate(headers):
        if header is not None and header.statistics.count:
            found = header.statistics
            values = (
                found.count,
                found.min,
                found.max,
                found.first,
                found.last,
                found.sum,
                found.m2,
            )
            for array, value in zip(states.arrays(), values, strict=True):
                array[at] = value
    return states
