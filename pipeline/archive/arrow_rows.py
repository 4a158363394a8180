"""Rows of the archive as Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.archive.chunk_io import ahead
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.archive.read_units import ReadUnit, joined_units
from pipeline.model.batches import Column
from pipeline.partitioning.pruning import Selection
from pipeline.schema.channels import Channel

__all__ = ["KEY_NAMES", "arrow_schema", "read_arrow"]

KEY_NAMES: Final = ("device", "time")
"""Columns that rows have before their channels."""

_KEY_FIELDS: Final = {
    "device": pa.field("device", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    "time": pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
}
_BLOCKS_AT_ONCE: Final = 8
_ROWS_TOGETHER: Final = 1 << 18
"""Rows of blocks of which some are read together; with more, cores wait for each other."""
_ARROW_TYPES = {"bool": pa.bool_(), "category": pa.dictionary(pa.int32(), pa.string())}


def read_arrow(
    view: FleetView,
    selection: Selection,
    channels: Sequence[str],
    keys: Sequence[str] = KEY_NAMES,
) -> pa.RecordBatchReader:
    """Return a reader of the selected rows; batches are read as the reader is consumed.

    Rows come window by window, inside a window by device code and time. A batch is a block where
    blocks follow one another in that order and all rows are wanted; else it holds a million rows or
    a little more at most, unless one partition holds more. The next batches are read meanwhile, on
    all cores.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        Times and devices.
    channels
        Channel names.
    keys
        Which of `KEY_NAMES` come before the channels, in their order.
    """
    chosen = [view.meta.schema[name] for name in channels]
    schema = arrow_schema(chosen, keys)
    return pa.RecordBatchReader.from_batches(schema, _batches(view, selection, chosen, schema))


def arrow_schema(channels: Sequence[Channel], keys: Sequence[str] = KEY_NAMES) -> pa.Schema:
    """Return the Arrow schema of rows with these channels; units are field metadata."""
    fields = [_KEY_FIELDS[name] for name in keys]
    for channel in channels:
        known = {"units": channel.units, "description": channel.description}
        metadata = {key: text for key, text in known.items() if text}
        fields.append(pa.field(channel.name, _arrow_type(channel), metadata=metadata or None))
    return pa.schema(fields)


def _batches(
    view: FleetView, selection: Selection, channels: Sequence[Channel], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    names = [channel.name for channel in channels]
    keys = schema.names[: len(schema) - len(names)]
    chosen = view.registry.all_codes() if selection.codes is None else selection.codes
    # Ids of a large fleet take longer than many a question that does not want them.
    devices = pa.array(view.registry.ids_of(chosen), pa.string()) if "device" in keys else None

    def batch(rows: Rows) -> pa.RecordBatch:
        arrays = [
            _times(rows) if key == "time" else _devices(rows, chosen, devices) for key in keys
        ]
        arrays += [_values(view, rows.columns[c.name], c) for c in channels]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def read(unit: ReadUnit) -> list[pa.RecordBatch]:
        if some or not unit.is_ordered:
            found = iter([view.rows(unit, selection, names)])
        else:
            found = view.block_rows(unit, selection, names)
        return [batch(rows) for rows in found if len(rows)]

    # Of some devices, or with conditions, few rows of each block are left, and come together.
    some = selection.codes is not None or bool(selection.conditions)
    units = view.units(selection)
    pieces = list(joined_units(units, _ROWS_TOGETHER)) if some else _pieces(units)
    for batches in ahead(read, pieces):
        yield from batches


def _pieces(units: Iterable[ReadUnit]) -> list[ReadUnit]:
    """Cut units into what is read at once, where their rows need not be merged."""
    return [
        piece
        for unit in units
        for piece in (unit.split(_BLOCKS_AT_ONCE) if unit.is_ordered else [unit])
    ]


def _devices(rows: Rows, chosen: NDArray[np.int64], devices: pa.Array) -> pa.Array:
    indices = rows.codes
    if len(chosen) != len(devices) or len(chosen) == 0 or chosen[-1] != len(chosen) - 1:
        indices = np.searchsorted(chosen, rows.codes).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(indices), devices)


def _times(rows: Rows) -> pa.Array:
    time = np.ascontiguousarray(rows.time)
    kind = pa.timestamp("us", "UTC")
    return pa.Array.from_buffers(kind, len(time), [None, pa.py_buffer(time)], null_count=0)


def _values(view: FleetView, column: Column, channel: Channel) -> pa.Array:
    mask = None if column.valid is None else ~column.valid
    if channel.dtype == "category":
        texts = pa.array(list(view.meta.texts(channel.name)), pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(column.values, mask=mask), texts)
    if channel.dtype == "bool":
        return pa.array(column.values == 1, mask=mask)
    return pa.array(column.values, mask=mask)


def _arrow_type(channel: Channel) -> pa.DataType:
    return _ARROW_TYPES.get(channel.dtype) or pa.type_for_alias(channel.dtype)
