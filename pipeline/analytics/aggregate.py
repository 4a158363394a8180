"""Aggregates answered inside the archive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pipeline.analytics.answer import Axes, answer_dataset
from pipeline.analytics.collectors import Values
from pipeline.analytics.exact import exact_values
from pipeline.analytics.execution import executor_of
from pipeline.analytics.filling import check_fill
from pipeline.analytics.groups import Groups
from pipeline.analytics.pieces import Merging
from pipeline.analytics.query import Asked, Grouping, Query, make_query
from pipeline.analytics.row_query import RowQuery
from pipeline.analytics.sessions import Sessions
from pipeline.analytics.stored import stored_values
from pipeline.analytics.windows import Windows
from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic

__all__ = ["aggregate", "axes_of"]


def aggregate(
    view: FleetView,
    statistics: Mapping[str, Asked],
    selection: Selection,
    grouping: Grouping,
    fill: str = "null",
    client: Any = None,
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
    grouping
        Windows cover the part of the time range in which the fleet has rows.
    fill
        What to do about windows without readings (`pipeline.analytics.filling.FILLS`).
    client
        A `distributed.Client` whose workers do the work; None for the cores of this machine.
        The numbers are the same to the last bit. Sessions are looked for here.

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
        If a statistic is unknown or makes no sense for the channel or grouping, the windows make
        no sense, or rows are needed that the fleet's retention dropped.
    """
    check_fill(fill)
    query = make_query(view, statistics, selection, grouping)
    _check_filling(query, grouping.every, fill)
    if query.gap is not None:
        return _of_sessions(query, query.gap)
    found = exact_values(query, executor_of(client))
    axes = axes_of(query.groups, None if grouping.every is None else query.windows)
    return answer_dataset(view, query.statistics, found, axes, fill)


def _of_sessions(query: Query, gap: int) -> xr.Dataset:
    sessions = Sessions(gap, query.groups.size)
    decoded = RowQuery(query.view, query.decoded, query.groups, sessions)
    decoded.run(query.row_steps())
    table = sessions.table()
    found: dict[tuple[str, Statistic], Values] = {}
    merging = Merging(decoded.pieces, 1, len(sessions))
    rows = merging.rows()
    for channel, statistics in query.statistics.items():
        for statistic in statistics:
            if statistic.is_stored:
                states = merging.states(channel, query.dtype(channel))
                values = stored_values(states, rows, statistic)
            else:
                values = decoded.result(channel, statistic)
            found[channel, statistic] = values.ordered(table.number)
    ids = np.array(query.groups.coordinates["device"], dtype=object).astype(str)
    coordinates = {
        "device": ("session", ids[table.series]),
        "time": ("session", table.first.astype("M8[us]")),
        "time_last": ("session", table.last.astype("M8[us]")),
    }
    return answer_dataset(query.view, query.statistics, found, Axes(("session",), coordinates))


def axes_of(groups: Groups, windows: Windows | None) -> Axes:
    """Return what the axes of an answer mean; without windows it has no time axis."""
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


def _check_filling(query: Query, every: Any, fill: str) -> None:
    if fill == "null":
        return
    if query.gap is not None:
        msg = f"between sessions there is nothing to fill; leave out fill= or gap= (fill={fill!r})"
        raise InvalidInputError(msg)
    if every is None:
        msg = f"fill={fill!r} fills windows; give every= too"
        raise InvalidInputError(msg)
    texts = [
        channel
        for channel, statistics in query.statistics.items()
        if query.view.meta.schema[channel].dtype == "category"
        and any(statistic.kind in ("first", "last") for statistic in statistics)
    ]
    if fill == "linear" and texts:
        msg = f"there is no line between texts, which {texts[0]!r} holds; use fill='previous'"
        raise InvalidInputError(msg)
