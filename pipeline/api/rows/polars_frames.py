"""Rows as Polars lazy frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.api.rows.filters import UNKNOWN, Filter
from pipeline.api.rows.polars_filters import parse_predicate
from pipeline.errors import MissingDependencyError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["lazy_polars_frame"]

type Batches = Callable[[Sequence[str] | None, Filter], Iterator[pa.RecordBatch]]
"""Reads some columns, all for None, of rows that a filter lets through."""


def lazy_polars_frame(schema: pa.Schema, batches: Batches) -> pl.LazyFrame:
    """Return a lazy frame that reads what a query needs of some rows.

    Parameters
    ----------
    schema
        All columns.
    batches
        Reads them.

    Raises
    ------
    MissingDependencyError
        If Polars is not installed.
    """
    try:
        import polars as pl
        from polars.io.plugins import register_io_source
    except ImportError as error:
        msg = "to_polars needs Polars; install it with: pip install polars"
        raise MissingDependencyError(msg) from error

    types = pl.DataFrame(schema.empty_table()).schema

    def scan(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG001
    ) -> Iterator[pl.DataFrame]:
        # A limit comes first, and counts rows that the predicate has not seen.
        wanted: Filter = UNKNOWN
        if predicate is not None and n_rows is None:
            wanted = parse_predicate(predicate, types)
        left = n_rows
        for batch in batches(_needed(schema, with_columns, predicate), wanted):
            frame: Any = pl.DataFrame(batch)
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame if with_columns is None else frame.select(with_columns)
            if left == 0:
                return

    return register_io_source(scan, schema=types)


def _needed(
    schema: pa.Schema, with_columns: list[str] | None, predicate: pl.Expr | None
) -> list[str] | None:
    if with_columns is None:
        return None
    looked_at = {*with_columns, *(predicate.meta.root_names() if predicate is not None else ())}
    return [name for name in schema.names if name in looked_at] or ["time"]
