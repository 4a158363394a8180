"""The loop that finds runs of equal numbers, or of equal differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["find_runs"]

_TILE = 64


@part
def _change(numbers: NDArray[np.uint64], i: int, order: int) -> np.uint64:
    """Return 0 if number `i`, or the difference behind it, is that of the row before."""
    here = np.uint64(i)
    one = np.uint64(1)
    if order == 0:
        return numbers[here] ^ numbers[here - one]
    before = numbers[here] - numbers[here - one]
    return (numbers[here + one] - numbers[here]) ^ before


@loop
def find_runs(
    numbers: NDArray[np.uint64],
    order: int,
    starts: NDArray[np.int64],
    values: NDArray[np.uint64],
) -> int:
    """Write where runs start, and what they repeat: numbers (order 0) or differences (1).

    There is at least one. Returns how many runs there are, or -1 as soon as they outnumber
    `starts`. Most tiles of rows lie within a run, and one look tells.
    """
    rows = numbers.size - order
    starts[0] = 0
    count = 1
    for start in range(1, rows, _TILE):
        stop = min(rows, start + _TILE)
        changes = np.uint64(0)
        for i in range(start, stop):
            changes |= _change(numbers, i, order)
        if not changes:
            continue
        for i in range(start, stop):
            if _change(numbers, i, order):
                if count == starts.size:
                    return -1
                starts[count] = i
                count += 1
    for k in range(count):
        at = np.uint64(starts[k])
        values[k] = numbers[at + np.uint64(1)] - numbers[at] if order else numbers[at]
    return count
