"""Changing the block index inside a transaction: blocks get slots, and give them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable, IndexEntry
from pipeline.archive.chunk_io import chunk_key, delete_many
from pipeline.archive.layout import FleetLayout
from pipeline.archive.tables import write_chunks
from pipeline.errors import StorageError

__all__ = ["IndexWriter", "add_blocks", "next_slots"]

_Partition = tuple[int, int]
_At = tuple[int, ...]


def add_blocks(store: Store, layout: FleetLayout, entries: Sequence[IndexEntry]) -> list[int]:
    """Give each block the lowest free slot of its partition and write the index.

    Returns
    -------
    list of int
        The slots, in the order of `entries`; ascending within a partition.

    Raises
    ------
    StorageError
        If a partition has no free slot.
    """
    slots, writer = _assigned(store, layout, entries)
    if entries:
        writer.save()
    return slots


def next_slots(store: Store, layout: FleetLayout, entries: Sequence[IndexEntry]) -> list[int]:
    """Return the slots that `add_blocks` would give now, without writing anything.

    Raises
    ------
    StorageError
        If a partition has no free slot.
    """
    return _assigned(store, layout, entries)[0]


def _assigned(
    store: Store, layout: FleetLayout, entries: Sequence[IndexEntry]
) -> tuple[list[int], IndexWriter]:
    writer = IndexWriter(store, layout)
    writer.preload((entry.window, entry.device_block) for entry in entries)
    return writer.add(entries), writer


class IndexWriter:
    """The index chunks that one transaction changes.

    Parameters
    ----------
    store
        The transaction's store.
    layout
        The fleet's layout.
    """

    def __init__(self, store: Store, layout: FleetLayout) -> None:
        self._store = store
        self._layout = layout
        _, self._windows, self._blocks, self._depth = layout.index.chunk
        self._chunks: dict[_At, NDArray[Any]] = {}
        self._slots: dict[_At, NDArray[Any]] = {}
        self._changed: set[_At] = set()
        self._shrunk: set[int] = set()
        # Below these slots, none of the partition is free.
        self._full: dict[_Partition, int] = {}

    def preload(self, partitions: Iterable[_Partition]) -> None:
        """Read the chunks that hold some partitions, all at once instead of one by one."""
        distinct = list(dict.fromkeys(partitions))
        size = self._layout.slots.chunk[0]
        counts = {(window // size,) for window, _ in distinct} - set(self._slots)
        self._slots.update(self._layout.slots.load(self._store, sorted(counts)))
        wanted = {
            self._chunk_of(window, block, level * self._depth)
            for window, block in distinct
            # A chunk spans several windows and device blocks, so it may exist although this
            # partition has no slot in use yet.
            for level in range(self._levels(window) + 1)
        }
        missing = sorted(wanted - set(self._chunks))
        self._chunks.update(self._layout.index.load(self._store, missing))

    def holds(self, blocks: BlockTable) -> bool:
        """Tell whether the index has every one of `blocks` just as they say."""
        self.preload(map(_partition, blocks.places.tolist()))
        return all(
            np.array_equal(self._entry(*place), blocks.fields[:, at])
            for at, place in enumerate(blocks.places.tolist())
        )

    def remove(self, blocks: BlockTable) -> None:
        """Free the slots of `blocks`, whose partitions have to be preloaded."""
        for window, block, slot in blocks.places.tolist():
            self._entry(window, block, slot)[:] = 0
            self._changed.add(self._chunk_of(window, block, slot))
            partition = (window, block)
            self._full[partition] = min(self._full.get(partition, 0), slot)
            if slot + 1 == self._used(window):
                self._shrunk.add(window)

    def add(self, entries: Sequence[IndexEntry], freed: BlockTable | None = None) -> list[int]:
        """Give each block a slot of its partition, which has to be preloaded.

        Parameters
        ----------
        entries
            The blocks.
        freed
            Blocks that were removed for these. Where they leave a partition as many slots as it
            needs, those are used again: a block that is replaced by one keeps its place.

        Returns
        -------
        list of int
            The slots; ascending within a partition, since blocks of one commit are cut from
            rows in order.

        Raises
        ------
        StorageError
            If a partition has no free slot.
        """
        spare: dict[_Partition, list[int]] = {}
        needed: dict[_Partition, int] = {}
        for window, block, slot in [] if freed is None else sorted(freed.places.tolist()):
            spare.setdefault((window, block), []).append(slot)
        for entry in entries:
            partition = (entry.window, entry.device_block)
            needed[partition] = needed.get(partition, 0) + 1
        again = {
            partition: iter(slots)
            for partition, slots in spare.items()
            if len(slots) >= needed.get(partition, 0)
        }
        return [self._add(entry, again) for entry in entries]

    def save(self, devices: int = 0) -> None:
        """Write what was changed.

        Parameters
        ----------
        devices
            Number of devices the fleet knows: where blocks were removed, it bounds the device
            blocks that are looked at for the last slot in use.
        """
        for window in sorted(self._shrunk):
            self._set_used(window, self._last_used(window, devices))
        index, slots = self._layout.index, self._layout.slots
        empty = {at for at in self._changed if not self._chunks[at][0].any()}
        delete_many(self._store, [chunk_key(index.path, at) for at in sorted(empty)])
        changed = [(index, at, self._chunks[at]) for at in sorted(self._changed - empty)]
        write_chunks(self._store, [*changed, *((slots, at, c) for at, c in self._slots.items())])

    def _add(self, entry: IndexEntry, again: dict[_Partition, Any]) -> int:
        partition = (entry.window, entry.device_block)
        slot = next(again[partition]) if partition in again else self._free(*partition)
        self._entry(*partition, slot)[:] = entry.fields()
        self._changed.add(self._chunk_of(*partition, slot))
        self._set_used(entry.window, max(self._used(entry.window), slot + 1))
        return int(slot)

    def _free(self, window: int, block: int) -> int:
        first = self._full.get((window, block), 0)
        for level in range(first // self._depth, self._layout.index.shape[-1] // self._depth):
            chunk = self._chunk(self._chunk_of(window, block, level * self._depth))
            rows = chunk[0, window % self._windows, block % self._blocks]
            free = np.flatnonzero(rows == 0)
            if len(free):
                slot = level * self._depth + int(free[0])
                self._full[window, block] = slot
                return slot
        msg = (
            f"fleet {self._layout.name!r}: all {self._layout.index.shape[-1]} slots of window {window}, "
            f"device block {block} are taken by small blocks; nothing was stored. Merge them with "
            "fleet.compact(), archive.maintain() or a maintenance step, then append again"
        )
        raise StorageError(msg)

    def _last_used(self, window: int, devices: int) -> int:
        """Return the number of slots up to the last in use in any partition of a window."""
        row, levels = window // self._windows, self._levels(window)
        known = 2 + max(devices - 1, 0) // self._layout.scheme.devices_per_block
        columns = range(-(-known // self._blocks))
        places = [(0, row, column, level) for column, level in product(columns, range(levels))]
        missing = [at for at in places if at not in self._chunks]
        self._chunks.update(self._layout.index.load(self._store, missing))
        used = 0
        for at in places:
            rows = self._chunks[at][0, window % self._windows]
            slots = np.flatnonzero(rows.any(axis=0))
            if len(slots):
                used = max(used, at[3] * self._depth + int(slots[-1]) + 1)
        return used

    def _entry(self, window: int, block: int, slot: int) -> NDArray[Any]:
        chunk = self._chunk(self._chunk_of(window, block, slot))
        inner = (window % self._windows, block % self._blocks, slot % self._depth)
        entry: NDArray[Any] = chunk[(slice(None), *inner)]
        return entry

    def _chunk(self, at: _At) -> NDArray[Any]:
        if at not in self._chunks:
            self._chunks.update(self._layout.index.load(self._store, [at]))
        return self._chunks[at]

    def _used(self, window: int) -> int:
        size = self._layout.slots.chunk[0]
        return int(self._slots[(window // size,)][window % size])

    def _set_used(self, window: int, slots: int) -> None:
        size = self._layout.slots.chunk[0]
        self._slots[(window // size,)][window % size] = slots

    def _levels(self, window: int) -> int:
        return -(-self._used(window) // self._depth)

    def _chunk_of(self, window: int, block: int, slot: int) -> _At:
        return (0, window // self._windows, block // self._blocks, slot // self._depth)


def _partition(place: Sequence[int]) -> _Partition:
    return place[0], place[1]
