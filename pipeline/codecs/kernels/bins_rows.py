"""Loops that decode the rows of four lanes into a tile: the entropy stage of laned streams.

A tile has a row of each lane in every step. Rows are decoded from a buffer of bits
that is filled from an unaligned word: what a row waits for is the look-up of its state, not the
bits. On the machine where it was measured 65,536 rows take 45 us where no bin has plain bits, 70
us where bins have, and half as much in pairs; tables beyond the nearest cache (2,048 entries)
add 15 us.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_table import MOST_ENTRIES
from pipeline.codecs.kernels.bits import fits, load, window
from pipeline.codecs.kernels.block_loop import part

__all__ = ["decode_lane", "decode_tile", "one_by_one"]

_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)
_SEVEN = np.uint64(7)
_EIGHT = np.uint64(8)
_BUFFERED = np.uint64(56)
_SIXTY_THREE = np.uint64(63)
_NEXT = np.uint64(4 * MOST_ENTRIES)
_WIDTH = np.uint64(8 * MOST_ENTRIES + 2)
_TAKEN = np.uint64(8 * MOST_ENTRIES + 3)
_WRONG = ~np.uint64(0)
_ONE_FILL = 14


@part
def _row(
    entries: NDArray[np.uint64],
    _halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    state: np.uint64,
    bits: np.uint64,
    tile: NDArray[np.int64],
    to: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Store the residual of an entry; return the next entry, and the bits that both took."""
    taken = np.uint64(widths[_FOUR * state + _TAKEN])
    width = np.uint64(widths[_FOUR * state + _WIDTH])
    above = (bits & ((_ONE << taken) - _ONE)) >> width
    tile[to] = np.int64(entries[state]) + np.int64(above)
    return np.uint64(nexts[_TWO * state + _NEXT]) + (bits & ((_ONE << width) - _ONE)), taken


@part
def _plain_row(
    entries: NDArray[np.uint64],
    _halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    state: np.uint64,
    bits: np.uint64,
    tile: NDArray[np.int64],
    to: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Do what `_row` does where no bin has plain bits."""
    taken = np.uint64(widths[_FOUR * state + _TAKEN])
    tile[to] = np.int64(entries[state])
    return np.uint64(nexts[_TWO * state + _NEXT]) + (bits & ((_ONE << taken) - _ONE)), taken


@part
def _pair(
    _entries: NDArray[np.uint64],
    halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    state: np.uint64,
    bits: np.uint64,
    tile: NDArray[np.int64],
    to: np.uint64,
) -> tuple[np.uint64, np.uint64]:
    """Store the residuals of two rows of a lane, 32 bits each, the second one in the lower."""
    taken = np.uint64(widths[_FOUR * state + _TAKEN])
    tile[to] = halves[_TWO * state + _ONE]
    tile[to + _FOUR] = halves[_TWO * state]
    return np.uint64(nexts[_TWO * state + _NEXT]) + (bits & ((_ONE << taken) - _ONE)), taken


def _make_four(fills: int, row: Callable[..., Any], step: np.uint64) -> Callable[..., Any]:
    """Return a loop that fills the buffer so many times for four rows."""

    @part
    def four(
        words: NDArray[np.uint64],
        at: np.uint64,
        entries: NDArray[np.uint64],
        halves: NDArray[np.int32],
        nexts: NDArray[np.uint16],
        widths: NDArray[np.uint8],
        states: NDArray[np.uint64],
        tile: NDArray[np.int64],
        rows: int,
    ) -> np.uint64:
        a = states[0]
        b = states[1]
        c = states[2]
        d = states[3]
        to = np.uint64(0)
        byte = at >> _THREE
        bits = load(words, byte) >> (at & _SEVEN)
        held = _BUFFERED - (at & _SEVEN)
        byte += _SEVEN
        for _ in range(rows):
            bits |= load(words, byte) << held
            byte += (_SIXTY_THREE - held) >> _THREE
            held |= _BUFFERED
            a, taken = row(entries, halves, nexts, widths, a, bits, tile, to)
            bits >>= taken
            held -= taken
            b, taken = row(entries, halves, nexts, widths, b, bits, tile, to + _ONE)
            bits >>= taken
            held -= taken
            if fills == 2:
                bits |= load(words, byte) << held
                byte += (_SIXTY_THREE - held) >> _THREE
                held |= _BUFFERED
            c, taken = row(entries, halves, nexts, widths, c, bits, tile, to + _TWO)
            bits >>= taken
            held -= taken
            d, taken = row(entries, halves, nexts, widths, d, bits, tile, to + _THREE)
            bits >>= taken
            held -= taken
            to += step
        states[0] = a
        states[1] = b
        states[2] = c
        states[3] = d
        return (byte << _THREE) - held

    return four


_four_pairs = _make_four(1, _pair, _EIGHT)
_four_plain = _make_four(1, _plain_row, _FOUR)
_four_of_one = _make_four(1, _row, _FOUR)
_four_of_two = _make_four(2, _row, _FOUR)


@part
def decode_tile(
    words: NDArray[np.uint64],
    at: np.uint64,
    end: np.uint64,
    entries: NDArray[np.uint64],
    halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    states: NDArray[np.uint64],
    tile: NDArray[np.int64],
    rows: int,
    most: np.uint64,
    plain: bool,
    paired: bool,
) -> np.uint64:
    """Decode so many rows of all four lanes; return the position behind them, or all ones.

    `most` are the most bits of a row, at most 28, and `end` those of the stream, behind which
    `words` has room for as many as four lanes of a tile may take: nothing else is checked.
    """
    if at > end:
        return _WRONG
    if paired:
        return _four_pairs(words, at, entries, halves, nexts, widths, states, tile, rows >> 1)
    if plain:
        return _four_plain(words, at, entries, halves, nexts, widths, states, tile, rows)
    if most <= _ONE_FILL:
        return _four_of_one(words, at, entries, halves, nexts, widths, states, tile, rows)
    return _four_of_two(words, at, entries, halves, nexts, widths, states, tile, rows)


@part
def decode_lane(
    words: NDArray[np.uint64],
    at: np.uint64,
    end: np.uint64,
    entries: NDArray[np.uint64],
    halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    states: NDArray[np.uint64],
    tile: NDArray[np.int64],
    rows: int,
) -> np.uint64:
    """Decode so many rows of the first lane, which is the only one; see `decode_tile`.

    Rows may take up to 56 bits, because they are four times fewer.
    """
    if at > end:
        return _WRONG
    state = states[0]
    to = np.uint64(0)
    for _ in range(rows):
        bits = load(words, at >> _THREE) >> (at & _SEVEN)
        state, taken = _row(entries, halves, nexts, widths, state, bits, tile, to)
        at += taken
        to += _FOUR
    states[0] = state
    return at


@part
def one_by_one(
    words: NDArray[np.uint64],
    at: np.uint64,
    entries: NDArray[np.uint64],
    halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    states: NDArray[np.uint64],
    tile: NDArray[np.int64],
    lane: int,
    total: int,
    begin: int,
    end: int,
    first: int,
    paired: bool,
) -> np.uint64:
    """Decode rows `begin` up to `end` of lanes that have no other loop; `total` rows in all.

    They come into the tile from its step `first` on.
    """
    row = begin
    while row < end:
        for k in range(4):
            if k * lane + row < total:
                if not fits(words, at):
                    return _WRONG
                bits = window(words, at)
                to = np.uint64(4 * (first + row - begin) + k)
                if paired:
                    states[k], taken = _pair(
                        entries, halves, nexts, widths, states[k], bits, tile, to
                    )
                else:
                    states[k], taken = _row(
                        entries, halves, nexts, widths, states[k], bits, tile, to
                    )
                at += taken
        row += 2 if paired else 1
    return at
