"""Reading the files of a snapshot's chunks in a local folder, past the storage library.

A file holds one chunk and never changes, see Icechunk's specification. What is not read here for
whatever reason, be it that a file is gone, is left to the library, which tells what is wrong.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Self, cast

import icechunk as ic
import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.locations import Location
from pipeline.archive.transactions.chunk_refs import BATCH, Batch, ChunkRefs, Found, places_of
from pipeline.archive.transactions.file_reads import read_files

__all__ = ["Another", "ChunkFiles"]

_LISTED_BYTES: Final = 32 << 20

type Another = Callable[[], ic.IcechunkStore]

_Array = NDArray[np.uint8] | None


class ChunkFiles:
    """The chunks of a snapshot that are files.

    Parameters
    ----------
    another
        Returns another store of the snapshot, for nothing but listing: a store cannot be pickled
        as long as a listing of it is not at its end, that would wait for ever.
    folder
        Of the archive.
    """

    def __init__(self, another: Callable[[], ic.IcechunkStore], folder: str) -> None:
        self._another = another
        self._folder = os.fsencode(os.path.join(folder, "chunks", ""))
        self._refs: dict[str, ChunkRefs] = {}
        self._held = 0
        self._lock = threading.Lock()

    @classmethod
    def of(cls, store: Store, location: Location, another: Another | None = None) -> Self | None:
        """Return the files of a store; None if it is no snapshot's in a local folder."""
        if location.scheme != "file" or not isinstance(store, ic.IcechunkStore):
            return None
        if not store.session.read_only:
            return None
        return cls(another or partial(_copy, store), location.path)

    def read(self, keys: Sequence[str], prefix_bytes: int | None = None) -> list[_Array]:
        """Return chunks, ``uint8`` and read-only, by key; None for what is not read here.

        Parameters
        ----------
        keys
            Store keys, of chunks and others.
        prefix_bytes
            Read only this many leading bytes of each.
        """
        found: list[_Array] = [None] * len(keys)
        files: list[tuple[int, bytes, int]] = []
        for path, (positions, coordinates) in _by_array(keys).items():
            try:
                places = places_of(coordinates)
            except (ValueError, OverflowError):  # of different dimensions, or far outside
                continue
            for at, where in zip(positions, self._find(path, places), strict=True):
                if isinstance(where, bytes):
                    found[at] = np.frombuffer(where[:prefix_bytes], np.uint8)
                elif where is not None:
                    name, length = where
                    size = length if prefix_bytes is None else min(length, prefix_bytes)
                    files.append((at, self._folder + name, size))
        arrays = read_files([(path, size) for _, path, size in files])
        for (at, _, _), array in zip(files, arrays, strict=True):
            found[at] = array
        return found

    def _find(self, path: str, places: NDArray[np.bytes_]) -> list[Found]:
        with self._lock:
            refs = self._refs.get(path)
            if refs is None:
                refs = self._refs[path] = ChunkRefs(self._list(path))
            before = refs.nbytes
            found = refs.find(places, listing=self._held < _LISTED_BYTES)
            self._held += refs.nbytes - before
            return found

    def _list(self, path: str) -> Iterator[Batch]:
        try:
            batches = self._another().array_chunk_iterator(f"/{path}", BATCH)
            # It can be iterated without waiting too, of which its type says nothing.
            yield from cast("Iterator[Batch]", batches)
        except ic.IcechunkError:
            return


def _copy(store: ic.IcechunkStore) -> ic.IcechunkStore:
    copy: ic.IcechunkStore = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
    return copy


def _by_array(keys: Sequence[str]) -> dict[str, tuple[list[int], list[list[int]]]]:
    """Return the chunks among some keys: positions and coordinates, by the path of the array."""
    arrays: dict[str, tuple[list[int], list[list[int]]]] = defaultdict(lambda: ([], []))
    for at, key in enumerate(keys):
        path, _, place = key.rpartition("/c/")
        try:
            coordinates = [int(number) for number in place.split("/")]
        except ValueError:
            continue
        positions, places = arrays[path]
        positions.append(at)
        places.append(coordinates)
    return arrays
