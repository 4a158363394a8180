"""Loops over bits that stand apart from the bins, under the residuals of a tile.

In *planes* the low bits of a tile are packed so that wide registers handle many rows at once. A
tile has up to 1,024 steps of four lanes, step after step, padded to a multiple of 64 numbers. The
low bits are cut, from the lowest on, into pieces of 16 bits as long as there are so many, then of
8, 4, 2 and 1 as the rest needs; a piece of b bits of n numbers takes ``n * b / 64`` words. The
first so many numbers are in the lowest b bits of these words, a number in each, the next ones in
the b bits above, and so on; but in a piece of one bit a word has 64 consecutive numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import load, window
from pipeline.codecs.kernels.block_loop import part

__all__ = ["TILE", "add_low", "add_planes", "piece_bits", "plane_words", "tile_words"]

TILE = 1024
"""Steps of a tile, which has a row of each of four lanes in every step: what it takes to begin one
weighs more than that it just does not fit the nearest cache."""

_ONE = np.uint64(1)
_FOUR = np.uint64(4)
_EIGHT = np.uint64(8)
_SIXTEEN = np.uint64(16)
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
    to = np.uint64(lane)
    for _ in range(rows):
        tile[to] = (tile[to] << shift) | np.int64(window(words, at) & mask)
        at += low
        to += _FOUR


@part
def tile_words(steps: int, low: int) -> int:
    """Return the words that low bits in planes take in a tile of so many steps of four lanes."""
    return (steps + 15) // 16 * low


@part
def plane_words(steps: int, low: int) -> int:
    """Return the words that low bits in planes take in a group of so many steps."""
    return steps // TILE * tile_words(TILE, low) + tile_words(steps % TILE, low)


@part
def piece_bits(left: np.uint64) -> np.uint64:
    """Return the bits of the next piece, with so many left."""
    bits = _SIXTEEN
    while bits > left:
        bits >>= _ONE
    return bits


@part
def add_planes(
    octets: NDArray[np.uint8], byte: np.uint64, low: np.uint64, steps: int, tile: NDArray[np.uint64]
) -> None:
    """Put low bits in planes, which begin at a byte, under the residuals of a tile."""
    lines = np.uint64((steps + 15) // 16)
    place = low - low
    left = low
    while place < low:
        bits = piece_bits(low - place)
        size = lines * bits
        above = piece_bits(low - place - bits) if place + bits < low else _ONE
        if bits == _ONE:
            for line in range(lines):
                word = load(octets, byte + _EIGHT * line)
                to = _SIXTY_FOUR * line
                for j in range(_SIXTY_FOUR):
                    tile[to + j] = (tile[to + j] << left) | (((word >> j) & _ONE) << place)
        elif above > _ONE:  # two pieces at once: half as many walks over the tile
            next_byte = byte + _EIGHT * size
            next_size = lines * above
            mask = (_ONE << bits) - _ONE
            next_mask = (_ONE << above) - _ONE
            next_place = place + bits
            rows = bits // above  # of the narrow piece to a row of the wide one
            for row in range(_SIXTY_FOUR // above):
                shift = row // rows * bits
                next_shift = row * above
                to = row * next_size
                begin = byte + _EIGHT * (row % rows) * next_size
                for j in range(next_size):
                    piece = (load(octets, begin + _EIGHT * j) >> shift) & mask
                    more = (load(octets, next_byte + _EIGHT * j) >> next_shift) & next_mask
                    tile[to + j] = (tile[to + j] << left) | (piece << place) | (more << next_place)
            byte = next_byte
            size = next_size
            bits += above
        else:
            mask = (_ONE << bits) - _ONE
            for row in range(_SIXTY_FOUR // bits):
                shift = row * bits
                to = row * size
                for j in range(size):
                    piece = (load(octets, byte + _EIGHT * j) >> shift) & mask
                    tile[to + j] = (tile[to + j] << left) | (piece << place)
        byte += _EIGHT * size
        place += bits
        left = low - low
