"""Chunks of blocks that are of another version of the schema than the one that is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.compact_columns import CompactColumn
from pipeline.archive.decoded_columns import Recurring
from pipeline.archive.version_reading import VersionReading
from pipeline.codecs.block import decode_block
from pipeline.errors import CorruptBlockError
from pipeline.model.batches import Column
from pipeline.model.dtypes import fill_value, storage_dtype
from pipeline.schema.conversions import Conversion

__all__ = ["Chunk", "Origin", "Source", "decode_chunk", "sources_of"]

type Chunk = NDArray[np.uint8] | CompactColumn | Recurring | None
"""The bytes of a column of a block, or what is known of it; None if it has none."""

_SMALL: Final = 1 << 15
_MUCH: Final = 8
"""A column is kept decoded if so few rows of it take little time, or one in so many is wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where a channel's values in one block come from.

    Parameters
    ----------
    reading
        What is read as what.
    conversion
        What to compute.
    keys, chunks
        Of each array that it takes, store key and bytes; None where there is no chunk.
    """

    reading: VersionReading
    conversion: Conversion
    keys: Sequence[str]
    chunks: Sequence[Chunk]

    def decode(self, count: int, rows: tuple[int, int] | None = None) -> Column:
        """Return the values of a block of so many rows, or of a range ``[start, stop)`` of them.

        Raises
        ------
        CorruptBlockError
            If a chunk is damaged, or not the one that the index describes.
        SchemaError
            If a value does not fit the version that is read.
        """
        start, stop = rows or (0, count)
        stored = self.reading.history.stored
        decoded = {
            name: decode_chunk(data, key, storage_dtype(stored[name].dtype), count, rows)
            for name, key, data in zip(self.conversion.arrays, self.keys, self.chunks, strict=True)
        }
        return self.reading.converted(self.conversion, decoded, stop - start)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Which arrays a column of a block is read from, and how they are converted, if they are."""

    arrays: tuple[str, ...]
    conversion: Conversion | None = None

    def origin(
        self, reading: VersionReading, keys: Sequence[str], chunks: Mapping[str, Chunk]
    ) -> Origin:
        """Return where values come from, once the chunks are fetched."""
        if self.conversion is None:
            msg = "this column is not converted"
            raise TypeError(msg)
        return Origin(reading, self.conversion, keys, [chunks[key] for key in keys])


def sources_of(reading: VersionReading, column: str, version: int) -> Source:
    """Return what a column, a channel or a key, is read from in blocks of a version."""
    if column in ("device_index", "time"):
        return Source((column,))
    conversion = reading.of(column, version)
    return Source(conversion.arrays, None if conversion.is_plain else conversion)


def decode_chunk(
    data: Chunk,
    key: str,
    dtype: np.dtype[Any],
    count: int,
    rows: tuple[int, int] | None = None,
    out: NDArray[Any] | None = None,
) -> Column:
    """Return one column of a block, or of a range ``[start, stop)`` of its rows.

    Parameters
    ----------
    data
        The chunk, or what is known of it; None where the block has no such column, and every row
        is missing. One that recurs is kept decoded, if that does not take long.
    key
        Its store key.
    dtype
        Its stored dtype.
    count
        Rows of the block, as the index says.
    rows
        Which rows; None for all.
    out
        Receives the values, which are those returned then; of dtype `dtype` and contiguous.

    Raises
    ------
    CorruptBlockError
        If the chunk is damaged, or not the one that the index describes.
    """
    start, stop = rows or (0, count)
    if isinstance(data, Recurring):
        keep = count <= _SMALL or (stop - start) * _MUCH >= count
        data = _kept(data, key, dtype, count) if keep else data.data
    values = np.empty(stop - start, dtype) if out is None else out
    if data is None:
        values.fill(fill_value(dtype))
        return Column(values, np.zeros(len(values), np.bool_))
    if isinstance(data, CompactColumn):
        valid = data.write(values, slice(start, stop))
        return Column(values, None if valid is None else valid.copy())
    block = decode_block(data, where=key, rows=rows, out=values)
    if len(block.values) != stop - start or block.values.dtype != dtype:
        wanted = f"{stop - start}" if rows is None else f"the rows {start} to {stop}"
        msg = (
            f"{key}: holds {len(block.values)} rows of {block.values.dtype}, "
            f"the index says {wanted} of {dtype}"
        )
        raise CorruptBlockError(msg)
    return Column(block.values, block.valid)


def _kept(recurring: Recurring, key: str, dtype: np.dtype[Any], count: int) -> CompactColumn:
    return recurring.decoded.keep(key, decode_chunk(recurring.data, key, dtype, count))
