"""Stored statistics of devices and periods, in step with the rows: at what lengths there are some.

A fleet's own summaries follow every commit. A rollup follows when it is refreshed: of windows that
changed since it says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.channel_statistics import channel_states
from pipeline.archive.chunk_io import chunk_key
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.rollups.arrays import rollup_places
from pipeline.archive.rollups.definition import required
from pipeline.archive.rollups.reading import RollupView
from pipeline.archive.rollups.store import rollup_names
from pipeline.archive.summary_tables import read_extent, summary_places
from pipeline.summaries.asked import Statistic
from pipeline.summaries.statistics import Statistics

__all__ = ["Level", "RollupLevel", "SummaryLevel", "level_of", "rollup_levels"]


class Level(Protocol):
    """Stored statistics of one length of periods."""

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where periods start: ``int64``, microseconds since 1970-01-01 UTC."""

    def rows(self, codes: NDArray[np.int64], periods: range) -> NDArray[np.int64]:
        """Return rows with and without a value: ``int64``, shape (devices, periods)."""

    def states(
        self, codes: NDArray[np.int64], periods: range, channel: str, parts: frozenset[str]
    ) -> Statistics:
        """Return a channel's states, shape (devices, periods), of which `parts` have a meaning."""

    def keys(
        self, codes: NDArray[np.int64], periods: range, parts: Mapping[str, frozenset[str]]
    ) -> list[str]:
        """Return the keys of the chunks that are read for the parts of some channels."""


@dataclass(frozen=True, slots=True, eq=False)
class SummaryLevel:
    """A fleet's own summaries."""

    view: FleetView

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where periods start: ``int64``, microseconds since 1970-01-01 UTC."""
        return self.view.meta.scheme.summary_length.starts(numbers)

    def rows(self, codes: NDArray[np.int64], periods: range) -> NDArray[np.int64]:
        """Return rows with and without a value: ``int64``, shape (devices, periods)."""
        rows: NDArray[np.int64] = read_extent(
            self.view.store, self.view.meta.layout, codes, periods
        )[0]
        return rows

    def states(
        self, codes: NDArray[np.int64], periods: range, channel: str, parts: frozenset[str]
    ) -> Statistics:
        """Return a channel's states, shape (devices, periods)."""
        ordered = not parts.isdisjoint(("first", "last"))
        return channel_states(self.view, channel, codes, periods, ordered=ordered)

    def keys(
        self, codes: NDArray[np.int64], periods: range, parts: Mapping[str, frozenset[str]]
    ) -> list[str]:
        """Return the keys of the chunks that are read for some channels."""
        layout, meta = self.view.meta.layout, self.view.meta
        arrays = (array for name in parts for array in meta.arrays_of(name))
        pairs = (table for array in arrays for table in layout.summary_pair(array))
        return [
            chunk_key(table.path, place)
            for table in (layout.extent, *pairs)
            for place in summary_places(table, codes, periods)
        ]


@dataclass(frozen=True, eq=False)
class RollupLevel:
    """A rollup, as far as it is in step with the rows."""

    found: RollupView
    stale: NDArray[np.int64] = field(repr=False)
    """``int64``, ascending: windows that changed since it was refreshed."""

    @classmethod
    def load(cls, view: FleetView, name: str) -> RollupLevel:
        """Read what a rollup is, and of which windows it tells nothing."""
        found = RollupView.load(view, name)
        return cls(found, found.stale())

    @property
    def name(self) -> str:
        """The rollup's name."""
        return self.found.rollup.definition.name

    @cached_property
    def typical(self) -> int:
        """About how long a period is, in microseconds."""
        return self.found.rollup.definition.period.typical

    def tells(self, wanted: Mapping[str, Iterable[Statistic]]) -> bool:
        """Tell whether it holds all that some statistics of channels are made of."""
        schema = self.found.view.meta.schema
        known = self.found.rollup.definition.statistics
        return all(
            channel in known
            and all(
                required(statistic, schema[channel].dtype) <= self.found.tells(channel)
                for statistic in statistics
            )
            for channel, statistics in wanted.items()
        )

    def keeps(self, channel: str, statistic: str) -> bool:
        """Tell whether a statistic of a channel, by its name, is among those that are stored."""
        known = self.found.rollup.definition.statistics.get(channel, ())
        return any(one.label == statistic for one in known)

    def touched(self, start: int, stop: int) -> range:
        """Return the periods that a time range touches."""
        return self.found.rollup.definition.period.touched(start, stop)

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where periods start: ``int64``, microseconds since 1970-01-01 UTC."""
        return self.found.rollup.definition.period.starts(numbers)

    def is_fresh(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return of which half-open time ranges all windows are in step; bool, shape (ranges,)."""
        length = self.found.view.meta.scheme.window_length
        first = np.searchsorted(self.stale, length.numbers(starts), "left")
        last = np.searchsorted(self.stale, length.numbers(stops - 1), "right")
        fresh: NDArray[np.bool_] = first == last
        return fresh

    def rows(self, codes: NDArray[np.int64], periods: range) -> NDArray[np.int64]:
        """Return rows with and without a value: ``int64``, shape (devices, periods)."""
        return self.found.rows(codes, periods)

    def states(
        self, codes: NDArray[np.int64], periods: range, channel: str, parts: frozenset[str]
    ) -> Statistics:
        """Return a channel's states, shape (devices, periods), of which `parts` have a meaning."""
        return self.found.states(codes, periods, channel, parts)

    def keys(
        self, codes: NDArray[np.int64], periods: range, parts: Mapping[str, frozenset[str]]
    ) -> list[str]:
        """Return the keys of the chunks that are read for the parts of some channels."""
        arrays = self.found.arrays_of(parts)
        return [
            chunk_key(array.path, place)
            for array in arrays
            for place in rollup_places(array, codes, self.found.positions(periods))
        ]


def rollup_levels(view: FleetView) -> Sequence[RollupLevel]:
    """Return the rollups of a fleet, those of the longest periods first."""
    # Rollups hold what the newest version of the schema calls a channel.
    if not view.meta.layout.tracked or not view.meta.is_latest:
        return ()
    found: dict[str, Any] = view.memo
    if "levels" not in found:
        names = rollup_names(view.store, view.meta)
        levels = [RollupLevel.load(view, name) for name in names]
        found["levels"] = sorted(levels, key=lambda level: -level.typical)
    known: Sequence[RollupLevel] = found["levels"]
    return known


def level_of(view: FleetView, name: str) -> Level:
    """Return a rollup by its name, or the fleet's own summaries for the empty text."""
    if not name:
        return SummaryLevel(view)
    return next(level for level in rollup_levels(view) if level.name == name)
