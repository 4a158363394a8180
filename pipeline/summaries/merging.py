"""Bringing additive states together: by cell, and from panes to overlapping windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["runs_of", "slide", "sum_by_cell"]


def runs_of(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row at which each run of equal keys starts; ``int64``, the first 0.

    Parameters
    ----------
    keys
        Arrays of shape (rows,); a run ends where any of them changes.
    """
    if len(keys[0]) == 0:
        return np.zeros(0, np.int64)
    change = np.zeros(len(keys[0]) - 1, np.bool_)
    for key in keys:
        change |= key[1:] != key[:-1]
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(change) + 1])


def sum_by_cell(cells: NDArray[np.int64], values: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the sum of the values of each cell, in the values' dtype, shape (size,).

    Integers add up exactly. Floats are added pairwise, whose error grows with the logarithm of
    their number only; ``numpy.bincount`` adds them one after the other.
    """
    sums = np.zeros(size, values.dtype)
    if len(cells) == 0:
        return sums
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    starts = runs_of(ordered)
    with np.errstate(invalid="ignore", over="ignore"):
        sums[ordered[starts]] = np.add.reduceat(values[order], starts)
    return sums


def slide[T](
    panes: T,
    combine: Callable[[T, T], T],
    take: Callable[[T, Any], T],
    span: int,
    positions: NDArray[np.int64],
) -> T:
    """Merge runs of consecutive panes into windows that may overlap.

    Each window is put together from runs of 1, 2, 4 … panes, which are merged once for all
    windows: a window of ``span`` panes costs log2(span) merges, and nothing is subtracted.

    Parameters
    ----------
    panes
        States along an axis of panes.
    combine
        Merges states of equal shape, the second later in time.
    take
        Returns the states at an index or slice of the axis of panes.
    span
        Panes a window, at least 1.
    positions
        ``int64``, shape (windows,): the first pane of each.

    Returns
    -------
    T
        States along an axis of windows.
    """
    parts: list[T] = []
    runs, length = panes, 1
    while True:
        if span & length:
            parts.append(take(runs, positions))
            positions = positions + length
        if 2 * length > span:
            return reduce(combine, parts)
        runs = combine(take(runs, slice(None, -length)), take(runs, slice(length, None)))
        length *= 2
