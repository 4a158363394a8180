"""Finding the rows of a request: by the index where that is enough, by their keys elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.archive.fleet_view import FleetView, Rows
from pipeline.archive.layout import INDEX_FIELDS
from pipeline.archive.read_units import ReadUnit
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.row_plan import RowPlan, Run

__all__ = ["FoundRows", "archive_order", "device_order"]

_INT32_LIMIT: Final = 1 << 31


@dataclass(frozen=True, slots=True, eq=False)
class FoundRows:
    """Rows of a request, in the order of the dataset.

    Parameters
    ----------
    plan
        Where they are stored.
    edges
        ``int64``, ascending from 0 to the number of rows: cuts that divide no unit of reading.
    row_size
        ``int64``, shape (selected devices,): rows of each; None in archive order.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC, of a single device.
    partitions
        ``int64``: those of the `edges` at which partitions end; None in device order.
    """

    plan: RowPlan
    edges: NDArray[np.int64]
    row_size: NDArray[np.int64] | None = None
    time: NDArray[np.int64] | None = None
    partitions: NDArray[np.int64] | None = None


def archive_order(view: FleetView, selection: Selection) -> FoundRows:
    """Find all devices' rows, window by window, without reading those that the index proves.

    Rows of a unit that is cut by the time range, or may hold a row twice, come by device and
    time, which takes reading their keys. Rows of other units stand as they are stored: block
    after block in the order of writing, in each by device and time.
    """
    runs: list[Run] = []
    blocks: list[BlockTable] = []
    lengths: list[int] = [0]
    ends: list[bool] = [True]
    base = 0
    for unit in view.units(selection):
        run = _whole_unit(view, unit, selection, base)
        if run.length:
            runs.append(run)
            blocks.append(unit.blocks)
            own = unit.blocks.device_block
            lengths += unit.blocks.rows.tolist() if run.order is None else [run.length]
            ends += [*(own[1:] != own[:-1]).tolist(), True] if run.order is None else [True]
            base += _stored(unit)
    plan, edges = RowPlan.of(_concatenated(blocks), runs), np.cumsum(lengths)
    return FoundRows(plan, edges, partitions=edges[np.array(ends)])


def device_order(view: FleetView, selection: Selection) -> FoundRows:
    """Find the rows of selected devices, device by device and each by time; reads their keys."""
    codes = np.zeros(0, np.int64) if selection.codes is None else selection.codes
    runs: list[Run] = []
    blocks: list[BlockTable] = []
    owners: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
    times: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    base = 0
    for unit in view.units(selection):
        rows = view.rows(unit, selection)
        if len(rows):
            starts = np.concatenate([[0], np.flatnonzero(np.diff(rows.codes)) + 1])
            runs += _device_runs(rows, starts, base)
            owners.append(rows.codes[starts])
            blocks.append(unit.blocks)
            times += [rows.time] if len(codes) == 1 else []
            base += _stored(unit)
    # Units come by window, so that a stable sort leaves each device's runs in time order.
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    lengths = np.array([run.length for run in runs], np.int64)
    sizes = np.bincount(np.searchsorted(codes, owner), lengths, len(codes)).astype(np.int64)
    plan = RowPlan.of(_concatenated(blocks), (runs[at] for at in order.tolist()))
    edges = np.concatenate([[0], np.cumsum(lengths[order])])
    return FoundRows(plan, edges, sizes, np.concatenate(times) if len(codes) == 1 else None)


def _whole_unit(view: FleetView, unit: ReadUnit, selection: Selection, base: int) -> Run:
    blocks = unit.blocks
    covered = selection.covers(int(blocks.time_min.min()), int(blocks.time_max.max()) + 1)
    if covered and unit.is_simple:
        return Run(base, _stored(unit))
    rows = view.rows(unit, selection)
    return Run(base, len(rows), _positions(rows))


def _device_runs(rows: Rows, starts: NDArray[np.int64], base: int) -> Iterator[Run]:
    """Yield the run of each device; most stand side by side, and need no order."""
    stops = np.append(starts[1:], len(rows))
    order = _positions(rows)
    if order is None:
        yield from map(Run, (base + starts).tolist(), (stops - starts).tolist())
        return
    breaks = np.concatenate([[0], np.cumsum(np.diff(order) != 1)])
    is_plain = breaks[starts] == breaks[stops - 1]
    for start, stop, plain in zip(starts.tolist(), stops.tolist(), is_plain.tolist(), strict=True):
        if plain:
            yield Run(base + int(order[start]), stop - start)
        else:
            yield Run(base, stop - start, order[start:stop])


def _stored(unit: ReadUnit) -> int:
    return int(unit.blocks.rows.sum())


def _positions(rows: Rows) -> NDArray[np.int32] | NDArray[np.int64] | None:
    """Return where the rows are among those of their unit; None if they are all, in order."""
    found = None if rows.order is None else rows.order.indices()
    if found is None or _stored(rows.unit) >= _INT32_LIMIT:
        return found
    return found.astype(np.int32)


def _concatenated(tables: Sequence[BlockTable]) -> BlockTable:
    places = [np.zeros((0, 3), np.int64), *(table.places for table in tables)]
    fields = [np.zeros((len(INDEX_FIELDS), 0), np.int64), *(table.fields for table in tables)]
    return BlockTable(np.concatenate(places), np.concatenate(fields, axis=1))
