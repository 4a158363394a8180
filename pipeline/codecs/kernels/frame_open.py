"""The loop that reads what decoding needs of a block's frame, in one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["open_frame"]

_MAGIC = (73, 79, 84, 66, 2)
_MISSING, _CONSTANT, _PAYLOAD = 1, 2, 4
_CODE, _VALUES, _OPTIONAL = 31, 1, 128
_POLYNOMIAL = 0x82F63B78
"""Of CRC-32C (RFC 3720, appendix B.4), its bits reversed."""


def _remainders() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_REMAINDERS = _remainders()


@part
def _number(data: NDArray[np.uint8], at: int, place: NDArray[np.int64]) -> int:
    """Return the LEB128 number at `at`, of at most 49 bits, or -1; `place` receives its end.

    With more bits a length could not be added to a place without an overflow.
    """
    number = np.int64(0)
    shift = np.int64(0)
    while at < data.size and shift < 49:
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


@part
def _crc32c(data: NDArray[np.uint8], end: int) -> np.int64:
    """Return the checksum of the first few bytes: a call for them takes as long as this."""
    crc = np.uint32(0xFFFFFFFF)
    for i in range(end):
        crc = _REMAINDERS[(crc ^ data[i]) & np.uint32(255)] ^ (crc >> np.uint32(8))
    return np.int64(crc ^ np.uint32(0xFFFFFFFF))


@loop
def open_frame(data: NDArray[np.uint8], told: NDArray[np.int64]) -> bool:
    """Read a whole block of version 2 with rows; False if there is anything odd about it.

    Parameters
    ----------
    data
        The block.
    told
        Receives dtype code, flags, rows, rows without a value, ids of transform, predictor and
        entropy stage, the place of the statistics, or of the first row of a constant block, the
        place of the header's checksum; at 8 + 2 k and behind it where section k (1 to 6) begins
        and ends; and at 22 the payload's checksum.

    Notes
    -----
    The header's checksum is right; nothing is known of the payload until its own is verified.
    """
    if data.size < 12:
        return False
    for k in range(5):
        if data[k] != _MAGIC[k]:
            return False
    place = np.empty(1, np.int64)
    told[:] = 0
    told[0] = data[5] & _CODE
    told[1] = np.int64(data[6]) | np.int64(data[5] >> 5) << 8
    told[2] = _number(data, 7, place)
    if told[2] < 0:
        return False
    at = place[0]
    if told[1] & _CONSTANT:
        told[7] = at
        return _is_sealed(data, at, data.size - 4, told)
    if told[1] & _MISSING:
        told[3] = _number(data, at, place)
        at = place[0]
    if not told[1] & _PAYLOAD or told[3] < 0 or at + 8 > data.size:
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
    return _is_sealed(data, at + 4, end, told) and _split(data, end + 4, place, told)


@part
def _is_sealed(data: NDArray[np.uint8], at: int, end: int, told: NDArray[np.int64]) -> bool:
    """Verify the checksum at `end`, which is no nearer than `at`."""
    told[8] = end
    return bool(at <= end and _crc32c(data, end) == _checksum(data, end))


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
