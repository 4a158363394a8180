"""Rows of a table as JSON objects, whole, for quarantine."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa

from pipeline.model.arrow_arrays import flat, value_texts
from pipeline.model.batches import RecordBatch

__all__ = ["arrow_table", "row_documents"]


def row_documents(table: pa.Table) -> tuple[str, ...]:
    """Return every row of `table` as the text of one JSON object.

    Numbers keep every digit (floats by ``repr``); NaN and infinities, which JSON lacks, become
    the texts ``"nan"``, ``"inf"`` and ``"-inf"``. Times are ISO 8601, to their own unit; bytes
    are hex; decimals and other types are their text; missing is null.
    """
    columns = [_json_values(flat(column)) for column in table.columns]
    names = table.column_names
    rows = zip(*columns, strict=True) if columns else ()
    return tuple(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows)


def arrow_table(batch: RecordBatch) -> pa.Table:
    """Return the rows of a validated batch as a table: device, time and channels."""
    devices = pa.array(list(batch.devices), pa.string())
    columns = {
        "device": pa.DictionaryArray.from_arrays(batch.device_index, devices).cast(pa.string()),
        "time": pa.array(batch.time).cast(pa.timestamp("us", "UTC")),
    }
    for name, column in batch.columns.items():
        mask = None if column.valid is None else ~column.valid
        values = pa.array(column.values, mask=mask)
        if column.categories is not None:
            texts = pa.array(list(column.categories), pa.string())
            values = pa.DictionaryArray.from_arrays(values, texts).cast(pa.string())
        columns[name] = values
    return pa.table(columns)


def _json_values(array: pa.Array) -> list[Any]:
    if pa.types.is_temporal(array.type):
        texts = value_texts(array)
        return [
            text if ok.as_py() else None for text, ok in zip(texts, array.is_valid(), strict=True)
        ]
    return [_json_value(value) for value in array.to_pylist()]


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    return str(value)
