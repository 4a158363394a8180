"""When windows of a fleet changed: what rollups need to know to bring themselves up to date.

A fleet keeps this only once it has a rollup (`pipeline.archive.layout.FleetLayout.tracked`). Each
transaction writes it down with what it changes. Numbers are those of batches: an append takes one
for each batch anyway, and any other change of what readers find takes one for itself. Merging
blocks changes nothing that a reader finds, and neither does dropping rows by age: what a rollup
says of them stays true.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import used_windows
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.layout import CHANGE_FIELDS, FleetLayout
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.tables import create_array
from pipeline.partitioning.pruning import Selection

__all__ = ["carry_changes", "create_changes", "mark_appended", "mark_rewritten", "read_changes"]

_APPENDED, _REWRITTEN = range(len(CHANGE_FIELDS))


def create_changes(store: Store, layout: FleetLayout) -> None:
    """Write the table; all windows that hold something count as changed by the newest batch.

    Parameters
    ----------
    store
        A transaction's store.
    layout
        The fleet's layout.
    """
    create_array(store, layout.changed)
    windows = used_windows(store, layout, Selection())
    mark_appended(store, layout, windows, max(FleetState.load(store, layout).sequence, 1))


def mark_appended(store: Store, layout: FleetLayout, windows: Iterable[int], sequence: int) -> None:
    """Write down that windows got rows.

    Parameters
    ----------
    store
        A transaction's store.
    layout
        The fleet's layout, which has to be tracked.
    windows
        Numbers of windows.
    sequence
        One more than the sequence number of the newest of the rows.
    """
    _mark(store, layout, windows, [_APPENDED], sequence)


def mark_rewritten(store: Store, layout: FleetLayout, windows: Iterable[int]) -> None:
    """Write down that readers find something else in windows, and take a number for it.

    Parameters
    ----------
    store, layout, windows
        As for `mark_appended`.
    """
    state = FleetState.load(store, layout).moved(sequence=1)
    state.save(store, layout)
    _mark(store, layout, windows, [_REWRITTEN], state.sequence)


def read_changes(store: Store, layout: FleetLayout, windows: range) -> NDArray[np.int64]:
    """Return when windows changed: ``int64``, shape (2, windows), see `CHANGE_FIELDS`."""
    found = np.zeros((len(CHANGE_FIELDS), len(windows)), np.int64)
    if not windows:
        return found
    size = layout.changed.chunk[1]
    columns = range(windows.start // size, (windows.stop - 1) // size + 1)
    for (_, column), chunk in layout.changed.read(store, [(0, at) for at in columns]).items():
        first = max(windows.start, column * size)
        stop = min(windows.stop, (column + 1) * size)
        part = chunk[:, first - column * size : stop - column * size]
        found[:, first - windows.start : stop - windows.start] = part
    return found


def carry_changes(store: Store, old: FleetLayout, new: FleetLayout) -> None:
    """Write down in a new grid when the windows of the old one changed.

    Blocks of the new grid have other sequence numbers, so that these do not tell which rows are
    newer than a change: whatever a rollup lacks of a window, it has to look at all of it.

    Parameters
    ----------
    store
        The transaction's store.
    old, new
        Layouts before and after; both tracked.
    """
    length, target = old.scheme.window_length, new.scheme.window_length
    found: dict[int, int] = {}
    for window, newest in _newest(store, old).items():
        first = target.number(length.start(window))
        last = target.number(length.start(window + 1) - 1)
        for number in range(first, last + 1):
            found[number] = max(found.get(number, 0), newest)
    size = new.changed.chunk[1]
    chunks = new.changed.load(store, sorted({(0, window // size) for window in found}))
    for window, newest in found.items():
        chunks[0, window // size][:, window % size] = newest
    new.changed.write(store, chunks)


def _newest(store: Store, layout: FleetLayout) -> dict[int, int]:
    """Return the newest change of every window that has one."""
    table = layout.changed
    found = table.read(store, list(stored_chunks(store, table.path)))
    return {
        column * table.chunk[1] + int(at): int(chunk[:, at].max())
        for (_, column), chunk in found.items()
        for at in np.flatnonzero(chunk.any(axis=0))
    }


def _mark(
    store: Store, layout: FleetLayout, windows: Iterable[int], fields: list[int], value: int
) -> None:
    size = layout.changed.chunk[1]
    distinct = sorted(set(windows))
    chunks = layout.changed.load(store, sorted({(0, window // size) for window in distinct}))
    for window in distinct:
        chunks[0, window // size][fields, window % size] = value
    layout.changed.write(store, chunks)
