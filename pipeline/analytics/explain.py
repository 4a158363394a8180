"""What a question would touch, told by the planner that answers it; no row is read.

The whole index of the fleet is read, to say how much there is in all, and where the question does
not need every channel, the sizes of the chunks that it does need are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.analytics.explanation import Explanation, Share
from pipeline.analytics.levels import level_of
from pipeline.analytics.plan import (
    FromHeaders,
    FromRows,
    FromSummaries,
    Judged,
    RuledOut,
    Step,
)
from pipeline.analytics.query import Asked, Grouping, Query, make_query
from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import chunk_key, get_sizes
from pipeline.archive.fleet_view import KEY_COLUMNS, FleetView
from pipeline.codecs.block import HEADER_BYTES
from pipeline.partitioning.device_blocks import LANDING_BLOCK
from pipeline.partitioning.pruning import Pruned, Selection

__all__ = ["explain_aggregate", "explain_read"]


def explain_read(view: FleetView, selection: Selection, channels: Sequence[str]) -> Explanation:
    """Return what reading rows would touch.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        Times and devices.
    channels
        Channel names.
    """
    index = view.blocks(Selection())
    touched = [unit.blocks for unit in view.units(selection)]
    columns = _columns(selection, channels)
    counted = _Touched.of(index, touched)
    ruled_out = len(view.blocks(selection)) - len(counted.blocks)
    size = _chunk_bytes(view, counted.blocks, columns)
    return _explained(view, "read", selection, index, counted, columns, size, ruled_out)


def explain_aggregate(
    view: FleetView,
    statistics: Mapping[str, Asked],
    selection: Selection,
    grouping: Grouping,
) -> Explanation:
    """Return what an aggregate would touch.

    Statistics that need every row, such as percentiles, are answered by no summary: all blocks of
    the selection are decoded for them. Bytes of a block that is decoded for them and for others
    too count twice, for it is read twice. Conditions on values take reading summaries and headers
    of their channels; of other channels only blocks with matching rows are read in the end, and
    bytes are told as if all were.

    Parameters
    ----------
    view, statistics, selection, grouping
        As for `pipeline.analytics.aggregate.aggregate`.

    Raises
    ------
    InvalidInputError
        If a statistic is unknown or makes no sense for the channel or grouping.
    """
    query = make_query(view, statistics, selection, grouping)
    index = view.blocks(Selection())
    found, by_row = _Found(), _Found()
    found.add(query.steps())
    by_row.add(query.row_steps())
    channels = query.channels
    edges = _Touched.of(index, found.decoded).blocks
    needed = _Touched.of(index, by_row.decoded).blocks
    counted = _Touched.of(index, [*found.headers, edges, needed])
    only_headers = len(counted.blocks) - len(_Touched.of(index, [edges, needed]).blocks)
    ruled_out = _Touched.of(index, [*found.ruled_out, *by_row.ruled_out]).without(counted)
    size = sum(map(len, found.headers)) * len(channels) * HEADER_BYTES
    columns: dict[str, None] = dict.fromkeys(channels if len(edges) or found.headers else ())
    for blocks, names in ((edges, channels), (needed, query.decoded)):
        if len(blocks):
            read = _columns(selection, names)
            size += _chunk_bytes(view, blocks, read)
            columns = dict.fromkeys((*KEY_COLUMNS, *columns, *read))
    sizes = get_sizes(view.store, _summary_keys(query, found, by_row))
    return _explained(
        view,
        "aggregate",
        selection,
        index,
        counted,
        tuple(columns),
        size,
        ruled_out,
        headers=only_headers,
        summary_periods=sum(len(step.periods) for step in found.summaries),
        summary_chunks=sum(one > 0 for one in sizes),
        summary_bytes=sum(sizes),
        rollups=found.rollups,
        cells=(found if found.judged else by_row).cells,
    )


@dataclass(slots=True, eq=False)
class _Found:
    """The steps of a question by their kind."""

    summaries: list[FromSummaries] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    headers: list[BlockTable] = field(default_factory=list)
    decoded: list[BlockTable] = field(default_factory=list)
    ruled_out: list[BlockTable] = field(default_factory=list)

    def add(self, steps: Iterable[Step]) -> None:
        """Take the steps apart."""
        for step in steps:
            match step:
                case FromSummaries():
                    self.summaries.append(step)
                case Judged():
                    self.judged.append(step)
                case FromHeaders(blocks):
                    self.headers.append(blocks)
                case FromRows(unit, _):
                    self.decoded.append(unit.blocks)
                case RuledOut(blocks):
                    self.ruled_out.append(blocks)

    @property
    def rollups(self) -> dict[str, int]:
        """How many periods each rollup answers."""
        counts: dict[str, int] = {}
        for step in self.summaries:
            if step.rollup:
                counts[step.rollup] = counts.get(step.rollup, 0) + len(step.periods)
        return counts

    @property
    def cells(self) -> dict[str, int]:
        """How many devices and periods hold no match, some, or match whole."""
        if not self.judged:
            return {}
        some, whole = (sum(getattr(s, name) for s in self.judged) for name in ("open", "whole"))
        every = sum(step.cells for step in self.judged)
        return {"none": every - some - whole, "some": some, "all": whole}


def _summary_keys(query: Query, *found: _Found) -> list[str]:
    """Return the keys of the chunks of stored statistics that are read, each once."""
    view, codes = query.view, query.groups.codes
    judged = dict.fromkeys(query.selection.conditions.channels, frozenset[str]())
    keys: set[str] = set()
    for asked in (step for one in found for step in one.judged):
        keys.update(level_of(view, "").keys(codes, asked.periods, judged))
    for step in (step for one in found for step in one.summaries):
        chosen = codes if step.cells is None else codes[step.cells.any(axis=1)]
        keys.update(level_of(view, step.rollup).keys(chosen, step.periods, query.parts))
    return sorted(keys)


def _columns(selection: Selection, channels: Iterable[str]) -> tuple[str, ...]:
    """Return the raw columns that are read of blocks with selected rows, each once."""
    return tuple(dict.fromkeys((*KEY_COLUMNS, *selection.conditions.channels, *channels)))


@dataclass(frozen=True, slots=True, eq=False)
class _Touched:
    """Those blocks of the index that are touched, each once."""

    blocks: BlockTable

    @classmethod
    def of(cls, index: BlockTable, touched: Iterable[BlockTable]) -> _Touched:
        places = {tuple(place) for blocks in touched for place in blocks.places.tolist()}
        kept = [tuple(place) in places for place in index.places.tolist()]
        return cls(index.take(np.array(kept, np.bool_)))

    def without(self, others: _Touched) -> int:
        """Return how many of them are not among `others`."""
        places = set(map(tuple, others.blocks.places.tolist()))
        return sum(tuple(place) not in places for place in self.blocks.places.tolist())


def _explained(
    view: FleetView,
    question: str,
    selection: Selection,
    index: BlockTable,
    touched: _Touched,
    columns: tuple[str, ...],
    size: int,
    ruled_out: int,
    **others: Any,
) -> Explanation:
    blocks = touched.blocks
    reasons = index.pruned_by(selection, view.meta.scheme)
    counts = {
        reason.name.lower(): int(np.count_nonzero(reasons == reason))
        for reason in Pruned
        if reason is not Pruned.NOT
    }
    left = int(np.count_nonzero(reasons == Pruned.NOT)) - len(blocks)
    counts |= {"values": ruled_out, "summaries": left - ruled_out}
    devices = len(view.registry)
    return Explanation(
        question,
        view.meta.name,
        view.snapshot,
        Share(devices if selection.codes is None else len(selection.codes), devices),
        Share(len(np.unique(blocks.window)), len(np.unique(index.window))),
        Share(len(_device_blocks(blocks)), len(_device_blocks(index))),
        Share(len(_landing(blocks)), len(_landing(index))),
        Share(len(blocks), len(index)),
        Share(int(blocks.rows.sum()), int(index.rows.sum())),
        Share(size, int(index.bytes.sum())),
        columns,
        counts,
        **others,
    )


def _device_blocks(blocks: BlockTable) -> set[int]:
    return set(blocks.device_block.tolist()) - {LANDING_BLOCK}


def _landing(blocks: BlockTable) -> BlockTable:
    return blocks.take(blocks.device_block == LANDING_BLOCK)


def _chunk_bytes(view: FleetView, blocks: BlockTable, columns: Sequence[str]) -> int:
    if set(columns) >= {*KEY_COLUMNS, *view.meta.schema.names}:
        return int(blocks.bytes.sum())  # which the index keeps of all columns together
    names = [
        array.name if array else name
        for name in columns
        for array in (view.meta.arrays_of(name) if name not in KEY_COLUMNS else (None,))
    ]
    paths = [view.meta.layout.raw_path(name) for name in names]
    keys = [chunk_key(path, place) for path in paths for place in blocks.places.tolist()]
    return sum(get_sizes(view.store, keys))
