"""Stored statistics of every device and period, kept in step with the rows by every commit.

A batch whose rows are all newer than what a device has in a period is merged in. Late rows are
not: their cells are returned, to be computed again from the rows, since a late row may replace
an older one and is neither the first nor the last of its period.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.layout import FleetLayout
from pipeline.archive.preparing import PeriodStatistics
from pipeline.archive.tables import Table, read_chunks, write_chunks
from pipeline.schema.channels import Channel
from pipeline.summaries.statistics import Statistics

__all__ = ["SummaryWriter", "read_extent", "read_statistics", "summary_places"]

_ROWS, _TIME_MIN, _TIME_MAX = range(3)
_Chunks = dict[tuple[int, ...], NDArray[Any]]


class SummaryWriter:
    """The summary chunks that one transaction changes.

    Parameters
    ----------
    store
        The transaction's store.
    layout
        The fleet's layout.
    channels
        All channels of the fleet.
    """

    def __init__(self, store: Store, layout: FleetLayout, channels: Sequence[Channel]) -> None:
        self._store = store
        self._extent = layout.extent
        self._pairs = {channel.name: layout.summary_pair(channel) for channel in channels}
        self._chunks: dict[str, _Chunks] = {}

    def merge(self, update: PeriodStatistics) -> NDArray[np.bool_]:
        """Merge statistics of rows that are newer than what is stored.

        Returns
        -------
        ndarray
            Bool, one per entry: True where rows are late; those cells are left for `replace`.
        """
        late = np.zeros(len(update), np.bool_)
        for at, members in self._by_chunk(update):
            extent = self._chunk(self._extent, at)
            cells = self._cells(update, members)
            known = extent[_ROWS][cells] > 0
            late[members] = known & (update.time_min[members] <= extent[_TIME_MAX][cells])
            self._put(update, members[~late[members]], at, merge=True)
        return late

    def replace(self, update: PeriodStatistics) -> None:
        """Set the cells of `update` to its statistics."""
        for at, members in self._by_chunk(update):
            self._put(update, members, at, merge=False)

    def save(self) -> None:
        """Write every chunk that was touched."""
        touched = [
            (table, at, chunk)
            for table in self._tables()
            for at, chunk in self._chunks.get(table.path, {}).items()
        ]
        write_chunks(self._store, touched)

    def preload(self, updates: Sequence[PeriodStatistics]) -> None:
        """Read all chunks that `updates` will touch at once instead of one by one."""
        wanted = sorted({at for update in updates for at, _ in self._by_chunk(update)})
        places = [(table, at) for table in self._tables() for at in wanted]
        for (table, at), chunk in zip(places, read_chunks(self._store, places), strict=True):
            chunks = self._chunks.setdefault(table.path, {})
            chunks[at] = table.blank() if chunk is None else chunk

    def _tables(self) -> list[Table]:
        return [self._extent, *(table for pair in self._pairs.values() for table in pair)]

    def _put(
        self, update: PeriodStatistics, members: NDArray[np.int64], at: tuple[int, ...], merge: bool
    ) -> None:
        if len(members) == 0:
            return
        cells = self._cells(update, members)
        extent = self._chunk(self._extent, at)
        rows, first = update.rows[members], update.time_min[members]
        if merge:
            known = extent[_ROWS][cells] > 0
            first = np.where(known, extent[_TIME_MIN][cells], first)
            rows = rows + extent[_ROWS][cells]
        extent[:, *cells] = [rows, first, update.time_max[members]]
        for name, states in update.channels.items():
            values, moments = (self._chunk(table, at) for table in self._pairs[name])
            new = states[members]
            new = _states(values[:, *cells], moments[:, *cells]).combine(new) if merge else new
            values[:, *cells] = [new.min, new.max, new.first, new.last]
            moments[:, *cells] = [new.count, new.total, new.m2]

    def _by_chunk(
        self, update: PeriodStatistics
    ) -> list[tuple[tuple[int, ...], NDArray[np.int64]]]:
        if len(update) == 0:
            return []
        _, devices, periods = self._extent.chunk
        rows, columns = update.device // devices, update.period // periods
        keys, inverse = np.unique(np.stack([rows, columns]), axis=1, return_inverse=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        counts = np.bincount(inverse.ravel(), minlength=keys.shape[1])
        members = np.split(order, np.cumsum(counts)[:-1])
        return [((0, *map(int, key)), member) for key, member in zip(keys.T, members, strict=True)]

    def _cells(
        self, update: PeriodStatistics, members: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        _, devices, periods = self._extent.chunk
        return update.device[members] % devices, update.period[members] % periods

    def _chunk(self, table: Table, at: tuple[int, ...]) -> NDArray[Any]:
        chunks = self._chunks.setdefault(table.path, {})
        if at not in chunks:
            chunks.update(table.load(self._store, [at]))
        return chunks[at]


def read_extent(
    store: Store, layout: FleetLayout, codes: NDArray[np.int64], periods: range
) -> NDArray[np.int64]:
    """Return rows, first and last time of devices in periods.

    Returns
    -------
    ndarray
        ``int64``, shape (3, devices, periods): rows, and inclusive time bounds in microseconds,
        without meaning where there are no rows.
    """
    return _gather(store, [layout.extent], codes, periods)[0]


def read_statistics(
    store: Store,
    layout: FleetLayout,
    channel: Channel,
    codes: NDArray[np.int64],
    periods: range,
) -> Statistics:
    """Return a channel's stored statistics, shape (devices, periods)."""
    values, moments = _gather(store, layout.summary_pair(channel), codes, periods)
    return _states(values, moments)


def _states(values: NDArray[Any], moments: NDArray[np.float64]) -> Statistics:
    count = moments[0].astype(np.int64)
    return Statistics(count, values[0], values[1], values[2], values[3], moments[1], moments[2])


def summary_places(
    table: Table, codes: NDArray[np.int64], periods: range
) -> list[tuple[int, int, int]]:
    """Return which chunks of a summary table hold devices and periods."""
    _, devices, length = table.chunk
    columns = range(periods.start // length, (periods.stop - 1) // length + 1)
    rows = np.unique(codes // devices).tolist()
    return [(0, row, column) for row in rows for column in columns]


def _gather(
    store: Store, tables: Sequence[Table], codes: NDArray[np.int64], periods: range
) -> list[NDArray[Any]]:
    """Return the cells of devices and periods from tables of one grid, read at once."""
    shape = (len(codes), len(periods))
    gathered = [np.full((table.chunk[0], *shape), table.fill, table.dtype) for table in tables]
    if not len(codes) or not periods:
        return gathered
    _, devices, length = tables[0].chunk
    places = summary_places(tables[0], codes, periods)
    found = read_chunks(store, [(table, at) for table in tables for at in places])
    for number, chunk in enumerate(found):
        if chunk is None:
            continue
        _, row, column = places[number % len(places)]
        here = np.flatnonzero(codes // devices == row)
        start, stop = max(periods.start, column * length), min(periods.stop, (column + 1) * length)
        source = chunk[:, codes[here] % devices, start - column * length : stop - column * length]
        target = gathered[number // len(places)]
        target[:, here, start - periods.start : stop - periods.start] = source
    return gathered
