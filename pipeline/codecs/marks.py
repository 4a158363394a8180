"""Rows of a block that are marked, as stretches: how masks (`pipeline.codecs.sections`) are read."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.buffers import read_buffer
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.lists import read_lists
from pipeline.codecs.packed import NO_NUMBERS
from pipeline.codecs.series import read_part
from pipeline.errors import CorruptBlockError

__all__ = [
    "BITMAP",
    "FEW_STRETCHES",
    "MARKED",
    "MOST_STRETCHES",
    "STRETCHES",
    "UNMARKED",
    "Marks",
    "read_marks",
]

BITMAP, MARKED, UNMARKED, STRETCHES, FEW_STRETCHES = range(5)
"""Kinds of masks."""

MOST_STRETCHES: Final = 64
"""Most stretches of a mask of the kind `FEW_STRETCHES`."""

_NOT_TOLD: Final = np.empty(0, np.bool_)


class Marks(NamedTuple):
    """Which of so many rows are marked.

    Attributes
    ----------
    rows, marked : int
        Rows there are; those that are marked.
    lengths : ndarray of int64
        Rows of stretches that are not marked and that are, in turn; some may be empty.
    """

    rows: int
    marked: int
    lengths: NDArray[np.int64]

    def part(self, start: int, stop: int) -> Marks:
        """Return the marks of rows ``[start, stop)``."""
        if start == 0 and stop == self.rows:
            return self
        if start == stop:
            return Marks(0, 0, self.lengths[:0])
        ends = np.clip(np.cumsum(self.lengths), start, stop)
        lengths = np.diff(ends, prepend=start)
        return Marks(stop - start, int(lengths[1::2].sum()), lengths)

    def expand(
        self, values: NDArray[Any], fill: np.uint64, valid: NDArray[np.bool_] = _NOT_TOLD
    ) -> NDArray[Any]:
        """Return `values` for the rows that are not marked, and `fill` for the others.

        Parameters
        ----------
        values : ndarray, shape (rows - marked,)
        fill : uint64
            Bits of a value.
        valid : ndarray of bool, shape (rows,), optional
            Receives which rows are not marked.
        """
        bits = f"u{values.dtype.itemsize}"
        wide = np.empty(self.rows, bits)
        kernel("block_rows", "expand")(values.view(bits), self.lengths, fill, wide, valid)
        return wide.view(values.dtype)

    def overwrite(
        self, values: NDArray[Any], fill: np.uint64, valid: NDArray[np.bool_] = _NOT_TOLD
    ) -> None:
        """Write `fill` to the rows that are marked; False to `valid`, shape (rows,), if given."""
        bits = f"u{values.dtype.itemsize}"
        kernel("block_rows", "overwrite")(self.lengths, fill, values.view(bits), valid)


def read_marks(cursor: Cursor, rows: int) -> Marks:
    """Read the mask of a block of `rows` rows.

    Raises
    ------
    CorruptBlockError
        If it marks rows that do not exist, or another number of rows than it says.
    """
    lists = read_lists(cursor, rows, 0)
    if lists is not None:
        return Marks(rows, lists.each, lists.lengths)
    count, kind = cursor.varint(rows), cursor.byte()
    if kind == BITMAP:
        lengths = _read_bitmap(cursor, rows)
    elif kind == MARKED:
        lengths = _read_rows(cursor, count, rows)
    elif kind == UNMARKED:
        lengths = _read_rows(cursor, rows - count, rows, 1)
    elif kind == STRETCHES:
        lengths, marked = _read_stretches(cursor, rows)
    elif kind == FEW_STRETCHES:
        lengths = _read_few_stretches(cursor, rows)
    else:
        raise CorruptBlockError(f"has a mask of kind {kind}")
    if kind != STRETCHES:
        marked = int(lengths[1::2].sum())
    if marked != count:
        raise CorruptBlockError(f"marks {marked} rows where it says {count}")
    return Marks(rows, count, lengths)


def _read_bitmap(cursor: Cursor, rows: int) -> NDArray[np.int64]:
    bitmap = read_buffer(cursor, -(-rows // 8))
    bits = np.unpackbits(bitmap, count=rows, bitorder="little")
    turns = np.flatnonzero(np.diff(bits, prepend=0))
    return np.diff(turns, prepend=0, append=rows)


def _read_rows(cursor: Cursor, count: int, rows: int, empty: int = 0) -> NDArray[np.int64]:
    """Return the rows of stretches around single listed rows, behind so many empty ones."""
    lengths = np.zeros(empty + 2 * count + 1, np.int64)
    listed = read_part(cursor, count) if count else NO_NUMBERS
    if not kernel("block_rows", "surround")(listed, np.uint64(rows), lengths[empty:]):
        raise CorruptBlockError(f"marks rows out of order, or beyond the {rows} there are")
    return lengths


def _read_stretches(cursor: Cursor, rows: int) -> tuple[NDArray[np.int64], int]:
    """Return the rows of stretches, and of those that are marked."""
    count = cursor.varint(rows + 1)
    if count < 2:
        raise CorruptBlockError(f"has a mask of {count} stretches")
    others, marked = read_part(cursor, count - count // 2), read_part(cursor, count // 2)
    lengths = np.empty(count, np.int64)
    total = kernel("block_rows", "interleave")(others, marked, np.uint64(rows), lengths)
    if total < 0:
        raise CorruptBlockError(f"has a mask of {count} stretches that are not {rows} rows")
    return lengths, int(total)


def _read_few_stretches(cursor: Cursor, rows: int) -> NDArray[np.int64]:
    count = cursor.varint(MOST_STRETCHES)
    lengths = [cursor.varint(rows) for _ in range(count - 1)]
    if count == 0 or sum(lengths) > rows:
        raise CorruptBlockError(f"has a mask of {count} stretches that are not {rows} rows")
    return np.array([*lengths, rows - sum(lengths)], np.int64)
