"""Which chunks of an array are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zarr.abc.store import Store
from zarr.core.sync import sync

__all__ = ["stored_chunks"]

_BATCH: Final = 65_536


def stored_chunks(store: Store, path: str) -> Iterator[tuple[int, ...]]:
    """Yield the coordinates of the chunks that an array has, in no order."""
    prefix = f"{path}/c/"
    walk = store.list_prefix(f"{path}/")

    async def some() -> list[str]:
        found: list[str] = []
        async for key in walk:
            if key.startswith(prefix):
                found.append(key)
                if len(found) == _BATCH:
                    break
        return found

    while keys := sync(some()):
        for key in keys:
            yield tuple(map(int, key.removeprefix(prefix).split("/")))
