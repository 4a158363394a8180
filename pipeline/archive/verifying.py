"""Verifying a fleet: every block against its checksum, the index, the summaries and the counters.

The work is cut into spans of windows, which are independent of one another, and what concerns the
whole fleet. Blocks are read one after the other, and for the summaries a unit of a window at a time, so
that memory is bounded whatever the fleet holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import chunk_key, get_many
from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.preparing import PeriodStatistics, summarise
from pipeline.archive.read_units import read_units
from pipeline.archive.summary_tables import read_extent, read_statistics
from pipeline.archive.verify_report import FleetFindings, Problem
from pipeline.errors import ArchiveError
from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_range
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.statistics import Statistics

__all__ = ["verify_block", "verify_windows"]

_CLOSE: Final = 1e-9
_CELLS_AT_ONCE: Final = 1 << 21
_CELLS_COMPARED: Final = 1 << 16
_GROUP_BYTES: Final = 1 << 24
_GROUP_BLOCKS: Final = 64
type _Chunk = NDArray[np.uint8] | None


def verify_windows(view: FleetView, windows: Sequence[int]) -> FleetFindings:
    """Verify the blocks of some windows, and the summaries of their periods.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    windows
        Numbers of windows, ascending. Those whose summaries lie in the same chunks should be
        verified together, for each of these is read once.
    """
    view, length = view.stored(), view.meta.scheme.window_length
    selection = Selection(length.start(windows[0]), length.start(windows[-1] + 1))
    try:
        blocks = view.blocks(selection)
        thinned = set(view.thinned_windows(selection))
    except ArchiveError as error:
        return FleetFindings.of([Problem("corrupt", view.meta.layout.index.path, str(error))])
    found, compared = FleetFindings(), []
    for window in windows:
        those = blocks.take(blocks.window == window)
        if not len(those) and window in thinned:
            continue  # only statistics are left, and nothing to compare them with
        part = _verify_blocks(view, those)
        found = found.joined(part)
        # Which statistics rows of damaged blocks would have had cannot be told.
        if part.counts.keys().isdisjoint(("corrupt", "missing", "index", "bounds")):
            compared.append(window)
    try:
        return found.joined(_verify_summaries(view, blocks, compared))
    except ArchiveError as error:
        place = view.meta.layout.summary_group
        return found.joined(FleetFindings.of([Problem("corrupt", place, str(error))]))


def _verify_blocks(view: FleetView, blocks: BlockTable) -> FleetFindings:
    found = FleetFindings()
    for group in _groups(blocks):
        for block, chunks in _fetched(view, group):
            problems = verify_block(view, block, chunks)
            rows, size = int(block.rows[0]), int(block.bytes[0])
            found = found.joined(FleetFindings.of(problems, blocks=1, rows=rows, bytes=size))
    return found


def verify_block(
    view: FleetView, block: BlockTable, chunks: Mapping[str, _Chunk | ArchiveError]
) -> list[Problem]:
    """Return what is wrong with one block, compared with its index entry.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    block
        One index entry.
    chunks
        The stored bytes of every column, None where there is no chunk, or the error that
        fetching them raised.
    """
    problems, sizes, columns = list[Problem](), 0, dict[str, Column]()
    for name, data in chunks.items():
        wanted = (name, _dtype(view, name))
        key = chunk_key(view.meta.layout.raw_path(name), block.places[0].tolist())
        if data is None:
            problems.append(
                Problem("missing", key, "the index names this block, but there is no such chunk")
            )
            continue
        try:
            if isinstance(data, ArchiveError):
                raise data
            sizes += len(data)
            columns[name] = FetchedBlocks(block, [wanted], [[key]], [[data]]).decode(0)[0]
        except ArchiveError as error:
            problems.append(Problem("corrupt", key, str(error)))
    if problems:
        return problems
    key = chunk_key(view.meta.layout.raw_path("time"), block.places[0].tolist())
    if sizes != int(block.bytes[0]):
        what = f"the index says {block.bytes[0]} bytes, its chunks have {sizes}"
        problems.append(Problem("index", key, what))
    return problems + list(_wrong_rows(view, block, columns, key))


def _groups(blocks: BlockTable) -> Iterator[BlockTable]:
    """Yield blocks in groups that are fetched at once."""
    held = np.cumsum(blocks.bytes) // _GROUP_BYTES + np.arange(len(blocks)) // _GROUP_BLOCKS
    for members in np.split(np.arange(len(blocks)), np.flatnonzero(np.diff(held)) + 1):
        if len(members):
            yield blocks.take(members)


def _fetched(
    view: FleetView, blocks: BlockTable
) -> Iterator[tuple[BlockTable, dict[str, _Chunk | ArchiveError]]]:
    """Yield each block with the chunks of all its columns."""
    every = [blocks.take(np.array([at])) for at in range(len(blocks))]
    # A block has the arrays of its version of the schema, and no others.
    names = [("device_index", "time", *view.stored_as(one).meta.schema.names) for one in every]
    keys = [
        chunk_key(view.meta.layout.raw_path(name), one.places[0].tolist())
        for one, columns in zip(every, names, strict=True)
        for name in columns
    ]
    stored = iter(_get_each(view.store, keys))
    for one, columns in zip(every, names, strict=True):
        yield one, {name: next(stored) for name in columns}


def _get_each(store: Store, keys: Sequence[str]) -> list[_Chunk | ArchiveError]:
    try:
        return list(get_many(store, keys))
    except ArchiveError:
        found: list[_Chunk | ArchiveError] = []
        for key in keys:
            try:
                found += get_many(store, [key])
            except ArchiveError as error:
                found.append(error)
        return found


def _dtype(view: FleetView, name: str) -> np.dtype[np.generic]:
    if name == "device_index":
        return np.dtype(np.int32)
    return np.dtype(np.int64) if name == "time" else storage_dtype(view.meta.schema[name].dtype)


def _wrong_rows(
    view: FleetView, block: BlockTable, columns: dict[str, Column], key: str
) -> Iterator[Problem]:
    codes, time = columns["device_index"].values, columns["time"].values
    scheme = view.meta.scheme
    window, number = int(block.window[0]), int(block.device_block[0])
    same = codes[1:] == codes[:-1]
    if (codes[1:] < codes[:-1]).any() or (same & (time[1:] < time[:-1])).any():
        yield Problem("order", key, "rows are not sorted by device and time")
    bounds = (block.time_min, block.time_max, block.device_min, block.device_max)
    said = tuple(int(bound[0]) for bound in bounds)
    found = (int(time.min()), int(time.max()), int(codes.min()), int(codes.max()))
    if said != found:
        yield Problem("bounds", key, f"the index says {said}, the rows have {found}")
    length = scheme.window_length
    if found[0] < length.start(window) or found[1] >= length.start(window + 1):
        yield Problem("bounds", key, "rows lie outside of the block's window")
    first, last = device_range(number, scheme.devices_per_block)
    if number == LANDING_BLOCK:
        first, last = 0, view.registry.positions
    if found[2] < first or found[3] >= min(last, view.registry.positions):
        yield Problem("bounds", key, "rows are of devices that do not belong to this device block")
    if int(block.sequence[0]) >= view.state.sequence:
        what = f"sequence {block.sequence[0]} of the block was never handed out"
        yield Problem("counter", key, f"{what}; the next is {view.state.sequence}")
    if int(block.schema_version[0]) > view.meta.schema.version:
        yield Problem("index", key, f"no schema version {block.schema_version[0]}")


def _verify_summaries(view: FleetView, blocks: BlockTable, windows: Sequence[int]) -> FleetFindings:
    if not windows:
        return FleetFindings()
    length, period = view.meta.scheme.window_length, view.meta.scheme.summary_length
    every = [
        range(period.number(length.start(at)), period.number(length.start(at + 1) - 1) + 1)
        for at in windows
    ]
    periods = range(every[0].start, every[-1].stop)
    compared = np.zeros(len(periods), np.bool_)
    for part in every:
        compared[part.start - periods.start : part.stop - periods.start] = True
    rows_of = np.zeros((view.registry.positions, len(periods)), np.bool_)
    found = FleetFindings()
    for computed in _computed(view, blocks.take(np.isin(blocks.window, windows))):
        rows_of[computed.device, computed.period - periods.start] = True
        problems = list(_wrong_cells(view, computed, periods))
        found = found.joined(FleetFindings.of(problems, cells=len(computed)))
    return found.joined(FleetFindings.of(_cells_without_rows(view, periods, compared, rows_of)))


def _computed(view: FleetView, blocks: BlockTable) -> Iterator[PeriodStatistics]:
    """Yield the statistics of the rows of blocks, many of them at once."""
    length, period = view.meta.scheme.window_length, view.meta.scheme.summary_length
    names, parts = view.meta.schema.names, list[PeriodStatistics]()
    for unit in read_units(blocks, view.meta.scheme):
        selection = Selection(length.start(unit.window), length.start(unit.window + 1))
        rows = (
            view.block_rows(unit, selection, names)
            if unit.is_ordered
            else iter([view.rows(unit, selection, names)])
        )
        parts += [summarise(period, r.codes, r.time, r.columns) for r in rows if len(r)]
        if sum(map(len, parts)) >= _CELLS_COMPARED:
            yield PeriodStatistics.concat(parts)
            parts = []
    if parts:
        yield PeriodStatistics.concat(parts)


def _cells_without_rows(
    view: FleetView, periods: range, compared: NDArray[np.bool_], rows_of: NDArray[np.bool_]
) -> Iterator[Problem]:
    path = view.meta.layout.extent.path
    starts = view.meta.scheme.summary_length.starts(np.array(periods))
    # The rows of these were dropped, and their statistics kept: after a re-partitioning, a window
    # may have such periods and others with rows.
    if starts[-1] >= view.meta.retention.raw_from:
        compared = compared & (starts >= view.meta.retention.raw_from)
    step = max(1, _CELLS_AT_ONCE // max(len(periods), 1))
    for first in range(0, view.registry.positions, step):
        codes = np.arange(first, min(first + step, view.registry.positions))
        stored = read_extent(view.store, view.meta.layout, codes, periods)[0] > 0
        for device, at in np.argwhere(stored & compared & ~rows_of[codes]).tolist():
            where = _cell_name(view, int(codes[device]), periods[at])
            yield Problem("summary", path, f"{where}: statistics without a row")


def _wrong_cells(view: FleetView, computed: PeriodStatistics, periods: range) -> Iterator[Problem]:
    layout = view.meta.layout
    codes, inverse = np.unique(computed.device, return_inverse=True)
    where = (inverse, computed.period - periods.start)
    stored = read_extent(view.store, layout, codes, periods)[:, *where]
    expected = np.stack([computed.rows, computed.time_min, computed.time_max])
    wrong = (stored != expected).any(axis=0)
    yield from _told(view, layout.extent.path, computed, wrong, "rows or time bounds")
    for channel in view.meta.schema:
        states = read_statistics(view.store, layout, channel, codes, periods)[where]
        wrong = _differ(states, computed.channels[channel.name])
        path = layout.summary_pair(channel)[0].path
        yield from _told(view, path, computed, wrong, f"statistics of {channel.name}")


def _differ(stored: Statistics, computed: Statistics) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = stored.count != computed.count
    some = computed.count > 0
    exact = zip(stored.arrays()[1:5], computed.arrays()[1:5], strict=True)
    for one, two in exact:
        wrong |= some & (one != two)
    scale = np.maximum(np.abs(computed.min.astype(float)), np.abs(computed.max.astype(float)))
    with np.errstate(invalid="ignore", over="ignore"):
        total = scale * computed.count
        moment = scale**2 * computed.count
        pairs = ((stored.total, computed.total, total), (stored.m2, computed.m2, moment))
        for one, two, size in pairs:
            # Not equal and not close: an infinite reading makes them NaN or infinite alike.
            close = np.abs(one - two) <= _CLOSE * size
            alike = (one == two) | (np.isnan(one) & np.isnan(two)) | ~np.isfinite(size)
            wrong |= some & ~close & ~alike
    return wrong


def _told(
    view: FleetView, path: str, cells: PeriodStatistics, wrong: NDArray[np.bool_], what: str
) -> Iterator[Problem]:
    for at in np.flatnonzero(wrong).tolist():
        where = _cell_name(view, int(cells.device[at]), int(cells.period[at]))
        yield Problem("summary", path, f"{where}: {what} are not those of the rows")


def _cell_name(view: FleetView, device: int, period: int) -> str:
    start = np.datetime64(view.meta.scheme.summary_length.start(period), "us")
    return f"device {view.registry.ids_of(np.array([device]))[0]!r}, {start.astype('M8[s]')}Z"
