"""The loops that read the short lists of a block in one call: masks, corrections and runs.

They are a few dozen numbers in a stream of their own. What Python does for each of them takes
10 to 30 us otherwise, as long as decoding ten thousand rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_values import map_tile
from pipeline.codecs.kernels.block_loop import part, wide_loop
from pipeline.codecs.kernels.lists_parts import read_mask, read_nested, read_series, suits

__all__ = ["read_few", "read_lists"]

_ZERO = np.uint64(0)
_FEW = 2048


@wide_loop
def read_lists(
    data: NDArray[np.uint8],
    rows: int,
    masked: bool,
    more: int,
    sizes: tuple[int, int, int, int],
    lengths: NDArray[np.int64],
    numbers: NDArray[np.uint64],
    told: NDArray[np.int64],
) -> bool:
    """Read a mask and what is listed behind it; False if there is anything odd about it.

    Parameters
    ----------
    data
        Bytes that begin with it.
    rows
        Rows of the mask, or numbers of each list if there is no mask.
    masked, more
        Whether there is a mask, and how many nested streams follow: behind a mask, of one number
        for each row that is marked.
    sizes
        See `pipeline.codecs.kernels.bins_whole.decode_whole`.
    lengths
        Receives the rows of the mask's stretches.
    numbers
        Receives what is listed, one stream behind the other; it also has room for what is listed
        in a mask.
    told
        Receives how many lengths there are, how many numbers each stream has, and how many
        bytes they are.
    """
    place = np.zeros(2, np.int64)
    lookup = np.zeros(1, np.int64)
    told[0] = 0
    each = np.int64(rows)
    if masked:
        told[0] = read_mask(data, place, sizes, lookup, rows, lengths, numbers)
        if told[0] < 0:
            return False
        each = np.int64(0)
        for k in range(1, told[0], 2):
            each += lengths[k]
    if more * each > numbers.size or not suits(data, place[0], more):
        return False
    for k in range(more):
        if not read_nested(data, place, sizes, lookup, numbers[k * each : (k + 1) * each]):
            return False
    told[1] = each
    told[2] = place[0]
    return True


@part
def _spread(
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    count: int,
    fill: np.uint64,
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> None:
    """Write `values` to the rows of every other stretch, and `fill` to the others."""
    at = _ZERO
    taken = _ZERO
    for k in range(count):
        stop = at + np.uint64(lengths[k])
        if k & 1:
            for i in range(at, stop):
                out[i] = fill
            for i in range(at, stop):
                valid[i] = False
        else:
            behind = taken - at
            for i in range(at, stop):
                out[i] = values[i + behind]
                valid[i] = True
            taken += stop - at
        at = stop


@wide_loop
def read_few(
    mask: NDArray[np.uint8],
    data: NDArray[np.uint8],
    predictor: int,
    entropy: int,
    sizes: tuple[int, int, int, int],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    fill: np.uint64,
    width: int,
    out: NDArray[np.uint8],
    valid: NDArray[np.bool_],
) -> bool:
    """Decode a block few rows of which have a value; False if there is anything odd about it.

    Parameters
    ----------
    mask
        Of the rows without a value.
    data, predictor, entropy
        The series of the others, and its stages.
    sizes
        See `pipeline.codecs.kernels.bins_whole.decode_whole`.
    mapping, power, inverse, rest, lookup, width, out
        See `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    fill
        Bits of the rows without a value.
    valid
        Receives which rows have one.
    """
    place = np.zeros(2, np.int64)
    lengths = np.empty(_FEW, np.int64)
    numbers = np.empty(_FEW, np.uint64)
    none = np.zeros(1, np.int64)
    count = np.int64(read_mask(mask, place, sizes, none, valid.size, lengths, numbers))
    if count < 0 or place[0] != mask.size:
        return False
    few = np.int64(0)
    for k in range(0, count, 2):
        few += lengths[k]
    if few == 0 or few + 3 > numbers.size:
        return False
    if not read_series(data, predictor, entropy, sizes, none, numbers[:few]):
        return False
    steps = (few + 3) // 4
    for i in range(few, 4 * steps):
        numbers[i] = numbers[0]
    floats = numbers.view(np.float64)
    if not map_tile(
        numbers.view(np.int64), floats, steps, mapping, np.int64(1), np.int64(0), power, inverse,
        rest, lookup,
    ):  # fmt: skip
        return False
    if width == -4:
        singles = np.empty(few, np.float32)
        for i in range(few):
            singles[i] = floats[i]
        _spread(singles.view(np.uint32), lengths, count, fill, out.view(np.uint32), valid)
    elif width == 8:
        _spread(numbers, lengths, count, fill, out.view(np.uint64), valid)
    elif width == 4:
        _spread(numbers, lengths, count, fill, out.view(np.uint32), valid)
    elif width == 2:
        _spread(numbers, lengths, count, fill, out.view(np.uint16), valid)
    else:
        _spread(numbers, lengths, count, fill, out, valid)
    return True
