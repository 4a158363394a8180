"""Cutting a read into units of bounded size whose rows can be put in order on their own.

A unit is a run of device blocks of one window, together with the part of the window's landing
blocks that holds the same devices. Rows of different units never share a device and time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_range
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.scheme import Partitioning

__all__ = ["ReadUnit", "joined_units", "read_units"]

_ROWS_PER_UNIT = 1 << 20
_ALL_CODES = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class ReadUnit:
    """Blocks to be read together.

    Parameters
    ----------
    blocks
        Blocks of one window: in the order of their rows if that is known, or else in the order in
        which they were written. Of several windows (`joined_units`), in the order of their rows.
    first_code, last_code
        Half-open range of device codes that belong to the unit; landing blocks hold others too.
    """

    blocks: BlockTable
    first_code: int
    last_code: int

    @property
    def window(self) -> int:
        """Window of the unit, the first one if there are several."""
        return int(self.blocks.window[0])

    @property
    def is_simple(self) -> bool:
        """Whether all rows belong to the unit, none twice, as the index proves."""
        blocks = self.blocks
        inside = (blocks.device_min >= self.first_code) & (blocks.device_max < self.last_code)
        return bool(inside.all()) and not _may_repeat(blocks)

    @property
    def is_ordered(self) -> bool:
        """Whether the rows are in order, none twice, if each block is read on its own."""
        return self.blocks.in_order

    def lies_within(self, selection: Selection) -> bool:
        """Whether all rows belong to the unit and are selected, as the index proves."""
        blocks = self.blocks
        return (
            selection.codes is None
            and not selection.conditions
            and selection.covers(int(blocks.time_min.min()), int(blocks.time_max.max()) + 1)
            and bool((blocks.device_min >= self.first_code).all())
            and bool((blocks.device_max < self.last_code).all())
        )

    def split(self, size: int) -> list[ReadUnit]:
        """Return units of at most `size` blocks each, in their order."""
        edges = range(0, len(self.blocks), size)
        return [
            ReadUnit(
                self.blocks.take(np.arange(at, min(at + size, len(self.blocks)))),
                self.first_code,
                self.last_code,
            )
            for at in edges
        ]


def read_units(blocks: BlockTable, scheme: Partitioning) -> Iterator[ReadUnit]:
    """Yield units in (window, device) order that cover `blocks`.

    Parameters
    ----------
    blocks
        In (window, device block, slot) order.
    scheme
        The fleet's partitioning.
    """
    edges = np.flatnonzero(np.diff(blocks.window)) + 1
    for members in np.split(np.arange(len(blocks)), edges):
        if len(members):
            yield from _of_window(blocks.take(members), scheme)


def joined_units(units: Iterable[ReadUnit], rows: int) -> Iterator[ReadUnit]:
    """Yield units of which neighbours are put together, where rows need not be merged.

    What is done for each unit then is done for many windows at once.

    Parameters
    ----------
    units
        In order.
    rows
        Rows of the blocks of several units at most.
    """
    held: list[ReadUnit] = []
    size = 0
    for unit in units:
        more = int(unit.blocks.rows.sum())
        whole = unit.is_ordered and (unit.first_code, unit.last_code) == (0, _ALL_CODES)
        if held and (size + more > rows or not whole):
            yield _one_of(held)
            held, size = [], 0
        if whole:
            held.append(unit)
            size += more
        else:
            yield unit
    if held:
        yield _one_of(held)


def _one_of(units: list[ReadUnit]) -> ReadUnit:
    if len(units) == 1:
        return units[0]
    return ReadUnit(BlockTable.concat([unit.blocks for unit in units]), 0, _ALL_CODES)


def _of_window(blocks: BlockTable, scheme: Partitioning) -> Iterator[ReadUnit]:
    if blocks.device_block[0] != LANDING_BLOCK and int(blocks.rows.sum()) <= _ROWS_PER_UNIT:
        # Nearly every window: nothing to be put together, or to be cut.
        yield _unit(blocks, 0, _ALL_CODES)
        return
    landing = blocks.take(blocks.device_block == LANDING_BLOCK)
    own = blocks.take(blocks.device_block != LANDING_BLOCK)
    numbers, rows = _rows_per_block(own)
    first = 0
    for group in _groups(numbers, rows):
        is_last = len(numbers) == 0 or group[-1] == numbers[-1]
        last = _ALL_CODES if is_last else device_range(int(group[-1]), scheme.devices_per_block)[1]
        chosen = own.take(np.isin(own.device_block, group))
        shared = landing.take((landing.device_max >= first) & (landing.device_min < last))
        joined = BlockTable.concat([chosen, shared])
        if len(joined):
            yield _unit(joined, first, last)
        first = last


def _unit(blocks: BlockTable, first: int, last: int) -> ReadUnit:
    if blocks.in_order:
        return ReadUnit(blocks, first, last)
    ordered = blocks.by_device()
    return ReadUnit(ordered if ordered.in_order else blocks.as_written(), first, last)


def _rows_per_block(own: BlockTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers, inverse = np.unique(own.device_block, return_inverse=True)
    return numbers, np.bincount(inverse, weights=own.rows).astype(np.int64)


def _groups(numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    if len(numbers) == 0:
        return [numbers]
    group = (np.cumsum(rows) - 1) // _ROWS_PER_UNIT
    return np.split(numbers, np.flatnonzero(np.diff(group)) + 1)


def _may_repeat(blocks: BlockTable) -> bool:
    """Tell whether two blocks of different commits overlap in both time and devices."""
    if len(blocks) < 2 or bool((blocks.sequence == blocks.sequence[0]).all()):
        return False
    order = np.argsort(blocks.time_min, kind="stable")
    sorted_blocks = blocks.take(order)
    reach = np.maximum.accumulate(sorted_blocks.time_max)
    if bool((sorted_blocks.time_min[1:] > reach[:-1]).all()):
        return False
    return _any_boxes_overlap(sorted_blocks)


def _any_boxes_overlap(blocks: BlockTable) -> bool:
    later = np.searchsorted(blocks.time_min, blocks.time_max, side="right")
    for at, stop in enumerate(later.tolist()):
        rivals = slice(at + 1, stop)
        overlap = (
            (blocks.device_min[rivals] <= blocks.device_max[at])
            & (blocks.device_max[rivals] >= blocks.device_min[at])
            & (blocks.sequence[rivals] != blocks.sequence[at])
        )
        if overlap.any():
            return True
    return False
