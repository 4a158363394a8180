"""A snapshot's store that remembers what was read.

A snapshot never changes, so what was read of it once need not be fetched again, and a later one
shares with it whatever the commits between them left alone: questions of a
dashboard touch the same index, summaries and blocks over and over, and a fetch costs 0.15 to 0.3 ms
on a local disk and a round trip on an object store. Chunks of small tables are remembered decoded,
all others as they are stored; those of blocks that are asked for again, see
`pipeline.archive.decoded_columns`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import Any, Final

from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import WrapperStore

from pipeline.archive.decoded_columns import DecodedColumns
from pipeline.archive.transactions.differences import Differences

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
_MOST_STEPS: Final = 64

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
        self._kinds: tuple[str, ...] = ()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._held

    def get_many(
        self,
        keys: Sequence[str],
        read: Callable[[list[int]], Sequence[Array]],
        kind: str = "",
    ) -> list[Array]:
        """Return arrays by key, those that are not known as `read` gives them.

        Parameters
        ----------
        keys
            Store keys of arrays.
        read
            Returns arrays, not to be changed later, by their positions among `keys`; None
            where there is none, which is remembered too.
        kind
            What the arrays are of what is stored there.
        """
        if kind not in self._kinds:
            self._kinds = (*self._kinds, kind)
        keys = [key + kind for key in keys] if kind else keys
        found: list[Array] = [None] * len(keys)
        missing = self._take(keys, found)
        if missing:
            new = read(missing)
            for at, array in zip(missing, new, strict=True):
                found[at] = array
            self._keep([keys[at] for at in missing], new)
        return found

    def hand_over(self, changed: Differences) -> Remembered:
        """Return what is remembered, but for what changed, for a later snapshot; forget it here."""
        with self._lock:
            heir = Remembered(self._limit)
            heir._arrays, self._arrays = self._arrays, OrderedDict()
            heir._held, self._held = self._held, 0
            heir._kinds = self._kinds
        gone = [key + kind for key in changed.keys for kind in heir._kinds]
        for key in [*gone, *changed.touched(heir._arrays)]:
            if key in heir._arrays:
                heir._held -= _size(heir._arrays.pop(key))
        return heir

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


type Compare = Callable[[str, str], Differences | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """A store that was read from, and so many commits ago, as far as they were seen."""

    store: RememberingStore
    differences: Compare
    steps: int


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
        self.snapshot = snapshot
        self._remembered = Remembered()
        self._decoded = DecodedColumns(snapshot)
        self._before: _Before | None = None
        self._lock = threading.Lock()

    def follow(self, earlier: Store, differences: Compare) -> None:
        """Take over what is remembered of an earlier snapshot and did not change since.

        That is done when something is read. Until then the commits between may become more; if they
        are very many, comparing costs more than reading anew, and nothing is taken over.

        Parameters
        ----------
        earlier
            The store of a snapshot before this one, which forgets.
        differences
            Compares two snapshots by their ids.
        """
        if not isinstance(earlier, RememberingStore):
            return
        with earlier._lock:
            before = earlier._before or _Before(earlier, differences, 0)
        if before.steps < _MOST_STEPS:
            self._before = replace(before, steps=before.steps + 1)

    @property
    def remembered(self) -> Remembered:
        """What was read, and what is still true of what was read of earlier snapshots."""
        self._take_over()
        return self._remembered

    @property
    def decoded(self) -> DecodedColumns:
        """Columns that were decoded, of earlier snapshots too."""
        self._take_over()
        return self._decoded

    def _take_over(self) -> None:
        if self._before is None:
            return
        with self._lock:  # who reads meanwhile waits for what is taken over
            before = self._before
            if before is None:
                return
            try:
                changed = before.differences(before.store.snapshot, self.snapshot)
                if changed is not None:
                    self._remembered = before.store._remembered.hand_over(changed)
                    before.store._decoded.hand_over(self._decoded, changed)
            finally:
                self._before = None

    @property
    def plain(self) -> Store:
        """The store without what is remembered."""
        return self._store

    def _with_store(self, store: Store) -> RememberingStore:
        return RememberingStore(store, self.snapshot)

    async def getsize(self, key: str) -> int:
        """Return a value's size, without fetching it as the base class does."""
        return await self._store.getsize(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return RememberingStore, (self._store, self.snapshot)


def remembered_of(store: Store) -> Remembered | None:
    """Return what is remembered of a store, None if it may change."""
    return store.remembered if isinstance(store, RememberingStore) else None


def decoded_of(store: Store) -> DecodedColumns | None:
    """Return the decoded columns that are kept of a store, None if it may change."""
    return store.decoded if isinstance(store, RememberingStore) else None


def forgetting(store: Store) -> Store:
    """Return the store itself, of which nothing is remembered."""
    return store.plain if isinstance(store, RememberingStore) else store
