"""Which rows of an archive a ragged array shows, and where labels are among them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.model.timestamps import format_time
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.labels_of_rows import Times
from pipeline.xarray_engine.origins import RowOrigin
from pipeline.xarray_engine.row_search import DeviceRows, rows_between, rows_of_devices

__all__ = ["Names", "RaggedRows", "Rows"]

Rows = range | NDArray[np.int64]
"""Rows of a dataset as it was opened."""


@dataclass(frozen=True)
class Names:
    """Names of the dimension of rows and of the coordinates of a ragged array.

    Parameters
    ----------
    row, device, time
        The dimension of the rows; the dimension and coordinate of devices; the times.
    helper
        What tells devices and rows apart: ``device_index`` or ``row_size``.
    row_size
        The number of rows of a device, in arrays that have it.
    """

    row: Hashable
    device: Hashable
    time: Hashable
    helper: Hashable
    row_size: Hashable

    @property
    def coordinates(self) -> tuple[Hashable, Hashable, Hashable]:
        """Names of the coordinates that belong to the index."""
        return self.device, self.time, self.helper


@dataclass(frozen=True, eq=False)
class RaggedRows:
    """Which rows of the archive the rows of a ragged array are.

    Parameters
    ----------
    origin
        The rows of the dataset when it was opened.
    rows
        Which of them each row is, none twice; a range, or ``int64``.
    codes
        ``int64``: device codes along ``device``.
    selection
        Times and devices whose rows these are, all of them; None if rows were picked otherwise.
    row_size
        ``int64``: rows of each device, of a contiguous ragged array; None of an indexed one.
    names
        What things are called.
    """

    origin: RowOrigin
    rows: Rows
    codes: NDArray[np.int64]
    selection: Selection | None
    row_size: NDArray[np.int64] | None
    names: Names

    def picked(
        self, positions: slice | NDArray[np.int64], selection: Selection | None
    ) -> RaggedRows:
        """Return some of the rows, in their order: a slice without step, or ascending places."""
        size = self.row_size
        if size is not None:
            edges = np.concatenate([[0], np.cumsum(size)])
            if isinstance(positions, slice):
                size = np.diff(np.clip(edges, positions.start, positions.stop))
            else:
                size = np.diff(np.searchsorted(positions, edges))
        return replace(self, rows=self.at(positions), selection=selection, row_size=size)

    def at(self, positions: slice | NDArray[np.int64]) -> Rows:
        """Return which rows of the origin stand at some places."""
        if isinstance(positions, slice):
            return self.rows[positions]
        if isinstance(self.rows, range):
            return positions + self.rows.start
        return self.rows[positions]

    def between(self, times: Times) -> slice | NDArray[np.int64]:
        """Return the places of the rows of some times, ascending.

        Raises
        ------
        KeyError
            If there is no row at a time that was asked for.
        """
        if times.moments is not None:
            return np.sort(self.of_devices(np.arange(len(self.codes)), times).rows)
        view, plan = self.origin.find()
        rows, ours = rows_between(view, plan, self._within(times, None)), self.rows
        if isinstance(ours, range) and isinstance(rows, range):
            low, high = max(rows.start, ours.start), min(rows.stop, ours.stop)
            _check_found(max(high - low, 0), times)
            return slice(low - ours.start, max(low, high) - ours.start)
        positions, _ = self._places_of(np.asarray(rows, np.int64))
        _check_found(len(positions), times)
        return positions

    def of_devices(self, places: NDArray[np.int64], times: Times) -> DeviceRows:
        """Return the rows of some devices and times, with their places among the rows.

        Parameters
        ----------
        places
            Where the devices stand along ``device``.
        times
            The times.

        Raises
        ------
        KeyError
            If there is no row at a time that was asked for.
        """
        view, plan = self.origin.find()
        wanted = self._within(times, np.unique(self.codes[places]))
        found = rows_of_devices(view, plan, wanted)
        positions, taken = self._places_of(found.rows)
        found = replace(found.take(taken), rows=positions)
        if times.moments is not None:
            found = found.take(np.isin(found.time, times.moments))
            missing = np.setdiff1d(times.moments, found.time)
            if len(missing):
                _check_found(0, replace(times, start=int(missing[0])))
        elif len(places):
            _check_found(len(found.rows), times)
        return found

    def places_of_devices(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """Return where devices stand along ``device``.

        Raises
        ------
        KeyError
            If one is not among them.
        """
        view, _ = self.origin.find()
        codes = view.registry.find(wanted)
        sorter = np.argsort(self.codes, kind="stable")
        at = np.full(len(codes), -1, np.int64)
        if len(sorter):
            near = np.searchsorted(self.codes, codes, sorter=sorter)
            near = sorter[np.minimum(near, len(sorter) - 1)]
            at = np.where(self.codes[near] == codes, near, -1)
        if (at < 0).any():
            number = int(np.argmax(at < 0))
            why = "the fleet has no such device"
            if codes[number] >= 0:
                why = "the fleet has it, but it is not among those that were selected"
            msg = f"no device {wanted[number]!r} here: {why}. The coordinate {self.names.device!r} lists {len(self.codes)} devices"
            raise KeyError(msg)
        return at

    def selected(self, times: Times, codes: NDArray[np.int64] | None = None) -> Selection | None:
        """Return times and devices whose rows are left, all of them; None if that cannot be said."""
        before = self.selection
        if before is None or times.moments is not None:
            return None
        start = before.start if times.start is None else max(before.start, times.start)
        stop = before.stop if times.stop is None else min(before.stop, times.stop)
        return Selection.of(start, max(start, stop), before.codes if codes is None else codes)

    def equals(self, other: RaggedRows, *, of_devices: bool = False) -> bool:
        """Tell whether both are the same rows in the same order, or of the same devices."""
        if not np.array_equal(self.codes, other.codes):
            return False
        if of_devices:
            return self.origin.is_beside(other.origin)
        if self.origin.is_of(other.origin):
            if isinstance(self.rows, range) and isinstance(other.rows, range):
                return self.rows == other.rows
            return np.array_equal(np.asarray(self.rows), np.asarray(other.rows))
        # By device and time there is one order only, however the rows were found.
        one, two = self.selection, other.selection
        if self.row_size is None or other.row_size is None or one is None or two is None:
            return False
        same_times = (one.start, one.stop) == (two.start, two.stop)
        return same_times and self.origin.is_beside(other.origin)

    def _within(self, times: Times, codes: NDArray[np.int64] | None) -> Selection:
        own = self.origin.selection
        start = own.start if times.start is None else max(own.start, times.start)
        stop = own.stop if times.stop is None else min(own.stop, times.stop)
        return Selection.of(start, max(start, stop), codes)

    def _places_of(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where ascending rows of the origin stand, ascending, and which of them do."""
        ours = self.rows
        if isinstance(ours, range):
            inside = np.flatnonzero((rows >= ours.start) & (rows < ours.stop))
            return rows[inside] - ours.start, inside
        if not len(ours):
            return ours, np.zeros(0, np.int64)
        sorter = np.argsort(ours, kind="stable")
        place = np.searchsorted(ours, rows, sorter=sorter)
        place = sorter[np.minimum(place, len(ours) - 1)]
        hit = np.flatnonzero(ours[place] == rows)
        order = np.argsort(place[hit], kind="stable")
        return place[hit][order], hit[order]


def _check_found(count: int, times: Times) -> None:
    if count or times.may_be_empty or times.start is None:
        return
    msg = f"no row at the time {format_time(times.start)}; a slice of times may be empty, a time may not"
    raise KeyError(msg)
