"""Carrying out a merge: read blocks, resolve duplicates, encode full blocks in order.

This needs a snapshot and no transaction; its result can travel between processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.compacting import Merge
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import BLOCK_ROWS
from pipeline.archive.preparing import Memories, PeriodStatistics, Prepared, prepare_stored
from pipeline.archive.read_units import ReadUnit
from pipeline.model.batches import Column
from pipeline.partitioning.device_blocks import device_blocks
from pipeline.partitioning.pruning import Selection

__all__ = ["StoredRows", "prepare_merge"]


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """Rows with device codes, times and channels as they are stored."""

    codes: NDArray[np.int32]
    time: NDArray[np.int64]
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(self.time)

    def part(self, rows: slice) -> StoredRows:
        """Return a run of the rows."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return StoredRows(self.codes[rows], self.time[rows], columns)

    def then(self, later: StoredRows) -> StoredRows:
        """Return these rows and the later ones."""
        if not len(self):
            return later
        columns = {name: _joined(one, later.columns[name]) for name, one in self.columns.items()}
        return StoredRows(
            np.concatenate([self.codes, later.codes]),
            np.concatenate([self.time, later.time]),
            columns,
        )


def prepare_merge(view: FleetView, merge: Merge, memories: Memories | None = None) -> Prepared:
    """Read the rows of a merge, duplicates resolved, and encode them as one run of blocks.

    All blocks of a merge are of one version of the schema, and so are the new ones. Rows go to the blocks of their devices. Only where these would get fewer rows on average than
    the fleet's ``landing_rows``, all of them go to landing blocks, which are full then.

    Parameters
    ----------
    view
        The fleet at the snapshot on which the merge was planned.
    merge
        What to read.
    memories
        As for `pipeline.archive.preparing.prepare`.

    Raises
    ------
    CorruptBlockError
        If a block is damaged.
    """
    known: Memories = {} if memories is None else memories
    view = view.stored(int(merge.blocks.schema_version[0]))
    parts, meta, held = [], None, None
    for rows in _read(view, merge):
        meta = meta or _target(view.meta, merge, rows)
        held = rows if held is None else held.then(rows)
        full = 0 if len(merge.cuts) == 1 else len(held) // BLOCK_ROWS * BLOCK_ROWS
        if full:
            parts.append(_encoded(held.part(slice(full)), meta, known))
            held = held.part(slice(full, None))
    if held is not None and meta is not None and len(held):
        parts.append(_encoded(held, meta, known))
    return _concatenated(parts)


def _read(view: FleetView, merge: Merge) -> Iterator[StoredRows]:
    names = view.meta.schema.names
    for cut in merge.cuts:
        blocks = merge.blocks.take(cut.meets(merge.blocks))
        if not len(blocks):
            continue
        unit = ReadUnit(blocks, cut.first_code, cut.last_code)
        rows = view.rows(unit, Selection(cut.start, cut.stop), names)
        yield StoredRows(rows.codes, rows.time, rows.columns)


def _target(meta: FleetMeta, merge: Merge, rows: StoredRows) -> FleetMeta:
    """Return the fleet's definition with the rule that sends all rows where they should go."""
    scheme, least = meta.scheme, 0
    if not merge.to_own and len(merge.cuts) == 1:
        partitions = len(np.unique(device_blocks(rows.codes, scheme.devices_per_block)))
        if len(rows) < partitions * scheme.landing_rows:
            least = len(rows) + 1
    return replace(meta, layout=replace(meta.layout, scheme=replace(scheme, landing_rows=least)))


def _encoded(rows: StoredRows, meta: FleetMeta, memories: Memories) -> Prepared:
    return prepare_stored(rows.codes, rows.time, rows.columns, meta, memories)


def _concatenated(parts: Sequence[Prepared]) -> Prepared:
    if len(parts) == 1:
        return parts[0]
    return Prepared(
        tuple(entry for part in parts for entry in part.entries),
        tuple(payload for part in parts for payload in part.payloads),
        PeriodStatistics.concat([part.statistics for part in parts]),
        sum(part.rows for part in parts),
        sum(part.duplicates for part in parts),
    )


def _joined(one: Column, two: Column) -> Column:
    values = np.concatenate([one.values, two.values])
    if one.valid is None and two.valid is None:
        return Column(values)
    valid = [
        np.ones(len(part), np.bool_) if part.valid is None else part.valid for part in (one, two)
    ]
    return Column(values, np.concatenate(valid))
