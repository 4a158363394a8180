"""Arrow tables of simulated rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.model.batches import Column

__all__ = ["DEVICE_FIELD", "TIME_FIELD", "build_table"]

DEVICE_FIELD: Final = pa.field("device", pa.dictionary(pa.int32(), pa.string()))
TIME_FIELD: Final = pa.field("time", pa.timestamp("us", tz="UTC"))


def build_table(
    schema: pa.Schema,
    device_ids: Sequence[str],
    device: Column,
    time: Column,
    columns: Mapping[str, Column],
) -> pa.Table:
    """Return rows as a table, without a copy of numbers that have no missing values.

    Parameters
    ----------
    schema
        ``device``, ``time``, and a field for each of `columns`.
    device_ids
        The ids that device numbers stand for.
    device
        ``int32`` numbers into `device_ids`.
    time
        ``int64`` microseconds since 1970-01-01 UTC.
    columns
        One column per channel, by name.
    """
    arrays = [_dictionary(device, device_ids), _array(time, schema.field("time").type)]
    for name, column in columns.items():
        if column.categories is not None:
            arrays.append(_dictionary(column, column.categories))
        else:
            arrays.append(_array(column, schema.field(name).type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _dictionary(column: Column, texts: Sequence[str]) -> pa.DictionaryArray:
    codes = _array(column, pa.int32())
    return pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string()))


def _array(column: Column, kind: pa.DataType) -> pa.Array:
    values: NDArray[Any] = column.values
    if pa.types.is_boolean(kind):
        values = values.astype(bool)
    missing = None if column.valid is None else np.logical_not(column.valid)
    return pa.array(values, kind, mask=missing)
