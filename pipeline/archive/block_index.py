"""The block index: what is known of every block without reading it.

The index is one dense table ``[field, window, device_block, slot]``. Slots of a partition are
filled in order, so the number of used slots is where the next block goes. A second, small table
holds the largest slot count of every window: it tells which chunks of the index exist, so that
reading the index costs what is asked for and not what is pre-sized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.layout import INDEX_FIELDS, FleetLayout
from pipeline.archive.tables import write_chunks
from pipeline.errors import StorageError
from pipeline.partitioning.pruning import Pruned, Selection, pruned_by
from pipeline.partitioning.scheme import Partitioning

__all__ = ["BlockTable", "IndexEntry", "add_blocks", "read_index", "used_windows"]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the index keeps of one block, and where the block is."""

    window: int
    device_block: int
    rows: int
    time_min: int
    time_max: int
    device_min: int
    device_max: int
    schema_version: int
    sequence: int
    level: int
    bytes: int

    def fields(self) -> list[int]:
        """Return the values in the order of `INDEX_FIELDS`."""
        return [getattr(self, name) for name in INDEX_FIELDS]


@dataclass(frozen=True, slots=True, eq=False)
class BlockTable:
    """Index entries in columns, in (window, device block, slot) order.

    Parameters
    ----------
    places
        ``int64``, shape (blocks, 3): window, device block and slot.
    fields
        ``int64``, shape (len(INDEX_FIELDS), blocks).
    """

    places: NDArray[np.int64]
    fields: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def __getattr__(self, name: str) -> NDArray[np.int64]:
        if name not in INDEX_FIELDS:
            raise AttributeError(name)
        values: NDArray[np.int64] = self.fields[INDEX_FIELDS.index(name)]
        return values

    @property
    def window(self) -> NDArray[np.int64]:
        """Window of each block."""
        return self.places[:, 0]

    @property
    def device_block(self) -> NDArray[np.int64]:
        """Device block of each block; 0 is landing."""
        return self.places[:, 1]

    def take(self, chosen: NDArray[Any]) -> BlockTable:
        """Return the blocks at `chosen` (indices or a bool mask)."""
        return BlockTable(self.places[chosen], self.fields[:, chosen])

    def pruned_by(self, selection: Selection, scheme: Partitioning) -> NDArray[np.int8]:
        """Return what rules each block out of a request: `pipeline.partitioning.pruning.Pruned`."""
        bounds = (self.time_min, self.time_max, self.device_min, self.device_max)
        return pruned_by(selection, scheme, self.window, self.device_block, bounds)


def read_index(
    store: Store, layout: FleetLayout, selection: Selection, positions: int
) -> BlockTable:
    """Return the blocks that may hold selected rows.

    Parameters
    ----------
    store
        A snapshot's or a transaction's store.
    layout
        The fleet's layout.
    selection
        Times and devices asked for.
    positions
        One more than the largest device code; bounds the device blocks that can exist.
    """
    windows = selection.windows(layout.scheme)
    used = _used_slots(store, layout, windows)
    wanted = selection.device_blocks(layout.scheme)
    every = np.arange(2 + max(positions - 1, 0) // layout.scheme.devices_per_block)
    reachable = every if wanted is None else wanted
    chunks = layout.index.read(store, _chunks_of(layout, used, reachable))
    blocks = _entries(layout, chunks)
    return blocks.take(blocks.pruned_by(selection, layout.scheme) == Pruned.NOT)


def used_windows(store: Store, layout: FleetLayout, selection: Selection) -> list[int]:
    """Return the numbers of the selected windows that hold blocks, ascending."""
    return sorted(_used_slots(store, layout, selection.windows(layout.scheme)))


def add_blocks(store: Store, layout: FleetLayout, entries: Sequence[IndexEntry]) -> list[int]:
    """Give each block the next free slot of its partition and write the index.

    Returns
    -------
    list of int
        The slots, in the order of `entries`.

    Raises
    ------
    StorageError
        If a partition has no free slot.
    """
    if not entries:
        return []
    windows = np.unique([entry.window for entry in entries])
    slots_chunks = layout.slots.load(store, _unique_chunks(windows // layout.slots.chunk[0]))
    chunks = _Chunks(store, layout, slots_chunks, entries)
    slots = [chunks.add(entry) for entry in entries]
    chunks.save()
    return slots


class _Chunks:
    """The index chunks that one transaction changes."""

    def __init__(
        self,
        store: Store,
        layout: FleetLayout,
        slots: dict[tuple[int, ...], NDArray[Any]],
        entries: Sequence[IndexEntry],
    ) -> None:
        self._store = store
        self._layout = layout
        self._slots = slots
        _, self._windows, self._blocks, self._depth = layout.index.chunk
        self._chunks = layout.index.load(store, list(dict.fromkeys(self._existing(entries))))
        self._next: dict[tuple[int, int], int] = {}
        self._changed: set[tuple[int, ...]] = set()

    def add(self, entry: IndexEntry) -> int:
        place = (entry.window, entry.device_block)
        slot = self._next[place] if place in self._next else self._used(*place)
        if slot >= self._layout.index.shape[-1]:
            msg = f"window {entry.window}, device block {entry.device_block}: no free slot; compact the fleet"
            raise StorageError(msg)
        at = self._chunk_of(*place, slot)
        chunk = self._chunk(at)
        inner = (
            entry.window % self._windows,
            entry.device_block % self._blocks,
            slot % self._depth,
        )
        chunk[(slice(None), *inner)] = entry.fields()
        self._changed.add(at)
        self._next[place] = slot + 1
        size = self._layout.slots.chunk[0]
        counts = self._slots[(entry.window // size,)]
        counts[entry.window % size] = max(int(counts[entry.window % size]), slot + 1)
        return slot

    def save(self) -> None:
        index, slots = self._layout.index, self._layout.slots
        changed = [(index, at, self._chunks[at]) for at in self._changed]
        write_chunks(self._store, [*changed, *((slots, at, c) for at, c in self._slots.items())])

    def _used(self, window: int, block: int) -> int:
        used = 0
        for depth in range(self._window_depth(window)):
            chunk = self._chunk(self._chunk_of(window, block, depth * self._depth))
            rows = chunk[0, window % self._windows, block % self._blocks]
            used += int(np.count_nonzero(rows))
        return used

    def _chunk(self, at: tuple[int, ...]) -> NDArray[Any]:
        if at not in self._chunks:
            self._chunks.update(self._layout.index.load(self._store, [at]))
        return self._chunks[at]

    def _window_depth(self, window: int) -> int:
        size = self._layout.slots.chunk[0]
        return -(-int(self._slots[(window // size,)][window % size]) // self._depth)

    def _existing(self, entries: Sequence[IndexEntry]) -> Iterable[tuple[int, ...]]:
        for entry in entries:
            # A chunk spans several windows and device blocks, so it may exist although this
            # partition has no slot in use yet.
            for depth in range(self._window_depth(entry.window) + 1):
                yield self._chunk_of(entry.window, entry.device_block, depth * self._depth)

    def _chunk_of(self, window: int, block: int, slot: int) -> tuple[int, ...]:
        return (0, window // self._windows, block // self._blocks, slot // self._depth)


def _unique_chunks(numbers: NDArray[np.int64]) -> list[tuple[int, ...]]:
    return [(int(number),) for number in np.unique(numbers)]


def _used_slots(store: Store, layout: FleetLayout, windows: range) -> dict[int, int]:
    size = layout.slots.chunk[0]
    if not windows:
        return {}
    chunks = layout.slots.read(
        store, [(at,) for at in range(windows.start // size, (windows.stop - 1) // size + 1)]
    )
    used: dict[int, int] = {}
    for (at,), counts in chunks.items():
        for offset in np.flatnonzero(counts).tolist():
            used[at * size + offset] = int(counts[offset])
    return {window: count for window, count in used.items() if window in windows}


def _chunks_of(
    layout: FleetLayout, used: dict[int, int], wanted: NDArray[np.int64]
) -> list[tuple[int, ...]]:
    _, windows, blocks, depth = layout.index.chunk
    deepest: dict[int, int] = {}
    for window, slots in used.items():
        deepest[window // windows] = max(deepest.get(window // windows, 0), -(-slots // depth))
    columns = sorted({0, *(wanted // blocks).tolist()})
    return [
        (0, row, column, level)
        for row, levels in deepest.items()
        for column, level in product(columns, range(levels))
    ]


def _entries(layout: FleetLayout, chunks: dict[tuple[int, ...], NDArray[Any]]) -> BlockTable:
    _, windows, blocks, depth = layout.index.chunk
    places, fields = [], []
    for (_, row, column, level), chunk in chunks.items():
        inner = np.argwhere(chunk[0] > 0)
        places.append(inner + np.array([row * windows, column * blocks, level * depth]))
        fields.append(chunk[:, *inner.T])
    if not places:
        empty = np.zeros((0, 3), np.int64)
        return BlockTable(empty, np.zeros((len(INDEX_FIELDS), 0), np.int64))
    table = BlockTable(np.concatenate(places), np.concatenate(fields, axis=1))
    return table.take(np.lexsort(table.places.T[::-1]))
