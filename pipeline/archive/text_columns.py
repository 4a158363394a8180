"""Columns of short texts (device ids, tags), read and written by whole chunks.

They are ordinary Zarr arrays of strings. Opening one and going through it costs a millisecond or
more a column; chunks of several columns are fetched and put at once here instead, by key. What
was never written is the empty text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import zarr
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.chunk_io import chunk_key, get_many, in_threads, put_many
from pipeline.errors import CorruptBlockError

__all__ = ["TEXTS_PER_CHUNK", "Chunks", "TextColumn", "TextReader", "write_texts"]

type Chunks = dict[tuple[str, int], NDArray[np.object_]]
"""Chunks of texts by path and number."""

TEXTS_PER_CHUNK: Final = 4096
_CAPACITY: Final = 1 << 28
_LEVEL: Final = 3
_TEXTS: Final = VLenUTF8()


@dataclass(frozen=True, slots=True)
class TextColumn:
    """An array of texts.

    Parameters
    ----------
    path
        Of the array in the store.
    dimension
        Name of its dimension.
    attributes
        For the array's metadata.
    """

    path: str
    dimension: str = "device"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def create(self, store: Store) -> None:
        """Write the array's metadata."""
        zarr.create_array(
            store,
            name=self.path,
            shape=(_CAPACITY,),
            chunks=(TEXTS_PER_CHUNK,),
            dtype=str,
            fill_value="",
            compressors=ZstdCodec(level=_LEVEL, checksum=True),
            dimension_names=(self.dimension,),
            attributes=dict(self.attributes),
        )


class TextReader:
    """Texts of columns at one state of the archive, each chunk read once.

    Parameters
    ----------
    store
        A snapshot's or a transaction's store.
    known
        Chunks that were read before; those that are read now are added.
    """

    def __init__(self, store: Store, known: Chunks) -> None:
        self._store = store
        self.chunks = known

    def texts(
        self, paths: Sequence[str], positions: NDArray[np.int64]
    ) -> list[NDArray[np.object_]]:
        """Return the texts of some columns at the same positions.

        Parameters
        ----------
        paths
            Of the columns.
        positions
            ``int64``, shape (texts,).

        Returns
        -------
        list of ndarray
            ``object``, shape (texts,), one for each column.

        Raises
        ------
        CorruptBlockError
            If a chunk is damaged; the message names it.
        """
        numbers, inverse = np.unique(positions // TEXTS_PER_CHUNK, return_inverse=True)
        self.load([(path, number) for path in paths for number in numbers.tolist()])
        found = []
        for path in paths:
            texts = np.empty(len(positions), dtype=object)
            for at, number in enumerate(numbers.tolist()):
                here = inverse == at
                chunk = self.chunks[path, number]
                texts[here] = chunk[positions[here] % TEXTS_PER_CHUNK]
            found.append(texts)
        return found

    def load(self, wanted: Sequence[tuple[str, int]]) -> None:
        """Read those chunks, given by path and number, that are not there yet."""
        absent = [place for place in wanted if place not in self.chunks]
        keys = [chunk_key(path, (number,)) for path, number in absent]
        found = list(zip(keys, get_many(self._store, keys), strict=True))
        self.chunks.update(zip(absent, in_threads(_decoded, found), strict=True))


def write_texts(
    store: Store, changes: Mapping[str, tuple[NDArray[np.int64], Sequence[str]]]
) -> None:
    """Set texts of columns; only the chunks that hold them are read and written.

    Parameters
    ----------
    store
        A transaction's store.
    changes
        By path, positions and the text of each.
    """
    reader = TextReader(store, {})
    chunks: list[tuple[str, NDArray[np.object_]]] = []
    for path, (positions, texts) in changes.items():
        numbers, inverse = np.unique(positions // TEXTS_PER_CHUNK, return_inverse=True)
        values = np.array([*texts, None], dtype=object)[:-1]
        reader.load([(path, number) for number in numbers.tolist()])
        for at, number in enumerate(numbers.tolist()):
            here = inverse == at
            chunk = reader.chunks[path, number].copy()
            chunk[positions[here] % TEXTS_PER_CHUNK] = values[here]
            chunks.append((chunk_key(path, (number,)), chunk))
    encoded = in_threads(lambda item: _encoded(item[1]), chunks)
    put_many(store, dict(zip((key for key, _ in chunks), encoded, strict=True)))


def _encoded(chunk: NDArray[np.object_]) -> bytes:
    return bytes(Zstd(level=_LEVEL, checksum=True).encode(_TEXTS.encode(chunk)))


def _decoded(item: tuple[str, NDArray[np.uint8] | None]) -> NDArray[np.object_]:
    key, data = item
    if data is None:
        return np.full(TEXTS_PER_CHUNK, "", dtype=object)
    try:
        texts: NDArray[np.object_] = _TEXTS.decode(Zstd().decode(np.ascontiguousarray(data)))
    except (RuntimeError, ValueError) as error:
        msg = f"{key}: the texts cannot be read: {error}"
        raise CorruptBlockError(msg) from error
    if len(texts) != TEXTS_PER_CHUNK:
        msg = f"{key}: holds {len(texts)} texts, not {TEXTS_PER_CHUNK}"
        raise CorruptBlockError(msg)
    return texts
