"""Many blocks of a column decoded together, or some rows of each.

Blocks of the usual kinds are decoded in two calls for all of them, which hold the interpreter's lock
for a few microseconds a block; others one by one. What comes back, and what is refused, is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.block import DecodedBlock, decode_block
from pipeline.codecs.header import DTYPE_CODES, MAX_ROWS
from pipeline.codecs.header_flags import CONSTANT, POSSIBLE, REAL
from pipeline.codecs.lanes import SIZES
from pipeline.codecs.pointwise import division
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value

__all__ = ["decode_blocks"]

_FIELDS: Final = 24
_FLAGS, _ROWS, _MISSING_ROWS, _END, _MISSING, _ABSENT, _CHECKSUM = 1, 2, 3, 8, 12, 18, 22
_HEADER_CHECKSUM: Final = 4
_UNSIGNED, _SIGNED, _FLOAT = range(3)
_KINDS: Final = {"u": _UNSIGNED, "i": _SIGNED, "f": _FLOAT}
_SINGLE: Final = np.dtype(np.float32)


def decode_blocks(
    blocks: Sequence[NDArray[np.uint8]],
    rows: NDArray[np.int64],
    dtype: np.dtype[Any],
    where: Sequence[str],
    ranges: NDArray[np.int64] | None = None,
    *,
    marked: bool = True,
    passing: bool = False,
) -> DecodedBlock:
    """Decode blocks of one column.

    Parameters
    ----------
    blocks : sequence of ndarray of uint8
        The blocks; nothing in them is trusted.
    rows : ndarray of int64, shape (blocks,)
        How many rows each has to have.
    dtype : numpy.dtype
        What they have to hold.
    where : sequence of str
        Names of the chunks for error messages.
    ranges : ndarray of int64, shape (2, blocks), optional
        The first row that is wanted of each block, and the one behind the last; all by default.
    marked : bool, optional
        Whether it has to be told which rows have no value. Floats are NaN there anyway.
    passing : bool, optional
        Whether the rows are soon given up: they lie in memory that is used again (new memory costs
        as much time as decoding half of the rows).

    Returns
    -------
    DecodedBlock
        The rows wanted, block after block.

    Raises
    ------
    CorruptBlockError
        If a block is damaged, or has other rows.
    """
    first, last = (np.zeros_like(rows), rows) if ranges is None else ranges
    starts = np.cumsum(last - first) - (last - first)
    total = int((last - first).sum())
    values = (scratch.empty if passing else np.empty)(total, dtype)
    good, told, data, ends = _open(blocks, rows, dtype)
    gaps = (told[:, _MISSING] > 0) | (told[:, _ABSENT] > 0)
    if dtype.kind == "f" and not marked:
        valid = None
    else:
        valid = np.ones(total, np.bool_) if (gaps & good).any() else None
        good &= ~gaps if valid is None else True
    if good.any():
        width = -4 if dtype == _SINGLE else dtype.itemsize
        kernel("blocks_decode", "decode_frames")(
            data, ends, told, np.stack([first, last, starts]), SIZES,
            (width, _KINDS[dtype.kind], valid is not None), _decimals(), _fill_bits(dtype),
            values.view(np.uint8), _NONE if valid is None else valid, good,
        )  # fmt: skip
    for at in np.flatnonzero(~good).tolist():
        start, stop = int(first[at]), int(last[at])
        one = _decode_one(blocks[at], int(rows[at]), dtype, where[at], (start, stop))
        here = slice(int(starts[at]), int(starts[at]) + stop - start)
        values[here] = one.values
        if one.valid is not None and valid is None and (marked or dtype.kind != "f"):
            valid = np.ones(total, np.bool_)
        if valid is not None:
            valid[here] = True if one.valid is None else one.valid
    return DecodedBlock(values, valid)


@cache
def _fill_bits(dtype: np.dtype[Any]) -> np.uint64:
    return np.uint64(np.full(1, fill_value(dtype), dtype).view(f"u{dtype.itemsize}")[0])


_NONE: Final = np.empty(0, np.bool_)


def _open(
    blocks: Sequence[NDArray[np.uint8]], rows: NDArray[np.int64], dtype: np.dtype[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Return which blocks are of the usual kind, what their frames tell, all bytes, and their ends."""
    told = np.zeros((len(blocks), _FIELDS), np.int64)
    good = np.zeros(len(blocks), np.bool_)
    if dtype.kind not in _KINDS or not len(blocks):
        return good, told, np.empty(0, np.uint8), np.zeros(len(blocks), np.int64)
    data = np.concatenate(blocks) if len(blocks) > 1 else np.ascontiguousarray(blocks[0])
    ends = np.cumsum([block.size for block in blocks])
    kernel("blocks_decode", "open_frames")(data, ends, told, good)
    flags = told[:, _FLAGS]
    good &= (told[:, 0] == DTYPE_CODES[dtype]) & _usual(dtype.kind == "f")[flags]
    good &= (told[:, _ROWS] == rows) & (rows > 0) & (rows <= MAX_ROWS)
    good &= told[:, _MISSING_ROWS] <= rows
    sizes = np.diff(ends, prepend=0)
    begins = ends - sizes + told[:, _END] + _HEADER_CHECKSUM
    for at in np.flatnonzero(good).tolist():
        good[at] = google_crc32c.value(data[begins[at] : ends[at]]) == told[at, _CHECKSUM]
    return good, told, data, ends


@cache
def _usual(floats: bool) -> NDArray[np.bool_]:
    """Return which flags a block with a payload may have."""
    known = np.zeros(1 << 16, np.bool_)
    known[[flags for flags in (REAL if floats else POSSIBLE) if not flags & CONSTANT]] = True
    return known


@cache
def _decimals() -> NDArray[np.float64]:
    """Return powers of ten, their inverses and what these lack, shape (3, 23)."""
    found = [division(float(10**exponent), False) for exponent in range(23)]
    return np.array([[one.power, one.inverse, one.rest] for one in found]).T.copy()


def _decode_one(
    block: NDArray[np.uint8],
    rows: int,
    dtype: np.dtype[Any],
    where: str,
    wanted: tuple[int, int],
) -> DecodedBlock:
    start, stop = wanted
    found = decode_block(block, where=where, rows=wanted)
    if len(found.values) != stop - start or found.values.dtype != dtype:
        named = f"{rows}" if wanted == (0, rows) else f"the rows {start} to {stop}"
        msg = (
            f"{where}: holds {len(found.values)} rows of {found.values.dtype}, "
            f"the index says {named} of {dtype}"
        )
        raise CorruptBlockError(msg)
    return found
