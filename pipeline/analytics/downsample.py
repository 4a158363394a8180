"""Readings of devices, thinned for plots so that their shape stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.analytics.answer import dataset_attributes, labelled
from pipeline.analytics.groups import group_devices
from pipeline.analytics.plot_points import largest_triangles, min_max
from pipeline.analytics.readings import CellRows, readings_of
from pipeline.analytics.thinned import kept_units
from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.merging import runs_of

__all__ = ["METHODS", "downsample"]

type _Method = Callable[[NDArray[np.int64], NDArray[Any], int], NDArray[np.int64]]

METHODS: Final[Mapping[str, _Method]] = {"lttb": largest_triangles, "minmax": min_max}
"""How points may be chosen; see `pipeline.analytics.plot_points`."""


def downsample(
    view: FleetView,
    channel: str,
    selection: Selection,
    *,
    points: int,
    method: str = "lttb",
    one_device: bool = False,
) -> xr.Dataset:
    """Return at most so many readings of each device that a plot of them looks the same.

    All rows of the selection are decoded, and kept until the end: 16 bytes a reading.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    channel
        A channel of numbers.
    selection
        Times and devices.
    points
        Most points of a device, at least 2.
    method
        One of `METHODS`.
    one_device
        Whether the selection is one device, which then has a plain time axis.

    Returns
    -------
    xarray.Dataset
        Readings as they are stored, none made up. One device: dimension ``time``. Several:
        dimensions (device, point) with the coordinate ``time``, NaT after a device's last point.

    Raises
    ------
    InvalidInputError
        If the method is unknown, the points are too few, or the channel holds no numbers.
    """
    choose = _checked(view, channel, points, method)
    devices = group_devices(view.registry, selection.codes, None)
    chosen = [
        (time[at], values[at])
        for time, values in _by_device(view, channel, selection)
        for at in [choose(time, values, points)]
    ]
    definition = view.meta.schema[channel]
    attributes = {"units": definition.units} if definition.units else {}
    if definition.description:
        attributes["long_name"] = definition.description
    result = xr.Dataset(attrs=dataset_attributes(view) | {"downsampled": method})
    if one_device:
        time, values = chosen[0]
        result.coords["time"] = ("time", time.astype("M8[us]"))
        result[channel] = ("time", values, attributes)
        return result
    width = max((len(time) for time, _ in chosen), default=0)
    times = np.full((len(chosen), width), np.datetime64("NaT", "us"))
    table = np.zeros((len(chosen), width), _dtype(view, channel))
    present = np.zeros(table.shape, np.bool_)
    for row, (time, values) in enumerate(chosen):
        times[row, : len(time)], table[row, : len(time)] = time.astype("M8[us]"), values
        present[row, : len(time)] = True
    ids = np.array(devices.coordinates["device"], dtype=object).astype(str)
    result.coords["device"] = ("device", ids)
    result.coords["time"] = (("device", "point"), times)
    cells = labelled(table, present, definition, view, "last")
    result[channel] = (("device", "point"), cells, attributes)
    return result


def _checked(view: FleetView, channel: str, points: int, method: str) -> _Method:
    if view.meta.schema[channel].dtype in ("bool", "category"):
        msg = f"channel {channel!r} holds no numbers to plot; read() its rows"
        raise InvalidInputError(msg)
    given: Any = points
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 2:
        msg = f"points={points!r}; ask for a whole number of points, 2 or more"
        raise InvalidInputError(msg)
    if method not in METHODS:
        msg = f"unknown method={method!r}; use one of {', '.join(METHODS)}"
        raise InvalidInputError(msg)
    return METHODS[method]


def _dtype(view: FleetView, channel: str) -> np.dtype[Any]:
    return np.dtype(view.meta.schema[channel].dtype)


def _by_device(
    view: FleetView, channel: str, selection: Selection
) -> list[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Return times and values of every device that was asked for."""
    codes = group_devices(view.registry, selection.codes, []).codes
    nothing = (np.zeros(0, np.int64), np.zeros(0, _dtype(view, channel)))
    parts: list[list[tuple[NDArray[np.int64], NDArray[Any]]]] = [[nothing] for _ in codes]
    for unit in kept_units(view, selection):
        rows = view.rows(unit, selection, [channel])
        series = np.searchsorted(codes, rows.codes).astype(np.int64)
        cells = CellRows(series, series, series, rows.time)
        found = readings_of(cells, rows.columns[channel])
        edges = np.append(runs_of(found.rows.series), len(found))
        for start, stop in pairwise(edges.tolist()):
            part = found.rows.time[start:stop], found.values[start:stop]
            parts[found.rows.series[start]].append(part)
    return [
        (np.concatenate([t for t, _ in part]), np.concatenate([v for _, v in part]))
        for part in parts
    ]
