"""Loops that read a tile of a plain stream's residuals from the layouts of their bytes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_layouts import transpose
from pipeline.codecs.kernels.block_loop import part

__all__ = ["read_bit_planes", "read_bytes", "read_narrow", "read_varints", "widen"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_THREE = np.uint64(3)
_SEVEN = np.uint64(7)
_EIGHT = np.uint64(8)
_SIXTY_THREE = np.uint64(63)
_LOW_SEVEN = np.uint64(127)
_MORE = np.uint64(128)
_WRONG = ~np.uint64(0)


@part
def read_narrow(
    data: NDArray[np.uint8],
    width: np.uint64,
    start: np.uint64,
    rows: np.uint64,
    squares: NDArray[np.uint64],
    octets: NDArray[np.uint8],
    tile: NDArray[np.uint64],
) -> None:
    """Read codes of 1, 2 or 4 bits: eight of them are spread over the bytes of a word."""
    first = (start * width) >> _THREE
    groups = rows >> _THREE
    for j in range(groups):
        squares[j] = data[first + j * width]
    for k in range(_ONE, width):
        for j in range(groups):
            squares[j] |= np.uint64(data[first + j * width + k]) << (k << _THREE)
    if groups << _THREE < rows:  # the last bytes may be fewer
        squares[groups] = _ZERO
        for k in range(((rows - (groups << _THREE)) * width + _SEVEN) >> _THREE):
            squares[groups] |= np.uint64(data[first + groups * width + k]) << (k << _THREE)
        groups += _ONE
    halves = ((_ONE << (width << np.uint64(2))) - _ONE) * np.uint64(0x0000000100000001)
    quarters = ((_ONE << (width << _ONE)) - _ONE) * np.uint64(0x0001000100010001)
    eighths = ((_ONE << width) - _ONE) * np.uint64(0x0101010101010101)
    apart = _EIGHT - width
    for j in range(groups):
        word = squares[j]
        word = (word | (word << (apart << np.uint64(2)))) & halves
        word = (word | (word << (apart << _ONE))) & quarters
        squares[j] = (word | (word << apart)) & eighths
    for i in range(rows):
        tile[i] = octets[i]


@part
def read_bytes(
    data: NDArray[np.uint8],
    width: np.uint64,
    count: np.uint64,
    start: np.uint64,
    rows: np.uint64,
    tile: NDArray[np.uint64],
) -> None:
    """Read codes whose bytes stand in planes, the lowest first."""
    for i in range(rows):
        tile[i] = data[start + i]
    for plane in range(_ONE, width >> _THREE):
        shift = plane << _THREE
        first = plane * count + start
        for i in range(rows):
            tile[i] |= np.uint64(data[first + i]) << shift


@part
def read_bit_planes(
    data: NDArray[np.uint8],
    planes: np.uint64,
    groups: np.uint64,
    start: np.uint64,
    rows: np.uint64,
    squares: NDArray[np.uint64],
    octets: NDArray[np.uint8],
    tile: NDArray[np.uint64],
) -> None:
    """Read bits that stand plane by plane, eight rows a byte.

    The bits of eight rows in eight planes are transposed as one word of `squares`, whose bytes,
    `octets`, then are eight bits of each row. All loops but the first are over neighbours, which
    compilers make vectors of.
    """
    first = start >> _THREE
    count = (rows + _SEVEN) >> _THREE
    for low in range(_ZERO, planes, _EIGHT):
        for j in range(count):
            squares[j] = data[low * groups + first + j]
        for k in range(_ONE, min(_EIGHT, planes - low)):
            plane = (low + k) * groups + first
            shift = k << _THREE
            for j in range(count):
                squares[j] |= np.uint64(data[plane + j]) << shift
        for j in range(count):
            squares[j] = transpose(squares[j])
        if low:
            for i in range(rows):
                tile[i] |= np.uint64(octets[i]) << low
        else:
            for i in range(rows):
                tile[i] = octets[i]


@part
def read_varints(
    data: NDArray[np.uint8], at: np.uint64, rows: np.uint64, tile: NDArray[np.uint64]
) -> np.uint64:
    """Read LEB128 numbers from `at` on; return the place behind them, all ones if they end."""
    size = np.uint64(data.size)
    for i in range(rows):
        if at >= size:
            return _WRONG
        byte = np.uint64(data[at])
        at += _ONE
        number = byte
        if byte >= _MORE:
            number &= _LOW_SEVEN
            shift = _SEVEN
            while byte >= _MORE:
                if at >= size or shift > _SIXTY_THREE:
                    return _WRONG
                byte = np.uint64(data[at])
                at += _ONE
                number |= (byte & _LOW_SEVEN) << shift
                shift += _SEVEN
        tile[i] = number
    return at


@part
def widen(
    tile: NDArray[np.uint64],
    rows: np.uint64,
    escape: np.uint64,
    larger: NDArray[np.uint64],
    used: np.uint64,
) -> np.uint64:
    """Replace the codes that mark larger residuals; return how many of these are used by now."""
    for i in range(rows):
        if tile[i] == escape:
            if used < np.uint64(larger.size):
                tile[i] += larger[used]
            used += _ONE
    return used
