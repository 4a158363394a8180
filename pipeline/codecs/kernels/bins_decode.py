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

from pipeline.codecs.kernels.bins_table import fits, lay_out, read_number, read_table, window
from pipeline.codecs.kernels.block_loop import loop

__all__ = ["decode_lanes"]

_TILE = 256
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SIX_BITS = np.uint64(63)
_WIDTH_SHIFT = np.uint64(6)
_WIDTH_MASK = np.uint64(15)
_NEXT_SHIFT = np.uint64(10)
_NEXT_MASK = np.uint64(32767)
_BASE_SHIFT = np.int64(25)
_WRONG = ~np.uint64(0)
_MAGIC = np.int64(0x4338000000000000)
_LEAST = _MAGIC - np.int64(1 << 51)
_MAGIC_FLOAT = 6755399441055744.0
"""1.5 * 2**52: a whole number from -2**51 up to below 2**51, added to its bits, makes the float
of their sum."""


@loop
def _row(entry: np.uint64, bits: np.uint64) -> tuple[np.int64, np.uint64, np.uint64]:
    """Return the residual of an entry, the next entry, and the bits that both took."""
    width = (entry >> _WIDTH_SHIFT) & _WIDTH_MASK
    taken = entry & _SIX_BITS
    following = ((entry >> _NEXT_SHIFT) & _NEXT_MASK) + (bits & ((_ONE << width) - _ONE))
    above = (bits >> width) & ((_ONE << (taken - width)) - _ONE)
    return (np.int64(entry) >> _BASE_SHIFT) + np.int64(above), following, taken


def _make_four(windows: int) -> Callable[..., Any]:
    """Return a loop that decodes a tile of four lanes with so many windows for four rows."""

    @loop
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
            out[to_a], a, taken = _row(entries[a], bits)
            at += taken
            if windows == 4:
                if at >> _WIDTH_SHIFT >= last:
                    return _WRONG
                bits = window(words, at)
            else:
                bits >>= taken
            out[to_b], b, taken = _row(entries[b], bits)
            at += taken
            if windows > 1:
                if at >> _WIDTH_SHIFT >= last:
                    return _WRONG
                bits = window(words, at)
            else:
                bits >>= taken
            out[to_c], c, taken = _row(entries[c], bits)
            at += taken
            if windows == 4:
                if at >> _WIDTH_SHIFT >= last:
                    return _WRONG
                bits = window(words, at)
            else:
                bits >>= taken
            out[to_d], d, taken = _row(entries[d], bits)
            at += taken
            to_a += _ONE
            to_b += _ONE
            to_c += _ONE
            to_d += _ONE
        states[0] = a
        states[1] = b
        states[2] = c
        states[3] = d
        return at

    return four


_four_of_one = _make_four(1)
_four_of_two = _make_four(2)
_four_of_four = _make_four(4)


@loop
def _tail(
    words: NDArray[np.uint64],
    at: np.uint64,
    entries: NDArray[np.uint64],
    states: NDArray[np.uint64],
    out: NDArray[np.int64],
    start: int,
    lane: int,
    total: int,
    done: int,
) -> np.uint64:
    """Decode what the four lanes do not have in common; `total` rows in all lanes."""
    for row in range(done, min(lane, total)):
        for k in range(4):
            if k * lane + row < min(total, (k + 1) * lane):
                if not fits(words, at):
                    return _WRONG
                value, states[k], taken = _row(entries[states[k]], window(words, at))
                out[start + k * lane + row] = value
                at += taken
    return at


@loop
def _add_low(
    words: NDArray[np.uint64],
    low_at: int,
    low: int,
    first: int,
    rows: int,
    out: NDArray[np.int64],
    start: int,
) -> None:
    """Put the `low` bits of every row, which stand apart, under its residual."""
    mask = (_ONE << np.uint64(low)) - _ONE
    at = np.uint64(low_at + first * low)
    for i in range(start, start + rows):
        out[i] = (out[i] << np.int64(low)) | np.int64(window(words, at) & mask)
        at += np.uint64(low)


@loop
def _restore(
    out: NDArray[np.int64],
    start: int,
    rows: int,
    predictor: int,
    shift: int,
    period: np.int64,
    begin: NDArray[np.int64],
    constant: np.int64,
) -> None:
    """Undo a predictor in one lane's part of a tile; `begin` holds where it stands."""
    at = np.uint64(start)
    value = begin[0]
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
        begin[0] = value - constant
    elif predictor == 2:
        slope = begin[1]
        value += constant
        for _ in range(rows):
            slope += out[at]
            value += slope
            out[at] = value
            at += _ONE
        begin[0] = value - constant
        begin[1] = slope
    elif predictor == 3:
        for _ in range(rows):
            residual = out[at]
            out[at] = residual + (value >> np.int64(8)) + constant
            value += residual << np.int64(shift)
            at += _ONE
        begin[0] = value
    else:
        half = period >> np.int64(1)
        for _ in range(rows):
            residual = out[at]
            out[at] = residual + (value >> np.int64(10)) + constant
            late = residual << np.int64(10)
            if late > half or late < -half:
                steps = _steps(late, period)
                value += steps * period
                late -= steps * period
            value += period + (late >> np.int64(shift))
            at += _ONE
        begin[0] = value


@loop
def _steps(late: np.int64, period: np.int64) -> np.int64:
    """Return how many periods, rounded, a row is late; none when it is early."""
    if late < 0:
        return np.int64(0)
    return (late + (period >> np.int64(1))) // period


@loop
def _map(
    numbers: NDArray[np.int64],
    floats: NDArray[np.float64],
    start: int,
    rows: int,
    mapping: int,
    scale: np.int64,
    offset: np.int64,
    power: float,
    lookup: NDArray[np.int64],
) -> bool:
    """Turn one lane's part of a tile into values in place; False if one has no entry."""
    at = np.uint64(start)
    if scale != 1:
        for i in range(rows):
            numbers[at + np.uint64(i)] = numbers[at + np.uint64(i)] * scale + offset
    if mapping == 1 or mapping == 2:
        outside = np.int64(0)
        for i in range(rows):
            outside |= (numbers[at + np.uint64(i)] - _LEAST) >> np.int64(52)
        if outside:
            _divide(numbers, floats, at, rows, power)
        else:
            for i in range(rows):
                floats[at + np.uint64(i)] = (floats[at + np.uint64(i)] - _MAGIC_FLOAT) / power
        if mapping == 2:
            for i in range(rows):
                floats[at + np.uint64(i)] = np.float64(np.float32(floats[at + np.uint64(i)]))
    elif mapping == 3:
        for i in range(rows):
            number = numbers[at + np.uint64(i)]
            flipped = (number >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF)
            numbers[at + np.uint64(i)] = number ^ flipped
    elif mapping == 4:
        beyond = np.uint64(lookup.size)
        for i in range(rows):
            entry = np.uint64(numbers[at + np.uint64(i)])
            if entry >= beyond:
                return False
            numbers[at + np.uint64(i)] = lookup[entry]
    return True


@loop
def _divide(
    numbers: NDArray[np.int64], floats: NDArray[np.float64], at: np.uint64, rows: int, power: float
) -> None:
    """Divide numbers that are too large for the short way."""
    for i in range(rows):
        floats[at + np.uint64(i)] = np.float64(numbers[at + np.uint64(i)] - _MAGIC) / power


@loop
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
    table_at: np.uint64,
    low_at: int,
    low: int,
    lane: int,
    rows: int,
    groups: NDArray[np.int64],
    first_group: int,
    predictor: int,
    shift: int,
    period: np.int64,
    odd_rows: NDArray[np.int64],
    odd_residuals: NDArray[np.int64],
    scale: np.int64,
    offset: np.int64,
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
        The bit stream with two words of zeros behind it: the table from bit `table_at` on, the
        groups right behind it, and at bit `low_at` the low bits of all rows.
    low, lane, rows
        Low bits that stand apart; rows of a lane; rows of the block.
    groups
        Bits of every group but the last one wanted.
    first_group
        Where to begin; decoded are all groups up to ``groups.size`` inclusive.
    predictor, shift, period
        As in `pipeline.codecs.lanes`.
    odd_rows, odd_residuals
        Ascending rows whose residual is kept apart, and these.
    scale, offset
        A number is ``multiple * scale + offset``.
    mapping, power, lookup
        0: values are the numbers; 1: floats ``number / power``; 2: these
        rounded through float32; 3: floats with the numbers as their ordered bits; 4: the bits
        that `lookup` has for a number.
    numbers, floats
        Receive the values of the groups; the same memory twice.
    """
    sizes = np.empty(3, np.int64)
    bases = np.empty(256, np.int64)
    extras = np.empty(256, np.int64)
    kinds = np.empty(256, np.int64)
    moves = np.empty((8, 8), np.int64)
    frequencies = np.empty((8, 256), np.int64)
    at = read_table(words, table_at, sizes, bases, extras, kinds, moves, frequencies)
    if at == _WRONG:
        return False
    entries = np.empty(sizes[1] << sizes[0], np.uint64)
    most = lay_out(sizes, bases, extras, kinds, moves, frequencies, entries)
    for group in range(first_group):
        at += np.uint64(groups[group])
    constant = offset if scale == 1 else np.int64(0)
    if mapping == 1 or mapping == 2:
        if scale == 1:
            constant += _MAGIC
        else:
            offset += _MAGIC
    states = np.empty(4, np.uint64)
    begins = np.zeros((4, 2), np.int64)
    first = first_group * 4 * lane
    for group in range(first_group, groups.size + 1):
        start = group * 4 * lane
        total = min(4 * lane, rows - start)
        length = min(lane, total)
        at = _read_begins(words, at, np.int64(sizes[0]), predictor, lane, total, states, begins)
        if at == _WRONG:
            return False
        common = max(0, total - 3 * lane)
        done = 0
        while done < length:
            tile = min(_TILE, common - done) if done < common else length - done
            to = start - first + done
            if done >= common:
                at = _tail(words, at, entries, states, numbers, start - first, lane, total, done)
            elif most <= 16:
                at = _four_of_one(words, at, entries, states, numbers, to, lane, tile)
            elif most <= 32:
                at = _four_of_two(words, at, entries, states, numbers, to, lane, tile)
            else:
                at = _four_of_four(words, at, entries, states, numbers, to, lane, tile)
            if at == _WRONG:
                return False
            for k in range(4):
                begin = k * lane + done
                size = min(tile, min(total, (k + 1) * lane) - begin)
                if size <= 0:
                    break
                to = start - first + begin
                if low:
                    _add_low(words, low_at, low, start + begin, size, numbers, to)
                if odd_rows.size:
                    stop = start + begin + size
                    _patch(odd_rows, odd_residuals, start + begin, stop, first, numbers)
                _restore(numbers, to, size, predictor, shift, period, begins[k], constant)
                if not _map(numbers, floats, to, size, mapping, scale, offset, power, lookup):
                    return False
            done += tile
    return True


@loop
def _read_begins(
    words: NDArray[np.uint64],
    at: np.uint64,
    bits: int,
    predictor: int,
    lane: int,
    total: int,
    states: NDArray[np.uint64],
    begins: NDArray[np.int64],
) -> np.uint64:
    """Read the state of every lane that has rows, and where its predictor begins."""
    mask = (_ONE << np.uint64(bits)) - _ONE
    value = np.int64(0)
    for k in range(4):
        states[k] = _ZERO
        if k * lane < total:
            if not fits(words, at):
                return _WRONG
            states[k] = window(words, at) & mask
            at += np.uint64(bits)
            if predictor > 0:
                step, at = read_number(words, at)
                value += step
                begins[k, 0] = value
            if predictor == 2:
                begins[k, 1], at = read_number(words, at)
            elif predictor > 2:
                fraction = np.int64(8 if predictor == 3 else 10)
                half = np.int64(1) << (fraction - np.int64(1))
                begins[k, 0] = (value << fraction) + half
    return at
