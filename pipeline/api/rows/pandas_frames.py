"""Rows as pandas frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import pandas as pd
import pyarrow as pa

from pipeline.errors import InvalidInputError

__all__ = ["DtypeBackend", "pandas_frame"]

type DtypeBackend = Literal["numpy", "numpy_nullable", "pyarrow"]

_NULLABLE: Final[dict[pa.DataType, Any]] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
}


def pandas_frame(table: pa.Table, dtype_backend: DtypeBackend) -> pd.DataFrame:
    """Return a table of rows as a frame.

    Parameters
    ----------
    table
        Columns of the types that channels have; dictionaries become categoricals.
    dtype_backend
        As for `pipeline.api.rows.dataset.FleetRows.to_pandas`.

    Raises
    ------
    InvalidInputError
        If there is no such backend.
    """
    if dtype_backend not in get_args(DtypeBackend.__value__):
        known = ", ".join(map(repr, get_args(DtypeBackend.__value__)))
        msg = f"dtype_backend={dtype_backend!r}; use one of {known}"
        raise InvalidInputError(msg)
    columns = {name: _series(table[name], dtype_backend) for name in table.column_names}
    return pd.DataFrame(columns, copy=False)


def _series(column: pa.ChunkedArray, dtype_backend: DtypeBackend) -> pd.Series[Any]:
    mapper: Callable[[pa.DataType], Any] | None = None
    if dtype_backend == "pyarrow":
        mapper = pd.ArrowDtype
    elif dtype_backend == "numpy_nullable" or (
        column.null_count and not pa.types.is_floating(column.type)
    ):
        mapper = _NULLABLE.get
    series: pd.Series[Any] = column.to_pandas(types_mapper=mapper)
    return series
