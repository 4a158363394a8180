"""Small pre-sized numeric tables (index, summaries, state), read and written chunk by chunk.

Every table is a Zarr array whose serializer is the block codec, so each of its chunks is
checksummed. Chunks that were never written cost nothing and read as the fill value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.chunk_io import chunk_key, get_many, in_threads, put_many
from pipeline.codecs.block import decode_block, encode_block
from pipeline.codecs.zarr_block import BlockCodec
from pipeline.errors import CorruptBlockError

__all__ = ["Table", "create_array"]

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
    """

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dimensions: tuple[str, ...]
    fill: int | float = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)

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
        keys = [chunk_key(self.path, at) for at in coordinates]
        found = [
            (at, key, data)
            for at, key, data in zip(coordinates, keys, get_many(store, keys), strict=True)
            if data is not None
        ]
        arrays = in_threads(lambda item: self._decode(item[2], item[1]), found)
        return {item[0]: array for item, array in zip(found, arrays, strict=True)}

    def write(self, store: Store, chunks: Mapping[Coordinates, NDArray[Any]]) -> None:
        """Store whole chunks."""
        encoded = in_threads(self._encode, list(chunks.values()))
        keys = (chunk_key(self.path, at) for at in chunks)
        put_many(store, dict(zip(keys, encoded, strict=True)))

    def blank(self) -> NDArray[Any]:
        """Return a chunk that holds the fill value only."""
        return np.full(self.chunk, self.fill, self.dtype)

    def load(
        self, store: Store, coordinates: Iterable[Coordinates]
    ) -> dict[Coordinates, NDArray[Any]]:
        """Return all chunks asked for, blank where there is none, ready to be changed."""
        wanted = list(coordinates)
        found = self.read(store, wanted)
        return {at: found[at] if at in found else self.blank() for at in wanted}

    def _encode(self, chunk: NDArray[Any]) -> bytes:
        flat = chunk.ravel()
        # Bits are compared, not values: a trailing -0.0 is not the fill value 0.0.
        bits = f"u{self.dtype.itemsize}"
        used = np.flatnonzero(flat.view(bits) != np.array([self.fill], self.dtype).view(bits))
        return encode_block(flat[: int(used[-1]) + 1 if len(used) else 0])

    def _decode(self, data: NDArray[np.uint8], key: str) -> NDArray[Any]:
        values = decode_block(data, where=key).values
        if len(values) > prod(self.chunk) or values.dtype != self.dtype:
            msg = f"{key}: holds {len(values)} values of {values.dtype}, not a chunk of {self.path}"
            raise CorruptBlockError(msg)
        flat = np.full(prod(self.chunk), self.fill, self.dtype)
        flat[: len(values)] = values
        return flat.reshape(self.chunk)


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
