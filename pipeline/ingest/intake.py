"""From whatever a writer hands over to Arrow columns of the fleet's schema.

Writers mostly hand over small batches of plain columns in the right types; for those, checks
take tens of microseconds. Everything else goes through `pipeline.schema.validation.validate`, with
the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.logged_versions import version_metadata
from pipeline.model.arrow_arrays import flat, raw_values
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.model.tables import to_table
from pipeline.model.timestamps import TimeFormat
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.channels import Schema
from pipeline.schema.row_documents import arrow_table
from pipeline.schema.validation import validate

__all__ = ["Intake", "Taken"]

_TIME: Final = pa.timestamp("us", "UTC")

NO_REJECTS: Final = Rejects()


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A batch that was checked.

    Parameters
    ----------
    rows
        In the schema of `Intake.arrow`: no device or time is missing or impossible.
    devices
        The device of each row.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC; a view of `rows`.
    rejects
        The rows that do not fit.
    ignored
        Values left out because their column is no channel.
    """

    rows: pa.RecordBatch
    devices: list[str]
    time: NDArray[np.int64]
    rejects: Rejects = NO_REJECTS
    ignored: int = 0


class Intake:
    """Checks batches against the schema of a fleet.

    Parameters
    ----------
    schema
        The fleet's schema.

    Attributes
    ----------
    schema : Schema
        The same.
    arrow : pyarrow.Schema
        Of the rows that it gives: ``device`` (string), ``time`` (``timestamp[us, UTC]``), and the
        channels, categories as strings.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        fields = [pa.field("device", pa.string()), pa.field("time", _TIME)]
        fields += [pa.field(channel.name, _arrow_type(channel.dtype)) for channel in schema]
        self.arrow = pa.schema(fields, version_metadata(schema.version))
        self._types = {one.name: one.type for one in fields}

    def take(self, data: Any, *, time_format: TimeFormat | None = None, source: str = "") -> Taken:
        """Check a batch.

        Parameters
        ----------
        data, time_format, source
            As for `pipeline.Fleet.append`.

        Raises
        ------
        SchemaError, InvalidInputError
            As for `pipeline.Fleet.append`, and if a column is no channel.
        """
        return self.plain(data) or self.checked(to_table(data), time_format, source)

    def plain(self, data: Any) -> Taken | None:
        """Return the rows of a batch if its columns are plain and nothing is wrong with them."""
        columns = self._plain_columns(data)
        if columns is None:
            return None
        given = data.get("device") if isinstance(data, Mapping) else None
        return self._taken(columns, given if type(given) is list else None)

    def checked(
        self, table: pa.Table, time_format: TimeFormat | None = None, source: str = ""
    ) -> Taken:
        """Check any batch, as `take` does."""
        batch, rejects = validate(
            table,
            self.schema,
            earliest=GRID_START,
            latest=GRID_STOP,
            time_format=time_format,
            source=source,
        )
        return self.taken(batch, rejects)

    def taken(self, batch: RecordBatch, rejects: Rejects) -> Taken:
        """Return the rows of a checked batch."""
        table = arrow_table(batch).cast(self.arrow).combine_chunks()
        rows = pa.RecordBatch.from_arrays([flat(one) for one in table.columns], schema=self.arrow)
        return Taken(rows, rows.column(0).to_pylist(), raw_values(rows.column(1)), rejects)

    def _plain_columns(self, data: Any) -> dict[str, pa.Array] | None:
        """Return the columns of `data` if their types are the right ones already."""
        if isinstance(data, pa.RecordBatch | pa.Table):
            if data.schema.equals(self.arrow) and isinstance(data, pa.RecordBatch):
                return dict(zip(self._types, data.columns, strict=True))
            given: Mapping[str, Any] = dict(zip(data.schema.names, data.columns, strict=True))
        elif isinstance(data, Mapping):
            given = data
        else:
            return None
        if not given.keys() <= self._types.keys() or len(given) < 2:
            return None
        columns = {}
        for name, column in given.items():
            array = _plain(column, self._types[name])
            if array is None:
                return None
            columns[name] = array
        return columns

    def _taken(self, columns: dict[str, pa.Array], devices: list[str] | None) -> Taken | None:
        """Return the rows of plain columns; None if something is wrong or missing with one.

        Parameters
        ----------
        columns
            By name.
        devices
            The texts of the column ``device``, where they are at hand.
        """
        device, time = columns.get("device"), columns.get("time")
        if device is None or time is None or device.null_count or time.null_count:
            return None
        rows = len(time)
        if any(len(column) != rows for column in columns.values()):
            return None
        moments = raw_values(time)
        if rows and (int(moments.min()) < GRID_START or int(moments.max()) >= GRID_STOP):
            return None
        devices = device.to_pylist() if devices is None else list(devices)
        if "" in devices:
            return None
        arrays = [
            columns[name] if name in columns else pa.nulls(rows, kind)
            for name, kind in self._types.items()
        ]
        return Taken(pa.RecordBatch.from_arrays(arrays, schema=self.arrow), devices, moments)


def _plain(column: Any, kind: pa.DataType) -> pa.Array | None:
    """Return a column as an array of type `kind` if it holds just that."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks != 1:
            return None
        column = column.chunk(0)
    if isinstance(column, pa.Array):
        return _of_arrow(column, kind)
    if kind == pa.string():
        return _texts(column)
    # Exactly arrays: a masked array, say, knows of missing values.
    if type(column) is not np.ndarray or column.ndim != 1:
        return None
    if kind == _TIME:
        if column.dtype != "M8[us]" or np.isnat(column).any():
            return None
        return _array(np.ascontiguousarray(column), kind)
    if column.dtype == bool:
        return pa.array(column) if kind == pa.bool_() else None
    if not column.dtype.isnative or column.dtype != _NUMPY.get(kind):
        return None
    return _array(np.ascontiguousarray(column), kind)


def _of_arrow(column: pa.Array, kind: pa.DataType) -> pa.Array | None:
    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type) and column.type.value_type == kind == pa.string():
        return column.dictionary_decode()
    if column.type == pa.timestamp("us") and kind == _TIME:
        return column.cast(kind)
    return None


def _texts(column: Any) -> pa.Array | None:
    # A list, or an object array of one dimension; a lone text stands for all rows elsewhere.
    if not isinstance(column, list | np.ndarray) or (
        isinstance(column, np.ndarray) and (column.ndim != 1 or column.dtype.kind not in "OU")
    ):
        return None
    try:
        # Whatever is no text, a number say, makes this fail.
        return pa.array(column, pa.string(), from_pandas=False)
    except (pa.ArrowException, TypeError, ValueError):
        return None


def _array(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    # Copied: the writer may use its arrays again as soon as the write returns.
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values.tobytes())], 0)


def _arrow_type(dtype: str) -> pa.DataType:
    return pa.string() if dtype == "category" else _ALIASES.get(dtype) or pa.type_for_alias(dtype)


_ALIASES: Final = {"bool": pa.bool_()}
_NUMPY: Final = {
    pa.type_for_alias(name): np.dtype(name)
    for name in (
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float32", "float64",
    )
}  # fmt: skip
