"""A checked request for an aggregate, and what has to be read for it.

Stored statistics answer what they cover, block headers what they cover of the rest, and only
rows at the ragged edges are decoded; but for statistics that need every row, all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.groups import Groups, group_devices
from pipeline.analytics.level_plan import take_periods
from pipeline.analytics.levels import rollup_levels
from pipeline.analytics.plan import (
    FromRows,
    QueryPlan,
    Step,
    plan_query,
    plan_rows,
    plan_steps,
)
from pipeline.analytics.shares import RowShare, spread
from pipeline.analytics.thinned import kept_units
from pipeline.analytics.value_steps import ValueSteps
from pipeline.analytics.windows import Windows, make_windows
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.rollups.definition import required
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import storage_dtype
from pipeline.model.timestamps import parse_duration
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic, check_statistics, parse_statistics

__all__ = ["Asked", "Grouping", "Query", "make_query"]

_FEW_BUCKETS: Final = 16
"""Most buckets that are counted for every device and bin of what is decoded at once."""

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
    def histograms(self) -> list[tuple[str, Statistic]]:
        """Channels and histograms of few buckets, which are counted where rows are decoded.

        With one of them everything that `stored` tells comes from rows, too: they are decoded anyway.
        """
        if self.gap is not None:
            return []
        every = ((name, one) for name, found in self.statistics.items() for one in found)
        return [(name, one) for name, one in every if _has_few_buckets(one)]

    @property
    def decoded(self) -> dict[str, list[Statistic]]:
        """Statistics by channel for which every row is decoded, one device after the other."""
        if self.gap is not None:
            return {channel: list(names) for channel, names in self.statistics.items()}
        return self._named(stored=False)

    @property
    def parts(self) -> dict[str, frozenset[str]]:
        """What of the states of each channel the stored statistics are made of."""
        schema = self.view.meta.schema
        return {
            channel: frozenset[str]().union(
                *(required(statistic, schema[channel].dtype) for statistic in statistics)
            )
            for channel, statistics in self.stored.items()
        }

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of which `steps` read values."""
        counted = (name for name, _ in self.histograms)
        return tuple(dict.fromkeys((*self.stored, *counted)))

    def dtype(self, channel: str) -> np.dtype[Any]:
        """Return the stored dtype of a channel."""
        return storage_dtype(self.view.meta.schema[channel].dtype)

    def steps(self) -> Iterator[Step]:
        """Yield what has to be read for stored statistics and histograms; only the index is read for it."""
        if self.histograms:
            return self._every_row()
        if not self.stored:
            return iter(())
        if self.selection.conditions:
            return self._value_steps().steps(stored=True)
        units = partial(kept_units, self.view)
        return plan_steps(self._plan(), units, self.bins, self.groups.dimension is None)

    def row_steps(self) -> Iterator[Step]:
        """Yield what has to be read for the statistics that need every row."""
        if self.decoded:
            yield from self._every_row()

    def _every_row(self) -> Iterator[Step]:
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

    def _plan(self) -> QueryPlan:
        """Split the time range: longer rollups first, then summaries, shorter rollups, and rows."""
        scheme, length = self.view.meta.scheme, self.view.meta.scheme.summary_length
        usual = length.start(1) - length.start(0)
        usable = [level for level in rollup_levels(self.view) if level.tells(self.stored)]
        left, rollups = [(self.selection.start, self.selection.stop)], []
        for level in (level for level in usable if level.typical > usual):
            taken, left = take_periods(level, left, self.bounds, self.bins)
            rollups += [(level.name, run) for run in taken]
        parts = [replace(self.selection, start=start, stop=stop) for start, stop in left]
        plans = [plan_query(self.used, scheme, part, self.bounds, self.bins) for part in parts]
        left = [(part.start, part.stop) for plan in plans for part in plan.decode]
        for level in (level for level in usable if level.typical < usual):
            taken, left = take_periods(level, left, self.bounds, self.bins)
            rollups += [(level.name, run) for run in taken]
        return QueryPlan(
            tuple(run for plan in plans for run in plan.summaries),
            tuple(replace(self.selection, start=start, stop=stop) for start, stop in left),
            tuple(rollups),
        )

    def _value_steps(self) -> ValueSteps:
        asked = (self.view, self.selection, self.groups.codes, self.used, self.bounds, self.bins)
        return ValueSteps(*asked)

    def _named(self, *, stored: bool) -> dict[str, list[Statistic]]:
        named = {
            channel: [
                statistic
                for statistic in names
                if statistic.is_stored is stored and not _has_few_buckets(statistic)
            ]
            for channel, names in self.statistics.items()
        }
        return {channel: statistics for channel, statistics in named.items() if statistics}


def _checked(
    view: FleetView, channel: str, names: Asked, by: Sequence[str] | None
) -> tuple[Statistic, ...]:
    wanted = parse_statistics(names, channel)
    check_statistics(wanted, channel, view.meta.schema[channel].dtype, merged=by is not None)
    return wanted


def _has_few_buckets(statistic: Statistic) -> bool:
    return statistic.kind == "histogram" and len(statistic.edges) - 1 <= _FEW_BUCKETS


def _check_sessions(grouping: Grouping) -> None:
    others = [one.name for one in fields(grouping) if one.name != "gap"]
    names = [f"{name}=" for name in others if getattr(grouping, name) is not None]
    if names:
        msg = f"sessions are of each device and lie where its rows do; leave out {', '.join(names)} or gap="
        raise InvalidInputError(msg)
