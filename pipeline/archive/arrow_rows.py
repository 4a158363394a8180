"""Rows of the archive as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.model.batches import Column
from pipeline.partitioning.pruning import Selection
from pipeline.schema.channels import Channel

__all__ = ["arrow_schema", "read_arrow"]

_ARROW_TYPES = {"bool": pa.bool_(), "category": pa.dictionary(pa.int32(), pa.string())}


def read_arrow(
    view: FleetView, selection: Selection, channels: Sequence[str]
) -> pa.RecordBatchReader:
    """Return a reader of the selected rows; batches are read as the reader is consumed.

    Rows come window by window, inside a window by device code and time. A batch holds a million
    rows or a little more at most, unless one partition holds more.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        Times and devices.
    channels
        Channel names.
    """
    chosen = [view.meta.schema[name] for name in channels]
    schema = arrow_schema(chosen)
    return pa.RecordBatchReader.from_batches(schema, _batches(view, selection, chosen, schema))


def arrow_schema(channels: Sequence[Channel]) -> pa.Schema:
    """Return the Arrow schema of rows with these channels; units are field metadata."""
    fields = [
        pa.field("device", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
    ]
    for channel in channels:
        known = {"units": channel.units, "description": channel.description}
        metadata = {key: text for key, text in known.items() if text}
        fields.append(pa.field(channel.name, _arrow_type(channel), metadata=metadata or None))
    return pa.schema(fields)


def _batches(
    view: FleetView, selection: Selection, channels: Sequence[Channel], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    names = [channel.name for channel in channels]
    chosen = np.arange(len(view.registry)) if selection.codes is None else selection.codes
    devices = pa.array([view.registry.ids[code] for code in chosen.tolist()], pa.string())
    for unit in view.units(selection):
        rows = view.rows(unit, selection, names)
        if len(rows):
            arrays = [_devices(rows, chosen, devices), _times(rows)]
            arrays += [_values(view, rows.columns[c.name], c) for c in channels]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _devices(rows: Rows, chosen: NDArray[np.int64], devices: pa.Array) -> pa.Array:
    indices = rows.codes
    if len(chosen) != len(devices) or len(chosen) == 0 or chosen[-1] != len(chosen) - 1:
        indices = np.searchsorted(chosen, rows.codes).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices), devices)


def _times(rows: Rows) -> pa.Array:
    return pa.array(rows.time.view("M8[us]")).cast(pa.timestamp("us", "UTC"))


def _values(view: FleetView, column: Column, channel: Channel) -> pa.Array:
    mask = None if column.valid is None else ~column.valid
    if channel.dtype == "category":
        texts = pa.array(list(view.meta.categories.get(channel.name, ())), pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(column.values, mask=mask), texts)
    if channel.dtype == "bool":
        return pa.array(column.values == 1, mask=mask)
    return pa.array(column.values, mask=mask)


def _arrow_type(channel: Channel) -> pa.DataType:
    return _ARROW_TYPES.get(channel.dtype) or pa.type_for_alias(channel.dtype)
