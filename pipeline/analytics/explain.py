"""What a question would touch, told by the planner that answers it; no row is read.

The whole index of the fleet is read, to say how much there is in all, and where the question does
not need every channel, the sizes of the chunks that it does need are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

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
from pipeline.archive.summary_tables import summary_places
from pipeline.codecs.block import HEADER_BYTES
from pipeline.partitioning.device_blocks import LANDING_BLOCK
from pipeline.partitioning.pruning import Pruned, Selection

__all__ = ["Explanation", "Share", "explain_aggregate", "explain_read"]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many."""

    touched: int
    total: int

    def __str__(self) -> str:
        return f"{self.touched:,} of {self.total:,}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a question would touch of a fleet.

    Parameters
    ----------
    question
        ``"read"`` or ``"aggregate"``.
    fleet, snapshot
        What would be asked.
    devices
        Devices selected.
    windows, device_blocks
        Windows and device blocks of which stored blocks are read, of those that hold some.
    landing_blocks, blocks
        Stored blocks that are read: of landing, and in all.
    rows
        Rows in these blocks, before rows of other devices and times are left out.
    bytes
        Encoded bytes that are read of blocks, of those of all blocks and columns.
    columns
        Raw columns that are read.
    pruned
        Blocks that are not read, by what rules them out: ``window``, ``device_block``,
        ``time_bounds`` and ``device_bounds`` (of the block, in the index), ``values`` (the block's
        header tells that no row satisfies the conditions), and ``summaries``, which answer
        instead or tell that no row of a device and period satisfies the conditions.
    headers
        Blocks of which only the header is read, for its statistics.
    summary_periods, summary_chunks, summary_bytes
        Periods that stored summaries answer, and what is read of them.
    cells
        With conditions on values, how many pairs of device and summary period hold no match
        (``none``), match as a whole (``all``) or are to be looked at (``some``), as summaries tell.
    """

    question: str
    fleet: str
    snapshot: str
    devices: Share
    windows: Share
    device_blocks: Share
    landing_blocks: Share
    blocks: Share
    rows: Share
    bytes: Share
    columns: tuple[str, ...]
    pruned: Mapping[str, int]
    headers: int = 0
    summary_periods: int = 0
    summary_chunks: int = 0
    summary_bytes: int = 0
    cells: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        mappings = {"pruned": dict(self.pruned), "cells": dict(self.cells)}
        return {**asdict(self), "columns": list(self.columns), **mappings}

    def __str__(self) -> str:
        lines = {
            "devices": str(self.devices),
            "windows": str(self.windows),
            "device blocks": str(self.device_blocks),
            "blocks": f"{self.blocks}; landing {self.landing_blocks}",
            "rows": str(self.rows),
            "bytes": str(self.bytes),
            "columns": ", ".join(self.columns),
            "pruned": self._pruned_text(),
        }
        if self.question == "aggregate":
            lines["summaries"] = (
                f"{self.summary_periods:,} periods in {self.summary_chunks:,} chunks, "
                f"{self.summary_bytes:,} bytes"
            )
            decoded = self.blocks.touched - self.headers
            lines["headers"] = f"{self.headers:,} blocks; {decoded:,} are decoded"
        if self.cells:
            counts = ", ".join(f"{kind} of {count:,}" for kind, count in self.cells.items())
            lines["matching"] = f"{counts} devices and periods"
        told = [f"  {name:<13}  {text}" for name, text in lines.items()]
        return "\n".join([f"{self.question} of fleet {self.fleet!r} would touch", *told])

    def _pruned_text(self) -> str:
        reasons = [
            f"{count:,} by {name.replace('_', ' ')}" for name, count in self.pruned.items() if count
        ]
        return f"{sum(self.pruned.values()):,} blocks{': ' if reasons else ''}{', '.join(reasons)}"


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
    channels = tuple(query.stored)
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
    def cells(self) -> dict[str, int]:
        """How many devices and periods hold no match, some, or match whole."""
        if not self.judged:
            return {}
        some, whole = (sum(getattr(s, name) for s in self.judged) for name in ("open", "whole"))
        every = sum(step.cells for step in self.judged)
        return {"none": every - some - whole, "some": some, "all": whole}


def _summary_keys(query: Query, *found: _Found) -> list[str]:
    """Return the keys of the summary chunks that are read, each once."""
    layout, schema = query.view.meta.layout, query.view.meta.schema
    codes, conditions = query.groups.codes, query.selection.conditions
    read = [(step.periods, conditions.channels, codes) for one in found for step in one.judged]
    for step in (step for one in found for step in one.summaries):
        chosen = codes if step.cells is None else codes[step.cells.any(axis=1)]
        read.append((step.periods, tuple(query.stored), chosen))
    places = {
        (table.path, place)
        for periods, names, chosen in read
        for table in (
            layout.extent,
            *(t for name in names for t in layout.summary_pair(schema[name])),
        )
        for place in summary_places(table, chosen, periods)
    }
    return [chunk_key(path, place) for path, place in sorted(places)]


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
    paths = [view.meta.layout.raw_path(name) for name in columns]
    keys = [chunk_key(path, place) for path in paths for place in blocks.places.tolist()]
    return sum(get_sizes(view.store, keys))
