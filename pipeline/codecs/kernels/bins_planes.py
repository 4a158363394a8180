"""Loops that put bits which stand apart from the bins under the residuals of a tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import load, window
from pipeline.codecs.kernels.block_loop import part

__all__ = ["COLUMNS", "STRIDE", "TILE", "add_low", "add_planes", "plane_words", "tile_words"]

TILE = 256
"""Steps of a tile, which has a row of each of four lanes in every step."""

STRIDE = TILE + 8
"""Numbers of a tile from a lane to the next: lanes at a power of two would share cache lines."""

COLUMNS = 16
"""Strings of bits, side by side, in which the bits of a tile are packed."""

_ONE = np.uint64(1)
_FOUR = np.uint64(4)
_SIX = np.uint64(6)
_EIGHT = np.uint64(8)
_LINE = np.uint64(8 * COLUMNS)
_STRIDE = np.uint64(STRIDE)
_SIXTY_THREE = np.uint64(63)
_SIXTY_FOUR = np.uint64(64)


@part
def add_low(
    words: NDArray[np.uint64],
    at: np.uint64,
    low: np.uint64,
    rows: int,
    tile: NDArray[np.int64],
    lane: int,
) -> None:
    """Put the `low` bits of every row of a lane, consecutive from `at` on, under its residual."""
    mask = (_ONE << low) - _ONE
    shift = np.int64(low)
    to = np.uint64(lane * STRIDE)
    for _ in range(rows):
        tile[to] = (tile[to] << shift) | np.int64(window(words, at) & mask)
        at += low
        to += _ONE


@part
def tile_words(steps: int, low: int) -> int:
    """Return the words that low bits in planes take in a tile of so many steps of four lanes."""
    rows = (steps + 3) // 4
    return COLUMNS * ((rows * low + 63) // 64)


@part
def plane_words(steps: int, low: int) -> int:
    """Return the words that low bits in planes take in a group of so many steps."""
    return steps // TILE * tile_words(TILE, low) + tile_words(steps % TILE, low)


@part
def add_planes(
    words: NDArray[np.uint64], byte: np.uint64, low: np.uint64, steps: int, tile: NDArray[np.int64]
) -> None:
    """Put low bits in planes, which begin at a byte, under the residuals of a tile.

    Step i of lane k is row ``i // 4`` of column ``4 * k + i % 4``. A column is a string of the
    bits of its rows, and word by word the columns stand side by side: all numbers of a row are
    unpacked by the same shifts, several at once in wide registers.
    """
    mask = (_ONE << low) - _ONE
    left = np.int64(low)
    at = np.uint64(0)
    for row in range(np.uint64((steps + 3) // 4)):
        begin = byte + (at >> _SIX) * _LINE
        shift = at & _SIXTY_THREE
        over = _SIXTY_THREE - shift
        if shift + low > _SIXTY_FOUR:
            for k in range(_FOUR):
                to = k * _STRIDE + _FOUR * row
                for j in range(_FOUR):
                    place = begin + _EIGHT * (_FOUR * k + j)
                    bits = load(words, place) >> shift
                    bits |= (load(words, place + _LINE) << _ONE) << over
                    tile[to + j] = (tile[to + j] << left) | np.int64(bits & mask)
        else:
            for k in range(_FOUR):
                to = k * _STRIDE + _FOUR * row
                for j in range(_FOUR):
                    bits = load(words, begin + _EIGHT * (_FOUR * k + j)) >> shift
                    tile[to + j] = (tile[to + j] << left) | np.int64(bits & mask)
        at += low
