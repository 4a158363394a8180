"""Reading partial answers of stored statistics: from levels, from block headers, from rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.block_scan import scan_units
from pipeline.analytics.levels import level_of
from pipeline.analytics.pieces import Piece, piece_of_rows
from pipeline.analytics.plan import FromHeaders, FromRows, FromSummaries, Step
from pipeline.analytics.query import Query
from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_statistics import block_states
from pipeline.archive.fleet_view import Rows
from pipeline.summaries.merging import runs_of

__all__ = ["read_pieces"]


def read_pieces(query: Query, steps: Iterable[Step]) -> Iterator[Piece]:
    """Yield partial answers of a question's stored statistics.

    Parameters
    ----------
    query
        The question.
    steps
        Some of its steps.
    """
    channels = tuple(query.stored)
    scanned: list[FromRows] = []
    for step in steps:
        match step:
            case FromSummaries():
                yield _from_level(query, step)
            case FromHeaders(blocks):
                yield _from_headers(query, blocks, channels)
            case FromRows(unit, _) if unit.is_ordered:
                scanned.append(step)
            case FromRows(unit, selection):
                rows = query.view.rows(unit, selection, query.channels)
                if len(rows):
                    yield _of_rows(query, rows)
    if scanned:
        yield from scan_units(query, scanned)


def _of_rows(query: Query, rows: Rows) -> Piece:
    bins = query.bins.numbers(rows.time)
    starts = runs_of(rows.codes, bins)
    group = query.groups.of_codes(rows.codes[starts])
    cells = (starts, bins[starts])
    return piece_of_rows(rows, cells, group, tuple(query.stored), query.histograms)


def _from_level(query: Query, step: FromSummaries) -> Piece:
    level, periods, cells = level_of(query.view, step.rollup), step.periods, step.cells
    chosen = slice(None) if cells is None else np.flatnonzero(cells.any(axis=1))
    codes, group = query.groups.codes[chosen], query.groups.of_device[chosen]
    rows = level.rows(codes, periods)
    wanted = rows > 0 if cells is None else cells[chosen]
    starts = level.starts(np.arange(periods.start, periods.stop))
    starts = np.maximum(starts, query.bounds[0])
    # Most devices report in every period: then nothing has to be picked.
    found = slice(None) if wanted.all() else np.flatnonzero(wanted)
    device = np.repeat(group, len(periods))[found]
    period = np.tile(np.arange(len(periods)), len(codes))[found]
    states = {
        name: level.states(codes, periods, name, parts).ravel()[found]
        for name, parts in query.parts.items()
    }
    bins = query.bins.numbers(starts)[period]
    return Piece(device, bins, starts[period], rows.reshape(-1)[found], states)


def _from_headers(query: Query, blocks: BlockTable, channels: Sequence[str]) -> Piece:
    view = query.view
    states = {name: block_states(view.store, view.meta, blocks, name) for name in channels}
    bins = query.bins.numbers(blocks.time_min)
    return Piece(_groups_of(query, blocks), bins, blocks.time_min, blocks.rows, states)


def _groups_of(query: Query, blocks: BlockTable) -> NDArray[np.int64]:
    if query.groups.dimension is None:
        return np.zeros(len(blocks), np.int64)
    return query.groups.of_codes(blocks.device_min)
