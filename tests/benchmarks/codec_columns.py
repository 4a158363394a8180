"""Columns of sensor data, and the blocks they are cut into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.outcome import WrongResultError

__all__ = ["REAL", "SYNTHETIC", "Block", "Column", "check_same", "spread"]

REAL: Final = "real"
SYNTHETIC: Final = "synthetic"


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a column.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Any of the dtypes that the codec stores.
    valid : ndarray of bool, shape (rows,), or None
        False where a row has no value; None when every row has one.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None

    @property
    def present(self) -> NDArray[Any]:
        """Only the values that are there."""
        return self.values if self.valid is None else self.values[self.valid]


@dataclass(frozen=True, slots=True)
class Column:
    """All rows of one column.

    Parameters
    ----------
    name
        Unique in its group.
    group
        `REAL` or `SYNTHETIC`.
    values, valid
        As of a `Block`.
    """

    name: str
    group: str
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None

    def blocks(self, rows: int, most: int | None = None) -> list[Block]:
        """Cut the column into blocks.

        Parameters
        ----------
        rows
            Of each block; the last one may have fewer.
        most
            Return only so many of them, spread over the column, the first one included.
        """
        starts = list(range(0, len(self.values), rows))
        return [self._block(start, rows) for start in spread(starts, most)]

    def _block(self, start: int, rows: int) -> Block:
        # Copies, so that blocks that are kept do not keep the whole column.
        values = self.values[start : start + rows].copy()
        valid = None if self.valid is None else self.valid[start : start + rows]
        return Block(values, None if valid is None or valid.all() else valid.copy())


def spread[T](items: list[T], most: int | None) -> list[T]:
    """Return at most `most` of the items, evenly spread, the first one included."""
    if most is None or len(items) <= most:
        return items
    return [items[at * len(items) // most] for at in range(most)]


def check_same(side: str, column: str, block: Block, found: Block) -> None:
    """Check that a block came back with the same bits and the same rows missing.

    Raises
    ------
    WrongResultError
        If it did not.
    """
    problem = next(_differences(block, found), None)
    if problem is not None:
        msg = f"{side} changed column {column}: {problem}; its sizes and times mean nothing"
        raise WrongResultError(msg)


def _differences(block: Block, found: Block) -> Iterator[str]:
    if (found.values.dtype, found.values.shape) != (block.values.dtype, block.values.shape):
        yield f"{found.values.shape} of {found.values.dtype} came back, not {block.values.shape}"
        return
    everything = np.ones(len(block.values), np.bool_)
    expected = everything if block.valid is None else block.valid
    if not np.array_equal(expected, everything if found.valid is None else found.valid):
        yield "other rows are missing"
    wrong = (_bits(block.values) != _bits(found.values)) & expected
    if wrong.any():
        yield f"{wrong.sum():,} values differ, the first at row {int(wrong.argmax())}"


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(f"u{values.itemsize}")
