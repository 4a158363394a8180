"""Partial answers of blocks whose rows are in order: decoded, cut into cells and summarised at once.

Some blocks are taken together, as many as stay in the caches. Their rows are never put together:
cells are stretches of rows where they were decoded, and rows that are not asked for, or do not
match, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.pieces import Piece
from pipeline.analytics.plan import FromRows
from pipeline.analytics.query import Query
from pipeline.archive.block_index import BlockTable
from pipeline.archive.fetched_blocks import FetchedBlocks, runs_of_blocks
from pipeline.archive.fleet_view import KEYS
from pipeline.archive.run_statistics import run_statistics
from pipeline.codecs.row_cells import count_buckets, count_rows, find_cells
from pipeline.model.batches import Column
from pipeline.partitioning.conditions import Conditions
from pipeline.summaries.statistics import Statistics

__all__ = ["scan_units"]

_SUMS: Final = frozenset({"total", "exact"})
"""Parts of states that sums tell."""

_ROWS_FETCHED: Final = 1 << 20
"""Rows of blocks that are fetched at once."""


def scan_units(query: Query, steps: Sequence[FromRows]) -> Iterator[Piece]:
    """Yield partial answers of the selected rows of units.

    Parameters
    ----------
    query
        The question.
    steps
        Units that are `ReadUnit.is_ordered`, with what is asked of each, under equal conditions.
    """
    conditions = steps[0].selection.conditions
    names = tuple(dict.fromkeys((*conditions.channels, *query.channels)))
    wanted = [*KEYS, *((name, query.dtype(name)) for name in names)]
    asked = _Asked.of(query, steps)
    blocks = BlockTable.concat([step.unit.blocks for step in steps])
    for run in runs_of_blocks(blocks.rows, _ROWS_FETCHED):
        part = blocks.take(np.arange(*run))
        fetched = query.view.fetched(part, wanted)
        for start, stop in runs_of_blocks(part.rows):
            some = asked.part(run[0] + start, run[0] + stop)
            scan = _Scan(query, fetched.part(start, stop), conditions, some)
            piece = scan.piece(names)
            if piece is not None:
                yield piece


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Which rows of blocks are asked for.

    Parameters
    ----------
    devices
        ``int64``: device codes.
    bounds
        ``int64``, shape (4, blocks): half-open range of times, and the place of the devices of each
        block among `devices`.
    every
        Whether all rows are asked for, but for times.
    """

    devices: NDArray[np.int64]
    bounds: NDArray[np.int64]
    every: bool

    @classmethod
    def of(cls, query: Query, steps: Sequence[FromRows]) -> _Asked:
        """Return what is asked of the blocks of all steps."""
        lists: dict[int, tuple[int, NDArray[np.int64]]] = {}
        held, bounds = 0, []
        for step in steps:
            unit, chosen = step.unit, step.selection
            devices = query.groups.codes if chosen.codes is None else chosen.codes
            if id(devices) not in lists:
                lists[id(devices)] = held, devices
                held += len(devices)
            first = lists[id(devices)][0]
            places = first + np.searchsorted(devices, [unit.first_code, unit.last_code])
            bounds += [[chosen.start, chosen.stop, *places.tolist()]] * len(unit.blocks)
        every = all(step.selection.codes is None for step in steps)
        devices = np.concatenate([devices for _, devices in lists.values()])
        return cls(devices, np.array(bounds, np.int64).T, every)

    def part(self, start: int, stop: int) -> _Asked:
        """Return what is asked of some blocks in a row."""
        return _Asked(self.devices, self.bounds[:, start:stop], self.every)

    def ranges(self, codes: NDArray[np.int32], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each block the range of rows that holds those of its devices.

        Parameters
        ----------
        codes
            Devices of the rows of all blocks.
        ends
            Where blocks end among the rows.

        Returns
        -------
        ndarray
            ``int64``, shape (2, blocks): places among the rows of all blocks.
        """
        ranges = np.zeros((2, len(ends)), np.int64)
        begin = 0
        for at, end in enumerate(ends.tolist()):
            ranges[:, at] = begin
            part, (first, last) = codes[begin:end], self.bounds[2:, at].tolist()
            wanted = self.devices[first:last].astype(codes.dtype)
            starts = np.searchsorted(part, wanted, "left")
            stops = np.searchsorted(part, wanted, "right")
            there = np.flatnonzero(stops > starts)
            if len(there):
                ranges[:, at] += [starts[there[0]], stops[there[-1]]]
            begin = end
        return ranges


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """Blocks that are decoded together, and what is asked of them."""

    query: Query
    fetched: FetchedBlocks
    conditions: Conditions
    asked: _Asked

    def piece(self, names: Sequence[str]) -> Piece | None:
        """Return the states of the question's channels, None if no row is selected.

        Parameters
        ----------
        names
            Channels that were fetched.
        """
        query, asked = self.query, self.asked
        codes, ranges, ends = self._codes()
        times, edges, bounds = self._times(ranges, ends)
        starts, stops, bins = find_cells(codes, times, ends, edges, asked.devices, bounds)
        if not len(starts):
            return None
        places = range(len(KEYS), len(KEYS) + len(names))
        decoded = self.fetched.each(lambda at: self.fetched.decode_ranges(at, ranges), places)
        columns = dict(zip(names, decoded, strict=True))
        rows, chosen = stops - starts, None
        if self.conditions:
            chosen = self.conditions.matches(columns)
            rows = count_rows(chosen, starts, stops)
            some = rows > 0
            starts, stops, bins, rows = (one[some] for one in (starts, stops, bins, rows))
        counted = {name: (*_values(columns[name], chosen), starts, stops) for name in columns}
        states = {name: _states(*counted[name], rows, parts) for name, parts in query.parts.items()}
        counts = {
            (name, one): count_buckets(*counted[name], np.array(one.edges))
            for name, one in query.histograms
        }
        group = query.groups.of_codes(codes[starts])
        return Piece(group, bins, times[starts], rows, states, counts)

    def _times(
        self, ranges: NDArray[np.int64] | None, ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the times of rows, edges of bins, and what is asked of each block.

        Where one bin holds all rows of the blocks, and all are asked for, the time of its first row
        stands for each of a block: the column need not be decoded.
        """
        blocks, bounds, edges = self.fetched.blocks, self.asked.bounds, self.query.bins.edges
        low, high = np.maximum(bounds[0], edges[0]), np.minimum(bounds[1], edges[-1])
        inside = (blocks.time_min >= low) & (blocks.time_max < high)
        if len(edges) > 2 or not inside.all():
            return self.fetched.decode_ranges(1, ranges).values, edges, bounds
        times = np.repeat(blocks.time_min, np.diff(ends, prepend=0))
        return times, edges, bounds

    def _codes(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64] | None, NDArray[np.int64]]:
        """Return device codes, the range of rows of each block that they are of, and where these end."""
        rows = self.fetched.blocks.rows
        codes, ends = self.fetched.decode_ranges(0).values, np.cumsum(rows)
        if self.asked.every:
            return codes, None, ends
        ranges = self.asked.ranges(codes, ends)
        codes = np.concatenate([codes[start:stop] for start, stop in ranges.T.tolist()])
        return codes, ranges - (ends - rows), np.cumsum(ranges[1] - ranges[0])


def _states(
    values: NDArray[np.generic],
    valid: NDArray[np.bool_] | None,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    rows: NDArray[np.int64],
    parts: frozenset[str],
) -> Statistics:
    """Return the states of runs of so many rows, of which `parts` and the count have a meaning."""
    if parts or values.dtype.kind == "f":
        return run_statistics(values, valid, starts, stops, sums_only=parts <= _SUMS)
    states = Statistics.empty(len(starts), values.dtype)
    count = rows if valid is None else count_rows(valid, starts, stops)
    return replace(states, count=count)


def _values(
    column: Column, chosen: NDArray[np.bool_] | None
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """Return values, and which of them count."""
    if chosen is None or column.valid is None:
        return column.values, column.valid if chosen is None else chosen
    return column.values, chosen & column.valid
