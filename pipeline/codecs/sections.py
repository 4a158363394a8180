"""Sections: what a payload says about single rows, beside the values' stream.

A *mask* marks some of a block's rows: the number of marked rows (LEB128), a kind (1 byte) and

====  ==================================================================================
kind  bytes
====  ==================================================================================
0     a buffer (`pipeline.codecs.buffers`) of one bit a row, the first row lowest
1     a nested stream (`pipeline.codecs.series`) of the marked rows, ascending
2     a nested stream of the rows that are not marked, ascending; absent if there are none
3     number of stretches (LEB128, at least 2) of rows that are not marked and rows that are,
      in turn, the first of which may be empty; nested streams of the rows of each stretch
      that is not marked, and of each that is
4     number of stretches (LEB128, 1 to 64), then the rows of each but the last (LEB128)
====  ==================================================================================

*Corrections* are a mask of rows, then a nested stream of one number a marked row, zigzagged:
what must be added, modulo 2**64, to the image of the value that the transform brought back.
They may be 0: where many rows are off by a unit in the last place, every row is marked.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.buffers import write_buffer
from pipeline.codecs.cursor import Cursor, varint
from pipeline.codecs.images import image
from pipeline.codecs.lists import read_lists
from pipeline.codecs.marks import (
    BITMAP,
    FEW_STRETCHES,
    MARKED,
    MOST_STRETCHES,
    STRETCHES,
    UNMARKED,
    Marks,
    read_marks,
)
from pipeline.codecs.series import read_part
from pipeline.codecs.series_encode import write_part
from pipeline.codecs.streams import lengths_of, write_nested

__all__ = ["apply_corrections", "write_corrections", "write_mask"]

_DENSE: Final = 4  # with fewer misfits than a quarter, listing them was always shorter
_SHORT: Final = 64
_FEW_TURNS: Final = 3  # or fewer: no list was shorter
_SMALL: Final = 256  # rows
_SPARSE: Final = 64


def write_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return `mask`, shape (rows,), as stretches, a list of its rarer rows, a series or bits."""
    marked = int(np.count_nonzero(mask))
    turns = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    rarer = min(marked, mask.size - marked)
    if turns.size <= _FEW_TURNS:
        return varint(marked) + _few_stretches(mask, turns)
    if mask.size <= _SMALL:
        ways = [_bitmap(mask)]
        ways += [_few_stretches(mask, turns)] if turns.size < MOST_STRETCHES - 1 else []
        ways += [_listed(mask, rarer, marked)] if 8 * rarer < mask.size else []
        return varint(marked) + min(ways, key=len)
    if 2 * turns.size < min(MOST_STRETCHES, marked + 4):
        return varint(marked) + _few_stretches(mask, turns)
    if rarer > _SHORT and _SPARSE * rarer > mask.size:
        starts = np.concatenate(([0, 0] if mask[0] else [0], turns))
        lengths = lengths_of(starts, mask.size)
        parts = b"".join(write_part(lengths[first::2].copy(), patterns=False) for first in range(2))
        return varint(marked) + bytes((STRETCHES,)) + varint(lengths.size) + parts
    return varint(marked) + _listed(mask, rarer, marked)


def _few_stretches(mask: NDArray[np.bool_], turns: NDArray[np.int64]) -> bytes:
    bounds = [0, *([0] if mask[0] else []), *turns.tolist()]
    rows = [varint(stop - start) for start, stop in pairwise(bounds)]
    return bytes((FEW_STRETCHES,)) + varint(len(bounds)) + b"".join(rows)


def _bitmap(mask: NDArray[np.bool_]) -> bytes:
    return bytes((BITMAP,)) + write_buffer(np.packbits(mask, bitorder="little"))


def _listed(mask: NDArray[np.bool_], rarer: int, marked: int) -> bytes:
    kind = MARKED if marked == rarer else UNMARKED
    listed = np.flatnonzero(mask if marked == rarer else ~mask)
    return bytes((kind,)) + (_write_list(listed, 1) if rarer else b"")


def write_corrections(
    values: NDArray[Any], restored: NDArray[Any], where: NDArray[np.int64], rows: int
) -> bytes:
    """Return the corrections that make `values` of `restored`.

    Parameters
    ----------
    values, restored : ndarray, shape (misfits,)
        What should come back, and what a transform brings back; they differ in some row.
    where : ndarray of int64, shape (misfits,)
        Their rows, ascending; in all others it brings back what it should.
    rows : int
        All rows there are.

    Notes
    -----
    Where many rows are off, one number for every row, most of them 0, is shorter than a mask.
    """
    steps = (image(values) - image(restored)).view(np.int64)
    folded = ((steps << 1) ^ (steps >> 63)).view(np.uint64)
    off = folded != 0
    mask = np.zeros(rows, np.bool_)
    if _DENSE * np.count_nonzero(off) > rows:
        dense = np.zeros(rows, np.uint64)
        dense[where] = folded
        return write_mask(~mask) + _write_list(dense, 0)
    mask[where] = off
    return write_mask(mask) + _write_list(folded[off], 0)


def _write_list(numbers: NDArray[Any], order: int) -> bytes:
    """Return a nested stream; what is short is not worth a choice, nor what takes long to read."""
    if numbers.size < _SHORT:
        return write_nested(numbers, order)
    return write_part(numbers, patterns=False)


def apply_corrections(
    cursor: Cursor, values: NDArray[Any], start: int = 0, rows: int | None = None
) -> None:
    """Read corrections and mend `values` in place.

    Parameters
    ----------
    cursor : Cursor
    values : ndarray
        Consecutive rows, the first of which is row `start`.
    start, rows : int
        `rows` are all that the corrections are for; by default as many as there are values.

    Raises
    ------
    CorruptBlockError
        As `read_marks`, or if there are none.
    """
    marks, folded = _read_corrections(cursor, values.size if rows is None else rows)
    before = marks.part(0, start).marked
    part = marks.part(start, start + values.size)
    if part.marked:
        bits = values.view(f"u{values.dtype.itemsize}")
        folded = folded[before : before + part.marked]
        kernel("block_rows", "mend")(bits, values.dtype.kind == "f", part.lengths, folded)
        if values.dtype.kind == "b":
            np.not_equal(bits, 0, out=values)


def _read_corrections(cursor: Cursor, rows: int) -> tuple[Marks, NDArray[np.uint64]]:
    """Return the rows that are off, and by how much."""
    lists = read_lists(cursor, rows, 1)
    if lists is not None:
        return Marks(rows, lists.each, lists.lengths), lists.numbers
    marks = read_marks(cursor, rows)
    return marks, read_part(cursor, marks.marked)
