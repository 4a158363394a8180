"""The loop behind decoding laned streams: entropy stage, predictor and mapping in one pass.

Rows are decoded in tiles that stay in the processor's nearest cache: first the residuals of four
lanes at a time, whose states do not wait for each other (`bins_rows`), then the predictors
(`bins_residuals`), then the mapping to values, written in the column's own dtype (`bins_values`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_planes import (
    TILE,
    add_low,
    add_planes,
    plane_words,
    tile_words,
)
from pipeline.codecs.kernels.bins_residuals import patch, restore
from pipeline.codecs.kernels.bins_rows import decode_lane, decode_tile, one_by_one
from pipeline.codecs.kernels.bins_table import ENTRY_WORDS, lay_out, read_table
from pipeline.codecs.kernels.bins_values import as_all, write_values
from pipeline.codecs.kernels.bits import fits, take_number, window
from pipeline.codecs.kernels.block_loop import part, wide_loop

__all__ = ["decode_lanes"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SMOOTH_BITS = np.int64(8)
_GRID_BITS = np.int64(10)
_HALF = np.int64(32)
_LOW_HALF = np.int64((1 << 32) - 1)
_MAX_PAIR = np.int64(1 << 18)
_MOST_BITS = 28
_MOST_OF_ONE = 56
_WRONG = ~np.uint64(0)


@wide_loop
def decode_lanes(
    words: NDArray[np.uint64],
    low_bits: NDArray[np.uint8],
    head: NDArray[np.int64],
    groups: NDArray[np.int64],
    first_group: int,
    odd_rows: NDArray[np.int64],
    odd_residuals: NDArray[np.int64],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    width: int,
    out: NDArray[np.uint8],
) -> bool:
    """Decode whole groups of four lanes; False if the stream is impossible.

    Parameters
    ----------
    words
        The bit stream: the table, the groups right behind it, and at the end the low bits of all
        rows; and behind it `pipeline.codecs.lanes.SPARE_WORDS` of anything.
    low_bits
        The planes.
    head
        Offset, scale (a number is ``multiple * scale + offset``), shift, period, low bits, bits
        before the table, bits of a pair, smallest of a pair, rows of a lane, two that do not
        matter here, bits of the stream, rows of the block, predictor, low bits in planes
        (`pipeline.codecs.kernels.bins_stream.read_head`). If a pair has bits, a bin is a pair of
        residuals, the second in so many low bits; both are counted from the smallest, and lanes
        are even.
    groups
        Bits of every group but the last one wanted.
    first_group
        Where to begin; decoded are all groups up to ``groups.size`` inclusive.
    odd_rows, odd_residuals
        Ascending rows whose residual is kept apart, and these.
    mapping, power, inverse, rest, lookup
        0: values are the numbers; 1: floats ``number / power``; 2: these
        rounded through float32; 3: floats with the numbers as their ordered bits; 4: the bits
        that `lookup` has for a number; 5: floats ``number * power``. If `inverse` is not 0,
        ``number * inverse + number * rest``, rounded once, is the quotient by `power`.
    width, out
        Bytes of a value, negative for float32, and what receives the values of the groups.
    """
    entries = np.empty(ENTRY_WORDS, np.uint64)
    # Made once: every view counts another reference, which takes as long as some rows.
    halves = entries.view(np.int32)
    nexts = entries.view(np.uint16)
    widths = entries.view(np.uint8)
    at, bits, most, plain = _open_table(words, head, entries)
    if at == _WRONG:
        return False
    for group in range(first_group):
        at += np.uint64(groups[group])
    planes = head[14]
    lane = head[8]
    rows = head[12]
    limit = np.uint64(head[11] - rows * head[4]) if head[4] else np.uint64(8 * head[15])
    plane_at = np.uint64(8 * first_group * plane_words(lane, planes))
    states = np.empty(4, np.uint64)
    begins = np.zeros((4, 2), np.int64)
    room = min(TILE, (lane + 15) & -16)
    tile = np.zeros(4 * room, np.int64)
    raw = tile.view(np.uint64)
    floats = tile.view(np.float64)
    spare = np.empty(4 * room, np.int64)
    starts = np.empty(4, np.uint64)
    apart = np.empty(8 * 4 * room, np.uint8)
    outs = as_all(out)
    aparts = as_all(apart)
    first = first_group * 4 * lane
    for group in range(first_group, groups.size + 1):
        start = group * 4 * lane
        total = min(4 * lane, rows - start)
        length = min(lane, total)
        at = _read_begins(words, at, bits, head[13], lane, total, states, begins)
        if at == _WRONG:
            return False
        done = np.int64(0)
        while done < length:
            steps = min(TILE, length - done)
            at = _decode_rows(
                words,
                at,
                head,
                entries,
                halves,
                nexts,
                widths,
                states,
                tile,
                total,
                done,
                steps,
                most,
                plain,
            )
            if at == _WRONG:
                return False
            if planes:
                add_planes(low_bits, plane_at, np.uint64(planes), steps, raw)
                plane_at += np.uint64(8 * tile_words(steps, planes))
            if head[4] or odd_rows.size:
                _mend(words, head, tile, start, total, done, steps, odd_rows, odd_residuals)
            restore(tile, steps, head[13], head[2], head[3], begins, spare)
            whole = done + steps <= total - 3 * lane
            for k in range(4):
                starts[k] = start - first + k * lane + done if whole else k * room
            if not whole:
                _fill_up(tile, steps, lane, total - done)
            if not write_values(
                tile, floats, steps, mapping, head[1], head[0], power, inverse, rest, lookup,
                width, outs if whole else aparts, starts,
            ):  # fmt: skip
                return False
            if not whole:
                _copy(aparts, room, outs, start - first + done, lane, steps, total - done, width)
            done += steps
        if at > limit:
            return False
    return True


@part
def _open_table(
    words: NDArray[np.uint64], head: NDArray[np.int64], entries: NDArray[np.uint64]
) -> tuple[np.uint64, np.uint64, np.uint64, bool]:
    """Lay out the table; return the position behind it, and what its entries take.

    That is the bits of a state, the most bits of a row, and whether no bin has plain bits. The
    position is all ones if the table is impossible.
    """
    sizes = np.empty(3, np.int64)
    bases = np.empty(256, np.int64)
    extras = np.empty(256, np.int64)
    kinds = np.empty(256, np.int64)
    moves = np.empty((8, 8), np.int64)
    frequencies = np.empty((8, 256), np.int64)
    at = read_table(words, np.uint64(head[5]), sizes, bases, extras, kinds, moves, frequencies)
    if at == _WRONG:
        return at, _ZERO, _ZERO, False
    plain = True
    for i in range(sizes[2]):
        plain = plain and extras[i] == 0
    if head[6] and not (plain and _pair_up(bases, sizes[2], head[6], head[7])):
        return _WRONG, _ZERO, _ZERO, False
    most = lay_out(sizes, bases, extras, kinds, moves, frequencies, entries)
    return at, np.uint64(sizes[0]), most, plain


@part
def _decode_rows(
    words: NDArray[np.uint64],
    at: np.uint64,
    head: NDArray[np.int64],
    entries: NDArray[np.uint64],
    halves: NDArray[np.int32],
    nexts: NDArray[np.uint16],
    widths: NDArray[np.uint8],
    states: NDArray[np.uint64],
    tile: NDArray[np.int64],
    total: int,
    done: int,
    steps: int,
    most: np.uint64,
    plain: bool,
) -> np.uint64:
    """Decode a tile of a group of `total` rows; return the position behind it, or all ones."""
    lane = head[8]
    paired = head[6] > 0
    end = np.uint64(8 * head[15])
    if total <= lane and not paired and most <= _MOST_OF_ONE:
        return decode_lane(words, at, end, entries, halves, nexts, widths, states, tile, steps)
    quick = 0
    if most <= _MOST_BITS:
        quick = max(0, min(steps, total - 3 * lane - done))
        if paired:
            quick &= -2
    if quick > 0:
        at = decode_tile(
            words, at, end, entries, halves, nexts, widths, states, tile, quick, most, plain, paired
        )
    if quick < steps and at != _WRONG:
        at = one_by_one(
            words,
            at,
            entries,
            halves,
            nexts,
            widths,
            states,
            tile,
            lane,
            total,
            done + quick,
            done + steps,
            quick,
            paired,
        )
    return at


@part
def _mend(
    words: NDArray[np.uint64],
    head: NDArray[np.int64],
    tile: NDArray[np.int64],
    start: int,
    total: int,
    done: int,
    steps: int,
    odd_rows: NDArray[np.int64],
    odd_residuals: NDArray[np.int64],
) -> None:
    """Put low bits that stand row by row under the residuals of a tile, and outliers in place."""
    lane = head[8]
    low = np.uint64(head[4])
    for k in range(4):
        size = min(steps, total - k * lane - done)
        row = start + k * lane + done
        if low and size > 0:
            first = np.uint64(head[11] - head[12] * head[4]) + np.uint64(row) * low
            add_low(words, first, low, size, tile, k)
        if odd_rows.size and size > 0:
            patch(odd_rows, odd_residuals, row, row + size, tile, k)


@part
def _fill_up(tile: NDArray[np.int64], steps: int, lane: int, left: int) -> None:
    """Give lanes that end in a tile a number that has a value; `left` rows are in a group."""
    for k in range(1, 4):
        for i in range(max(0, left - k * lane), steps):
            tile[4 * i + k] = tile[4 * i]


@part
def _copy_lanes(
    values: NDArray[Any], room: int, out: NDArray[Any], to: int, lane: int, steps: int, left: int
) -> None:
    """Copy of every lane what it has; `left` rows are left of a group, and `room` is for each."""
    for k in range(4):
        begin = np.uint64(k * room)
        goal = np.uint64(to + k * lane)
        for i in range(np.uint64(max(0, min(steps, left - k * lane)))):
            out[goal + i] = values[begin + i]


@part
def _copy(
    values: Any, room: int, outs: Any, to: int, lane: int, steps: int, left: int, width: int
) -> None:
    """Copy values of so many bytes."""
    if width == 8:
        _copy_lanes(values[0], room, outs[0], to, lane, steps, left)
    elif abs(width) == 4:
        _copy_lanes(values[3], room, outs[3], to, lane, steps, left)
    elif width == 2:
        _copy_lanes(values[4], room, outs[4], to, lane, steps, left)
    else:
        _copy_lanes(values[5], room, outs[5], to, lane, steps, left)


@part
def _pair_up(bases: NDArray[np.int64], bins: np.int64, bits: np.int64, least: np.int64) -> bool:
    """Put both residuals of every bin into its base; False if they are too far from zero."""
    mask = (np.int64(1) << bits) - np.int64(1)
    for i in range(bins):
        one = (bases[i] >> bits) + least
        two = (bases[i] & mask) + least
        if bases[i] < 0 or abs(one) >= _MAX_PAIR or abs(two) >= _MAX_PAIR:
            return False
        bases[i] = (one << _HALF) | (two & _LOW_HALF)
    return True


@part
def _read_begins(
    words: NDArray[np.uint64],
    at: np.uint64,
    bits: np.uint64,
    predictor: int,
    lane: int,
    total: int,
    states: NDArray[np.uint64],
    begins: NDArray[np.int64],
) -> np.uint64:
    """Read the state of every lane that has rows, and where its predictor begins."""
    mask = (_ONE << bits) - _ONE
    value = np.int64(0)
    for k in range(4):
        states[k] = _ZERO
        if k * lane < total:
            if not fits(words, at):
                return _WRONG
            states[k] = window(words, at) & mask
            at += bits
            if predictor > 0:
                step, at = take_number(words, at)
                value += step
                begins[k, 0] = value
            if predictor == 2:
                begins[k, 1], at = take_number(words, at)
            elif predictor > 2:
                fraction = _SMOOTH_BITS if predictor == 3 else _GRID_BITS
                begins[k, 0] = (value << fraction) + (np.int64(1) << (fraction - np.int64(1)))
    return at
