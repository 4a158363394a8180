"""Size of a column as a Parquet file with zstd, by the best of its encodings.

References
----------
https://parquet.apache.org/docs/file-format/data-pages/encodings/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.codec_columns import Block

__all__ = ["encodings", "parquet_size"]

_LEVEL: Final = 9


def parquet_size(blocks: Sequence[Block]) -> int:
    """Return the bytes of a file with only this column, a row group per block.

    There are no statistics, and no copy of the Arrow schema: without them it is smaller.
    """
    tables = [_table(block) for block in blocks]
    schema = pa.schema([pa.field("v", tables[0].schema[0].type, _any_missing(blocks))])
    tables = [table.cast(schema) for table in tables]
    return min(_file_size(tables, settings) for settings in encodings(schema[0].type))


def encodings(kind: pa.DataType) -> Iterator[dict[str, Any]]:
    """Yield the settings of a Parquet writer that choose each encoding a type can have."""
    yield {"use_dictionary": True}
    names = ["PLAIN", "RLE"] if pa.types.is_boolean(kind) else ["PLAIN", "BYTE_STREAM_SPLIT"]
    if pa.types.is_integer(kind):
        names.append("DELTA_BINARY_PACKED")
    for name in names:
        yield {"use_dictionary": False, "column_encoding": {"v": name}}


def _table(block: Block) -> pa.Table:
    mask = None if block.valid is None else ~block.valid
    # NaN is a value: only the mask tells what is missing.
    return pa.table({"v": pa.array(block.values, mask=mask, from_pandas=False)})


def _any_missing(blocks: Sequence[Block]) -> bool:
    return any(block.valid is not None for block in blocks)


def _file_size(tables: Sequence[pa.Table], settings: dict[str, Any]) -> int:
    with pa.BufferOutputStream() as stream:
        with pq.ParquetWriter(
            stream,
            tables[0].schema,
            compression="zstd",
            compression_level=_LEVEL,
            write_statistics=False,
            store_schema=False,
            **settings,
        ) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=table.num_rows)
        return int(stream.tell())
