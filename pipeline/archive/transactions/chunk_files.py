"""Reading the files of a snapshot's chunks in a local folder, past the storage library.

A file holds one chunk and never changes, see Icechunk's specification. What is not read here for
whatever reason, be it that a file is gone, is left to the library, which tells what is wrong.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Self, cast

import icechunk as ic
import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.locations import Location
from pipeline.archive.transactions.chunk_refs import BATCH, Batch, ChunkRefs, Found, places_of

__all__ = ["ChunkFiles"]

_KEYS_WORTH_LISTING: Final = 32
_LISTED_BYTES: Final = 32 << 20

_Array = NDArray[np.uint8] | None


class ChunkFiles:
    """The chunks of a snapshot that are files.

    Parameters
    ----------
    store
        The library's, of the snapshot.
    folder
        Of the archive.
    """

    def __init__(self, store: ic.IcechunkStore, folder: str) -> None:
        self._store = store
        self._folder = os.fsencode(os.path.join(folder, "chunks", ""))
        self._refs: dict[str, ChunkRefs] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, store: Store, location: Location) -> Self | None:
        """Return the files of a store; None if it is no snapshot's in a local folder."""
        if location.scheme != "file" or not isinstance(store, ic.IcechunkStore):
            return None
        return cls(store, location.path) if store.session.read_only else None

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
        for path, (positions, coordinates) in _by_array(keys).items():
            try:
                places = places_of(coordinates)
            except (ValueError, OverflowError):  # of different dimensions, or far outside
                continue
            for at, where in zip(positions, self._find(path, places), strict=True):
                found[at] = self._read(where, prefix_bytes)
        return found

    def _find(self, path: str, places: NDArray[np.bytes_]) -> list[Found]:
        listing = len(places) >= _KEYS_WORTH_LISTING
        with self._lock:
            refs = self._refs.get(path)
            if refs is None:
                if not listing:
                    return [None] * len(places)
                refs = self._refs[path] = ChunkRefs(self._list(path))
            held = sum(one.nbytes for one in self._refs.values())
            return refs.find(places, listing=listing and held < _LISTED_BYTES)

    def _list(self, path: str) -> Iterator[Batch]:
        try:
            # It can be iterated without waiting too, of which its type says nothing.
            yield from cast("Iterator[Batch]", self._store.array_chunk_iterator(f"/{path}", BATCH))
        except ic.IcechunkError:
            return

    def _read(self, where: Found, prefix_bytes: int | None) -> _Array:
        if where is None:
            return None
        if isinstance(where, bytes):
            return np.frombuffer(where[:prefix_bytes], np.uint8)
        name, length = where
        size = length if prefix_bytes is None else min(length, prefix_bytes)
        try:
            file = os.open(self._folder + name, os.O_RDONLY)
        except OSError:
            return None
        try:
            data = os.pread(file, size, 0)
        except OSError:
            return None
        finally:
            os.close(file)
        return np.frombuffer(data, np.uint8) if len(data) == size else None


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
