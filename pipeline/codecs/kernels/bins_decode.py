"""The loop behind decoding laned streams: entropy stage, predictor and mapping in one pass.

Rows are decoded in tiles that stay in the processor's nearest cache: first the residuals of four
lanes at a time, whose states do not wait for each other, then the predictor, then the mapping to
the values. A 65,536-row block of decimals takes 2.5 ns a row that way, half of it in the first
step; three passes over the whole block took 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_table import lay_out, read_table
from pipeline.codecs.kernels.bits import fits, take_number, window
from pipeline.codecs.kernels.block_loop import loop, part
from pipeline.codecs.kernels.lanes import missed

__all__ = ["decode_lanes"]

_TILE = 256
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_SIX_BITS = np.uint64(63)
_WIDTH_SHIFT = np.uint64(6)
_WIDTH_MASK = np.uint64(15)
_NEXT_SHIFT = np.uint64(10)
_NEXT_MASK = np.uint64(32767)
_BASE_SHIFT = np.int64(25)
_PAIR_SHIFT = np.int64(19)
_UNUSED = np.int64(64 - 19)
_MAX_PAIR = np.int64(1 << 18)
_WRONG = ~np.uint64(0)
_SMOOTH_BITS = np.int64(8)
_GRID_BITS = np.int64(10)
_SIGN = np.int64(63)
_ALL_BUT_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)
_FAR_SHIFT = np.int64(52)
_MAGIC = np.int64(0x4338000000000000)
_LEAST = _MAGIC - np.int64(1 << 51)
_MAGIC_FLOAT = 6755399441055744.0
"""1.5 * 2**52: a whole number from -2**51 up to below 2**51, added to its bits, makes the float
of their sum."""


@part
def _row(entry: np.uint64, bits: np.uint64) -> tuple[np.int64, np.uint64, np.uint64]:
    """Return the residual of an entry, the next entry, and the bits that both took."""
    width = (entry >> _WIDTH_SHIFT) & _WIDTH_MASK
    taken = entry & _SIX_BITS
    following = ((entry >> _NEXT_SHIFT) & _NEXT_MASK) + (bits & ((_ONE << width) - _ONE))
    above = (bits & ((_ONE << taken) - _ONE)) >> width
    return (np.int64(entry) >> _BASE_SHIFT) + np.int64(above), following, taken


@part
def _plain_row(entry: np.uint64, bits: np.uint64) -> tuple[np.int64, np.uint64, np.uint64]:
    """Do what `_row` does where no bin has plain bits."""
    taken = entry & _SIX_BITS
    following = ((entry >> _NEXT_SHIFT) & _NEXT_MASK) + (bits & ((_ONE << taken) - _ONE))
    return np.int64(entry) >> _BASE_SHIFT, following, taken


@part
def _store(out: NDArray[np.int64], at: np.uint64, residual: np.int64) -> None:
    """Store the residual of a row."""
    out[at] = residual


@part
def _store_pair(out: NDArray[np.int64], at: np.uint64, pair: np.int64) -> None:
    """Store the residuals of two rows, 19 bits each."""
    second = (pair << _UNUSED) >> _UNUSED
    out[at] = (pair - second) >> _PAIR_SHIFT
    out[at + _ONE] = second


def _make_four(
    windows: int, row: Callable[..., Any], store: Callable[..., Any], step: np.uint64
) -> Callable[..., Any]:
    """Return a loop that decodes a tile of four lanes with so many windows for four rows."""

    @part
    def four(
        words: NDArray[np.uint64],
        at: np.uint64,
        entries: NDArray[np.uint64],
        states: NDArray[np.uint64],
        out: NDArray[np.int64],
        start: int,
        lane: int,
        rows: int,
    ) -> np.uint64:
        last = np.uint64(words.size - 1)
        a = states[0]
        b = states[1]
        c = states[2]
        d = states[3]
        to_a = np.uint64(start)
        to_b = np.uint64(start + lane)
        to_c = np.uint64(start + 2 * lane)
        to_d = np.uint64(start + 3 * lane)
        for _ in range(rows):
            if at >> _WIDTH_SHIFT >= last:
                return _WRONG
            bits = window(words, at)
            residual, a, taken = row(entries[a], bits)
            store(out, to_a, residual)
            at += taken
            bits >>= taken
            residual, b, taken = row(entries[b], bits)
            store(out, to_b, residual)
            at += taken
            bits >>= taken
            if windows == 2:
                if at >> _WIDTH_SHIFT >= last:
                    return _WRONG
                bits = window(words, at)
            residual, c, taken = row(entries[c], bits)
            store(out, to_c, residual)
            at += taken
            bits >>= taken
            residual, d, taken = row(entries[d], bits)
            store(out, to_d, residual)
            at += taken
            to_a += step
            to_b += step
            to_c += step
            to_d += step
        states[0] = a
        states[1] = b
        states[2] = c
        states[3] = d
        return at

    return four


_four_pairs = _make_four(1, _plain_row, _store_pair, _TWO)
_four_plain = _make_four(1, _plain_row, _store, _ONE)
_four_of_one = _make_four(1, _row, _store, _ONE)
_four_of_two = _make_four(2, _row, _store, _ONE)


@part
def _one_by_one(
    words: NDArray[np.uint64],
    at: np.uint64,
    entries: NDArray[np.uint64],
    states: NDArray[np.uint64],
    out: NDArray[np.int64],
    start: int,
    lane: int,
    total: int,
    begin: int,
    end: int,
    paired: bool,
) -> np.uint64:
    """Decode rows `begin` up to `end` of lanes that have no other loop; `total` rows in all."""
    row = begin
    while row < end:
        for k in range(4):
            i = k * lane + row
            if i < total:
                if not fits(words, at):
                    return _WRONG
                residual, states[k], taken = _row(entries[states[k]], window(words, at))
                at += taken
                if paired:
                    _store_pair(out, np.uint64(start + i), residual)
                else:
                    out[start + i] = residual
        row += 2 if paired else 1
    return at


@part
def _add_low(
    words: NDArray[np.uint64],
    at: np.uint64,
    low: np.uint64,
    rows: int,
    out: NDArray[np.int64],
    start: np.uint64,
) -> None:
    """Put the `low` bits of every row, which stand apart from `at` on, under its residual."""
    mask = (_ONE << low) - _ONE
    shift = np.int64(low)
    to = start
    for _ in range(rows):
        out[to] = (out[to] << shift) | np.int64(window(words, at) & mask)
        at += low
        to += _ONE


@part
def _restore(
    out: NDArray[np.int64],
    at: np.uint64,
    rows: int,
    predictor: int,
    shift: np.int64,
    period: np.int64,
    begins: NDArray[np.int64],
    constant: np.int64,
) -> None:
    """Undo a predictor in one lane's part of a tile; `begins` holds where it stands."""
    value = begins[0]
    if predictor == 0:
        for _ in range(rows):
            out[at] += constant
            at += _ONE
    elif predictor == 1:
        value += constant
        for _ in range(rows):
            value += out[at]
            out[at] = value
            at += _ONE
        value -= constant
    elif predictor == 2:
        slope = begins[1]
        value += constant
        for _ in range(rows):
            slope += out[at]
            value += slope
            out[at] = value
            at += _ONE
        value -= constant
        begins[1] = slope
    elif predictor == 3:
        for _ in range(rows):
            residual = out[at]
            out[at] = residual + (value >> _SMOOTH_BITS) + constant
            value += residual << shift
            at += _ONE
    else:
        for _ in range(rows):
            residual = out[at]
            out[at] = residual + (value >> _GRID_BITS) + constant
            late = residual << _GRID_BITS
            steps = missed(late, period)
            if steps:
                value += steps * period
                late -= steps * period
            value += period + (late >> shift)
            at += _ONE
    begins[0] = value


@part
def _map(
    numbers: NDArray[np.int64],
    floats: NDArray[np.float64],
    start: np.uint64,
    rows: int,
    mapping: int,
    scale: np.int64,
    offset: np.int64,
    power: float,
    lookup: NDArray[np.int64],
) -> bool:
    """Turn one lane's part of a tile into values in place; False if one has no entry."""
    stop = start + np.uint64(rows)
    if scale != 1:
        for i in range(start, stop):
            numbers[i] = numbers[i] * scale + offset
    if mapping == 1 or mapping == 2 or mapping == 5:
        outside = np.int64(0)
        for i in range(start, stop):
            outside |= (numbers[i] - _LEAST) >> _FAR_SHIFT
        if outside:  # too large for the short way
            for i in range(start, stop):
                floats[i] = np.float64(numbers[i] - _MAGIC)
        else:
            for i in range(start, stop):
                floats[i] = floats[i] - _MAGIC_FLOAT
        if mapping == 5:
            for i in range(start, stop):
                floats[i] = floats[i] * power
        else:
            for i in range(start, stop):
                floats[i] = floats[i] / power
        if mapping == 2:
            for i in range(start, stop):
                floats[i] = np.float64(np.float32(floats[i]))
    elif mapping == 3:
        for i in range(start, stop):
            numbers[i] ^= (numbers[i] >> _SIGN) & _ALL_BUT_SIGN
    elif mapping == 4:
        beyond = np.uint64(lookup.size)
        for i in range(start, stop):
            entry = np.uint64(numbers[i])
            if entry >= beyond:
                return False
            numbers[i] = lookup[entry]
    return True


@part
def _patch(
    rows: NDArray[np.int64],
    residuals: NDArray[np.int64],
    start: int,
    stop: int,
    first: int,
    out: NDArray[np.int64],
) -> None:
    """Write the residuals of the rows from `start` up to `stop` that are kept apart."""
    low = 0
    high = rows.size
    while low < high:
        middle = (low + high) >> 1
        if rows[middle] < start:
            low = middle + 1
        else:
            high = middle
    while low < rows.size and rows[low] < stop:
        out[rows[low] - first] = residuals[low]
        low += 1


@loop
def decode_lanes(
    words: NDArray[np.uint64],
    head: NDArray[np.int64],
    groups: NDArray[np.int64],
    first_group: int,
    odd_rows: NDArray[np.int64],
    odd_residuals: NDArray[np.int64],
    mapping: int,
    power: float,
    lookup: NDArray[np.int64],
    numbers: NDArray[np.int64],
    floats: NDArray[np.float64],
) -> bool:
    """Decode whole groups of four lanes; False if the stream is impossible.

    Parameters
    ----------
    words
        The bit stream with two words of zeros behind it: the table, the groups right behind it,
        and at the end the low bits of all rows.
    head
        Offset, scale (a number is ``multiple * scale + offset``), shift, period, low bits, bits
        before the table, bits of a pair, smallest of a pair, rows of a lane, two that do not
        matter here, bits of the stream, rows of the block, predictor
        (`pipeline.codecs.kernels.bins_stream.read_head`). If a pair has bits, a bin is a pair of
        residuals, the second in so many low bits; both are counted from the smallest, and rows
        and lanes are even.
    groups
        Bits of every group but the last one wanted.
    first_group
        Where to begin; decoded are all groups up to ``groups.size`` inclusive.
    odd_rows, odd_residuals
        Ascending rows whose residual is kept apart, and these.
    mapping, power, lookup
        0: values are the numbers; 1: floats ``number / power``; 2: these
        rounded through float32; 3: floats with the numbers as their ordered bits; 4: the bits
        that `lookup` has for a number; 5: floats ``number * power``.
    numbers, floats
        Receive the values of the groups; the same memory twice.
    """
    sizes = np.empty(3, np.int64)
    bases = np.empty(256, np.int64)
    extras = np.empty(256, np.int64)
    kinds = np.empty(256, np.int64)
    moves = np.empty((8, 8), np.int64)
    frequencies = np.empty((8, 256), np.int64)
    at = read_table(words, np.uint64(head[5]), sizes, bases, extras, kinds, moves, frequencies)
    if at == _WRONG:
        return False
    plain = True
    for i in range(sizes[2]):
        plain = plain and extras[i] == 0
    paired = head[6] > 0
    if paired and not (plain and _pair_up(bases, sizes[2], head[6], head[7])):
        return False
    entries = np.empty(sizes[1] << sizes[0], np.uint64)
    most = lay_out(sizes, bases, extras, kinds, moves, frequencies, entries)
    for group in range(first_group):
        at += np.uint64(groups[group])
    offset = head[0]
    scale = head[1]
    low = np.uint64(head[4])
    lane = head[8]
    rows = head[12]
    predictor = head[13]
    low_at = np.uint64(head[11] - rows * head[4])
    constant = np.int64(0)
    if mapping == 1 or mapping == 2 or mapping == 5:
        offset += _MAGIC
    if scale == 1:
        constant = offset
    states = np.empty(4, np.uint64)
    begins = np.zeros((4, 2), np.int64)
    first = first_group * 4 * lane
    for group in range(first_group, groups.size + 1):
        start = group * 4 * lane
        total = min(4 * lane, rows - start)
        length = min(lane, total)
        at = _read_begins(words, at, np.uint64(sizes[0]), predictor, lane, total, states, begins)
        if at == _WRONG:
            return False
        common = max(0, total - 3 * lane)
        done = np.int64(0)
        while done < length:
            tile = min(_TILE, common - done) if done < common else length - done
            to = start - first + done
            if done >= common or most > 32:
                at = _one_by_one(
                    words, at, entries, states, numbers, start - first, lane, total, done,
                    done + tile, paired,
                )  # fmt: skip
            elif paired:
                at = _four_pairs(words, at, entries, states, numbers, to, lane, tile >> 1)
            elif plain:
                at = _four_plain(words, at, entries, states, numbers, to, lane, tile)
            elif most <= 16:
                at = _four_of_one(words, at, entries, states, numbers, to, lane, tile)
            else:
                at = _four_of_two(words, at, entries, states, numbers, to, lane, tile)
            if at == _WRONG:
                return False
            for k in range(4):
                begin = k * lane + done
                size = min(tile, total - begin, lane - done)
                if size <= 0:
                    break
                place = np.uint64(to + k * lane)
                if low:
                    below = low_at + np.uint64(start + begin) * low
                    _add_low(words, below, low, size, numbers, place)
                if odd_rows.size:
                    stop = start + begin + size
                    _patch(odd_rows, odd_residuals, start + begin, stop, first, numbers)
                _restore(numbers, place, size, predictor, head[2], head[3], begins[k], constant)
                if not _map(numbers, floats, place, size, mapping, scale, offset, power, lookup):
                    return False
            done += tile
    return True


@part
def _pair_up(bases: NDArray[np.int64], bins: np.int64, bits: np.int64, least: np.int64) -> bool:
    """Put both residuals of every bin into its base; False if they are too far from zero."""
    mask = (np.int64(1) << bits) - np.int64(1)
    for i in range(bins):
        one = (bases[i] >> bits) + least
        two = (bases[i] & mask) + least
        if bases[i] < 0 or abs(one) >= _MAX_PAIR or abs(two) >= _MAX_PAIR:
            return False
        bases[i] = (one << _PAIR_SHIFT) + two
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
