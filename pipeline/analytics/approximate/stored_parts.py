"""What stored summaries tell of the cells of an answer; no row is read.

A period that lies inside a window tells all of it. One that reaches over the edge of a window, or
of the time range, tells what its rows are like; where they lie is known from each device's first
and last row in it, so that many such periods lie inside all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.approximate.placing import Placed, place
from pipeline.analytics.plan import plan_query
from pipeline.analytics.query import Query
from pipeline.archive.channel_statistics import channel_states
from pipeline.archive.summary_tables import read_extent, summary_places
from pipeline.summaries.part_bounds import Bounds, count_bounds
from pipeline.summaries.parts import Parts
from pipeline.summaries.statistics import Statistics

__all__ = ["StoredParts", "read_parts", "summary_chunks"]

_BETWEEN: Final = 32
States = dict[str, Statistics]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What was read of consecutive periods: parts in cells, by channel their states."""

    cell: NDArray[np.int64]
    whole: NDArray[np.bool_]
    share: NDArray[np.float64]
    key: NDArray[np.int64]
    rows: NDArray[np.int64] | None
    states: States


@dataclass(frozen=True, slots=True, eq=False)
class StoredParts:
    """What is stored about some groups of an answer.

    Parameters
    ----------
    query
        The request.
    groups
        Half-open range of the groups it is about; cells are numbered from the first of them.
    """

    query: Query
    groups: tuple[int, int]
    _runs: Sequence[_Run]

    @property
    def size(self) -> int:
        """Number of cells."""
        return (self.groups[1] - self.groups[0]) * len(self.query.windows)

    def parts(self, channel: str) -> Parts:
        """Return the parts of a channel's readings."""
        found = [
            Parts(run.cell, run.states[channel], run.whole, run.share, self.size, run.key)
            for run in self._runs
        ]
        return Parts.joined(found, self.size, self.query.dtype(channel))

    def missing(self, channel: str) -> Bounds:
        """Return how many rows have no value, shape (cells,)."""
        none = np.zeros(0, np.int64)
        cell = np.concatenate([none, *(run.cell for run in self._runs)])
        whole = np.concatenate([none.astype(np.bool_), *(run.whole for run in self._runs)])
        share = np.concatenate([np.zeros(0), *(run.share for run in self._runs)])
        counts = [
            run.rows - run.states[channel].count for run in self._runs if run.rows is not None
        ]
        return count_bounds(cell, np.concatenate([none, *counts]), whole, share, self.size)


def summary_chunks(query: Query) -> tuple[int, list[tuple[str, tuple[int, ...]]]]:
    """Return how many periods would be read, and which chunks of which arrays hold them."""
    covered, ragged = _periods(query)
    layout, meta = query.view.meta.layout, query.view.meta
    arrays = [array for name in query.statistics for array in meta.arrays_of(name)]
    tables = [table for array in arrays for table in layout.summary_pair(array)]
    work = [(table, run) for table in tables for run in (*covered, *ragged)]
    work += [(layout.extent, run) for run in ragged]
    places = {
        (table.path, place)
        for table, run in work
        for place in summary_places(table, query.groups.codes, run)
    }
    return sum(map(len, (*covered, *ragged))), sorted(places)


def _periods(query: Query) -> tuple[list[range], list[range]]:
    """Return runs of periods that lie in one pane each, and of others that hold something asked."""
    plan = plan_query(query.used, query.view.meta.scheme, query.selection, query.bounds, query.bins)
    period = query.view.meta.scheme.summary_length
    ragged = [
        range(period.number(part.start), period.number(part.stop - 1) + 1) for part in plan.decode
    ]
    return list(plan.summaries), ragged


def read_parts(
    query: Query, channels: Sequence[str], groups: tuple[int, int], *, rows: bool = False
) -> StoredParts:
    """Read what is stored about some groups.

    Parameters
    ----------
    query
        The request, in windows.
    channels
        Channels to read.
    groups
        Half-open range of groups.
    rows
        Whether to count rows too, which `StoredParts.missing` needs.
    """
    covered, ragged = _periods(query)
    chosen = (query.groups.of_device >= groups[0]) & (query.groups.of_device < groups[1])
    reader = _Reader(
        query,
        channels,
        query.groups.codes[chosen],
        query.groups.of_device[chosen] - groups[0],
        np.flatnonzero(chosen) << 32,
    )
    # In the order of time, which first and last readings depend on.
    work = sorted([*covered, *ragged], key=lambda periods: periods.start)
    runs = []
    for near in _near(work):
        states = reader.states(range(near[0].start, near[-1].stop))
        for periods in near:
            here = slice(periods.start - near[0].start, periods.stop - near[0].start)
            found = {name: whole[:, here] for name, whole in states.items()}
            if periods in ragged:
                runs.append(reader.ragged(periods, found))
            else:
                runs.append(reader.covered(periods, found, rows=rows))
    return StoredParts(query, groups, runs)


def _near(runs: Sequence[range]) -> list[list[range]]:
    """Return ranges with little between them together: one read costs less than many."""
    together: list[list[range]] = []
    for run in runs:
        if together and run.start - together[-1][-1].stop <= _BETWEEN:
            together[-1].append(run)
        else:
            together.append([run])
    return together


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    query: Query
    channels: Sequence[str]
    codes: NDArray[np.int64]
    group: NDArray[np.int64]
    keys: NDArray[np.int64]

    def covered(self, periods: range, states: States, *, rows: bool) -> _Run:
        """Read periods that lie in one pane each, whatever the device."""
        query, period = self.query, self.query.view.meta.scheme.summary_length
        edges = period.starts(np.arange(periods.start, periods.stop + 1))
        first = np.maximum(edges[:-1], query.bounds[0])
        last = np.maximum(np.minimum(edges[1:], query.bounds[1]) - 1, first)
        placed = place(first, last, query.windows, query.selection)
        cell = (self.group[:, None] * len(query.windows) + placed.window).ravel()
        shape = (len(self.codes), len(placed.at))
        counted = self._extent(periods)[0] if rows else None
        plain = placed.is_plain and len(placed.at) == len(periods)
        at = slice(None) if plain else placed.at
        return _Run(
            cell,
            np.broadcast_to(placed.whole, shape).ravel(),
            np.broadcast_to(placed.share, shape).ravel(),
            (self.keys[:, None] | (periods.start + placed.at)).ravel(),
            None if counted is None else counted[:, at].ravel(),
            {
                name: Statistics(*(array[:, at].ravel() for array in found.arrays()))
                for name, found in states.items()
            },
        )

    def ragged(self, periods: range, states: States) -> _Run:
        """Read periods whose rows may lie in several windows, or outside of the selection."""
        extent = self._extent(periods)
        found = np.nonzero(extent[0])
        query = self.query
        placed: Placed = place(extent[1][found], extent[2][found], query.windows, query.selection)
        device, column = found[0][placed.at], found[1][placed.at]
        return _Run(
            self.group[device] * len(query.windows) + placed.window,
            placed.whole,
            placed.share,
            self.keys[device] | (periods.start + column),
            extent[0][device, column],
            {name: known[device, column] for name, known in states.items()},
        )

    def _extent(self, periods: range) -> NDArray[np.int64]:
        view = self.query.view
        return read_extent(view.store, view.meta.layout, self.codes, periods)

    def states(self, periods: range) -> States:
        """Read what is stored of all channels, shape (devices, periods)."""
        view = self.query.view
        return {name: channel_states(view, name, self.codes, periods) for name in self.channels}
