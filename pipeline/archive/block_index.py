"""The block index: what is known of every block without reading it.

The index is one dense table ``[field, window, device_block, slot]``. An entry with 0 rows is a
free slot; blocks that were replaced or deleted leave some between those in use. A second, small
table holds for every window the number of slots up to the last one in use in any partition: it
tells which chunks of the index exist, so that reading the index costs what is asked for and not
what is pre-sized. It is -1 where the rows were dropped and their statistics are kept. `pipeline.archive.index_writer` changes the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.layout import INDEX_FIELDS, FleetLayout
from pipeline.partitioning.pruning import Pruned, Selection, pruned_by
from pipeline.partitioning.scheme import Partitioning

__all__ = [
    "SUMMARIES_ONLY",
    "BlockTable",
    "IndexEntry",
    "read_index",
    "thinned_windows",
    "used_windows",
]

SUMMARIES_ONLY: Final = -1
"""Slot count of a window whose rows were dropped, while its statistics are kept."""

_PLACES: Final = {name: at for at, name in enumerate(INDEX_FIELDS)}


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
        if name not in _PLACES:
            raise AttributeError(name)
        values: NDArray[np.int64] = self.fields[_PLACES[name]]
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

    @classmethod
    def concat(cls, parts: Sequence[BlockTable]) -> BlockTable:
        """Return the blocks of all `parts`, at least one, one after the other."""
        return cls(
            np.concatenate([part.places for part in parts]),
            np.concatenate([part.fields for part in parts], axis=1),
        )

    @property
    def in_order(self) -> bool:
        """Whether blocks read on their own, in this order, give rows as they are wanted, none twice.

        That is window by window, and in a window by device and time.

        Blocks of one commit are cut from rows in order, so a device may go on from one to the
        next of these; it also may if the next begins after all that was before.
        """
        apart = self.device_max[:-1] < self.device_min[1:]
        goes_on = self.device_max[:-1] == self.device_min[1:]
        later = self.time_max[:-1] < self.time_min[1:]
        cut = (self.sequence[:-1] == self.sequence[1:]) | later
        follows = apart | goes_on & cut
        if len(self) and self.places[0, 0] != self.places[-1, 0]:
            step = np.diff(self.window)
            follows = (step > 0) | (step == 0) & follows
        return bool(follows.all())

    def by_device(self) -> BlockTable:
        """Return the blocks by their devices, those of one device by time."""
        keys = (self.places[:, 2], self.time_min, self.device_max, self.device_min)
        return self.take(np.lexsort(keys))

    def as_written(self) -> BlockTable:
        """Return the blocks in the order in which they were written.

        Of rows with equal device and time, the last in this order is the newest.
        """
        return self.take(np.lexsort((self.places[:, 2], self.places[:, 1], self.sequence)))

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
    """Return the numbers of the selected windows that hold blocks or statistics, ascending."""
    return sorted(_used_slots(store, layout, selection.windows(layout.scheme)))


def thinned_windows(store: Store, layout: FleetLayout, selection: Selection) -> list[int]:
    """Return the numbers of the selected windows that hold statistics only, ascending."""
    used = _used_slots(store, layout, selection.windows(layout.scheme))
    return sorted(window for window, slots in used.items() if slots == SUMMARIES_ONLY)


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
