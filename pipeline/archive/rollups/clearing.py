"""Cells of rollups whose rows are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from zarr.abc.store import Store

from pipeline.archive.block_index import used_windows
from pipeline.archive.changes import mark_rewritten
from pipeline.archive.chunk_io import chunk_key, put_many
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.rollups.store import Rollup, load_rollup, rollup_names, save_definition
from pipeline.partitioning.pruning import Selection

__all__ = ["clear_rollups"]


def clear_rollups(
    store: Store, meta: FleetMeta, selections: Sequence[Selection], *, marked: bool = False
) -> int:
    """Make cells of all rollups of a fleet what they are without a row; return how many chunks.

    Parameters
    ----------
    store
        A transaction's store.
    meta
        The fleet there.
    selections
        Devices and times; cells are cleared of every period that these touch.
    marked
        Whether it is written down that these windows changed. If not, others do whose rows such a
        period holds too, so that a refresh makes it anew.
    """
    changed, reached = 0, set[int]()
    for name in rollup_names(store, meta):
        rollup = load_rollup(store, meta, name)
        found = 0
        for selection in selections:
            found += _clear(store, rollup, selection)
            reached |= set() if marked else _windows_beyond(store, rollup, selection)
        # Even if there was nothing to clear: a refresh that has read the rows may be under way.
        revised = replace(rollup.definition, revision=rollup.definition.revision + 1)
        save_definition(store, replace(rollup, definition=revised))
        changed += found
    if reached:
        mark_rewritten(store, meta.layout, reached)
    return changed


def _windows_beyond(store: Store, rollup: Rollup, selection: Selection) -> set[int]:
    """Return a window at each end that a cleared period shares with times not selected."""
    period, length = rollup.definition.period, rollup.meta.scheme.window_length
    positions = rollup.positions(selection.start, selection.stop)
    if not positions:
        return set()
    axis, kept = rollup.axis, rollup.meta.retention.raw_from
    start, stop = (period.start(axis.start + at) for at in (positions.start, positions.stop))
    found = set[int]()
    for low, high in ((start, selection.start), (selection.stop, stop)):
        part = Selection.of(max(low, kept), max(high, low, kept))
        used = used_windows(store, rollup.meta.layout, part)
        found |= {window for window in used if length.start(window) >= kept and part.covers(length.start(window), length.start(window + 1))}  # fmt: skip
    return set(sorted(found)[:1] + sorted(found)[-1:])


def _clear(store: Store, rollup: Rollup, selection: Selection) -> int:
    positions = rollup.positions(selection.start, selection.stop)
    codes = np.arange(rollup.devices) if selection.codes is None else selection.codes
    codes = codes[codes < rollup.devices]
    if not positions or not len(codes):
        return 0
    changed = 0
    for array in rollup.arrays:
        devices, width = array.chunk
        columns = range(positions.start // width, (positions.stop - 1) // width + 1)
        places = [(row, at) for row in np.unique(codes // devices).tolist() for at in columns]
        cleared = {}
        for place, chunk in array.read(store, places).items():
            inner = codes[codes // devices == place[0]] % devices
            first = max(positions.start - place[1] * width, 0)
            stop = min(positions.stop - place[1] * width, width)
            chunk[inner, first:stop] = array.fill
            cleared[chunk_key(array.path, place)] = array.encode(chunk)
        put_many(store, cleared)
        changed += len(cleared)
    return changed
