"""The rows that a question selects, read when they are used: an Arrow dataset and stream.

Engines that know Arrow datasets hand down which columns they want and which rows, and both
decide what is read; others take the stream. DuckDB asks for an instance of Arrow's own class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow.fs import LocalFileSystem

from pipeline.analytics.explain import explain_read
from pipeline.analytics.explanation import Explanation
from pipeline.api.rows.arrow_filters import Parsed, parse_expression
from pipeline.api.rows.duckdb_views import register_in_duckdb
from pipeline.api.rows.filters import Filter
from pipeline.api.rows.narrowing import narrowed
from pipeline.api.rows.pandas_frames import DtypeBackend, pandas_frame
from pipeline.api.rows.polars_frames import lazy_polars_frame
from pipeline.archive.arrow_rows import KEY_NAMES, arrow_schema, read_arrow
from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError
from pipeline.model.parquet_files import ROW_GROUP_SIZE, write_parquet
from pipeline.partitioning.pruning import Selection

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl

__all__ = ["FleetRows", "RowSource"]

type Columns = Sequence[str] | Mapping[str, pc.Expression] | None
"""Names of columns, expressions by name, or None for all columns."""

_NO_FILES: Final = (
    "rows of an archive are no files: use scanner, to_reader or to_table of what read returned"
)


@dataclass(frozen=True, slots=True, eq=False)
class RowSource:
    """What is read: a fleet at a snapshot, rows of it, and channels.

    Parameters
    ----------
    view
        The fleet.
    selection
        Devices, times and conditions.
    channels
        Names of channels.
    """

    view: FleetView
    selection: Selection
    channels: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """Columns of all that can be read."""
        return arrow_schema([self.view.meta.schema[name] for name in self.channels])

    def narrowed(self, wanted: Filter) -> RowSource:
        """Return what has to be read for rows that satisfy a filter; others may be among it."""
        return replace(self, selection=narrowed(self.view, self.selection, wanted))

    def projected(self, columns: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return which of ``device`` and ``time``, and which channels, some columns are."""
        known = {*KEY_NAMES, *self.channels}
        unknown = [name for name in columns if name not in known]
        if unknown:
            msg = f"these rows have no column {unknown[0]!r}; they have: {', '.join(self.schema.names)}"
            raise InvalidInputError(msg)
        # A batch without a column would not know how many rows it has.
        keys = [name for name in KEY_NAMES if name in columns] if columns else ["time"]
        return keys, [name for name in self.channels if name in columns]

    def reader(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Return the rows with some of the columns, in the order of `schema`."""
        keys, channels = self.projected(columns)
        return read_arrow(self.view, self.selection, channels, keys)


class FleetRows(ds.UnionDataset):  # type: ignore[misc]
    """Rows of a fleet, read batch by batch when they are used, and anew each time they are.

    What it reads is settled when it is made: the snapshot, the devices and the schema. It is a
    stream for everything that takes Arrow's PyCapsule interface (``pa.table(rows)``,
    ``pl.DataFrame(rows)``, ``pd.DataFrame.from_arrow(rows)``), and a `pyarrow.dataset.Dataset`:
    DuckDB finds the variable by its name, ``duckdb.sql("SELECT … FROM rows WHERE …")``, or takes it
    with ``from_arrow`` or ``register``. Columns that are not asked for are not read, and neither are
    blocks in which no row can match: conditions on ``device`` (equal, in), ``time`` and channels
    (comparisons, in, null), joined by and and or, prune as those of `pipeline.Fleet.read` do. All
    else is left to the engine, and rows are filtered by it once more in any case.

    References
    ----------
    The Arrow PyCapsule interface,
    https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """

    def __init__(self, source: RowSource, condition: pc.Expression | None = None) -> None:
        # Arrow's own code in C++ would crash on a dataset without a C++ side. It gets one of a
        # file that is not there, and says so.
        schema, kind = source.schema, ds.ParquetFileFormat()
        refusing = kind.make_fragment(_NO_FILES, LocalFileSystem())
        super().__init__(schema, [ds.FileSystemDataset([refusing], schema, kind)])
        self._source = source
        self._condition = condition

    @property
    def schema(self) -> pa.Schema:
        """Columns ``device``, ``time`` and the channels; units are metadata of the fields."""
        return self._source.schema

    def scanner(
        self, columns: Columns = None, filter: pc.Expression | None = None, **options: Any
    ) -> ds.Scanner:
        """Return a scanner of some columns, of rows for which an expression is true.

        Parameters
        ----------
        columns
            Names, or expressions by name; None for all columns.
        filter
            An expression, such as ``pc.field("device") == "kitchen"``; None for all rows.
        options
            As for `pyarrow.dataset.Scanner.from_batches`.

        Raises
        ------
        InvalidInputError
            If a column does not exist.
        """
        condition = _both(self._condition, filter)
        parsed = parse_expression(condition)
        source = self._source.narrowed(parsed.filter)
        reader = source.reader(_needed(self.schema.names, columns, parsed))
        wanted = self.schema.names if columns is None else columns
        return ds.Scanner.from_batches(reader, columns=wanted, filter=condition, **options)

    def to_reader(
        self, columns: Columns = None, filter: pc.Expression | None = None
    ) -> pa.RecordBatchReader:
        """Return an Arrow reader, which can be read once; for parameters see `scanner`."""
        if columns is None and filter is None and self._condition is None:
            return self._source.reader(self.schema.names)
        return self.scanner(columns, filter).to_reader()

    def read_all(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        return self.to_reader().read_all()

    def to_table(
        self, columns: Columns = None, filter: pc.Expression | None = None, **options: Any
    ) -> pa.Table:
        """Return rows as an Arrow table; for parameters see `scanner`."""
        return self.scanner(columns, filter, **options).to_table()

    def to_batches(
        self, columns: Columns = None, filter: pc.Expression | None = None, **options: Any
    ) -> Iterator[pa.RecordBatch]:
        """Return rows as Arrow record batches; for parameters see `scanner`."""
        found: Iterator[pa.RecordBatch] = self.scanner(columns, filter, **options).to_batches()
        return found

    def head(
        self,
        num_rows: int,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """Return the first rows; for other parameters see `scanner`."""
        return self.scanner(columns, filter, **options).head(num_rows)

    def take(
        self,
        indices: Any,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        """Return the rows at some positions; for other parameters see `scanner`."""
        return self.to_table(columns, filter, **options).take(indices)

    def count_rows(self, filter: pc.Expression | None = None, **options: Any) -> int:
        """Return how many rows there are; for parameters see `scanner`."""
        return sum(batch.num_rows for batch in self.to_batches(["time"], filter, **options))

    def filter(self, expression: pc.Expression) -> FleetRows:
        """Return those rows for which an expression is true, still unread."""
        return FleetRows(self._source, _both(self._condition, expression))

    def explain(
        self, columns: Sequence[str] | None = None, filter: pc.Expression | None = None
    ) -> Explanation:
        """Return what reading some columns and rows would touch, and what prunes the rest."""
        parsed = parse_expression(_both(self._condition, filter))
        source = self._source.narrowed(parsed.filter)
        _, channels = source.projected(_needed(self.schema.names, columns, parsed))
        return explain_read(source.view, source.selection, channels)

    def to_pandas(self, dtype_backend: DtypeBackend = "numpy") -> pd.DataFrame:
        """Return all rows as a pandas frame.

        Devices and categories are categorical, times ``datetime64[us, UTC]``.

        Parameters
        ----------
        dtype_backend
            ``"numpy"`` for NumPy's types, in which a missing float is NaN; whole numbers and bools
            get pandas' nullable ones where some are missing, for no NumPy type holds them.
            ``"numpy_nullable"`` for nullable types throughout, ``"pyarrow"`` for Arrow's; both tell
            a missing float from one that is NaN.

        Raises
        ------
        InvalidInputError
            If `dtype_backend` is something else.
        """
        return pandas_frame(self.read_all(), dtype_backend)

    def to_polars(self) -> pl.LazyFrame:
        """Return a Polars lazy frame; what it selects and filters decides what is read.

        Raises
        ------
        MissingDependencyError
            If Polars is not installed.
        """

        def batches(columns: Sequence[str] | None, wanted: Filter) -> Iterator[pa.RecordBatch]:
            source = self._source.narrowed(wanted)
            if self._condition is None:
                return iter(source.reader(columns or self.schema.names))
            return FleetRows(source, self._condition).to_batches(columns)

        return lazy_polars_frame(self.schema, batches)

    def to_duckdb(
        self, table_name: str, connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyConnection:
        """Make the rows a view of a DuckDB connection, and return the connection.

        Parameters
        ----------
        table_name
            What queries call them.
        connection
            By default a new one, in memory.

        Raises
        ------
        MissingDependencyError
            If DuckDB is not installed.
        """
        return register_in_duckdb(self, table_name, connection)

    def to_parquet(
        self,
        path: str | os.PathLike[str] | Any,
        *,
        row_group_size: int = ROW_GROUP_SIZE,
        compression: str = "zstd",
    ) -> None:
        """Write all rows into a Parquet file, holding one row group in memory.

        Rows come window by window, then by device and time, so that bounds of row groups prune.
        Every bit of a value is kept, and missing values are told from NaN. `pipeline.Fleet.append`
        and imports take the file back. ``pyarrow.dataset.write_dataset(rows, …)`` writes folders.

        Parameters
        ----------
        path
            A path, where a file appears once it is whole, or a binary file object.
        row_group_size
            Rows of each group but the last.
        compression
            As for `pyarrow.parquet.ParquetWriter`.

        Raises
        ------
        InvalidInputError
            If `row_group_size` is not positive.
        """
        write_parquet(self.to_reader(), path, row_group_size, compression)

    def sort_by(self, sorting: Any, **options: Any) -> ds.InMemoryDataset:
        """Return all rows in memory, sorted."""
        return self._in_memory().sort_by(sorting, **options)

    def join(self, right_dataset: Any, *keys: Any, **options: Any) -> ds.InMemoryDataset:
        """Return all rows in memory, joined with another dataset."""
        return self._in_memory().join(_held(right_dataset), *keys, **options)

    def replace_schema(self, schema: pa.Schema) -> FleetRows:
        """Return the same rows, if the schema is theirs.

        Raises
        ------
        InvalidInputError
            If it is another one.
        """
        if not schema.equals(self.schema):
            msg = "rows of an archive have the schema of their fleet; cast what to_table returns"
            raise InvalidInputError(msg)
        return self

    def _in_memory(self) -> ds.InMemoryDataset:
        return ds.InMemoryDataset(self.read_all())

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.to_reader())

    def __arrow_c_schema__(self) -> Any:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return an Arrow C stream, with columns cast to a requested schema of the same names."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def __reduce__(self) -> Any:
        msg = "rows are read where they were asked for; pickle the archive's URL, or to_table()"
        raise TypeError(msg)

    def __repr__(self) -> str:
        return f"<FleetRows {', '.join(self.schema.names)} of {self._source.view.meta.name!r}>"


def _both(one: pc.Expression | None, other: pc.Expression | None) -> pc.Expression | None:
    return other if one is None else one if other is None else one & other


def _held(dataset: Any) -> Any:
    return ds.InMemoryDataset(dataset.read_all()) if isinstance(dataset, FleetRows) else dataset


def _needed(names: Sequence[str], columns: Columns, condition: Parsed) -> Sequence[str]:
    """Return the names of the columns that are looked at."""
    if columns is None or condition.columns is None:
        return names
    if not isinstance(columns, Mapping):
        return [*columns, *condition.columns]
    found = [parse_expression(expression).columns for expression in columns.values()]
    known = [some for some in found if some is not None]
    if len(known) < len(found):
        return names
    return sorted(condition.columns.union(*known))
