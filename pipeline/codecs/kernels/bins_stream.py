"""The loop that reads a whole laned stream, head and all: one call for nearly every block.

It only knows streams as most of them are. Whatever is unusual or impossible it leaves to
`pipeline.codecs.lanes`, which decodes the same bytes and says what is wrong with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_decode import decode_lanes
from pipeline.codecs.kernels.block_loop import loop

__all__ = ["decode_stream"]

_SEVEN = np.uint64(7)
_ONE = np.uint64(1)
_MOST_SHIFT = np.uint64(63)
_LOW_SEVEN = np.uint64(127)
_MORE = np.uint64(128)
_FEW_OUTLIERS = 8
_PAIRS = 63
_LEAST_LANE = 256


@loop
def _number(data: NDArray[np.uint8], place: NDArray[np.int64]) -> np.uint64:
    """Read LEB128 at ``place[0]`` and move it on; ``place[1]`` becomes 1 if it cannot be."""
    number = np.uint64(0)
    shift = np.uint64(0)
    while place[0] < data.size and shift <= _MOST_SHIFT:
        byte = np.uint64(data[place[0]])
        place[0] += 1
        number |= (byte & _LOW_SEVEN) << shift
        shift += _SEVEN
        if byte < _MORE:
            if shift > np.uint64(69) and byte > _ONE:
                break
            return number
    place[1] = 1
    return np.uint64(0)


@loop
def _signed(data: NDArray[np.uint8], place: NDArray[np.int64]) -> np.int64:
    """Read a zigzagged number."""
    folded = _number(data, place)
    return np.int64((folded >> _ONE) ^ (np.uint64(0) - (folded & _ONE)))


@loop
def _small(data: NDArray[np.uint8], place: NDArray[np.int64], limit: int) -> np.int64:
    """Read a number that is at most `limit`."""
    number = _number(data, place)
    if number > np.uint64(limit):
        place[1] = 1
        return np.int64(0)
    return np.int64(number)


@loop
def decode_stream(
    data: NDArray[np.uint8],
    at: int,
    rows: int,
    predictor: int,
    mapping: int,
    power: float,
    lookup: NDArray[np.int64],
    numbers: NDArray[np.int64],
    floats: NDArray[np.float64],
) -> bool:
    """Decode the laned stream from byte `at` to the end; False if that is not for this loop.

    Parameters
    ----------
    data
        A block's payload.
    at, rows, predictor
        Where offset, scale and stream begin; rows; id of the predictor.
    mapping, power, lookup, numbers, floats
        As for `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    """
    place = np.zeros(2, np.int64)
    place[0] = at
    offset = _signed(data, place)
    scale = np.int64(_number(data, place))
    shift = np.int64(0)
    period = np.int64(0)
    if predictor > 2:
        shift = _small(data, place, 8 if predictor == 3 else 63)
        if predictor == 4:
            period = _small(data, place, 1 << 61)
            if period == 0:
                return False
    low = _small(data, place, 8 * _PAIRS + 7)
    skip = low & 7
    low >>= 3
    pair_bits = np.int64(0)
    pair_least = np.int64(0)
    if low == _PAIRS:
        low = np.int64(0)
        pair_bits = _small(data, place, 6)
        pair_least = _signed(data, place)
        if pair_bits == 0 or abs(pair_least) >= 1 << 18:
            return False
    lane = _small(data, place, rows)
    if place[1] or lane < min(rows, _LEAST_LANE) or (pair_bits and (lane | rows) & 1):
        return False
    odd = _small(data, place, rows)
    if odd >= _FEW_OUTLIERS:
        return False
    odd_rows = np.empty(odd, np.int64)
    odd_residuals = np.empty(odd, np.int64)
    row = np.int64(0)
    for i in range(odd):
        gap = _small(data, place, rows)
        row += gap
        if row >= rows or (i > 0 and gap == 0):
            return False
        odd_rows[i] = row
        odd_residuals[i] = _signed(data, place)
    groups = np.empty((rows + 4 * lane - 1) // (4 * lane) - 1, np.int64)
    size = 8 * data.size
    total = skip
    for i in range(groups.size):
        groups[i] = _small(data, place, size)
        total += groups[i]
    left = data.size - place[0]
    if place[1] or total + rows * low > 8 * left:
        return False
    words = np.zeros(left // 8 + 3, np.uint64)
    octets = words.view(np.uint8)
    start = np.uint64(place[0])
    for i in range(left):
        octets[np.uint64(i)] = data[start + np.uint64(i)]
    return decode_lanes(
        words, np.uint64(skip), 8 * left - rows * low, low, pair_bits, pair_least, lane, rows,
        groups, 0, predictor, shift, period, odd_rows, odd_residuals, scale, offset,
        mapping, power, lookup, numbers, floats,
    )  # fmt: skip
