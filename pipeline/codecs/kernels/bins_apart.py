"""Loops of the encoder that set low bits of residuals apart, so that no bin has plain bits.

What is left of the residuals are few enough numbers for a bin each, or for one for every two
rows; the bits set apart lie in planes (`pipeline.codecs.kernels.bins_planes`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_planes import TILE, piece_bits, tile_words
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["assign_high", "assign_high_pairs", "count_high", "pack_planes"]

_ONE = np.uint64(1)
_FOUR = np.uint64(4)
_SIX = np.uint64(6)
_SIXTY_THREE = np.uint64(63)
_SIXTY_FOUR = np.uint64(64)
_DROPPED = np.int32(-1)


@loop
def count_high(
    residuals: NDArray[np.int64], low: int, smallest: np.int64, histogram: NDArray[np.int64]
) -> None:
    """Count residuals without their `low` bits; `histogram`, all zeros, begins with `smallest`."""
    shift = np.int64(low)
    for i in range(residuals.size):
        histogram[np.uint64((residuals[i] >> shift) - smallest)] += 1


@loop
def assign_high(
    residuals: NDArray[np.int64],
    low: int,
    smallest: np.int64,
    lookup: NDArray[np.uint8],
    tokens: NDArray[np.uint8],
) -> None:
    """Write the bin that `lookup` has for every residual without its `low` bits."""
    shift = np.int64(low)
    for i in range(residuals.size):
        tokens[i] = lookup[np.uint64((residuals[i] >> shift) - smallest)]


@loop
def assign_high_pairs(
    residuals: NDArray[np.int64],
    low: int,
    smallest: np.int64,
    bits: int,
    most: int,
    bases: NDArray[np.int64],
    tokens: NDArray[np.uint8],
    dropped: NDArray[np.int64],
) -> int:
    """Write the bin of every two residuals without their `low` bits.

    Parameters
    ----------
    residuals, low
        Of all rows, and one that does not matter if they are odd.
    smallest, bits
        Numbers from it on, below ``2**bits`` above it, can be in a pair.
    most
        Most bins.
    bases, tokens
        Receive the pairs that have a bin (the second number in `bits` low bits), and each
        pair's bin; rare pairs get the bin of another one.
    dropped
        Receives which pairs these are.

    Returns
    -------
    int
        Bins, and 256 for every pair dropped; 0 if there are too many of them.
    """
    shift = np.int64(low)
    wide = np.uint64(1) << np.uint64(bits)
    counts = np.zeros(1 << (2 * bits), np.int32)
    outside = 0
    for i in range(tokens.size):
        one = np.uint64((residuals[2 * i] >> shift) - smallest)
        two = np.uint64((residuals[2 * i + 1] >> shift) - smallest)
        if one < wide and two < wide:
            counts[(one << np.uint64(bits)) | two] += 1
        else:
            outside += 1
    least = _rarest_kept(counts, most)
    found = 0
    rare = outside
    usual = 0
    for pair in range(counts.size):
        if counts[pair] > counts[usual]:
            usual = pair
        if 0 < counts[pair] < least:
            rare += counts[pair]
    if rare > dropped.size:
        return 0
    for pair in range(counts.size):
        if pair == usual:
            usual = found
        if counts[pair] >= least:
            bases[found] = pair
            counts[pair] = found
            found += 1
        else:
            counts[pair] = _DROPPED
    rare = 0
    for i in range(tokens.size):
        one = np.uint64((residuals[2 * i] >> shift) - smallest)
        two = np.uint64((residuals[2 * i + 1] >> shift) - smallest)
        token = _DROPPED
        if one < wide and two < wide:
            token = counts[(one << np.uint64(bits)) | two]
        if token == _DROPPED:
            token = np.int32(usual)
            dropped[rare] = i
            rare += 1
        tokens[i] = token
    return found + 256 * rare


@part
def _rarest_kept(counts: NDArray[np.int32], most: int) -> int:
    """Return how often a pair has to come at least for a bin, of which there are at most `most`."""
    for least in range(1, 1 << 16):
        kept = 0
        for i in range(counts.size):
            if counts[i] >= least:
                kept += 1
        if kept <= most:
            return least
    return 1 << 30


@part
def _pack_tile(
    tile: NDArray[np.uint64],
    low: np.uint64,
    lines: np.uint64,
    words: NDArray[np.uint64],
    to: np.uint64,
) -> None:
    """Write the low bits of a tile, of 16 times so many steps, from word `to` on."""
    place = low - low
    while place < low:
        bits = piece_bits(low - place)
        size = lines * bits
        mask = (_ONE << bits) - _ONE
        for row in range(_SIXTY_FOUR // bits):
            shift = row * bits
            for j in range(size):
                i = row * size + j
                piece = (tile[i] >> place) & mask
                if bits == _ONE:  # one after the other, not side by side
                    words[to + (i >> _SIX)] |= piece << (i & _SIXTY_THREE)
                else:
                    words[to + j] |= piece << shift
        to += size
        place += bits


@loop
def pack_planes(
    residuals: NDArray[np.int64], low: int, lane: int, words: NDArray[np.uint64]
) -> None:
    """Write the `low` bits of all residuals to `words`: zeros, exactly as many as it takes.

    Lanes are of so many rows; in the last group the last ones may be shorter, or empty.
    """
    to = 0
    tile = np.empty(4 * TILE, np.uint64)
    for start in range(0, residuals.size, 4 * lane):
        total = min(4 * lane, residuals.size - start)
        length = min(lane, total)
        for done in range(0, length, TILE):
            steps = min(TILE, length - done)
            for k in range(4):
                begin = k * lane + done
                there = np.uint64(max(0, min(steps, total - begin)))
                for i in range(np.uint64(TILE)):
                    number = np.int64(0)
                    if i < there:
                        number = residuals[np.uint64(start + begin) + i]
                    tile[_FOUR * i + np.uint64(k)] = np.uint64(number)
            _pack_tile(tile, np.uint64(low), np.uint64((steps + 15) // 16), words, np.uint64(to))
            to += tile_words(steps, low)
