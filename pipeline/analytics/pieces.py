"""Partial statistics gathered while a query runs, and their merging into the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.fleet_view import Rows
from pipeline.summaries.merging import runs_of, sum_by_cell
from pipeline.summaries.statistics import Statistics

__all__ = ["Piece", "join_pieces", "merge_pieces", "merge_rows", "piece_of_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """States of some cells of the answer.

    Parameters
    ----------
    group, bin, time
        ``int64``, shape (states,): the cell of each state, and a time inside the period it is
        about, by which states of one cell are put in order.
    rows
        ``int64``, shape (states,): rows that each state is about, with and without a value.
    channels
        The states, by channel.
    """

    group: NDArray[np.int64]
    bin: NDArray[np.int64]
    time: NDArray[np.int64]
    rows: NDArray[np.int64]
    channels: Mapping[str, Statistics]

    def __len__(self) -> int:
        return len(self.group)


def piece_of_rows(
    rows: Rows,
    groups: Callable[[NDArray[Any]], NDArray[np.int64]],
    bins: NDArray[np.int64],
    channels: Sequence[str],
) -> Piece:
    """Return the states of decoded rows.

    Parameters
    ----------
    rows
        Sorted by (device, time), with the channels.
    groups
        Returns the group of each of some devices.
    bins
        ``int64``, shape (rows,): bin of each row.
    channels
        Channels to summarise.
    """
    starts = runs_of(rows.codes, bins)
    states = {
        name: Statistics.chunk(rows.columns[name].values, rows.columns[name].valid, starts)
        for name in channels
    }
    counts = np.diff(starts, append=len(rows))
    return Piece(groups(rows.codes[starts]), bins[starts], rows.time[starts], counts, states)


def join_pieces(pieces: Sequence[Piece], bins: int) -> Piece:
    """Return one piece with a single state for each cell that some pieces are about.

    Parameters
    ----------
    pieces
        Any number of pieces about the same channels.
    bins
        Number of bins of the answer.
    """
    filled = [piece for piece in pieces if len(piece)]
    if not filled:
        none = np.zeros(0, np.int64)
        return Piece(none, none, none, none, {})
    if len(filled) == 1 and _is_ascending(filled[0].group * bins + filled[0].bin):
        return filled[0]
    time = np.concatenate([piece.time for piece in filled])
    order = np.argsort(time, kind="stable")
    cells = np.concatenate([piece.group * bins + piece.bin for piece in filled])[order]
    distinct, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    rows = np.concatenate([piece.rows for piece in filled])[order]
    channels = {
        name: Statistics.concat([piece.channels[name] for piece in filled])[order].reduce(
            inverse, len(distinct)
        )
        for name in filled[0].channels
    }
    total = sum_by_cell(inverse, rows, len(distinct))
    return Piece(distinct // bins, distinct % bins, time[order][first], total, channels)


def merge_pieces(
    pieces: Sequence[Piece], channel: str, dtype: np.dtype[Any], groups: int, bins: int
) -> Statistics:
    """Return a channel's states, shape (groups, bins)."""
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        return Statistics.empty((groups, bins), dtype)
    cells = np.concatenate([piece.group * bins + piece.bin for piece in pieces])
    states = Statistics.concat([piece.channels[channel] for piece in pieces])
    if _is_ascending(cells):
        merged = Statistics.empty(groups * bins, dtype)
        merged.put(cells, states)
    else:
        time = np.concatenate([piece.time for piece in pieces])
        order = np.argsort(time, kind="stable")
        merged = states[order].reduce(cells[order], groups * bins)
    return Statistics(*(array.reshape(groups, bins) for array in merged.arrays()))


def merge_rows(pieces: Sequence[Piece], groups: int, bins: int) -> NDArray[np.int64]:
    """Return the number of rows, with and without a value, shape (groups, bins)."""
    if not pieces:
        return np.zeros((groups, bins), np.int64)
    cells = np.concatenate([piece.group * bins + piece.bin for piece in pieces])
    rows = np.concatenate([piece.rows for piece in pieces])
    return sum_by_cell(cells, rows, groups * bins).reshape(groups, bins)


def _is_ascending(cells: NDArray[np.int64]) -> bool:
    """Tell whether every cell occurs once, in order: there is nothing to merge."""
    return bool((cells[1:] > cells[:-1]).all())
