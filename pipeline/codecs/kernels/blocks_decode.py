"""The loops that decode many blocks of a column, or some rows of each, in two calls.

What Python does for a block takes as long as decoding ten thousand rows, and holds the interpreter's
lock. Blocks with anything unusual about them are left to be decoded one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part, wide_loop
from pipeline.codecs.kernels.blocks_rows import count_kept, expand_rows, mark_rows
from pipeline.codecs.kernels.blocks_stream import read_stream
from pipeline.codecs.kernels.frame_open import open_frame
from pipeline.codecs.kernels.lists_parts import read_mask

__all__ = ["decode_frames", "open_frames"]

_LISTED = 4096
_REPEATED, _CORRECTIONS, _DROPPED = 15, 17, 21
"""Where ends of sections stand that are not read here, see `open_frame`."""
_MISSING, _ABSENT = 12, 18
"""Where masks begin."""


@loop
def open_frames(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    told: NDArray[np.int64],
    good: NDArray[np.bool_],
) -> None:
    """Read what decoding needs of the frames of blocks.

    Parameters
    ----------
    data
        The blocks, one behind the other.
    ends
        Shape (blocks,): where each ends.
    told
        Shape (blocks, 24), written: see `pipeline.codecs.kernels.frame_open.open_frame`.
    good
        Shape (blocks,), written: False where there is anything odd about one.
    """
    begin = np.int64(0)
    for block in range(ends.size):
        end = ends[block]
        good[block] = open_frame(data[begin:end], told[block])
        begin = end


@wide_loop
def decode_frames(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    told: NDArray[np.int64],
    ranges: NDArray[np.int64],
    sizes: tuple[int, int, int, int],
    kind: tuple[int, int, bool],
    decimals: NDArray[np.float64],
    fill: np.uint64,
    out: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    good: NDArray[np.bool_],
) -> None:
    """Decode rows of blocks.

    Parameters
    ----------
    data, ends, told
        As for `open_frames`; checksums are right.
    ranges
        Shape (3, blocks): the first row wanted of each block, the one behind the last, and where
        these rows begin in `out` and `valid`.
    sizes
        See `pipeline.codecs.kernels.bins_whole.decode_whole`.
    kind
        Bytes of a value, negative for float32; 0 for unsigned, 1 for signed whole numbers, 2 for
        floats; whether `valid` is there to be written.
    decimals
        Shape (3, powers): for each power of ten itself, its inverse, and what that lacks (see
        `pipeline.codecs.pointwise.division`).
    fill
        Bits of a row without a value.
    out
        Receives the values.
    valid
        Receives False for rows without a value, if it is there; all of it is True.
    good
        Only blocks that are True are decoded; receives False where there is anything odd.
    """
    width = np.int64(abs(kind[0]))
    place = np.zeros(2, np.int64)
    lengths = np.empty(2 * _LISTED + 2, np.int64)
    numbers = np.empty(2 * _LISTED, np.uint64)
    begin = np.int64(0)
    for block in range(ends.size):
        end = ends[block]
        first, last, to = ranges[0, block], ranges[1, block], ranges[2, block]
        if good[block] and last > first:
            region = out[to * width : (to + last - first) * width]
            there = valid[to : to + last - first] if kind[2] else valid
            good[block] = _decode(
                data[begin:end], told[block], first, last, sizes, kind, decimals, fill, place,
                lengths, numbers, region, there,
            )  # fmt: skip
        begin = end


@part
def _decode(
    data: NDArray[np.uint8],
    told: NDArray[np.int64],
    first: int,
    last: int,
    sizes: tuple[int, int, int, int],
    kind: tuple[int, int, bool],
    decimals: NDArray[np.float64],
    fill: np.uint64,
    place: NDArray[np.int64],
    lengths: NDArray[np.int64],
    numbers: NDArray[np.uint64],
    out: NDArray[np.uint8],
    valid: NDArray[np.bool_],
) -> bool:
    """Decode rows of a block; False if there is anything odd about it."""
    if told[_REPEATED] or told[_CORRECTIONS] or told[_DROPPED]:
        return False
    rows = told[2]
    missing, absent = told[_MISSING] > 0, told[_ABSENT] > 0
    if not (missing or absent):
        return read_stream(
            data, told, rows, first, last, sizes, kind, decimals, place, numbers, out
        )
    if missing and absent:
        return False
    at = _ABSENT if absent else _MISSING
    mask = data[told[at] : told[at + 1]]
    place[0] = place[1] = 0
    nothing = lengths[:1]
    count = np.int64(read_mask(mask, place, sizes, nothing, rows, lengths, numbers))
    if count < 0 or place[0] != mask.size:
        return False
    if missing:
        if not read_stream(
            data, told, rows, first, last, sizes, kind, decimals, place, numbers, out
        ):
            return False
        _mark(kind[0], lengths, count, fill, first, last, out, valid)
        return True
    there = np.int64(count_kept(lengths, count, rows))
    begin = np.int64(count_kept(lengths, count, first))
    end = np.int64(count_kept(lengths, count, last))
    some = np.empty((end - begin) * np.int64(abs(kind[0])), np.uint8)
    if there and not read_stream(
        data, told, there, begin, end, sizes, kind, decimals, place, numbers, some
    ):
        return False
    _expand(kind[0], some, lengths, count, fill, first, last, out, valid)
    return True


@part
def _mark(
    width: int,
    lengths: NDArray[np.int64],
    count: int,
    fill: np.uint64,
    first: int,
    last: int,
    out: NDArray[np.uint8],
    valid: NDArray[np.bool_],
) -> None:
    """Write `fill` to rows that are marked, as wide as they are."""
    if width == 8:
        mark_rows(lengths, count, fill, first, last, out.view(np.uint64), valid)
    elif abs(width) == 4:
        mark_rows(lengths, count, fill, first, last, out.view(np.uint32), valid)
    elif width == 2:
        mark_rows(lengths, count, fill, first, last, out.view(np.uint16), valid)
    else:
        mark_rows(lengths, count, fill, first, last, out, valid)


@part
def _expand(
    width: int,
    values: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    count: int,
    fill: np.uint64,
    first: int,
    last: int,
    out: NDArray[np.uint8],
    valid: NDArray[np.bool_],
) -> None:
    """Write values to rows that are not marked, and `fill` to the others, as wide as they are."""
    if width == 8:
        wide = values.view(np.uint64)
        expand_rows(wide, lengths, count, fill, first, last, out.view(np.uint64), valid)
    elif abs(width) == 4:
        half = values.view(np.uint32)
        expand_rows(half, lengths, count, fill, first, last, out.view(np.uint32), valid)
    elif width == 2:
        short = values.view(np.uint16)
        expand_rows(short, lengths, count, fill, first, last, out.view(np.uint16), valid)
    else:
        expand_rows(values, lengths, count, fill, first, last, out, valid)
