"""Stored statistics of every device and period, kept in step with the rows by every commit.

A batch whose rows are all newer than what a device has in a period is merged in. Late rows are
not: their cells are returned, to be computed again from the rows, since a late row may replace
an older one and is neither the first nor the last of its period.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.layout import FleetLayout
from pipeline.archive.preparing import PeriodStatistics
from pipeline.archive.tables import Table, read_chunks, write_chunks
from pipeline.schema.channels import Channel
from pipeline.summaries.statistics import Statistics

__all__ = ["Cells", "SummaryWriter", "read_extent", "read_statistics", "summary_places"]

_ROWS, _TIME_MIN, _TIME_MAX = range(3)
_Chunks = dict[tuple[int, ...], NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of the summary tables.

    Parameters
    ----------
    device, period
        ``int64``, shape (cells,): device code and period number.
    """

    device: NDArray[np.int64]
    period: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.device)

    @classmethod
    def union(cls, parts: Sequence[Cells]) -> Cells:
        """Return the cells of any of `parts`, each once, by period and device."""
        none = np.zeros((2, 0), np.int64)
        pairs = np.concatenate([none, *([part.period, part.device] for part in parts)], axis=1)
        period, device = np.unique(pairs, axis=1)
        return cls(device, period)

    def take(self, chosen: NDArray[Any]) -> Cells:
        """Return the cells at `chosen` (indices or a bool mask)."""
        return Cells(self.device[chosen], self.period[chosen])

    def contains(self, device: NDArray[np.int64], period: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs of device and period are among the cells; bool, their shape."""
        return np.isin(_keys(device, period), _keys(self.device, self.period))


def _keys(device: NDArray[np.int64], period: NDArray[np.int64]) -> NDArray[np.int64]:
    return (period << 32) | device


class SummaryWriter:
    """The summary chunks that one transaction changes.

    Parameters
    ----------
    store
        The transaction's store.
    layout
        The fleet's layout.
    channels
        Every array of the fleet, those of channels that were retired too, as channels of its name.
    """

    def __init__(self, store: Store, layout: FleetLayout, channels: Sequence[Channel]) -> None:
        self._store = store
        self._extent = layout.extent
        self._pairs = {channel.name: layout.summary_pair(channel) for channel in channels}
        self._chunks: dict[str, _Chunks] = {}
        self._new: set[tuple[str, tuple[int, ...]]] = set()

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
        """Set the cells of `update` to its statistics: arrays that it does not tell of have none."""
        for at, members in self._by_chunk(update):
            self._put(update, members, at, merge=False)
            where = self._cells(update, members)
            for name in self._pairs.keys() - update.channels.keys():
                for table in self._pairs[name]:
                    self._chunk(table, at)[:, *where] = table.fill

    def move(self, update: PeriodStatistics, emptied: Sequence[str]) -> None:
        """Set what `update` tells of arrays in its cells, and empty other arrays there; rows stay."""
        for at, members in self._by_chunk(update):
            where = self._cells(update, members)
            for name, states in update.channels.items():
                self._put_states(name, states[members], at, where)
            for table in (table for name in emptied for table in self._pairs[name]):
                self._chunk(table, at)[:, *where] = table.fill

    def clear(self, cells: Cells) -> None:
        """Make cells what they are without a row."""
        for at, members in self._by_chunk(cells):
            where = self._cells(cells, members)
            for table in self._tables():
                self._chunk(table, at)[:, *where] = table.fill

    def save(self) -> None:
        """Write every chunk that was touched."""
        touched = [
            (table, at, chunk)
            for table in self._tables()
            for at, chunk in self._chunks.get(table.path, {}).items()
            # Of an array that has nothing here there was no chunk, and need not be one. Bits are
            # looked at: -0.0 is something.
            if (table.path, at) not in self._new or chunk.view(np.uint8).any()
        ]
        write_chunks(self._store, touched)

    def preload(
        self,
        updates: Sequence[PeriodStatistics | Cells],
        names: Container[str] | None = None,
    ) -> None:
        """Read all chunks that `updates` will touch, and were not read yet, at once.

        Parameters
        ----------
        updates
            Statistics or cells.
        names
            The arrays that will be touched; None for all.
        """
        wanted = sorted({at for update in updates for at, _ in self._by_chunk(update)})
        places = [
            (table, at)
            for table in self._tables(names)
            for at in wanted
            if at not in self._chunks.get(table.path, {})
        ]
        for (table, at), chunk in zip(places, read_chunks(self._store, places), strict=True):
            self._keep(table, at, chunk)

    def _tables(self, names: Container[str] | None = None) -> list[Table]:
        pairs = (pair for name, pair in self._pairs.items() if names is None or name in names)
        return [self._extent, *(table for pair in pairs for table in pair)]

    def _keep(self, table: Table, at: tuple[int, ...], chunk: NDArray[Any] | None) -> None:
        if chunk is None:
            self._new.add((table.path, at))
        self._chunks.setdefault(table.path, {})[at] = table.blank() if chunk is None else chunk

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
            self._put_states(name, states[members], at, cells, merge=merge)

    def _put_states(
        self,
        name: str,
        new: Statistics,
        at: tuple[int, ...],
        cells: tuple[NDArray[np.int64], NDArray[np.int64]],
        *,
        merge: bool = False,
    ) -> None:
        values, moments = (self._chunk(table, at) for table in self._pairs[name])
        new = _states(values[:, *cells], moments[:, *cells]).combine(new) if merge else new
        values[:, *cells] = [new.min, new.max, new.first, new.last]
        moments[:, *cells] = [new.count, new.total, new.m2]

    def _by_chunk(
        self, update: PeriodStatistics | Cells
    ) -> list[tuple[tuple[int, ...], NDArray[np.int64]]]:
        if len(update) == 0:
            return []
        _, devices, periods = self._extent.chunk
        rows, columns = update.device // devices, update.period // periods
        # One number a chunk: sorting pairs took ten times as long.
        width = self._extent.shape[2] // periods + 1
        keys, inverse = np.unique(rows * width + columns, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
        places = [(0, *divmod(key, width)) for key in keys.tolist()]
        return list(zip(places, members, strict=True))

    def _cells(
        self, update: PeriodStatistics | Cells, members: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        _, devices, periods = self._extent.chunk
        return update.device[members] % devices, update.period[members] % periods

    def _chunk(self, table: Table, at: tuple[int, ...]) -> NDArray[Any]:
        if at not in self._chunks.get(table.path, {}):
            self._keep(table, at, read_chunks(self._store, [(table, at)])[0])
        return self._chunks[table.path][at]


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
