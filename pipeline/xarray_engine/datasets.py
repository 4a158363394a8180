"""Rows of a fleet as lazy xarray datasets, laid out by the CF conventions.

=====================  ==============  ======================================================
asked for              dimensions      layout (CF 1.11, chapter 9 and appendix H)
=====================  ==============  ======================================================
one device             time            single time series
several devices        row, device     contiguous ragged array, ``row_size(device)``
the whole fleet        row, device     indexed ragged array, ``device_index(row)``
=====================  ==============  ======================================================

Rows of the contiguous array come device by device, each by time; those of the indexed array in
the order of the archive, window by window, which costs nothing to find out. Opening many
devices over a long time reads all their keys: take the whole fleet then, or one device at a
time. What missing values look like is told in `pipeline.xarray_engine.presentation`.

Both ragged arrays are selected from by ``sel(device=…, time=…)``, which prunes partitions and
gives what opening with these devices and times would (`pipeline.xarray_engine.ragged_index`).
With ``chunks={}`` columns are Dask arrays, whose chunks are whole partitions, as many as make four
million rows; Dask reads a chunk as a whole, so select first and ``chunk`` then where few rows of
many partitions are wanted.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

import pipeline.xarray_engine.accessor  # noqa: F401 - makes `Dataset.iot` known
from pipeline.analytics.answer import dataset_attributes
from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.labels import Labels
from pipeline.xarray_engine.lazy_columns import LazyColumn, RowSource
from pipeline.xarray_engine.origins import ENCODING, RowOrigin
from pipeline.xarray_engine.presentation import (
    DEVICE_ATTRIBUTES,
    TIME_ATTRIBUTES,
    Aspect,
    channel_attributes,
    column_view,
    missing_attributes,
)
from pipeline.xarray_engine.ragged_index import RaggedIndex
from pipeline.xarray_engine.ragged_rows import Names, RaggedRows
from pipeline.xarray_engine.row_orders import FoundRows
from pipeline.xarray_engine.row_plan import chunk_sizes

__all__ = ["open_rows", "row_dataset"]

# 32 MB of float64. Of smaller chunks Dask's own work shows: the mean of 50 million rows took 0.31 s in
# chunks of a million, 0.15 s in these, 0.20 s in twice as large ones.
_ROWS_PER_CHUNK: Final = 1 << 22
# Every chunk of an array that is grouped by device reads the blocks of all windows: fewer, larger
# chunks read them fewer times.
_ROWS_PER_GROUPED_CHUNK: Final = 1 << 23
_TIME_ATTRIBUTES: Final = {**TIME_ATTRIBUTES, "long_name": "time of the reading, UTC"}
_TIME_ENCODING: Final = {
    "units": "microseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
    "dtype": np.dtype(np.int64),
}


def open_rows(
    view: FleetView,
    selection: Selection,
    channels: Sequence[str] | None = None,
    *,
    one_device: bool,
) -> xr.Dataset:
    """Return the selected rows as a lazy dataset that keeps what it has read.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        Times and devices.
    channels
        Channel names; None for all.
    one_device
        Whether the one selected device is wanted along a plain ``time`` dimension.

    Returns
    -------
    xarray.Dataset
        Times are ``datetime64[us]``, UTC. Data variables are the channels; everything else is a
        coordinate. Slices and indexes read only the blocks that hold what they ask for. Each
        variable's ``encoding["preferred_chunks"]`` holds chunk sizes for ``chunk`` that read no
        block twice, or seldom.

    Raises
    ------
    NotFoundError
        If a channel does not exist, or the one device is not selected.

    References
    ----------
    CF conventions 1.11, chapter 9 and appendix H.
    """
    dataset = row_dataset(view, selection, channels, one_device=one_device)
    for name, variable in dataset.variables.items():
        if name not in dataset.xindexes and not variable._in_memory:
            _keep(variable)
    return dataset


def row_dataset(
    view: FleetView,
    selection: Selection,
    channels: Sequence[str] | None = None,
    *,
    one_device: bool,
) -> xr.Dataset:
    """Return what `open_rows` does, without keeping what is read.

    Raises
    ------
    InvalidInputError
        If the selection has conditions on values: where rows are is found out from the index and
        their keys.
    """
    if selection.conditions:
        msg = "a lazy dataset cannot select rows by their values; read() them"
        raise InvalidInputError(msg)
    schema = view.meta.schema
    wanted = (channels,) if isinstance(channels, str) else channels
    names = list(schema.names if wanted is None else dict.fromkeys(wanted))
    for name in names:
        schema[name]  # raises before anything is read
    if one_device and (selection.codes is None or len(selection.codes) != 1):
        msg = "the device asked for has other tags; leave out where=, or name no device"
        raise NotFoundError(msg)
    by_device = one_device or selection.codes is not None
    source, found = RowSource.open(view, selection, by_device=by_device)
    labels = Labels.of(schema, view.registry.tag_names)
    coordinates: Any
    if one_device:
        coordinates = _series_coordinates(view, selection, found, labels)
        rows = _Rows(view, source, found, "time", _ROWS_PER_CHUNK)
    elif by_device:
        rows = _Rows(view, source, found, labels.row, _ROWS_PER_GROUPED_CHUNK)
        coordinates = rows.indexed(_contiguous_coordinates(rows, selection, labels), labels)
    else:
        rows = _Rows(view, source, found, labels.row, _ROWS_PER_CHUNK)
        coordinates = rows.indexed(_indexed_coordinates(rows, labels), labels)
    attributes = dataset_attributes(view) | {"featureType": "timeSeries"}
    dataset = xr.Dataset(rows.channels(names, labels), coordinates, attributes)
    dataset.encoding[ENCODING] = RowOrigin(source)
    return dataset


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Makes the variables that lie along the rows."""

    view: FleetView
    source: RowSource
    found: FoundRows
    dimension: str
    rows_per_chunk: int

    def channels(self, names: Sequence[str], labels: Labels) -> dict[Hashable, xr.Variable]:
        variables: dict[Hashable, xr.Variable] = {}
        for name in names:
            channel = self.view.meta.schema[name]
            attributes = channel_attributes(channel)
            variables[name] = self.variable(name, attributes)
            if name in labels.missing:
                beside = labels.missing[name]
                variables[name].attrs["ancillary_variables"] = beside
                told = missing_attributes(channel)
                variables[beside] = self.variable(name, told, aspect=Aspect.MISSING)
        return variables

    def variable(
        self,
        column: str,
        attributes: dict[str, Any],
        encoding: dict[str, Any] | None = None,
        aspect: Aspect = Aspect.VALUES,
    ) -> xr.Variable:
        dtype = column_view(self.view.meta, column, aspect).dtype
        lazy = LazyColumn(self.source, column, aspect, len(self.found.plan), dtype)
        data = indexing.LazilyIndexedArray(lazy)
        chunks = chunk_sizes(self.found.edges, self.rows_per_chunk, self.found.partitions)
        preferred = {"preferred_chunks": {self.dimension: chunks}} if chunks else {}
        return xr.Variable(self.dimension, data, attributes, {**preferred, **(encoding or {})})

    def indexed(self, variables: Mapping[str, xr.Variable], labels: Labels) -> xr.Coordinates:
        """Return the coordinates of a ragged array with their index."""
        size, codes = self.found.row_size, self.source.selection.codes
        helper = "device_index" if size is None else labels.row_size
        rows = RaggedRows(
            RowOrigin(self.source),
            range(len(self.found.plan)),
            np.arange(self.view.registry.positions) if codes is None else codes,
            self.source.selection,
            size,
            Names(self.dimension, "device", "time", helper, labels.row_size),
        )
        index = RaggedIndex(rows)
        for name in rows.names.coordinates:
            if not variables[str(name)]._in_memory:
                _keep(variables[str(name)])
        return xr.Coordinates(variables, dict.fromkeys(rows.names.coordinates, index))


def _keep(variable: xr.Variable) -> None:
    """Read once, and let users assign to what was read, as `xarray.open_dataset` does.

    It leaves out coordinates with an index, which are in memory elsewhere.
    """
    copied = indexing.CopyOnWriteArray(variable._data)
    variable.data = indexing.MemoryCachedArray(copied)  # type: ignore[no-untyped-call]


def _series_coordinates(
    view: FleetView, selection: Selection, found: FoundRows, labels: Labels
) -> dict[str, Any]:
    values = np.zeros(0, np.int64) if found.time is None else found.time
    time = xr.Variable("time", values.view("M8[us]"), _TIME_ATTRIBUTES, _TIME_ENCODING)
    about = _device_coordinates(view, selection.codes, labels)
    return {"time": time, **{name: variable[0] for name, variable in about.items()}}


def _contiguous_coordinates(
    rows: _Rows, selection: Selection, labels: Labels
) -> dict[str, xr.Variable]:
    attributes = {"sample_dimension": rows.dimension, "long_name": "rows of the device"}
    return {
        **_device_coordinates(rows.view, selection.codes, labels),
        labels.row_size: xr.Variable("device", rows.found.row_size, attributes),
        "time": rows.variable("time", _TIME_ATTRIBUTES, _TIME_ENCODING),
    }


def _indexed_coordinates(rows: _Rows, labels: Labels) -> dict[str, xr.Variable]:
    attributes = {"instance_dimension": "device", "long_name": "position of the row's device"}
    return {
        **_device_coordinates(rows.view, None, labels),
        "device_index": rows.variable("device_index", attributes),
        "time": rows.variable("time", _TIME_ATTRIBUTES, _TIME_ENCODING),
    }


def _device_coordinates(
    view: FleetView, codes: NDArray[np.int64] | None, labels: Labels
) -> dict[str, xr.Variable]:
    registry = view.registry
    # Stored device indexes are codes, some of which may be of no device.
    chosen = np.arange(registry.positions) if codes is None else codes
    ids = registry.ids_of(chosen).astype(str)
    found = {"device": xr.Variable("device", ids, DEVICE_ATTRIBUTES)}
    for name, texts in registry.tags_of(registry.tag_names, chosen).items():
        attributes = {"long_name": name}
        found[labels.tags[name]] = xr.Variable("device", texts.astype(str), attributes)
    return found
