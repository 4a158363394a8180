"""Tables of rows against a fleet's schema: what fits becomes a batch, what does not is kept.

Everything works on whole columns; single rows are looked at only to say what is wrong with them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError, SchemaError
from pipeline.model.arrow_arrays import flat, is_text
from pipeline.model.batches import Column, RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.model.time_columns import TimeFormat, parse_times
from pipeline.model.timestamps import format_time
from pipeline.schema.channels import Schema
from pipeline.schema.columns import drop_unused, encode_texts, missing_column, read_channel
from pipeline.schema.row_documents import row_documents

__all__ = ["validate"]


def validate(
    table: pa.Table,
    schema: Schema,
    *,
    earliest: int,
    latest: int,
    time_format: TimeFormat | None = None,
    source: str = "",
    unknown: Literal["error", "ignore"] = "error",
) -> tuple[RecordBatch, Rejects]:
    """Take the rows of `table` that fit `schema`, and set the others aside.

    A row is rejected if its device is missing or empty, its time is missing, unreadable or out
    of bounds, or a value is not one that the channel's dtype holds exactly (see
    `pipeline.model.exact_casts.cast_exactly`). Values outside a channel's ``valid_range`` are
    data and stay. Texts of numbers are read as numbers; integer device ids as their digits.

    Parameters
    ----------
    table
        Columns ``device``, ``time`` and channels. A channel without a column is missing in
        every row.
    schema
        The fleet's schema.
    earliest, latest
        Half-open bounds of the times that can be, in microseconds since 1970-01-01 UTC.
    time_format
        How times are written, unless their type tells.
    source
        Where the rows came from, for the rejects.
    unknown
        What to do about columns that the schema does not have: ``"error"``, or ``"ignore"``.

    Returns
    -------
    batch
        All rows that fit, in order; shares memory with `table` where it can.
    rejects
        The other rows, each whole as a JSON object with the first reason found.

    Raises
    ------
    SchemaError
        If the table has columns that the schema does not have.
    InvalidInputError
        If ``device`` or ``time`` is missing or of a type that cannot be one.
    """
    _check_columns(table, schema, unknown)
    devices, device_index, reasons = _read_devices(flat(table["device"]))
    times, time_reasons = _read_times(flat(table["time"]), time_format, earliest, latest)
    found = [reasons, time_reasons]
    columns: dict[str, Column] = {}
    for channel in schema:
        if channel.name in table.column_names:
            column, why = read_channel(flat(table[channel.name]), channel)
            found.append(why)
        else:
            column = missing_column(channel, table.num_rows)
        columns[channel.name] = column
    batch = RecordBatch(devices, device_index, times, columns)
    first = {row: why for part in reversed(found) for row, why in part.items()}
    if not first:
        return batch, Rejects(source=source)
    return _set_aside(table, batch, first, source)


def _check_columns(table: pa.Table, schema: Schema, unknown: str) -> None:
    names = table.column_names
    for name in ("device", "time"):
        if names.count(name) != 1:
            msg = f"rows need exactly one column {name!r}; found {names}"
            raise InvalidInputError(msg)
    strange = [name for name in names if name not in schema and name not in ("device", "time")]
    if strange and unknown == "error":
        msg = (
            f"columns {strange} are not channels of the schema (it has {list(schema.names)}); add "
            "them to the schema, rename them, or drop them from the batch"
        )
        raise SchemaError(msg)
    repeated = sorted({name for name in schema.names if names.count(name) > 1})
    if repeated:
        msg = f"columns {repeated} occur more than once; keep one of each"
        raise SchemaError(msg)


def _read_devices(array: pa.Array) -> tuple[tuple[str, ...], NDArray[np.int32], dict[int, str]]:
    kind = array.type
    if pa.types.is_integer(kind):
        array = array.cast(pa.string())
    elif pa.types.is_null(kind):
        array = pa.nulls(len(array), pa.string())
    elif not is_text(kind):
        msg = f"device ids have to be texts or integers, not {kind}; convert the column 'device'"
        raise InvalidInputError(msg)
    codes, devices, missing = encode_texts(array)
    reasons = {}
    if missing is not None:
        reasons = {int(row): "device is missing" for row in np.flatnonzero(missing)}
    if "" in devices:
        empty = codes == devices.index("")
        empty = empty if missing is None else empty & ~missing
        reasons |= {int(row): "device id is empty" for row in np.flatnonzero(empty)}
    return devices, codes, reasons


def _read_times(
    array: pa.Array, time_format: TimeFormat | None, earliest: int, latest: int
) -> tuple[NDArray[np.int64], dict[int, str]]:
    parsed = parse_times(array, time_format)
    time = parsed.time
    if len(time) == 0 or (time.min() >= earliest and time.max() < latest):
        return time, parsed.reasons
    outside = (time < earliest) | (time >= latest)
    bounds = f"{format_time(earliest)} to {format_time(latest)}"
    rows = np.flatnonzero(outside & parsed.valid)
    reasons = {int(r): f"time {format_time(int(time[r]))} is outside {bounds}" for r in rows}
    return time, parsed.reasons | reasons


def _set_aside(
    table: pa.Table, batch: RecordBatch, reasons: dict[int, str], source: str
) -> tuple[RecordBatch, Rejects]:
    rows = sorted(reasons)
    keep = np.ones(len(batch), bool)
    keep[rows] = False
    kept = batch.take(keep)
    columns = {name: _compact(column) for name, column in kept.columns.items()}
    index, devices = drop_unused(kept.device_index, kept.devices, None)
    records = row_documents(table.take(pa.array(rows, pa.int64())))
    rejects = Rejects(records, tuple(reasons[row] for row in rows), source)
    return RecordBatch(devices, index, kept.time, columns), rejects


def _compact(column: Column) -> Column:
    """Forget categories that only rejected rows had."""
    if column.categories is None:
        return column
    codes, texts = drop_unused(column.values, column.categories, column.valid)
    return Column(codes, column.valid, texts)
