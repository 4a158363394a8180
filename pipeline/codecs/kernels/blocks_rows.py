"""Loops that write some rows of a block: of runs, of a longer stretch, around rows left out.

Everywhere rows from `first` up to `last` are wanted, which begin `out`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import part

__all__ = ["count_kept", "expand_rows", "mark_rows", "repeat_rows", "step_rows"]

_ONE = np.uint64(1)


@part
def repeat_rows(
    numbers: NDArray[Any], more: NDArray[np.uint64], first: int, last: int, out: NDArray[Any]
) -> None:
    """Write each number once and `more` times."""
    begin, end = np.uint64(first), np.uint64(last)
    at = np.uint64(0)
    for k in range(np.uint64(more.size)):
        stop = at + more[k] + _ONE
        number = numbers[k]
        for i in range(max(at, begin), min(stop, end)):
            out[i - begin] = number
        at = stop


@part
def step_rows(
    steps: NDArray[np.uint64],
    more: NDArray[np.uint64],
    start: np.uint64,
    first: int,
    last: int,
    out: NDArray[Any],
) -> None:
    """Write `start`, and behind it add each step once and `more` times."""
    begin, end = np.uint64(first), np.uint64(last)
    number = start
    at = _ONE
    if begin < at and end > np.uint64(0):
        out[0] = start
    for k in range(np.uint64(more.size)):
        step = steps[k]
        stop = at + more[k] + _ONE
        for i in range(max(at, begin), min(stop, end)):
            out[i - begin] = number + (i - at + _ONE) * step
        number += (more[k] + _ONE) * step
        at = stop


@part
def count_kept(lengths: NDArray[np.int64], count: int, row: int) -> int:
    """Return how many rows before `row` are not marked."""
    at = kept = np.int64(0)
    for k in range(count):
        stop = min(at + lengths[k], np.int64(row))
        if not k & 1 and stop > at:
            kept += stop - at
        at += lengths[k]
    return kept  # type: ignore[return-value]


@part
def mark_rows(
    lengths: NDArray[np.int64],
    count: int,
    fill: np.uint64,
    first: int,
    last: int,
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> None:
    """Write `fill` to rows that are marked, and False to `valid`, unless it is empty."""
    told = valid.size > 0
    at = np.int64(0)
    for k in range(count):
        stop = at + lengths[k]
        if k & 1:
            begin, end = max(at, np.int64(first)), min(stop, np.int64(last))
            for i in range(begin, end):
                out[i - first] = fill
                if told:
                    valid[i - first] = False
        at = stop


@part
def expand_rows(
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    count: int,
    fill: np.uint64,
    first: int,
    last: int,
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> None:
    """Write `values` one after the other to rows that are not marked, and `fill` to the others.

    False goes to `valid`, unless it is empty.
    """
    told = valid.size > 0
    at = taken = np.int64(0)
    for k in range(count):
        stop = at + lengths[k]
        begin, end = max(at, np.int64(first)), min(stop, np.int64(last))
        if k & 1:
            for i in range(begin, end):
                out[i - first] = fill
                if told:
                    valid[i - first] = False
        elif end > begin:
            for i in range(end - begin):
                out[begin - first + i] = values[taken + i]
            taken += end - begin
        at = stop
