"""Which chunks and arrays are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zarr.abc.store import Store
from zarr.core.sync import sync

from pipeline.archive.layout import FleetLayout

__all__ = ["raw_paths", "stored_chunks", "stored_names"]

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


def stored_names(store: Store, path: str) -> list[str]:
    """Return the names of the groups and arrays in a group, sorted."""

    async def names() -> list[str]:
        return [name async for name in store.list_dir(path)]

    return sorted(name for name in sync(names()) if name != "zarr.json")


def raw_paths(store: Store, layout: FleetLayout) -> list[str]:
    """Return the paths of all raw columns of a fleet, those the schema does not have any more too."""
    return [f"{layout.raw_group}/{name}" for name in stored_names(store, layout.raw_group)]
