"""Decoding the rows of a few devices out of blocks that hold many.

Rows of a block lie by device, so those of a device are one range: the device column is decoded
first, which costs next to nothing, and of the other columns no more than the range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.model.batches import Column
from pipeline.partitioning.ordering import ranges_of_rows

__all__ = ["DeviceRows", "decode_devices"]


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRows:
    """Rows of chosen devices, block after block.

    Parameters
    ----------
    positions
        ``int64``, shape (rows,): where they are among the rows of all blocks, ascending.
    columns
        The columns that were fetched.
    """

    positions: NDArray[np.int64]
    columns: list[Column]


def decode_devices(fetched: FetchedBlocks, codes: NDArray[np.int64]) -> DeviceRows:
    """Decode the rows of some devices.

    Parameters
    ----------
    fetched
        Blocks whose first column is the device code.
    codes
        Sorted, distinct ``int64`` device codes.

    Raises
    ------
    CorruptBlockError
        If a block is damaged, or not the one that the index describes.
    """
    rows = fetched.blocks.rows
    device = fetched.decode_ranges(0).values
    stops = np.cumsum(rows)
    ranges = np.zeros((2, len(rows)), np.int64)
    found = [
        _find(device[stop - size : stop], codes) for size, stop in zip(rows, stops, strict=True)
    ]
    for at, (starts, lengths) in enumerate(found):
        if len(starts):
            ranges[:, at] = starts[0], starts[-1] + lengths[-1]
    some = [
        ranges_of_rows(starts + stop - size, lengths)
        for (starts, lengths), size, stop in zip(found, rows, stops, strict=True)
    ]
    positions = np.concatenate([np.zeros(0, np.int64), *some])
    sizes = ranges[1] - ranges[0]
    moved = np.cumsum(sizes) - sizes - ranges[0] - (stops - rows)
    taken = None
    if len(positions) < sizes.sum():
        taken = positions + np.repeat(moved, [len(part) for part in some])

    def decode(column: int) -> Column:
        whole = fetched.decode_ranges(column, ranges)
        return whole if taken is None else whole.take(taken)

    others = fetched.each(decode, range(1, len(fetched.columns)))
    return DeviceRows(positions, [Column(device[positions]), *others])


def _find(
    column: NDArray[Any], codes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the rows of devices begin, and how many there are, of those that have some."""
    wanted = codes.astype(column.dtype)
    starts = np.searchsorted(column, wanted, "left")
    lengths = np.searchsorted(column, wanted, "right") - starts
    some = lengths > 0
    return starts[some], lengths[some]
