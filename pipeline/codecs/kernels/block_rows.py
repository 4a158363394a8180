"""Loops over rows that are left out of a stream, and put back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["mark_stretches", "put_back"]


@loop
def mark_stretches(lengths: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
    """Write stretches of rows that are not marked and rows that are, in turn.

    `lengths` are not negative and add up to the rows of `mask`.
    """
    at = np.uint64(0)
    marked = False
    for i in range(lengths.size):
        for _ in range(lengths[i]):
            mask[at] = marked
            at += np.uint64(1)
        marked = not marked


@loop
def put_back(
    values: NDArray[Any], out: NDArray[np.bool_], fill: NDArray[Any], all_rows: NDArray[Any]
) -> None:
    """Write `values` to the rows that are not marked in `out`, and ``fill[0]`` to the others."""
    at = np.uint64(0)
    last = np.uint64(values.size - 1)
    for i in range(out.size):
        left_out = out[i]
        all_rows[i] = fill[0] if left_out else values[at]
        at += np.uint64(not left_out and at < last)
