"""The newest reading of every device, from stored summaries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.analytics.answer import dataset_attributes, labelled
from pipeline.archive.channel_statistics import channel_states
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.summary_tables import read_extent
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.statistics import Statistics

__all__ = ["latest"]


def latest(
    view: FleetView, codes: NDArray[np.int64] | None = None, channels: Sequence[str] | None = None
) -> xr.Dataset:
    """Return each device's newest time and the last known value of each channel.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    codes
        Sorted device codes; None for all.
    channels
        Channel names; None for all.

    Returns
    -------
    xarray.Dataset
        Dimension ``device``; ``time`` (NaT for a device without rows) and one variable a channel:
        its newest value that is not missing, which may be older than ``time``.
    """
    names = list(view.meta.schema.names if channels is None else channels)
    chosen = view.registry.all_codes() if codes is None else codes
    search = _Search(view, chosen, names)
    for periods in _newest_first(view):
        if search.is_complete:
            break
        search.look_at(periods)
    return search.dataset()


class _Search:
    """What has been found so far, going back in time."""

    def __init__(self, view: FleetView, codes: NDArray[np.int64], names: list[str]) -> None:
        self._view = view
        self._codes = codes
        self._time = np.full(len(codes), np.iinfo(np.int64).min)
        schema = view.meta.schema
        self._states = {
            name: Statistics.empty(len(codes), storage_dtype(schema[name].dtype)) for name in names
        }

    @property
    def is_complete(self) -> bool:
        counts = [states.count for states in self._states.values()]
        found = self._time != np.iinfo(np.int64).min
        return bool(found.all()) and all(bool(count.all()) for count in counts)

    def look_at(self, periods: range) -> None:
        view, layout = self._view, self._view.meta.layout
        extent = read_extent(view.store, layout, self._codes, periods)
        newest = np.where(extent[0] > 0, extent[2], np.iinfo(np.int64).min).max(axis=1)
        self._time = np.maximum(self._time, newest)
        for name, known in self._states.items():
            open_rows = np.flatnonzero(known.count == 0)
            if len(open_rows) == 0:
                continue
            older = channel_states(view, name, self._codes[open_rows], periods)
            rows, columns = np.nonzero(older.count > 0)
            merged = older[rows, columns].reduce(rows, len(open_rows))
            self._states[name] = known.replaced(open_rows, merged)

    def dataset(self) -> xr.Dataset:
        view = self._view
        ids = view.registry.ids_of(self._codes)
        dataset = xr.Dataset(
            coords={"device": ("device", ids.astype(str))}, attrs=dataset_attributes(view)
        )
        dataset["time"] = ("device", self._time.astype("M8[us]"))
        for name, states in self._states.items():
            channel = view.meta.schema[name]
            values = labelled(states.last, states.count > 0, channel, view, "last")
            attributes = {"units": channel.units} if channel.units else {}
            dataset[name] = ("device", values, attributes)
        return dataset.set_coords("time")


def _newest_first(view: FleetView) -> list[range]:
    """Return runs of summary periods with rows, one run per chunk of the summary tables."""
    scheme = view.meta.scheme
    windows = np.array(view.windows(Selection()), np.int64)
    if len(windows) == 0:
        return []
    window, period = scheme.window_length, scheme.summary_length
    length = view.meta.layout.extent.chunk[2]
    first = period.numbers(window.starts(windows)) // length
    last = period.numbers(window.starts(windows + 1) - 1) // length
    every = map(np.arange, first, last + 1)
    chunks = np.unique(np.concatenate(list(every)))
    return [range(at * length, (at + 1) * length) for at in chunks[::-1].tolist()]
