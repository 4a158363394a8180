"""Assigning the rows of a batch to partitions, vectorised.

A batch is ordered by (window, device block, device, time), rows of equal device and time in
the order they came, and cut where the window or the device block changes. The cost is one
sort of the rows at most; orders that devices really deliver (sorted by time, or by device and
time) are recognised and cost a radix sort or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_blocks
from pipeline.partitioning.scheme import Partitioning

__all__ = ["Assignment", "PartitionRows", "assign", "sort_rows", "split_evenly"]

_RADIX_LIMIT = 1 << 16  # NumPy's stable sort is a radix sort for 16-bit integers


@dataclass(frozen=True, slots=True)
class PartitionRows:
    """The half-open range of ordered rows that belongs to one partition."""

    window: int
    device_block: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """Where the rows of a batch go.

    Parameters
    ----------
    order
        ``int64``, shape (rows,): the permutation that orders the rows; None if they are
        ordered already.
    partitions
        The partitions in (window, device block) order, as ranges of the ordered rows.
    """

    order: NDArray[np.int64] | None
    partitions: tuple[PartitionRows, ...]


def assign(
    codes: NDArray[np.int32],
    time: NDArray[np.int64],
    scheme: Partitioning,
) -> Assignment:
    """Assign rows to the partitions of `scheme`.

    Parameters
    ----------
    codes
        ``int32``, shape (rows,): device codes.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC, inside the grid.
    scheme
        The fleet's partitioning; partitions that would get fewer than its ``landing_rows``
        rows go to the landing block of their window.
    """
    if len(time) == 0:
        return Assignment(None, ())
    by_device = sort_rows(codes, time)
    if by_device is not None:
        codes, time = codes[by_device], time[by_device]
    windows = scheme.window_length.numbers(time)
    starts = _run_starts(codes, windows)
    runs = np.append(starts, len(time))
    run_windows = windows[starts]
    run_blocks = _with_landing(
        run_windows,
        device_blocks(codes[starts], scheme.devices_per_block),
        np.diff(runs),
        scheme.landing_rows,
    )
    run_order = np.lexsort((codes[starts], run_blocks, run_windows))
    order = _concatenated_ranges(runs[:-1][run_order], np.diff(runs)[run_order])
    if by_device is not None:
        order = order if order is None else by_device[order]
        order = by_device if order is None else order
    lengths = np.diff(runs)[run_order]
    return Assignment(order, _cut(run_windows[run_order], run_blocks[run_order], lengths))


def sort_rows(codes: NDArray[Any], time: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the stable permutation that sorts rows by (device, time), None if they are sorted."""
    if len(time) < 2:
        return None
    same = codes[1:] == codes[:-1]
    later = time[1:] >= time[:-1]
    if bool(((codes[1:] > codes[:-1]) | (same & later)).all()):
        return None
    if bool(later.all()) and int(codes.max()) < _RADIX_LIMIT:
        return np.argsort(codes.astype(np.uint16), kind="stable")
    return _sort_by_key(codes, time)


def split_evenly(start: int, stop: int, limit: int) -> list[tuple[int, int]]:
    """Cut ``[start, stop)`` into the fewest pieces of at most `limit` rows, of even length."""
    pieces = -(-(stop - start) // limit)
    edges = np.linspace(start, stop, pieces + 1).astype(int).tolist()
    return list(pairwise(edges))


def _sort_by_key(codes: NDArray[Any], time: NDArray[np.int64]) -> NDArray[np.int64]:
    first = int(time.min())
    span = int(time.max()) - first + 1
    if (int(codes.max()) + 1) * span >= 1 << 63:
        order: NDArray[np.int64] = np.lexsort((time, codes))
        return order
    # One 64-bit key sorts several times faster than lexsort (0.02 s against 0.15 s for a million
    # rows), but the fast sort is not stable: rows of equal key are put back in order.
    key = codes.astype(np.int64) * span + (time - first)
    order = np.argsort(key)
    ordered = key[order]
    ties = np.flatnonzero(ordered[1:] == ordered[:-1])
    if ties.size:
        tied = np.unique(np.concatenate([ties, ties + 1]))
        members = order[tied]
        order[tied] = members[np.lexsort((members, ordered[tied]))]
    return order


def _run_starts(codes: NDArray[Any], windows: NDArray[np.int64]) -> NDArray[np.int64]:
    change = (codes[1:] != codes[:-1]) | (windows[1:] != windows[:-1])
    return np.concatenate([[0], np.flatnonzero(change) + 1])


def _with_landing(
    windows: NDArray[np.int64],
    blocks: NDArray[np.int64],
    lengths: NDArray[np.int64],
    landing_rows: int,
) -> NDArray[np.int64]:
    keys = windows * (int(blocks.max()) + 1) + blocks
    _, inverse = np.unique(keys, return_inverse=True)
    rows = np.bincount(inverse, weights=lengths)
    return np.where(rows[inverse] < landing_rows, LANDING_BLOCK, blocks)


def _concatenated_ranges(
    starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    ends = np.cumsum(lengths)
    offsets = ends - lengths
    if np.array_equal(starts, offsets):
        return None
    order: NDArray[np.int64] = np.arange(int(ends[-1])) + np.repeat(starts - offsets, lengths)
    return order


def _cut(
    windows: NDArray[np.int64], blocks: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[PartitionRows, ...]:
    starts = _run_starts(blocks, windows)
    ends = np.cumsum(lengths)
    stops = ends[np.append(starts[1:], len(lengths)) - 1]
    begins = np.concatenate([[0], stops[:-1]])
    columns = (windows[starts], blocks[starts], begins, stops)
    return tuple(PartitionRows(*map(int, row)) for row in zip(*columns, strict=True))
