"""The loop that reads the head of a laned stream: one call instead of dozens for its numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_planes import plane_words
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["read_head"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SEVEN = np.uint64(7)
_MOST_SHIFT = np.uint64(63)
_LOW_SEVEN = np.uint64(127)
_MORE = np.uint64(128)
_ANY = ~np.uint64(0)
_ANY_BYTE = np.uint64(255)
_PAIRS = np.int64(63)
_MAX_PAIR_BITS = 6
_MAX_PAIR = 1 << 18
_SMOOTHING = 3
_GRID = 4
_SMOOTHEST = 8
_MAX_PERIOD = 1 << 61
_LEAST_LANE = 256
_GOOD, _NUMBER, _PREDICTOR, _PAIR, _LANE, _OUTLIER, _MANY, _SHORT = range(8)


@part
def _take(data: NDArray[np.uint8], place: NDArray[np.int64], limit: np.uint64) -> np.uint64:
    """Read LEB128 at ``place[0]`` and move it on; ``place[1]`` becomes 1 if it cannot be."""
    number = _ZERO
    shift = _ZERO
    while place[0] < data.size and shift <= _MOST_SHIFT:
        byte = np.uint64(data[place[0]])
        place[0] += 1
        number |= (byte & _LOW_SEVEN) << shift
        if byte < _MORE:
            if number > limit or (shift == _MOST_SHIFT and byte > _ONE):
                break
            return number
        shift += _SEVEN
    place[1] = 1
    return _ZERO


@part
def _take_signed(data: NDArray[np.uint8], place: NDArray[np.int64]) -> np.int64:
    """Read a zigzagged number."""
    folded = _take(data, place, _ANY)
    return np.int64((folded >> _ONE) ^ (_ZERO - (folded & _ONE)))


@loop
def read_head(
    data: NDArray[np.uint8],
    rows: int,
    predictor: int,
    head: NDArray[np.int64],
    odd: NDArray[np.int64],
    groups: NDArray[np.int64],
    octets: NDArray[np.uint8],
) -> int:
    """Read what stands before the bit stream, and copy this; return 0, or what is wrong.

    Parameters
    ----------
    data
        Offset, scale and stream.
    rows, predictor
        Rows, and the id of the predictor.
    head
        Receives offset, scale, shift, period, low bits, bits before the table, bits of a pair,
        smallest of a pair, rows of a lane, number of outliers, number of groups less one, bits
        of the stream, rows, predictor, low bits in planes, and the byte where planes begin.
    odd, groups
        Receive rows (first row) and residuals of outliers, and bits of the groups.
    octets
        Receives the bit stream up to the planes, and behind it zeros, as many as `octets` is
        longer than `data`.
    """
    place = np.zeros(2, np.int64)
    head[0] = _take_signed(data, place)
    head[1] = np.int64(_take(data, place, _ANY))
    head[2] = 0
    head[3] = 0
    if predictor >= _SMOOTHING:
        head[2] = np.int64(_take(data, place, _MORE))
    if predictor == _GRID:
        head[3] = np.int64(_take(data, place, _ANY))
        if head[2] > _PAIRS or head[3] <= 0 or head[3] > _MAX_PERIOD:
            return _PREDICTOR
    elif predictor > _GRID or head[2] > _SMOOTHEST:
        return _PREDICTOR
    low = np.int64(_take(data, place, np.uint64(8 * _PAIRS + 7)))
    head[4] = low >> 3
    head[5] = low & 7
    head[6] = 0
    head[7] = 0
    head[14] = 0
    if head[4] == _PAIRS:
        head[4] = 0
        kind = np.int64(_take(data, place, _ANY_BYTE))
        head[6] = kind & 127
        if kind > 127:
            head[14] = np.int64(_take(data, place, _MORE))
        head[7] = _take_signed(data, place) if head[6] else np.int64(0)
        if head[6] > _MAX_PAIR_BITS or abs(head[7]) >= _MAX_PAIR:
            return _PAIR
        if (head[14] == 0 and (kind > 127 or head[6] == 0)) or head[14] >= _PAIRS:
            return _PAIR
    most = np.uint64(rows)
    lane = np.int64(_take(data, place, most))
    if place[1]:
        return _NUMBER
    if lane < min(rows, _LEAST_LANE) or (head[6] and lane & 1):
        return _LANE
    head[8] = lane
    head[9] = np.int64(_take(data, place, most))
    head[10] = (rows + 4 * lane - 1) // (4 * lane) - 1
    if head[9] > odd.shape[1] or head[10] > groups.size:
        return _MANY
    row = np.int64(0)
    for i in range(head[9]):
        gap = np.int64(_take(data, place, most))
        row += gap
        if row >= rows or (i > 0 and gap == 0):
            return _OUTLIER
        odd[0, i] = row
        odd[1, i] = _take_signed(data, place)
    most = np.uint64(8 * data.size)
    total = head[5]
    for i in range(head[10]):
        groups[i] = np.int64(_take(data, place, most))
        total += groups[i]
    head[11] = 8 * (data.size - place[0])
    head[12] = rows
    head[13] = predictor
    if place[1]:
        return _NUMBER
    last = min(lane, rows - 4 * lane * head[10])
    planes = head[10] * plane_words(lane, head[14]) + plane_words(last, head[14])
    head[15] = head[11] // 8 - 8 * planes
    if total + rows * head[4] + 64 * planes > head[11]:
        return _SHORT
    start = np.uint64(place[0])
    size = np.uint64(head[15])
    for j in range(size):
        octets[j] = data[start + j]
    for j in range(size, size + np.uint64(octets.size - data.size)):
        octets[j] = 0
    return _GOOD
