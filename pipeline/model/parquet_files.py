"""Rows as Parquet files, written in the memory of one row group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InvalidInputError

__all__ = ["ROW_GROUP_SIZE", "write_parquet"]

ROW_GROUP_SIZE: Final = 1 << 20
"""Rows of a group, by default."""


def write_parquet(
    reader: pa.RecordBatchReader, path: Any, row_group_size: int, compression: str
) -> int:
    """Write batches of rows into a file, in their order, and return how many rows there are.

    Parameters
    ----------
    reader
        The rows.
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
    if row_group_size < 1:
        msg = f"row_group_size={row_group_size}; a row group has at least one row"
        raise InvalidInputError(msg)
    if not isinstance(path, str | os.PathLike):
        return _write(reader, path, row_group_size, compression)
    whole = Path(path)
    part = whole.with_name(f".{whole.name}.part")
    try:
        rows = _write(reader, part, row_group_size, compression)
        part.replace(whole)
        return rows
    finally:
        part.unlink(missing_ok=True)


def _write(reader: pa.RecordBatchReader, where: Any, row_group_size: int, compression: str) -> int:
    schema, rows = reader.schema, 0
    with pq.ParquetWriter(where, schema, compression=compression, **_encodings(schema)) as writer:
        for group in _groups(reader, row_group_size):
            writer.write_table(group, row_group_size)
            rows += group.num_rows
    return rows


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Return the encodings of columns.

    A dictionary of floats holds one NaN for all of them, whatever their bits are.
    """
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    times = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    special = dict.fromkeys(floats, "BYTE_STREAM_SPLIT")
    special |= dict.fromkeys(times, "DELTA_BINARY_PACKED")
    others = [name for name in schema.names if name not in special]
    return {"use_dictionary": others, "column_encoding": special}


def _groups(reader: pa.RecordBatchReader, size: int) -> Iterator[pa.Table]:
    """Yield tables of `size` rows, the last one of fewer."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        at = 0
        while batch.num_rows - at >= size - rows:
            yield _group([*held, batch.slice(at, size - rows)])
            at += size - rows
            held, rows = [], 0
        held.append(batch.slice(at))
        rows += batch.num_rows - at
    if rows:
        yield _group(held)


def _group(batches: list[pa.RecordBatch]) -> pa.Table:
    """Return one table, whose dictionaries have only texts that occur: each group stores its own."""
    table = pa.Table.from_batches(batches)
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            texts = table.column(at).cast(field.type.value_type).combine_chunks()
            table = table.set_column(at, field, texts.dictionary_encode())
    return table
