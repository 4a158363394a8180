"""A snapshot's store that remembers what was read.

A snapshot never changes, so what was read of it once need not be fetched again: questions of a
dashboard touch the same index, summaries and blocks over and over, and a fetch costs 0.15 to 0.3 ms
on a local disk and a round trip on an object store. Chunks of small tables are remembered decoded,
all others as they are stored; those of blocks that are asked for again, see
`pipeline.archive.decoded_columns`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from sys import getsizeof
from typing import Any, Final

from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import WrapperStore

from pipeline.archive.decoded_columns import DecodedColumns

__all__ = [
    "REMEMBERED_BYTES",
    "Remembered",
    "RememberingStore",
    "decoded_of",
    "forgetting",
    "remembered_of",
]

REMEMBERED_BYTES: Final = 64 << 20
"""How much is remembered of a snapshot by default."""

_OVERHEAD: Final = 200  # of an entry: its key and the array object
_SHARE: Final = 4

Array = NDArray[Any] | None


class Remembered:
    """Arrays by key, those that were not used for longest given up first.

    Parameters
    ----------
    limit
        Bytes that are held at most. A request for more than a quarter of it is not remembered:
        a scan of everything would only drive out what is asked for often.
    """

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        self._limit = limit
        self._held = 0
        self._arrays: OrderedDict[str, Array] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._held

    def get_many(
        self, keys: Sequence[str], read: Callable[[list[int]], Sequence[Array]]
    ) -> list[Array]:
        """Return arrays by key, those that are not known as `read` gives them.

        Parameters
        ----------
        keys
            Names of arrays.
        read
            Returns arrays, not to be changed later, by their positions among `keys`; None
            where there is none, which is remembered too.
        """
        found: list[Array] = [None] * len(keys)
        missing = self._take(keys, found)
        if missing:
            new = read(missing)
            for at, array in zip(missing, new, strict=True):
                found[at] = array
            self._keep([keys[at] for at in missing], new)
        return found

    def _take(self, keys: Sequence[str], found: list[Array]) -> list[int]:
        missing = []
        with self._lock:
            for at, key in enumerate(keys):
                if key in self._arrays:
                    self._arrays.move_to_end(key)
                    found[at] = self._arrays[key]
                else:
                    missing.append(at)
        return missing

    def _keep(self, keys: Sequence[str], arrays: Sequence[Array]) -> None:
        if sum(map(_size, arrays)) > self._limit // _SHARE:
            return
        with self._lock:
            for key, array in zip(keys, arrays, strict=True):
                if array is not None:
                    array.setflags(write=False)
                known = key in self._arrays
                self._held += _size(array) - (_size(self._arrays[key]) if known else 0)
                self._arrays[key] = array
            while self._held > self._limit:
                self._held -= _size(self._arrays.popitem(last=False)[1])


def _size(array: Array) -> int:
    if array is None:
        return _OVERHEAD
    held = sum(map(getsizeof, array.flat)) if array.dtype.hasobject else 0
    return _OVERHEAD + array.nbytes + held


class RememberingStore(WrapperStore[Store]):
    """The store of a snapshot, with what was read of it.

    Parameters
    ----------
    store
        A store that does not change.
    snapshot
        The snapshot's id.
    """

    def __init__(self, store: Store, snapshot: str) -> None:
        super().__init__(store)
        self.remembered = Remembered()
        self.decoded = DecodedColumns(snapshot)

    @property
    def plain(self) -> Store:
        """The store without what is remembered."""
        return self._store

    def _with_store(self, store: Store) -> RememberingStore:
        return RememberingStore(store, self.decoded.snapshot)

    async def getsize(self, key: str) -> int:
        """Return a value's size, without fetching it as the base class does."""
        return await self._store.getsize(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return RememberingStore, (self._store, self.decoded.snapshot)


def remembered_of(store: Store) -> Remembered | None:
    """Return what is remembered of a store, None if it may change."""
    return store.remembered if isinstance(store, RememberingStore) else None


def decoded_of(store: Store) -> DecodedColumns | None:
    """Return the decoded columns that are kept of a store, None if it may change."""
    return store.decoded if isinstance(store, RememberingStore) else None


def forgetting(store: Store) -> Store:
    """Return the store itself, of which nothing is remembered."""
    return store.plain if isinstance(store, RememberingStore) else store
