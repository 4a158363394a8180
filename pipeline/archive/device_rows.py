"""Decoding the rows of a few devices out of blocks that hold many.

Rows of a block lie by device, so those of a device are one range: the device column is decoded
first, which costs next to nothing, and of the other columns no more than the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_reader import FetchedBlocks
from pipeline.archive.chunk_io import in_threads
from pipeline.model.batches import Column, concatenated
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


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Rows of one block: where the block is, its device column, and ranges of its rows."""

    block: int
    codes: NDArray[Any]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def bounds(self) -> tuple[int, int]:
        return int(self.starts[0]), int(self.starts[-1] + self.lengths[-1])

    def take(self, column: Column) -> Column:
        """Return the rows of a column that was decoded within `bounds` only."""
        if len(self.starts) == 1:
            return column
        return column.take(ranges_of_rows(self.starts - self.starts[0], self.lengths))


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
    wanted = range(len(fetched.blocks))
    device = in_threads(lambda at: fetched.decode_column(0, at).values, wanted)
    found = [
        part
        for at, column in zip(wanted, device, strict=True)
        if len((part := _find(at, column, codes)).starts)
    ]
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(fetched.blocks.rows)])
    positions = [ranges_of_rows(part.starts + first[part.block], part.lengths) for part in found]
    return DeviceRows(
        np.concatenate([np.zeros(0, np.int64), *positions]), _decode_found(fetched, found)
    )


def _find(block: int, column: NDArray[Any], codes: NDArray[np.int64]) -> _Found:
    wanted = codes.astype(column.dtype)
    starts = np.searchsorted(column, wanted, "left")
    lengths = np.searchsorted(column, wanted, "right") - starts
    some = lengths > 0
    return _Found(block, column, starts[some], lengths[some])


def _decode_found(fetched: FetchedBlocks, found: Sequence[_Found]) -> list[Column]:
    others = range(1, len(fetched.columns))
    work = [(column, part) for column in others for part in found]
    decoded = in_threads(
        lambda item: item[1].take(fetched.decode_column(item[0], item[1].block, item[1].bounds)),
        work,
    )
    parts = [[part.take(Column(part.codes[slice(*part.bounds)])) for part in found]]
    parts += [decoded[at * len(found) : (at + 1) * len(found)] for at in range(len(others))]
    return [
        concatenated(pieces, dtype)
        for pieces, (_, dtype) in zip(parts, fetched.columns, strict=True)
    ]
