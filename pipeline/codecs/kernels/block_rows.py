"""Loops over rows that are left out of a stream, and put back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["hold", "mark_stretches", "mend", "pick", "put_back"]


@loop
def mark_stretches(lengths: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
    """Write stretches of rows that are not marked and rows that are, in turn.

    `lengths` are not negative and add up to the rows of `mask`.
    """
    start = np.uint64(0)
    marked = False
    for i in range(lengths.size):
        stop = start + np.uint64(lengths[i])
        for j in range(start, stop):
            mask[j] = marked
        start = stop
        marked = not marked


@loop
def hold(values: NDArray[Any], keep: NDArray[np.bool_], held: NDArray[Any]) -> None:
    """Write to every row the value of the last row that is kept, up to there of the first one.

    Values are unsigned bits; at least one row is kept.
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
def put_back(
    values: NDArray[Any], out: NDArray[np.bool_], fill: np.uint64, all_rows: NDArray[Any]
) -> None:
    """Write `values` to the rows that are not marked in `out`, and `fill` to the others.

    Values are unsigned bits; there are exactly as many as rows that are not marked. Choosing by
    masks of bits takes as long for any pattern of rows.
    """
    zero = np.uint64(0)
    one = np.uint64(1)
    rows = np.uint64(out.size)
    while rows > zero and out[rows - one]:
        rows -= one
        all_rows[rows] = fill
    at = zero
    for i in range(rows):
        left_out = zero - np.uint64(out[i])
        all_rows[i] = (np.uint64(values[at]) & ~left_out) | (fill & left_out)
        at += one + left_out


@loop
def mend(
    bits: NDArray[Any], floats: bool, rows: NDArray[np.int64], steps: NDArray[np.uint64]
) -> None:
    """Add zigzagged `steps` to the images of values, given as unsigned `bits`, in place.

    Parameters
    ----------
    bits
        Of a width; images of `floats` are in the order of the values.
    rows
        Which values; all, from the first on, if there are none.
    steps
        One for each of them, taken modulo the width.
    """
    one = np.uint64(1)
    zero = np.uint64(0)
    top = np.uint64(8 * bits.itemsize - 1)
    sign = one << top
    for i in range(steps.size):
        at = np.uint64(rows[i]) if rows.size else np.uint64(i)
        number = np.uint64(bits[at])
        if floats and number & sign:
            number ^= sign - one
        number += (steps[i] >> one) ^ (zero - (steps[i] & one))
        if floats and number & sign:
            number ^= sign - one
        bits[at] = number
