"""Aggregates answered inside the archive.

Stored summaries answer what they cover, block headers what they cover of the rest, and only
rows at the ragged edges are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.analytics.answer import answer_dataset
from pipeline.analytics.bins import Bins, make_bins
from pipeline.analytics.groups import Groups, group_devices
from pipeline.analytics.pieces import Piece, merge_pieces
from pipeline.analytics.plan import (
    FromHeaders,
    FromRows,
    FromSummaries,
    Step,
    plan_query,
    plan_steps,
)
from pipeline.analytics.thinned import check_rows_kept
from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import read_block_headers
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.archive.read_units import ReadUnit
from pipeline.archive.summary_tables import read_extent, read_statistics
from pipeline.codecs.frame import BlockHeader
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.statistics import STATISTICS, Statistics

__all__ = ["Query", "aggregate", "make_query"]


def aggregate(
    view: FleetView,
    statistics: Mapping[str, str | Sequence[str]],
    selection: Selection,
    *,
    every: Any = None,
    by: Sequence[str] | None = None,
) -> xr.Dataset:
    """Return statistics of channels by device or tag, and by time.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    statistics
        For each channel, names out of `pipeline.summaries.statistics.STATISTICS`.
    selection
        Times and devices.
    every
        Length of the time bins (see `pipeline.analytics.bins.make_bins`); None for the whole
        range at once. Bins cover the part of the time range in which the fleet has rows.
    by
        None for every device on its own, tag names to merge devices with equal tags, or an empty
        list to merge all.

    Returns
    -------
    xarray.Dataset
        One variable ``<channel>_<statistic>`` each, dimensions (device or tag[, time]); ``time``
        holds the starts of the bins, UTC. Cells without a reading are missing; their count is 0.

    Raises
    ------
    InvalidInputError
        If a statistic is unknown or makes no sense for the channel or grouping, or rows are needed
        that the fleet's retention dropped.
    """
    query = make_query(view, statistics, selection, every=every, by=by)
    pieces = list(query.pieces())
    states = {
        name: merge_pieces(pieces, name, query.dtype(name), query.groups.size, len(query.bins))
        for name in query.channels
    }
    bins = None if every is None else query.bins
    return answer_dataset(view, query.statistics, states, query.groups, bins)


def make_query(
    view: FleetView,
    statistics: Mapping[str, str | Sequence[str]],
    selection: Selection,
    *,
    every: Any = None,
    by: Sequence[str] | None = None,
) -> Query:
    """Check a request; parameters and errors are those of `aggregate`."""
    wanted = {name: _checked(view, name, names, by) for name, names in statistics.items()}
    windows = view.windows(selection)
    bounds = view.time_bounds(windows)
    groups = group_devices(view.registry, selection.codes, by)
    start, stop = max(selection.start, bounds[0]), min(selection.stop, bounds[1])
    bins = make_bins(every, start, stop, max(groups.size, 1))
    return Query(view, wanted, selection, windows, bounds, bins, groups)


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A checked request, and how its parts are read.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    statistics
        Names of statistics by channel.
    selection
        Times and devices.
    windows, bounds
        Windows inside the selection that hold rows, and the time range of their rows.
    bins, groups
        The cells of the answer.
    """

    view: FleetView
    statistics: Mapping[str, tuple[str, ...]]
    selection: Selection
    windows: Sequence[int]
    bounds: tuple[int, int]
    bins: Bins
    groups: Groups

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels asked for."""
        return tuple(self.statistics)

    def dtype(self, channel: str) -> np.dtype[Any]:
        """Return the stored dtype of a channel."""
        return storage_dtype(self.view.meta.schema[channel].dtype)

    def steps(self) -> Iterator[Step]:
        """Yield what has to be read; only the index is read for it."""
        scheme = self.view.meta.scheme
        plan = plan_query(self.windows, scheme, self.selection, self.bounds, self.bins)
        return plan_steps(plan, self._units, self.bins, self.groups.dimension is None)

    def _units(self, part: Selection) -> Iterator[ReadUnit]:
        check_rows_kept(self.view, part)
        return self.view.units(part)

    def pieces(self) -> Iterator[Piece]:
        """Yield partial answers."""
        for step in self.steps():
            match step:
                case FromSummaries(periods):
                    yield self._from_summaries(periods)
                case FromHeaders(blocks):
                    yield self._from_headers(blocks)
                case FromRows(unit, part):
                    rows = self.view.rows(unit, part, self.channels)
                    if len(rows):
                        yield self._from_rows(rows)

    def _from_summaries(self, periods: range) -> Piece:
        view, layout = self.view, self.view.meta.layout
        codes = self.groups.codes
        found = np.nonzero(read_extent(view.store, layout, codes, periods)[0])
        starts = view.meta.scheme.summary_length.starts(periods.start + found[1])
        starts = np.maximum(starts, self.bounds[0])
        states = {
            name: read_statistics(view.store, layout, view.meta.schema[name], codes, periods)[found]
            for name in self.channels
        }
        return Piece(self.groups.of_device[found[0]], self.bins.numbers(starts), starts, states)

    def _from_headers(self, blocks: BlockTable) -> Piece:
        states = {
            name: _header_states(
                read_block_headers(self.view.store, self.view.meta.layout, blocks, name),
                self.dtype(name),
            )
            for name in self.channels
        }
        group = self._groups_of(blocks)
        return Piece(group, self.bins.numbers(blocks.time_min), blocks.time_min, states)

    def _groups_of(self, blocks: BlockTable) -> NDArray[np.int64]:
        if self.groups.dimension is None:
            return np.zeros(len(blocks), np.int64)
        return self.groups.of_codes(blocks.device_min)

    def _from_rows(self, rows: Rows) -> Piece:
        bins = self.bins.numbers(rows.time)
        change = (rows.codes[1:] != rows.codes[:-1]) | (bins[1:] != bins[:-1])
        starts = np.concatenate([[0], np.flatnonzero(change) + 1])
        states = {
            name: Statistics.chunk(column.values, column.valid, starts)
            for name, column in rows.columns.items()
        }
        return Piece(
            self.groups.of_codes(rows.codes[starts]), bins[starts], rows.time[starts], states
        )


def _checked(
    view: FleetView, channel: str, names: str | Sequence[str], by: Sequence[str] | None
) -> tuple[str, ...]:
    wanted = (names,) if isinstance(names, str) else tuple(names)
    dtype = view.meta.schema[channel].dtype
    for name in wanted:
        if name not in STATISTICS:
            msg = f"channel {channel!r}: unknown statistic {name!r}; use one of {', '.join(STATISTICS)}"
            raise InvalidInputError(msg)
        if dtype == "category" and name not in ("count", "first", "last"):
            msg = f"channel {channel!r} holds categories, which have count, first and last, but no {name}"
            raise InvalidInputError(msg)
        if by is not None and name in ("first", "last"):
            msg = f"{name!r} is kept for each device on its own; leave out by="
            raise InvalidInputError(msg)
    return wanted


def _header_states(headers: Sequence[BlockHeader | None], dtype: np.dtype[Any]) -> Statistics:
    states = Statistics.empty(len(headers), dtype)
    for at, header in enumerate(headers):
        if header is not None and header.statistics.count:
            found = header.statistics
            fields = (
                found.count,
                found.min,
                found.max,
                found.first,
                found.last,
                found.sum,
                found.m2,
            )
            for array, value in zip(states.arrays(), fields, strict=True):
                array[at] = value
    return states
