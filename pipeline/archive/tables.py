"""Small pre-sized numeric tables (index, summaries, state), read and written chunk by chunk.

Every table is a Zarr array whose serializer is the block codec, so each of its chunks is
checksummed. Chunks that were never written cost nothing and read as the fill value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.chunk_io import chunk_key, in_threads, put_many, read_decoded
from pipeline.codecs.block import Memory, decode_block, encode_block
from pipeline.codecs.zarr_block import BlockCodec
from pipeline.errors import CorruptBlockError
from pipeline.model.codec_names import AUTO

__all__ = ["Table", "create_array", "read_chunks", "write_chunks"]

Coordinates = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """An array that is handled in whole chunks.

    Parameters
    ----------
    path
        Of the array in the store.
    dtype
        Of the array.
    shape, chunk
        Of the array and of one chunk.
    dimensions
        Dimension names.
    fill
        Fill value.
    attributes
        For the array's metadata.
    codec
        How chunks are encoded: one of `pipeline.model.codec_names.CODECS`.
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dimensions: tuple[str, ...]
    fill: int | float = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    codec: str = AUTO

    def create(self, store: Store) -> None:
        """Write the array's metadata."""
        create_array(store, self)

    def read(
        self, store: Store, coordinates: Sequence[Coordinates]
    ) -> dict[Coordinates, NDArray[Any]]:
        """Return the chunks that exist, by their coordinates in the chunk grid.

        Raises
        ------
        CorruptBlockError
            If a chunk is damaged; the message names it.
        """
        found = read_chunks(store, [(self, at) for at in coordinates])
        pairs = zip(coordinates, found, strict=True)
        return {at: chunk for at, chunk in pairs if chunk is not None}

    def load(
        self, store: Store, coordinates: Sequence[Coordinates]
    ) -> dict[Coordinates, NDArray[Any]]:
        """Return all chunks asked for, blank where there is none, ready to be changed."""
        found = self.read(store, coordinates)
        return {at: found[at] if at in found else self.blank() for at in coordinates}

    def write(self, store: Store, chunks: Mapping[Coordinates, NDArray[Any]]) -> None:
        """Store whole chunks."""
        write_chunks(store, [(self, at, chunk) for at, chunk in chunks.items()])

    def blank(self) -> NDArray[Any]:
        """Return a chunk that holds the fill value only."""
        return np.full(self.chunk, self.fill, self.dtype)

    def encode(self, chunk: NDArray[Any], memory: Memory | None = None) -> bytes:
        """Return a chunk as it is stored; `memory` is of other chunks of the table."""
        flat = chunk.ravel()
        # Bits are compared, not values: a trailing -0.0 is not the fill value 0.0.
        bits = f"u{self.dtype.itemsize}"
        used = np.flatnonzero(flat.view(bits) != np.array([self.fill], self.dtype).view(bits))
        rows = flat[: int(used[-1]) + 1 if len(used) else 0]
        return encode_block(rows, codec=self.codec, memory=memory)

    def decode(self, data: NDArray[np.uint8], key: str) -> NDArray[Any]:
        """Return a stored chunk.

        Raises
        ------
        CorruptBlockError
            If it is damaged, or no chunk of this table; the message names `key`.
        """
        values = decode_block(data, where=key).values
        if len(values) > prod(self.chunk) or values.dtype != self.dtype:
            msg = f"{key}: holds {len(values)} values of {values.dtype}, not a chunk of {self.path}"
            raise CorruptBlockError(msg)
        flat = np.full(prod(self.chunk), self.fill, self.dtype)
        flat[: len(values)] = values
        return flat.reshape(self.chunk)


def read_chunks(
    store: Store, wanted: Sequence[tuple[Table, Coordinates]]
) -> list[NDArray[Any] | None]:
    """Return chunks of any tables, all fetched at once; None where there is none.

    They are read-only if the store is one that remembers.
    """
    tables = [table for table, _ in wanted]
    keys = [chunk_key(table.path, at) for table, at in wanted]
    return read_decoded(store, keys, lambda at, data: tables[at].decode(data, keys[at]))


def write_chunks(store: Store, chunks: Sequence[tuple[Table, Coordinates, NDArray[Any]]]) -> None:
    """Store whole chunks of any tables, all put at once."""
    # Chunks of a table resemble each other: remembering what suited one made the next four times
    # as fast, and a commit that touches the summaries of 10,000 devices writes hundreds.
    memories = {table.path: Memory() for table, _, _ in chunks}
    encoded = in_threads(lambda item: item[0].encode(item[2], memories[item[0].path]), chunks)
    keys = (chunk_key(table.path, at) for table, at, _ in chunks)
    put_many(store, dict(zip(keys, encoded, strict=True)))


def create_array(store: Store, table: Table) -> None:
    """Write the metadata of an array that is encoded by the block codec."""
    zarr.create_array(
        store,
        name=table.path,
        shape=table.shape,
        chunks=table.chunk,
        dtype=table.dtype,
        fill_value=table.fill,
        serializer=BlockCodec(),
        compressors=None,
        filters=None,
        dimension_names=table.dimensions,
        attributes=dict(table.attributes),
    )
