"""Verifying rollups, and mending those with damaged chunks: what cannot be read is built anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.channel_statistics import channel_states
from pipeline.archive.chunk_io import chunk_key, delete_many, get_many
from pipeline.archive.damaged import DamagedChunk
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.rollups.arrays import RollupArray
from pipeline.archive.rollups.definition import DEVICES_PER_RUN
from pipeline.archive.rollups.periods import Period
from pipeline.archive.rollups.reading import RollupView
from pipeline.archive.rollups.store import Rollup, load_rollup, rollup_names
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.summary_tables import read_extent
from pipeline.archive.tables import Table
from pipeline.archive.verify_report import Problem
from pipeline.errors import ArchiveError
from pipeline.partitioning.windows import GRID_START, GRID_STOP

__all__ = ["damaged_rollups", "forget_built", "mend_rollups", "verify_rollups"]


def verify_rollups(view: FleetView) -> Iterator[Problem]:
    """Yield what is wrong with the rollups of a fleet.

    Every chunk is decoded. Where the fleet's own statistics tell the same, rows, counts, minima and
    maxima of windows that count as up to date are compared with these.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    """
    for name in rollup_names(view.store, view.meta):
        rollup = load_rollup(view.store, view.meta, name)
        damaged = [one for _, _, one in _damaged(view.store, rollup)]
        yield from (Problem("rollup", one.key, one.reason) for one in damaged)
        summary = Period.of_window(view.meta.scheme.summary_length)
        if not damaged and rollup.definition.period.holds(summary):
            yield from _compared(RollupView.load(view, name))


def damaged_rollups(store: Store, meta: FleetMeta) -> list[DamagedChunk]:
    """Return the chunks of rollups that cannot be read."""
    names = rollup_names(store, meta)
    return [one for name in names for _, _, one in _damaged(store, load_rollup(store, meta, name))]


def mend_rollups(store: Store, meta: FleetMeta) -> list[DamagedChunk]:
    """Remove chunks of rollups that cannot be read, in a transaction; the next refresh builds them.

    Returns
    -------
    list of DamagedChunk
        What was removed.
    """
    removed: list[DamagedChunk] = []
    for name in rollup_names(store, meta):
        rollup = load_rollup(store, meta, name)
        found = list(_damaged(store, rollup))
        delete_many(store, [one.key for _, _, one in found])
        removed += [one for _, _, one in found]
        table = rollup.built
        for array, (row, column), _ in found:
            if isinstance(array, RollupArray):
                run = row * array.chunk[0] // DEVICES_PER_RUN
                place = run // table.chunk[0], column // table.chunk[1]
                chunk = table.load(store, [place])[place]
                chunk[run % table.chunk[0], column % table.chunk[1]] = 0
                table.write(store, {place: chunk})
    return removed


def forget_built(store: Store, meta: FleetMeta) -> None:
    """Let the next refresh of every rollup of a fleet build all of it, in a transaction."""
    for name in rollup_names(store, meta):
        table = load_rollup(store, meta, name).built
        delete_many(store, [chunk_key(table.path, at) for at in stored_chunks(store, table.path)])


@dataclass(frozen=True, slots=True)
class _Part:
    """Devices and periods that are compared together."""

    codes: NDArray[np.int64]
    periods: range


def _damaged(
    store: Store, rollup: Rollup
) -> Iterator[tuple[RollupArray | Table, tuple[int, int], DamagedChunk]]:
    tables: list[RollupArray | Table] = [rollup.built, *rollup.arrays]
    for table in tables:
        for row, column in stored_chunks(store, table.path):
            key, data = chunk_key(table.path, (row, column)), b""
            try:
                stored = get_many(store, [key])[0]
                if stored is not None:
                    data = stored.tobytes()
                    table.decode(stored, key)
            except ArchiveError as error:
                yield table, (row, column), DamagedChunk(key, str(error), data)


def _compared(found: RollupView) -> Iterator[Problem]:
    rollup, view = found.rollup, found.view
    period, length = rollup.definition.period, view.meta.scheme.window_length
    known = np.ones(rollup.periods, np.bool_)
    starts = period.starts(np.arange(rollup.axis.start, rollup.axis.stop))
    known[starts < view.meta.retention.summaries_from] = False
    for window in found.stale().tolist():
        at = rollup.positions(length.start(window), length.start(window + 1))
        known[at.start : at.stop] = False
    for part in _parts(rollup):
        wrong = _differing(found, part)
        wrong &= known[part.periods.start - rollup.axis.start :][: len(part.periods)]
        if wrong.any():
            count, device = int(np.count_nonzero(wrong)), int(part.codes[wrong.any(axis=1)][0])
            name = view.registry.ids_of(np.array([device]))[0]
            what = f"{count} cells differ from the fleet's statistics, the first of device {name!r}"
            yield Problem("rollup", rollup.path, what)


def _parts(rollup: Rollup) -> Iterator[_Part]:
    width = rollup.arrays[0].chunk[1]
    for first in range(0, rollup.devices, DEVICES_PER_RUN):
        codes = np.arange(first, min(first + DEVICES_PER_RUN, rollup.devices))
        for start in range(rollup.axis.start, rollup.axis.stop, width):
            yield _Part(codes, range(start, min(start + width, rollup.axis.stop)))


def _differing(found: RollupView, part: _Part) -> NDArray[np.bool_]:
    """Return which cells differ from the fleet's statistics; bool, shape (codes, periods)."""
    view, period, length = found.view, found.rollup.definition.period, found.view.meta.scheme.summary_length  # fmt: skip
    first = max(period.start(part.periods.start), GRID_START)
    last = min(period.start(part.periods.stop), GRID_STOP) - 1
    numbers = range(length.number(first), length.number(last) + 1)
    into = period.numbers(length.starts(np.arange(numbers.start, numbers.stop)))
    edges = np.searchsorted(into, np.arange(part.periods.start, part.periods.stop))

    def summed(values: NDArray[Any]) -> NDArray[Any]:
        return np.add.reduceat(values, edges, axis=1)

    extent = read_extent(view.store, view.meta.layout, part.codes, numbers)
    wrong: NDArray[np.bool_] = summed(extent[0]) != found.rows(part.codes, part.periods)
    for name in found.rollup.definition.statistics:
        stored = channel_states(view, name, part.codes, numbers)
        states = found.states(part.codes, part.periods, name)
        some = stored.count > 0
        count = summed(stored.count)
        wrong |= count != states.count
        for extreme, ufunc in (("min", np.minimum), ("max", np.maximum)):
            if extreme in found.tells(name):
                values = getattr(stored, extreme)
                info: Any = np.finfo if values.dtype.kind == "f" else np.iinfo
                bounds = info(values.dtype)
                filled = np.where(some, values, bounds.max if extreme == "min" else bounds.min)
                merged = ufunc.reduceat(filled, edges, axis=1)
                wrong |= (count > 0) & (merged != getattr(states, extreme))
    return wrong
