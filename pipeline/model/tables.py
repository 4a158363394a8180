"""Whatever holds readings in memory, as one Arrow table with ``device`` and ``time`` columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InvalidInputError
from pipeline.model.xarray_tables import table_of_dataset

__all__ = ["to_table"]


def to_table(data: Any) -> pa.Table:
    """Return `data` as an Arrow table with the columns ``device``, ``time`` and the channels.

    Parameters
    ----------
    data
        One of

        - an Arrow table, record batch, batch reader, or anything with ``__arrow_c_stream__``;
        - a pandas frame; named index levels become columns. None, NA and NaT are missing; a
          NaN in a plain float column is a reading that is NaN, and stays one;
        - an xarray dataset, either rows along one dimension with ``device`` and ``time``
          variables, or ``(device, time)`` arrays, which become one row per cell that holds any
          value. NaN is xarray's mark for a missing value and becomes null;
        - a mapping of column names to arrays or lists. A scalar stands in every row, a masked
          entry of a NumPy array is null, a list of mixed types becomes texts.

    Raises
    ------
    InvalidInputError
        If `data` is none of these, its columns differ in length, or ``device`` or ``time`` is
        not among them.
    """
    try:
        table = _table(data)
    except pa.ArrowException as error:
        msg = f"cannot take rows from this {type(data).__name__}: {error}"
        raise InvalidInputError(msg) from error
    names = table.column_names
    missing = [name for name in ("device", "time") if name not in names]
    if missing:
        msg = (
            f"rows need the columns 'device' and 'time'; {' and '.join(map(repr, missing))} not "
            f"found among {names}: rename or add the column"
        )
        raise InvalidInputError(msg)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        msg = f"columns {repeated} occur more than once; keep one of each"
        raise InvalidInputError(msg)
    return table


def _table(data: Any) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if _is_a(data, "pandas", "DataFrame"):
        return _table_of_frame(data)
    if _is_a(data, "xarray", "Dataset"):
        return table_of_dataset(data)
    if isinstance(data, Mapping):
        return _table_of_mapping(data)
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    msg = (
        f"cannot take rows from {type(data).__name__}; use an Arrow table, a pandas frame, an "
        "xarray dataset or a mapping of columns"
    )
    raise InvalidInputError(msg)


def _is_a(data: Any, module: str, name: str) -> bool:
    """Test the type without importing its library: an instance exists only if that was done."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(data, getattr(loaded, name))


def _table_of_frame(frame: Any) -> pa.Table:
    levels = {name: frame.index.get_level_values(name) for name in frame.index.names if name}
    names = [*(name for name in levels if name not in frame.columns), *frame.columns]
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        msg = f"column names have to be texts, not {wrong}"
        raise InvalidInputError(msg)
    if len(set(names)) < len(names):
        msg = f"the frame repeats column names: {names}"
        raise InvalidInputError(msg)
    columns = [frame[name] if name in frame.columns else levels[name] for name in names]
    arrays = [_array(name, column, len(frame)) for name, column in zip(names, columns, strict=True)]
    return pa.table(arrays, names=names)


def _table_of_mapping(data: Mapping[str, Any]) -> pa.Table:
    lengths = {name: len(column) for name, column in data.items() if not _is_scalar(column)}
    if len(set(lengths.values())) > 1:
        msg = f"columns of one batch differ in length: {lengths}"
        raise InvalidInputError(msg)
    rows = next(iter(lengths.values()), 1)
    arrays = [_array(name, column, rows) for name, column in data.items()]
    return pa.table(arrays, names=list(data))


def _is_scalar(column: Any) -> bool:
    return isinstance(column, str | bytes) or not hasattr(column, "__len__") or np.ndim(column) == 0


def _array(name: str, column: Any, rows: int) -> pa.Array | pa.ChunkedArray:
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    try:
        if _is_scalar(column):
            return pa.repeat(_array_of_one(column)[0], rows)
        if isinstance(column, list | tuple):
            return _array_of_list(column)
        return _array_of_numpy(column)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        msg = f"column {name!r} cannot be read as values of one type: {error}"
        raise InvalidInputError(msg) from error


def _array_of_one(value: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(value, np.generic | np.ndarray):
        return _array_of_numpy(np.reshape(value, 1))
    return _array_of_list([value])


def _array_of_list(values: list[Any] | tuple[Any, ...]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        simple = (str, bool, int, float, np.generic)
        if not all(value is None or isinstance(value, simple) for value in values):
            raise
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _array_of_numpy(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values))
    dtype = getattr(values, "dtype", None)
    if not isinstance(dtype, np.dtype):
        return pa.array(values, from_pandas=True)
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return _array_of_list([None if _is_missing(value) else value for value in array])
    if array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] in ("h", "m", "W", "M", "Y"):
        array = array.astype("M8[s]")
    return pa.array(array, from_pandas=False)


def _is_missing(value: Any) -> bool:
    """Tell a missing value of an object column: None, NA, NaT, and NaN (it has no other mark)."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value
