"""Small helpers that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

import pipeline

__all__ = ["HOUR", "MINUTE", "START", "CountingStore", "memory_archive", "minutes", "rows_of"]

MINUTE = 60_000_000
HOUR = 60 * MINUTE
START = 1_704_067_200_000_000
"""2024-01-01T00:00 UTC in microseconds."""

_names = count()


def memory_archive() -> pipeline.Archive:
    """Return a new archive in memory."""
    return pipeline.Archive.create(f"memory://test-{next(_names)}")


def minutes(*steps: float) -> NDArray[np.datetime64]:
    """Return times that many minutes after `START`."""
    return (START + (np.array(steps) * MINUTE).astype(np.int64)).astype("M8[us]")


def rows_of(reader: Any) -> pd.DataFrame:
    """Return all rows as a frame: devices as texts, times in microseconds."""
    frame: pd.DataFrame = reader.read_all().to_pandas(integer_object_nulls=True)
    frame["device"] = frame["device"].astype(str)
    frame["time"] = frame["time"].dt.tz_localize(None).astype("M8[us]").astype("int64")
    return frame


class CountingStore(WrapperStore[Store]):
    """A store that remembers which keys were read."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reads: list[str] = []

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Note the key, then get it."""
        self.reads.append(key if byte_range is None else f"{key}[{byte_range}]")
        return await super().get(key, prototype, byte_range)

    async def getsize(self, key: str) -> int:
        """Ask for a size, which is no read."""
        return await self._store.getsize(key)

    def raw_reads(self) -> Iterator[str]:
        """Yield the keys of raw chunks that were read."""
        return (key for key in self.reads if "/raw/" in key and "/c/" in key)

    def forget(self) -> None:
        """Start over."""
        self.reads.clear()


def as_any(value: Any) -> Any:
    """Return `value` for a call that is wrong on purpose."""
    return value
