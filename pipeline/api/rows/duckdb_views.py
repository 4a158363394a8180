"""Rows as views of a DuckDB connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import MissingDependencyError

if TYPE_CHECKING:
    import duckdb

__all__ = ["register_in_duckdb"]


def register_in_duckdb(
    rows: Any, table_name: str, connection: duckdb.DuckDBPyConnection | None
) -> duckdb.DuckDBPyConnection:
    """Make a dataset a view of a connection, and return the connection.

    Parameters
    ----------
    rows
        A `pyarrow.dataset.Dataset`, which DuckDB hands columns and filters to.
    table_name
        The view's name.
    connection
        By default a new one, in memory.

    Raises
    ------
    MissingDependencyError
        If DuckDB is not installed.
    """
    if connection is None:
        try:
            import duckdb
        except ImportError as error:
            msg = "to_duckdb needs DuckDB; install it with: pip install duckdb"
            raise MissingDependencyError(msg) from error
        connection = duckdb.connect()
    connection.register(table_name, rows)
    return connection
