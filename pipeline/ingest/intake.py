"""From whatever a writer hands over to rows of the fleet's schema.

Writers mostly hand over small batches of plain columns in the right types; for those, checks
take ten to twenty microseconds. Everything else goes through Arrow arrays, and what these do not
tell through `pipeline.schema.validation.validate`, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ingest.entries import message_of
from pipeline.ingest.judged import apart
from pipeline.ingest.logged_versions import version_metadata
from pipeline.ingest.plain_rows import PlainForm, PlainRows
from pipeline.ingest.text_codes import TextCodes
from pipeline.ingest.watermarks import Bounds, bounds_of
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
    held
        In the schema of `Intake.arrow`: no device or time is missing or impossible.
    message
        The same, as it is written to the log.
    codes
        ``int32``, shape (rows,): the device of each row, by `Intake.devices`.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC.
    bounds
        The oldest and the newest of these.
    version
        Of the schema that the rows have.
    rejects
        The rows that do not fit.
    ignored
        Values left out because their column is no channel.
    """

    held: PlainRows | pa.RecordBatch
    message: bytes
    codes: NDArray[np.int32]
    time: NDArray[np.int64]
    bounds: Bounds | None
    version: int
    rejects: Rejects = NO_REJECTS
    ignored: int = 0

    @property
    def rows(self) -> pa.RecordBatch:
        """The rows as a record batch."""
        return self.held.to_batch() if isinstance(self.held, PlainRows) else self.held


class Intake:
    """Checks batches against the schema of a fleet.

    Parameters
    ----------
    schema
        The fleet's schema.
    devices
        The devices met so far, by an intake of another version; None for none.

    Attributes
    ----------
    schema : Schema
        The same.
    arrow : pyarrow.Schema
        Of the rows that it gives: ``device`` (string), ``time`` (``timestamp[us, UTC]``), and the
        channels, categories as strings.
    devices : TextCodes
        The devices met so far.
    """

    def __init__(self, schema: Schema, devices: TextCodes | None = None) -> None:
        self.schema = schema
        fields = [pa.field("device", pa.string()), pa.field("time", _TIME)]
        fields += [pa.field(channel.name, _arrow_type(channel.dtype)) for channel in schema]
        self.arrow = pa.schema(fields, version_metadata(schema.version))
        self.devices = TextCodes(empty=False) if devices is None else devices
        self._types = {one.name: one.type for one in fields}
        self._form = PlainForm.of(self.arrow, self.devices)

    def take(self, data: Any, *, time_format: TimeFormat | None = None, source: str = "") -> Taken:
        """Check a batch. May be called from any number of threads.

        Parameters
        ----------
        data, time_format, source
            As for `pipeline.Fleet.append`.

        Raises
        ------
        SchemaError, InvalidInputError
            As for `pipeline.Fleet.append`, and if a column is no channel.
        """
        return (
            self.plain(data)
            or self.columns(data)
            or self.checked(to_table(data), time_format, source)
        )

    def plain(self, data: Any) -> Taken | None:
        """Return the rows of a batch that is a mapping of plain columns, if nothing is wrong with them.

        May be called from any number of threads.
        """
        if not isinstance(data, Mapping) or self._form is None:
            return None
        plain = self._form.take(data)
        if plain is None:
            return None
        held, message = plain
        time = held.time
        bounds = int(time.min()), int(time.max())
        if bounds[0] < GRID_START or bounds[1] >= GRID_STOP:
            return None
        return Taken(held, message, held.codes, time, bounds, self.schema.version)

    def columns(self, data: Any) -> Taken | None:
        """Return the rows of a batch whose columns have the right types, if nothing is wrong with them."""
        columns = self._plain_columns(data)
        plain = None if columns is None else self._plain_batch(columns)
        return None if plain is None else self._of_rows(*plain, NO_REJECTS)

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
        arrays = [flat(one) for one in table.columns]
        return self.of_rows(pa.RecordBatch.from_arrays(arrays, schema=self.arrow), rejects)

    def of_rows(self, rows: pa.RecordBatch, rejects: Rejects) -> Taken:
        """Return rows of the schema that nothing is wrong with."""
        return self._of_rows(rows, rows.column(0).to_pylist(), rejects)

    def _of_rows(self, rows: pa.RecordBatch, devices: list[str], rejects: Rejects) -> Taken:
        message = message_of(rows)
        held = apart(rows, message)
        time = raw_values(held.column(1))
        codes = self.devices.codes_of(devices)
        return Taken(held, message, codes, time, bounds_of(time), self.schema.version, rejects)

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

    def _plain_batch(self, columns: dict[str, pa.Array]) -> tuple[pa.RecordBatch, list[str]] | None:
        """Return the rows of plain columns and their devices; None if something is wrong with one.

        Parameters
        ----------
        columns
            By name.
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
        devices = device.to_pylist()
        if "" in devices:
            return None
        arrays = [
            columns[name] if name in columns else pa.nulls(rows, kind)
            for name, kind in self._types.items()
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.arrow), devices


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
