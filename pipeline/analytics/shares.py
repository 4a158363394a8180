"""Cutting a question into shares that are answered apart, each with about as much to decode.

Where the cuts are is decided by what is asked and by what is stored, never by who does the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.plan import FromHeaders, FromRows, Step

__all__ = ["RowShare", "cut_axis", "share_steps", "spread"]

_ROWS: Final = 1 << 19
"""Rows of a share: decoding them takes some 5 ms, many times what a task costs."""
_MOST: Final = 256
_ROWS_OF_HEADER: Final = 4096  # whose decoding takes about as long as reading a header


@dataclass(frozen=True, slots=True)
class RowShare:
    """Part of the cells of a question whose rows are all decoded.

    Parameters
    ----------
    groups, windows
        Half-open ranges of positions along the two axes; None for all of an axis.
    """

    groups: tuple[int, int] | None = None
    windows: tuple[int, int] | None = None


def share_steps(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Yield runs of consecutive steps, in their order.

    Parameters
    ----------
    steps
        From `pipeline.analytics.plan.plan_steps`.
    """
    share: list[Step] = []
    rows = 0
    for step in steps:
        weight = _weight(step)
        if share and rows + weight > _ROWS:
            yield share
            share, rows = [], 0
        share.append(step)
        rows += weight
    if share:
        yield share


def cut_axis(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return half-open ranges of positions along an axis that hold about as many rows each.

    Parameters
    ----------
    rows
        ``int64``, shape (positions,): how many rows are decoded for each, about.
    """
    total = int(rows.sum())
    shares = min(_MOST, len(rows), -(-total // _ROWS))
    if shares < 2:
        return [(0, len(rows))]
    edges = np.searchsorted(np.cumsum(rows), np.arange(1, shares) * total / shares) + 1
    distinct: Sequence[int] = np.unique([0, *edges.tolist(), len(rows)]).tolist()
    return list(pairwise(distinct))


def spread(
    rows: NDArray[np.int64], first: NDArray[np.int64], stop: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Spread rows of blocks evenly over the positions that they are about.

    Parameters
    ----------
    rows, first, stop
        ``int64``, shape (blocks,): rows of each, and a half-open range of positions.
    size
        Number of positions.

    Returns
    -------
    ndarray
        ``int64``, shape (size,).
    """
    some = stop > first
    each = rows[some] / (stop - first)[some]
    changes = np.bincount(first[some], each, size + 1) - np.bincount(stop[some], each, size + 1)
    return np.cumsum(changes)[:size].round().astype(np.int64)


def _weight(step: Step) -> int:
    match step:
        case FromRows(unit, _):
            return int(unit.blocks.rows.sum())
        case FromHeaders(blocks):
            return _ROWS_OF_HEADER * len(blocks)
    return 0
