"""Loops over rows that are marked: left out of a stream and put back, repeated, mended.

Marked rows come as `lengths`: rows of stretches that are not marked and that are, in turn. They
are not negative, and add up to the rows there are. All values are unsigned bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part, wide_loop

__all__ = [
    "add_runs",
    "add_up",
    "count_up",
    "expand",
    "hold",
    "interleave",
    "mend",
    "overwrite",
    "pick",
    "repeat",
    "surround",
]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_EIGHT = np.uint64(8)


@part
def _fill(values: NDArray[Any], at: np.uint64, stop: np.uint64, number: Any) -> None:
    """Fill rows up to `stop`, and perhaps a few behind, which are written later.

    Where short stretches come in any order, a processor cannot guess how many rows there are; to
    write eight in any case takes a quarter of what a wrong guess does.
    """
    if stop - at <= _EIGHT and at + _EIGHT <= np.uint64(values.size):
        for i in range(_EIGHT):
            values[at + i] = number
    else:
        for i in range(at, stop):
            values[i] = number


@part
def _copy(
    values: NDArray[Any], first: np.uint64, rows: NDArray[Any], at: np.uint64, stop: np.uint64
) -> None:
    """Copy rows up to `stop`, and perhaps a few behind, which are written later."""
    fits = at + _EIGHT <= np.uint64(rows.size) and first + _EIGHT <= np.uint64(values.size)
    if stop - at <= _EIGHT and fits:
        for i in range(_EIGHT):
            rows[at + i] = values[first + i]
    else:
        for i in range(stop - at):
            rows[at + i] = values[first + i]


@loop
def count_up(first: np.uint64, step: np.uint64, values: NDArray[Any]) -> None:
    """Write ``first + i * step``, modulo the width of the values."""
    for i in range(np.uint64(values.size)):
        values[i] = first + i * step


@wide_loop
def repeat(numbers: NDArray[Any], more: NDArray[np.uint64], values: NDArray[Any]) -> None:
    """Write each number once and `more` times; that adds up to the rows there are."""
    at = _ZERO
    for k in range(np.uint64(numbers.size)):
        stop = at + more[k] + _ONE
        _fill(values, at, stop, numbers[k])
        at = stop


@wide_loop
def add_runs(
    steps: NDArray[np.uint64],
    more: NDArray[np.uint64],
    start: np.uint64,
    values: NDArray[np.uint64],
) -> None:
    """Write `start`, and behind it add each step once and `more` times."""
    values[0] = start
    number = start
    at = _ONE
    for k in range(np.uint64(steps.size)):
        step = steps[k]
        rows = more[k] + _ONE
        if rows <= _EIGHT and at + _EIGHT <= np.uint64(values.size):
            for i in range(_EIGHT):
                values[at + i] = number + (i + _ONE) * step
        else:
            for i in range(rows):
                values[at + i] = number + (i + _ONE) * step
        number += rows * step
        at += rows


@loop
def hold(values: NDArray[Any], keep: NDArray[np.bool_], held: NDArray[Any]) -> None:
    """Write to every row the value of the last row that is kept, up to there of the first one.

    At least one row is kept.
    """
    first = np.uint64(0)
    while not keep[first]:
        first += np.uint64(1)
    last = np.uint64(values[first])
    for i in range(np.uint64(values.size)):
        left_out = np.uint64(keep[i]) - np.uint64(1)
        last = (np.uint64(values[i]) & ~left_out) | (last & left_out)
        held[i] = last


@loop
def pick(values: NDArray[Any], keep: NDArray[np.bool_], picked: NDArray[Any]) -> None:
    """Write the values that are kept, one after the other; `picked` has room for one more."""
    at = np.uint64(0)
    for i in range(np.uint64(values.size)):
        picked[at] = values[i]
        at += np.uint64(keep[i])


@loop
def surround(listed: NDArray[np.uint64], rows: np.uint64, lengths: NDArray[np.int64]) -> bool:
    """Write the rows of stretches around single `listed` rows; False if these do not ascend.

    `lengths` begins with the rows before the first, and has one for each listed row and one for
    the rows behind it.
    """
    lengths[0] = rows
    before = _ZERO
    for k in range(np.uint64(listed.size)):
        row = listed[k]
        if row < before or row >= rows:
            return False
        lengths[_TWO * k] = row - before
        lengths[_TWO * k + _ONE] = 1
        before = row + _ONE
        lengths[_TWO * k + _TWO] = rows - before
    return True


@loop
def interleave(
    others: NDArray[np.uint64],
    marked: NDArray[np.uint64],
    rows: np.uint64,
    lengths: NDArray[np.int64],
) -> int:
    """Write lengths of stretches in turn, first of the `others`; return how many rows are marked.

    Returns -1 if the stretches are not so many `rows`.
    """
    left = rows
    count = _ZERO
    for k in range(np.uint64(lengths.size)):
        length = marked[k >> _ONE] if k & _ONE else others[k >> _ONE]
        if length > left:
            return -1
        left -= length
        count += length if k & _ONE else _ZERO
        lengths[k] = length
    return np.int64(count) if left == _ZERO else np.int64(-1)  # type: ignore[return-value]


@loop
def add_up(more: NDArray[np.uint64], rows: np.uint64) -> bool:
    """Tell whether stretches of one row and so many `more` are all the `rows` there are."""
    left = rows
    for k in range(np.uint64(more.size)):
        if more[k] >= left:
            return False
        left -= more[k] + _ONE
    return left == _ZERO


@wide_loop
def expand(
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    fill: np.uint64,
    all_rows: NDArray[Any],
    valid: NDArray[np.bool_],
) -> None:
    """Write `values` to the rows that are not marked, and `fill` to the others.

    There are exactly as many values as rows that are not marked. `valid` receives which rows
    these are, unless it is empty.
    """
    told = valid.size > 0
    taken = _ZERO
    at = _ZERO
    marked = False
    for k in range(np.uint64(lengths.size)):
        stop = at + np.uint64(lengths[k])
        if marked:
            _fill(all_rows, at, stop, fill)
        else:
            _copy(values, taken, all_rows, at, stop)
            taken += stop - at
        if told:
            _fill(valid, at, stop, not marked)
        at = stop
        marked = not marked


@loop
def overwrite(
    lengths: NDArray[np.int64], fill: np.uint64, values: NDArray[Any], valid: NDArray[np.bool_]
) -> None:
    """Write `fill` to the rows that are marked, and False to `valid`, unless it is empty."""
    told = valid.size > 0
    at = _ZERO
    for k in range(np.uint64(lengths.size)):
        stop = at + np.uint64(lengths[k])
        if k & _ONE:
            for i in range(at, stop):
                values[i] = fill
            if told:
                for i in range(at, stop):
                    valid[i] = False
        at = stop


@loop
def mend(
    bits: NDArray[Any], floats: bool, lengths: NDArray[np.int64], steps: NDArray[np.uint64]
) -> None:
    """Add zigzagged `steps` to the images of the values that are marked, in place.

    Parameters
    ----------
    bits
        Of a width; images of `floats` are in the order of the values.
    lengths
    steps
        One for each row that is marked, taken modulo the width.
    """
    top = np.uint64(8 * bits.itemsize - 1)
    sign = _ONE << top
    flip = sign - _ONE if floats else _ZERO
    at = _ZERO
    taken = _ZERO
    for k in range(np.uint64(lengths.size)):
        stop = at + np.uint64(lengths[k])
        if k & _ONE:
            behind = taken - at
            for i in range(at, stop):
                number = np.uint64(bits[i])
                number ^= (_ZERO - (number >> top)) & flip
                step = steps[i + behind]
                number += (step >> _ONE) ^ (_ZERO - (step & _ONE))
                number ^= (_ZERO - ((number >> top) & _ONE)) & flip
                bits[i] = number
            taken += stop - at
        at = stop
