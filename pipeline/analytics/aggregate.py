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

from pipeline.analytics.answer import Axes, answer_dataset
from pipeline.analytics.bins import Bins
from pipeline.analytics.collectors import Values, slid
from pipeline.analytics.filling import check_fill
from pipeline.analytics.groups import Groups, group_devices
from pipeline.analytics.pieces import Piece, merge_pieces, merge_rows, piece_of_rows
from pipeline.analytics.plan import headers_answer, plan_query
from pipeline.analytics.row_query import RowQuery, plan_rows
from pipeline.analytics.sessions import Sessions
from pipeline.analytics.stored import slid_states, stored_values
from pipeline.analytics.windows import Windows, make_windows
from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import read_block_headers
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.archive.read_units import ReadUnit
from pipeline.archive.summary_tables import read_extent, read_statistics
from pipeline.codecs.frame import BlockHeader
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import storage_dtype
from pipeline.model.timestamps import parse_duration
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic, check_statistics, parse_statistics
from pipeline.summaries.statistics import Statistics

__all__ = ["Asked", "aggregate"]

Asked = str | Statistic | Sequence[str | Statistic]
"""What is asked of a channel: one statistic or several."""


def aggregate(
    view: FleetView,
    statistics: Mapping[str, Asked],
    selection: Selection,
    *,
    every: Any = None,
    by: Sequence[str] | None = None,
    window: Any = None,
    origin: Any = None,
    timezone: str | None = None,
    gap: Any = None,
    fill: str = "null",
) -> xr.Dataset:
    """Return statistics of channels by device or tag, and by time.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    statistics
        For each channel, statistics or names of `pipeline.summaries.asked.STATISTIC_NAMES`.
        Those that are not stored (`Statistic.is_stored`) decode all rows of the selection, and
        so does every question about sessions; the others decode its ragged edges only.
    selection
        Times and devices. Rows outside are not looked at, not even to know what came before.
    every, window, origin, timezone
        How windows lie (see `pipeline.analytics.windows.make_windows`); no `every` for the whole
        range at once. Windows cover the part of the time range in which the fleet has rows.
    by
        None for every device on its own, tag names to merge devices with equal tags, or an empty
        list to merge all.
    gap
        A duration: sessions instead of windows, runs of a device's rows that are never further
        apart.
    fill
        What to do about windows without readings (`pipeline.analytics.filling.FILLS`).

    Returns
    -------
    xarray.Dataset
        One variable ``<channel>_<statistic>`` each, dimensions (device or tag[, time]); ``time``
        holds the starts of the windows, UTC. Cells without a reading are missing; their count is
        0. Overlapping windows and those in a timezone have the coordinate ``time_stop`` too.
        Sessions lie along ``session``, by device and time, with the coordinates ``device``,
        ``time`` and ``time_last``: their first and last row.

    Raises
    ------
    InvalidInputError
        If a statistic is unknown or makes no sense for the channel or grouping, or the windows
        make no sense.
    """
    wanted = {name: _checked(view, name, names, by) for name, names in statistics.items()}
    check_fill(fill)
    if gap is not None:
        _check_sessions(
            every=every, window=window, origin=origin, timezone=timezone, by=by, fill=fill
        )
        return _of_sessions(view, wanted, selection, parse_duration(gap))
    _check_filling(view, wanted, every, fill)
    windows_used = view.windows(selection)
    bounds = view.time_bounds(windows_used)
    groups = group_devices(view.registry, selection.codes, by)
    windows = make_windows(
        every,
        max(selection.start, bounds[0]),
        min(selection.stop, bounds[1]),
        max(groups.size, 1),
        window=window,
        origin=origin,
        timezone=timezone,
    )
    stored = _named(wanted, stored=True)
    query = _Query(view, tuple(stored), selection, windows_used, bounds, windows.panes, groups)
    found = _stored_values(query, stored, windows) if stored else {}
    decoded = _named(wanted, stored=False)
    if decoded:
        rows = RowQuery(view, decoded, groups, windows)
        rows.run(plan_rows(selection, bounds))
        found |= {(c, s): rows.result(c, s) for c, names in decoded.items() for s in names}
    axes = _axes(groups, None if every is None else windows)
    return answer_dataset(view, wanted, found, axes, fill)


def _of_sessions(
    view: FleetView,
    wanted: Mapping[str, Sequence[Statistic]],
    selection: Selection,
    gap: int,
) -> xr.Dataset:
    groups = group_devices(view.registry, selection.codes, None)
    sessions = Sessions(gap, groups.size)
    query = RowQuery(view, wanted, groups, sessions)
    query.run(plan_rows(selection, view.time_bounds(view.windows(selection))))
    table = sessions.table()
    found: dict[tuple[str, Statistic], Values] = {}
    rows = merge_rows(query.pieces, 1, len(sessions))
    for channel, statistics in wanted.items():
        dtype = storage_dtype(view.meta.schema[channel].dtype)
        for statistic in statistics:
            if statistic.is_stored:
                states = merge_pieces(query.pieces, channel, dtype, 1, len(sessions))
                values = stored_values(states, rows, statistic)
            else:
                values = query.result(channel, statistic)
            found[channel, statistic] = values.ordered(table.number)
    ids = np.array(groups.coordinates["device"], dtype=object).astype(str)
    coordinates = {
        "device": ("session", ids[table.series]),
        "time": ("session", table.first.astype("M8[us]")),
        "time_last": ("session", table.last.astype("M8[us]")),
    }
    return answer_dataset(view, wanted, found, Axes(("session",), coordinates))


def _stored_values(
    query: _Query, wanted: Mapping[str, Sequence[Statistic]], windows: Windows
) -> dict[tuple[str, Statistic], Values]:
    pieces = list(query.pieces())
    size, panes = query.groups.size, len(query.bins)
    rows = slid(merge_rows(pieces, size, panes), windows)
    found = {}
    for channel, statistics in wanted.items():
        states = merge_pieces(pieces, channel, query.dtype(channel), size, panes)
        states = slid_states(states, windows)
        for statistic in statistics:
            found[channel, statistic] = stored_values(states, rows, statistic)
    return found


def _axes(groups: Groups, windows: Windows | None) -> Axes:
    dimensions = () if groups.dimension is None else (groups.dimension,)
    coordinates: dict[str, Any] = {
        name: (dimensions, np.array(texts, dtype=object).astype(str))
        for name, texts in groups.coordinates.items()
    }
    if windows is None:
        return Axes(dimensions, coordinates)
    attributes = {"timezone": windows.timezone} if windows.timezone else {}
    coordinates["time"] = ("time", windows.starts.astype("M8[us]"), attributes)
    if windows.timezone or not windows.is_panes:
        coordinates["time_stop"] = ("time", windows.stops.astype("M8[us]"), attributes)
    return Axes((*dimensions, "time"), coordinates, windows.starts)


@dataclass(frozen=True, slots=True, eq=False)
class _Query:
    """A checked request, and how its parts are read."""

    view: FleetView
    channels: tuple[str, ...]
    selection: Selection
    windows: Sequence[int]
    bounds: tuple[int, int]
    bins: Bins
    groups: Groups

    def dtype(self, channel: str) -> np.dtype[Any]:
        return storage_dtype(self.view.meta.schema[channel].dtype)

    def pieces(self) -> Iterator[Piece]:
        view, scheme = self.view, self.view.meta.scheme
        plan = plan_query(self.windows, scheme, self.selection, self.bounds, self.bins)
        for periods in plan.summaries:
            yield self._from_summaries(periods)
        for part in plan.decode:
            for unit in view.units(part):
                yield from self._from_unit(unit, part)

    def _from_summaries(self, periods: range) -> Piece:
        view, layout = self.view, self.view.meta.layout
        codes = np.flatnonzero(self.groups.of_code >= 0)
        rows = read_extent(view.store, layout, codes, periods)[0]
        found = np.nonzero(rows)
        starts = view.meta.scheme.summary_length.starts(periods.start + found[1])
        starts = np.maximum(starts, self.bounds[0])
        states = {
            name: read_statistics(view.store, layout, view.meta.schema[name], codes, periods)[found]
            for name in self.channels
        }
        group = self.groups.of_code[codes[found[0]]]
        return Piece(group, self.bins.numbers(starts), starts, rows[found], states)

    def _from_unit(self, unit: ReadUnit, part: Selection) -> Iterator[Piece]:
        by_header = headers_answer(unit, part, self.bins, self.groups.dimension is None)
        if by_header.any():
            yield self._from_headers(unit.blocks.take(by_header))
        if not by_header.all():
            rest = ReadUnit(unit.blocks.take(~by_header), unit.first_code, unit.last_code)
            rows = self.view.rows(rest, part, self.channels)
            if len(rows):
                yield self._from_rows(rows)

    def _from_headers(self, blocks: BlockTable) -> Piece:
        states = {
            name: _header_states(
                read_block_headers(self.view.store, self.view.meta.layout, blocks, name),
                self.dtype(name),
            )
            for name in self.channels
        }
        group = self.groups.of_code[blocks.device_min]
        bins = self.bins.numbers(blocks.time_min)
        return Piece(group, bins, blocks.time_min, blocks.rows, states)

    def _from_rows(self, rows: Rows) -> Piece:
        bins = self.bins.numbers(rows.time)
        group = self.groups.of_code[rows.codes]
        return piece_of_rows(rows, group, bins, self.channels)


def _checked(
    view: FleetView, channel: str, names: Asked, by: Sequence[str] | None
) -> tuple[Statistic, ...]:
    wanted = parse_statistics(names, channel)
    check_statistics(wanted, channel, view.meta.schema[channel].dtype, merged=by is not None)
    return wanted


def _check_sessions(*, by: Sequence[str] | None, fill: str, **windows: Any) -> None:
    given = [f"{name}=" for name, value in windows.items() if value is not None]
    given += ["by="] * (by is not None) + ["fill="] * (fill != "null")
    if given:
        msg = f"sessions are of each device and lie where its rows do; leave out {', '.join(given)} or gap="
        raise InvalidInputError(msg)


def _check_filling(
    view: FleetView, wanted: Mapping[str, Sequence[Statistic]], every: Any, fill: str
) -> None:
    if fill != "null" and every is None:
        msg = f"fill={fill!r} fills windows; give every= too"
        raise InvalidInputError(msg)
    texts = [
        channel
        for channel, statistics in wanted.items()
        if view.meta.schema[channel].dtype == "category"
        and any(statistic.kind in ("first", "last") for statistic in statistics)
    ]
    if fill == "linear" and texts:
        msg = f"there is no line between texts, which {texts[0]!r} holds; use fill='previous'"
        raise InvalidInputError(msg)


def _named(
    wanted: Mapping[str, Sequence[Statistic]], *, stored: bool
) -> dict[str, list[Statistic]]:
    named = {c: [s for s in names if s.is_stored is stored] for c, names in wanted.items()}
    return {channel: statistics for channel, statistics in named.items() if statistics}


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
