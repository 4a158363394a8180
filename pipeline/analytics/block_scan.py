"""Partial answers of blocks whose rows are in order: decoded, cut into cells and summarised at once.

Some blocks are taken together, as many as stay in the caches. Their rows are never put together:
cells are stretches of rows where they were decoded, and rows that are not asked for, or do not
match, are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.pieces import Piece
from pipeline.analytics.query import Query
from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import FetchedBlocks, fetch_blocks, runs_of_blocks
from pipeline.archive.fleet_view import KEYS
from pipeline.archive.read_units import ReadUnit
from pipeline.archive.run_statistics import run_statistics
from pipeline.codecs.row_cells import count_rows, find_cells
from pipeline.model.batches import Column
from pipeline.partitioning.pruning import Selection

__all__ = ["is_alone", "scan_units"]

_ROWS_FETCHED: Final = 1 << 20
"""Rows of blocks that are fetched at once."""


def is_alone(unit: ReadUnit) -> bool:
    """Tell whether each block of a unit may be read on its own, and all of its rows are the unit's."""
    blocks = unit.blocks
    inside = (blocks.device_min >= unit.first_code) & (blocks.device_max < unit.last_code)
    return unit.is_ordered and bool(inside.all())


def scan_units(
    query: Query, units: Sequence[ReadUnit], selection: Selection, channels: Sequence[str]
) -> Iterator[Piece]:
    """Yield partial answers of the selected rows of units.

    Parameters
    ----------
    query
        The question.
    units
        One that is `ReadUnit.is_ordered`, or several that are `is_alone`.
    selection
        What is asked of them.
    channels
        Channels to summarise.
    """
    devices = query.groups.codes if selection.codes is None else selection.codes
    if len(units) == 1:
        low, high = np.searchsorted(devices, [units[0].first_code, units[0].last_code])
        devices = devices[low:high]
    some = selection.codes is not None
    names = tuple(dict.fromkeys((*selection.conditions.channels, *channels)))
    wanted = [*KEYS, *((name, query.dtype(name)) for name in names)]
    blocks = BlockTable.concat([unit.blocks for unit in units])
    for start, stop in runs_of_blocks(blocks.rows, _ROWS_FETCHED):
        part = blocks.take(np.arange(start, stop))
        fetched = fetch_blocks(query.view.store, query.view.meta.layout, part, wanted)
        for run in runs_of_blocks(part.rows):
            scan = _Scan(query, fetched.part(*run), selection, devices, some)
            piece = scan.piece(names, channels)
            if piece is not None:
                yield piece


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """Blocks that are decoded together, and what is asked of them: of `some` devices, or of all."""

    query: Query
    fetched: FetchedBlocks
    selection: Selection
    devices: NDArray[np.int64]
    some: bool

    def piece(self, names: Sequence[str], channels: Sequence[str]) -> Piece | None:
        """Return the states of channels; `names` are what is decoded. None if no row is selected."""
        fetched, selection, bins = self.fetched, self.selection, self.query.bins
        codes, ranges, ends = self._codes()
        times = fetched.decode_ranges(1, ranges, passing=True).values
        span = (selection.start, selection.stop)
        starts, stops, bin = find_cells(codes, times, ends, bins.edges, self.devices, span)
        if not len(starts):
            return None
        columns = {
            name: fetched.decode_ranges(at, ranges, passing=True)
            for at, name in enumerate(names, len(KEYS))
        }
        rows, chosen = stops - starts, None
        if selection.conditions:
            chosen = selection.conditions.matches(columns)
            rows = count_rows(chosen, starts, stops)
            some = rows > 0
            starts, stops, bin, rows = (one[some] for one in (starts, stops, bin, rows))
        states = {
            name: run_statistics(*_values(columns[name], chosen), starts, stops)
            for name in channels
        }
        group = self.query.groups.of_codes(codes[starts])
        return Piece(group, bin, times[starts], rows, states)

    def _codes(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64] | None, NDArray[np.int64]]:
        """Return device codes, the range of rows of each block that they are of, and where these end."""
        rows = self.fetched.blocks.rows
        codes, ends = self.fetched.decode_ranges(0, passing=True).values, np.cumsum(rows)
        if not self.some:
            return codes, None, ends
        ranges = _ranges(codes, ends, self.devices)
        codes = np.concatenate([codes[start:stop] for start, stop in ranges.T.tolist()])
        return codes, ranges - (ends - rows), np.cumsum(ranges[1] - ranges[0])


def _ranges(
    codes: NDArray[np.int32], ends: NDArray[np.int64], devices: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each block the range of rows that holds those of some devices, shape (2, blocks)."""
    wanted = devices.astype(codes.dtype)
    ranges = np.zeros((2, len(ends)), np.int64)
    begin = 0
    for at, end in enumerate(ends.tolist()):
        part = codes[begin:end]
        starts, stops = np.searchsorted(part, wanted, "left"), np.searchsorted(part, wanted, "right")
        there = np.flatnonzero(stops > starts)
        if len(there):
            ranges[:, at] = begin + starts[there[0]], begin + stops[there[-1]]
        else:
            ranges[:, at] = begin
        begin = end
    return ranges


def _values(
    column: Column, chosen: NDArray[np.bool_] | None
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """Return values, and which of them count."""
    # What stands where a float is missing is NaN, which does not count anyway.
    valid = None if column.values.dtype.kind == "f" else column.valid
    if chosen is None:
        return column.values, valid
    return column.values, chosen if valid is None else chosen & valid
