"""Partial statistics gathered while a query runs, and their merging into the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.fleet_view import Rows
from pipeline.archive.run_statistics import run_statistics
from pipeline.codecs.row_cells import count_buckets
from pipeline.summaries.asked import Statistic
from pipeline.summaries.merging import sum_by_cell
from pipeline.summaries.statistics import Statistics

__all__ = ["Merging", "Piece", "few_pieces", "join_pieces", "piece_of_rows"]


_SPREAD: Final = 64
"""Cells a state among which counting finds repeated ones faster than sorting."""

_SURPLUS: Final = 2
"""States a cell of the answer from which on those of one cell are put together on the way."""


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
    counts
        ``int64``, shape (states, buckets): readings between the edges of histograms, by channel and
        histogram.
    """

    group: NDArray[np.int64]
    bin: NDArray[np.int64]
    time: NDArray[np.int64]
    rows: NDArray[np.int64]
    channels: Mapping[str, Statistics]
    counts: Mapping[tuple[str, Statistic], NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.group)


def piece_of_rows(
    rows: Rows,
    cells: tuple[NDArray[np.int64], NDArray[np.int64]],
    group: NDArray[np.int64],
    channels: Sequence[str],
    histograms: Sequence[tuple[str, Statistic]] = (),
) -> Piece:
    """Return the states of decoded rows.

    Parameters
    ----------
    rows
        Sorted by (device, time), with the channels.
    cells
        ``int64``, shape (runs,): where runs of rows of one device and bin begin, and their bins.
    group
        ``int64``, shape (runs,): the group of each run's device.
    channels
        Channels to summarise.
    histograms
        Histograms of channels to count.
    """
    starts, bins = cells
    stops = np.append(starts[1:], len(rows))
    states = {
        name: run_statistics(rows.columns[name].values, rows.columns[name].valid, starts)
        for name in channels
    }
    counts = {
        (name, one): count_buckets(
            rows.columns[name].values, rows.columns[name].valid, starts, stops, np.array(one.edges)
        )
        for name, one in histograms
    }
    return Piece(group, bins, rows.time[starts], stops - starts, states, counts)


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
    cells = np.concatenate([piece.group * bins + piece.bin for piece in filled])
    if len(filled) == 1 and _none_repeats(cells):
        return filled[0]
    time = np.concatenate([piece.time for piece in filled])
    if _none_repeats(cells):
        return _side_by_side(filled, cells, bins, time)
    order = np.argsort(time, kind="stable")
    cells = cells[order]
    distinct, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    rows = np.concatenate([piece.rows for piece in filled])[order]
    channels = {
        name: Statistics.concat([piece.channels[name] for piece in filled])[order].reduce(
            inverse, len(distinct)
        )
        for name in filled[0].channels
    }
    total = sum_by_cell(inverse, rows, len(distinct))
    counts = {
        key: _added_up(inverse, _stacked(filled, key)[order], len(distinct))
        for key in filled[0].counts
    }
    return Piece(distinct // bins, distinct % bins, time[order][first], total, channels, counts)


def few_pieces(pieces: Sequence[Piece], groups: int, bins: int) -> list[Piece]:
    """Return pieces as they are, or joined if they have many more states than there are cells.

    Parameters
    ----------
    pieces
        Any number of pieces about the same channels.
    groups, bins
        Number of groups and bins of the answer.
    """
    filled = [piece for piece in pieces if len(piece)]
    if len(filled) < 2 or sum(map(len, filled)) <= _SURPLUS * groups * bins:
        return filled
    return [join_pieces(filled, bins)]


class Merging:
    """The states of all pieces brought into the cells of the answer.

    Parameters
    ----------
    pieces
        Any number of pieces.
    groups, bins
        Number of groups and bins of the answer.
    """

    def __init__(self, pieces: Sequence[Piece], groups: int, bins: int) -> None:
        self._pieces = [piece for piece in pieces if len(piece)]
        self._shape = groups, bins
        none = np.zeros(0, np.int64)
        self._cells = np.concatenate(
            [none, *(piece.group * bins + piece.bin for piece in self._pieces)]
        )
        self._order: NDArray[np.int64] | None = None
        if self._pieces and not _none_repeats(self._cells):
            self._order = np.argsort(
                np.concatenate([piece.time for piece in self._pieces]), kind="stable"
            )

    def rows(self) -> NDArray[np.int64]:
        """Return the number of rows, with and without a value, shape (groups, bins)."""
        groups, bins = self._shape
        if not self._pieces:
            return np.zeros(self._shape, np.int64)
        rows = np.concatenate([piece.rows for piece in self._pieces])
        if self._order is not None:
            return sum_by_cell(self._cells, rows, groups * bins).reshape(groups, bins)
        every = np.zeros(groups * bins, np.int64)
        every[self._cells] = rows
        return every.reshape(groups, bins)

    def states(self, channel: str, dtype: np.dtype[Any]) -> Statistics:
        """Return a channel's states, shape (groups, bins)."""
        groups, bins = self._shape
        if not self._pieces:
            return Statistics.empty((groups, bins), dtype)
        states = Statistics.concat([piece.channels[channel] for piece in self._pieces])
        if self._order is None:
            merged = Statistics.empty(groups * bins, dtype)
            merged.put(self._cells, states)
        else:
            cells = self._cells[self._order]
            merged = states[self._order].reduce(cells, groups * bins)
        return Statistics(*(array.reshape(groups, bins) for array in merged.arrays()))

    def counts(self, channel: str, histogram: Statistic) -> NDArray[np.int64]:
        """Return the counts of a histogram, shape (groups, bins, buckets)."""
        groups, bins = self._shape
        buckets = len(histogram.edges) - 1
        if not self._pieces:
            return np.zeros((groups, bins, buckets), np.int64)
        found = _stacked(self._pieces, (channel, histogram))
        return _added_up(self._cells, found, groups * bins).reshape(groups, bins, buckets)


def _none_repeats(cells: NDArray[np.int64]) -> bool:
    """Tell whether each state is about another cell, as it is where bins nest in what is read."""
    if (cells[1:] > cells[:-1]).all():
        return True
    low, high = int(cells.min()), int(cells.max())
    if high - low < _SPREAD * len(cells):
        return int(np.bincount(cells - low).max()) == 1
    return len(np.unique(cells)) == len(cells)


def _side_by_side(
    pieces: Sequence[Piece], cells: NDArray[np.int64], bins: int, time: NDArray[np.int64]
) -> Piece:
    """Join pieces of which no two are about one cell: nothing is sorted, nothing merged."""
    rows = np.concatenate([piece.rows for piece in pieces])
    channels = {
        name: Statistics.concat([piece.channels[name] for piece in pieces])
        for name in pieces[0].channels
    }
    counts = {key: _stacked(pieces, key) for key in pieces[0].counts}
    return Piece(*np.divmod(cells, bins), time, rows, channels, counts)


def _stacked(pieces: Sequence[Piece], key: tuple[str, Statistic]) -> NDArray[np.int64]:
    """Return the counts of a histogram, one piece after the other."""
    return np.concatenate([piece.counts[key] for piece in pieces])


def _added_up(cells: NDArray[np.int64], counts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the counts of each cell, shape (size, buckets)."""
    sums = np.zeros((size, counts.shape[1]), np.int64)
    np.add.at(sums, cells, counts)
    return sums
