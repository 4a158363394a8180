"""The loop that reads what decoding needs of a block's frame, in one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["open_frame"]

_MAGIC = (73, 79, 84, 66, 2)
_MISSING, _CONSTANT, _PAYLOAD = 1, 2, 4
_CODE, _VALUES, _OPTIONAL = 31, 1, 128


@part
def _number(data: NDArray[np.uint8], at: int, place: NDArray[np.int64]) -> int:
    """Return the LEB128 number at `at`, of at most 62 bits, or -1; `place` receives its end."""
    number = np.int64(0)
    shift = np.int64(0)
    while at < data.size and shift < 62:
        byte = np.int64(data[at])
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            place[0] = at
            return number  # type: ignore[return-value]
    return -1


@part
def _checksum(data: NDArray[np.uint8], at: int) -> np.int64:
    number = np.int64(0)
    for k in range(4):
        number |= np.int64(data[at + k]) << np.int64(8 * k)
    return number


@loop
def open_frame(data: NDArray[np.uint8], told: NDArray[np.int64]) -> bool:
    """Read a whole block of version 2 with a payload; False if there is anything odd about it.

    Parameters
    ----------
    data
        The block.
    told
        Receives dtype code, flags, rows, rows without a value, ids of transform, predictor and
        entropy stage, the place of the statistics, the place of the header's checksum and that
        itself; at 8 + 2 k and behind it where section k (1 to 6) begins and ends; and at 22 the
        payload's checksum.

    Notes
    -----
    Nothing is known of the bytes until the checksums are verified.
    """
    if data.size < 16:
        return False
    for k in range(5):
        if data[k] != _MAGIC[k]:
            return False
    place = np.empty(1, np.int64)
    told[:] = 0
    told[0] = data[5] & _CODE
    told[1] = np.int64(data[6]) | np.int64(data[5] >> 5) << 8
    told[2] = _number(data, 7, place)
    if told[2] < 0 or not told[1] & _PAYLOAD or told[1] & _CONSTANT:
        return False
    if told[1] & _MISSING:
        told[3] = _number(data, place[0], place)
    at = place[0]
    if told[3] < 0 or at + 8 > data.size:
        return False
    for k in range(3):
        told[4 + k] = data[at + k]
    size = _number(data, at + 3, place)
    at = place[0]
    end = data.size - size - 4
    if size <= 0 or at + 4 > end:
        return False
    told[22] = _checksum(data, at)
    told[7] = at + 4
    told[8] = end
    told[9] = _checksum(data, end)
    return _split(data, end + 4, place, told)


@part
def _split(
    data: NDArray[np.uint8], at: int, place: NDArray[np.int64], told: NDArray[np.int64]
) -> bool:
    """Tell where the sections of a payload are; False if one is unknown or may come twice."""
    passed = False
    while at < data.size:
        id = np.int64(data[at])
        if id == _VALUES:
            told[10] = at + 1
            told[11] = data.size
            return True
        size = _number(data, at + 1, place)
        if size < 0 or place[0] + size > data.size:
            return False
        if id < _OPTIONAL:
            if id == 0 or id > 6 or told[8 + 2 * id + 1]:
                return False
            told[8 + 2 * id] = place[0]
            told[8 + 2 * id + 1] = place[0] + size
        elif passed:
            return False
        else:
            passed = True
        at = place[0] + size
    return False
