"""The loop that reads the head of a laned stream: one call instead of dozens for its numbers.

It only knows streams as most of them are. Whatever is unusual or impossible it leaves to
`pipeline.codecs.lanes`, which reads the same bytes and says what is wrong with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["read_head"]

_SEVEN = np.uint64(7)
_ONE = np.uint64(1)
_MOST_SHIFT = np.uint64(63)
_LOW_SEVEN = np.uint64(127)
_MORE = np.uint64(128)
_PAIRS = 63
_SMOOTHING = 3
_GRID = 4
_LEAST_LANE = 256


@part
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


@part
def _signed(data: NDArray[np.uint8], place: NDArray[np.int64]) -> np.int64:
    """Read a zigzagged number."""
    folded = _number(data, place)
    return np.int64((folded >> _ONE) ^ (np.uint64(0) - (folded & _ONE)))


@part
def _small(data: NDArray[np.uint8], place: NDArray[np.int64], limit: int) -> np.int64:
    """Read a number that is at most `limit`."""
    number = _number(data, place)
    if number > np.uint64(limit):
        place[1] = 1
        return np.int64(0)
    return np.int64(number)


@loop
def read_head(
    data: NDArray[np.uint8],
    rows: int,
    predictor: int,
    head: NDArray[np.int64],
    odd: NDArray[np.int64],
    groups: NDArray[np.int64],
) -> bool:
    """Read what stands before the bit stream; False if that is not for this loop.

    Parameters
    ----------
    data
        Offset, scale and stream.
    rows, predictor
        Rows, and the id of the predictor.
    head
        Receives offset, scale, shift, period, low bits, bits before the table, bits of a pair,
        smallest of a pair, rows of a lane, number of outliers, number of groups less one, bits
        of the stream, rows, and predictor.
    odd, groups
        Receive rows (first row) and residuals of outliers, and bits of the groups.
    """
    if predictor > _GRID:
        return False
    place = np.zeros(2, np.int64)
    for i in range(head.size):
        head[i] = 0
    head[0] = _signed(data, place)
    head[1] = np.int64(_number(data, place))
    if predictor >= _SMOOTHING:
        head[2] = _small(data, place, 8 if predictor == _SMOOTHING else 63)
        if predictor == _GRID:
            head[3] = _small(data, place, 1 << 61)
            if head[3] == 0:
                return False
    low = _small(data, place, 8 * _PAIRS + 7)
    head[5] = low & 7
    head[4] = low >> 3
    if head[4] == _PAIRS:
        head[4] = 0
        head[6] = _small(data, place, 6)
        head[7] = _signed(data, place)
        if head[6] == 0 or abs(head[7]) >= 1 << 18:
            return False
    lane = _small(data, place, rows)
    head[8] = lane
    if place[1] or lane < min(rows, _LEAST_LANE) or (head[6] and (lane | rows) & 1):
        return False
    head[9] = _small(data, place, rows)
    head[10] = (rows + 4 * lane - 1) // (4 * lane) - 1
    if head[9] > odd.shape[1] or head[10] > groups.size:
        return False
    row = np.int64(0)
    for i in range(head[9]):
        gap = _small(data, place, rows)
        row += gap
        if row >= rows or (i > 0 and gap == 0):
            return False
        odd[0, i] = row
        odd[1, i] = _signed(data, place)
    size = 8 * data.size
    total = head[5]
    for i in range(head[10]):
        groups[i] = _small(data, place, size)
        total += groups[i]
    head[11] = 8 * (data.size - place[0])
    head[12] = rows
    head[13] = predictor
    return not place[1] and total + rows * head[4] <= head[11]
