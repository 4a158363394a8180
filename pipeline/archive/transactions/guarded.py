"""A store whose failures are errors of this package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import icechunk as ic
import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from pipeline.archive.locations import Location
from pipeline.archive.transactions.chunk_files import Another, ChunkFiles
from pipeline.errors import (
    ArchiveError,
    ConflictError,
    CorruptBlockError,
    NotFoundError,
    StorageError,
)

__all__ = ["GuardedStore", "translated"]


class GuardedStore(WrapperStore[Store]):
    """A store whose failures are errors of this package, with the archive named.

    Parameters
    ----------
    store
        The library's.
    location
        Of the archive.
    another
        Returns another store of the same snapshot, if it is a snapshot's.
    """

    def __init__(self, store: Store, location: Location, another: Another | None = None) -> None:
        super().__init__(store)
        self._location = location
        self._files = ChunkFiles.of(store, location, another)

    def _with_store(self, store: Store) -> GuardedStore:
        return GuardedStore(store, self._location)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return a value or a part of it, None if there is none."""
        with translated(self._location, key):
            try:
                return await super().get(key, prototype, byte_range)
            except ic.InvalidInputError:
                if not isinstance(byte_range, RangeByteRequest):
                    raise
            # A range beyond the end of a short value is refused rather than cut.
            whole = await super().get(key, prototype)
            return None if whole is None else whole[byte_range.start : byte_range.end]

    def read_files(
        self, keys: Sequence[str], prefix_bytes: int | None = None
    ) -> list[NDArray[np.uint8] | None]:
        """Return values that can be read faster than by `get`, None for all others.

        Parameters
        ----------
        keys
            Store keys.
        prefix_bytes
            Read only this many leading bytes of each value.
        """
        if self._files is None:
            return [None] * len(keys)
        return self._files.read(keys, prefix_bytes)

    async def getsize(self, key: str) -> int:
        """Return a value's size, without fetching it as the base class does."""
        with translated(self._location, key):
            return await self._store.getsize(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Store a value."""
        with translated(self._location, key):
            await super().set(key, value)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with a prefix."""
        with translated(self._location, prefix):
            async for key in super().list_prefix(prefix):
                yield key

    def __reduce__(self) -> tuple[Any, ...]:
        return GuardedStore, (self._store, self._location)


@contextmanager
def translated(location: Location, key: str = "") -> Iterator[None]:
    """Raise errors of the storage library as errors of this package.

    Parameters
    ----------
    location
        Of the archive, for the message.
    key
        Of the chunk or document that is read or written, if it is one.

    Raises
    ------
    CorruptBlockError
        If the file that held `key` is gone.
    NotFoundError, ConflictError, StorageError
        If something else is not there, another writer was faster, or the storage fails.
    """
    try:
        yield
    except ArchiveError:
        raise
    except ic.IcechunkError as error:
        raise _translate(location, key, error) from error


def _translate(location: Location, key: str, error: ic.IcechunkError) -> ArchiveError:
    # The first line is the cause; the rest is the library's own trace.
    reason = str(error).strip().splitlines()[0]
    message = f"{location}: {key}: {reason}" if key else f"{location}: {reason}"
    if key and error.kind == "object-not-found":
        return CorruptBlockError(f"{message}; the file that held it is gone")
    if isinstance(error, ic.NotFoundError) or error.kind == "object-not-found":
        return NotFoundError(message)
    if isinstance(error, ic.InvalidInputError):
        return NotFoundError(f"{message} (is this a snapshot id from history()?)")
    if isinstance(error, ic.ConflictError):
        return ConflictError(message)
    return StorageError(message)
