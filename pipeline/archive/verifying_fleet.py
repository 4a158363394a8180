"""Verifying what concerns a fleet as a whole: orphan chunks, counters, devices, quarantine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import batched, groupby
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.archive.chunk_io import ahead
from pipeline.archive.fleet_meta import load_fleet
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.quarantine import read_quarantine
from pipeline.archive.rollups.verifying import verify_rollups
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.transactions import Repository
from pipeline.archive.verify_report import FleetFindings, Problem
from pipeline.archive.verifying import verify_windows
from pipeline.archive.verifying_devices import wrong_devices
from pipeline.errors import ArchiveError
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_STOP

__all__ = [
    "MapSpans",
    "spans_to_verify",
    "verify_fleet",
    "verify_history",
    "verify_named",
    "verify_whole",
]

_BATCH: Final = 65_536
MapSpans = Callable[[FleetView, list[list[int]]], Iterable[FleetFindings]]
"""Verifies spans with `verify_windows`, in parallel perhaps, and yields what it finds."""


def _on_all_cores(view: FleetView, spans: list[list[int]]) -> Iterable[FleetFindings]:
    return ahead(lambda span: verify_windows(view, span), spans)


def verify_fleet(view: FleetView, map_spans: MapSpans = _on_all_cores) -> FleetFindings:
    """Verify everything of a fleet.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    map_spans
        What verifies the windows, span by span; by default this process, on all cores.
    """
    found = verify_whole(view)
    if "corrupt" in found.counts:
        # Without the index, nothing tells what the blocks should be.
        return found
    for part in map_spans(view, spans_to_verify(view)):
        found = found.joined(part)
    return found


def verify_named(
    repository: Repository, name: str, snapshot: str, map_spans: MapSpans = _on_all_cores
) -> FleetFindings:
    """Verify everything of a fleet, which may be too damaged to be opened.

    Raises
    ------
    NotFoundError
        If the fleet or snapshot does not exist.
    """
    store = repository.snapshot(snapshot).store
    load_fleet(store, name)
    try:
        view = FleetView.load(store, snapshot, name)
    except Exception as error:  # Zarr raises many kinds for damaged chunks
        return FleetFindings.of([Problem("corrupt", name, f"{type(error).__name__}: {error}")])
    return verify_fleet(view, map_spans)


def verify_history(repository: Repository) -> FleetFindings:
    """Verify that the history can be walked to its end."""
    try:
        deque(repository.history(), 0)
    except ArchiveError as error:
        return FleetFindings.of([Problem("history", "snapshots", str(error))])
    return FleetFindings()


def spans_to_verify(view: FleetView) -> list[list[int]]:
    """Return the windows that hold blocks or summaries, those with summaries in one chunk together."""
    scheme, extent = view.meta.scheme, view.meta.layout.extent
    windows = set(view.windows(Selection()))
    chunks = {at[2] for at in stored_chunks(view.store, extent.path)}
    for column in chunks:
        first, last = column * extent.chunk[2], (column + 1) * extent.chunk[2] - 1
        starts = scheme.summary_length.starts(np.arange(first, last + 1))
        numbers = scheme.window_length.numbers(starts[starts < GRID_STOP])
        windows.update(np.unique(numbers).tolist())
    length, period = scheme.window_length, scheme.summary_length
    spans = groupby(
        sorted(windows), lambda window: period.number(length.start(window)) // extent.chunk[2]
    )
    return [list(span) for _, span in spans]


def verify_whole(view: FleetView) -> FleetFindings:
    """Verify what does not belong to one window: orphan chunks, devices, counters, quarantine, rollups."""
    problems = [*wrong_devices(view.registry), *_unregistered(view), *_bad_quarantine(view)]
    try:
        problems += verify_rollups(view)
        problems += [*_orphans(view, view.blocks(Selection())), *_unreached(view)]
    except ArchiveError as error:
        problems.append(Problem("corrupt", view.meta.layout.index.path, str(error)))
    return FleetFindings.of(problems)


def _orphans(view: FleetView, blocks: BlockTable) -> Iterator[Problem]:
    layout = view.meta.layout
    known = np.sort(_numbered(blocks.places))
    for name in ("device_index", "time", *view.meta.history.stored):
        path = layout.raw_path(name)
        for batch in batched(stored_chunks(view.store, path), _BATCH):
            numbers = _numbered(np.array(batch, np.int64))
            at = np.minimum(np.searchsorted(known, numbers), max(len(known) - 1, 0))
            apart = known[at] != numbers if len(known) else np.ones(len(numbers), np.bool_)
            for place in np.flatnonzero(apart).tolist():
                key = f"{path}/c/{'/'.join(map(str, batch[place]))}"
                yield Problem("orphan", key, "no index entry names this chunk")


def _unreached(view: FleetView) -> Iterator[Problem]:
    """Yield index chunks that the table of slots says are not there."""
    layout = view.meta.layout
    _, windows, _, depth = layout.index.chunk
    used = _slots_in_use(view)
    for at in stored_chunks(view.store, layout.index.path):
        rows = range(at[1] * windows, (at[1] + 1) * windows)
        if all(used.get(window, 0) <= at[3] * depth for window in rows):
            key = f"{layout.index.path}/c/{'/'.join(map(str, at))}"
            yield Problem(
                "index", key, "the table of slots does not know of this part of the index"
            )


def _slots_in_use(view: FleetView) -> dict[int, int]:
    slots = view.meta.layout.slots
    found = slots.read(view.store, list(stored_chunks(view.store, slots.path)))
    return {
        at * slots.chunk[0] + int(offset): int(counts[offset])
        for (at,), counts in found.items()
        for offset in np.flatnonzero(counts)
    }


def _unregistered(view: FleetView) -> Iterator[Problem]:
    """Yield ids behind those that are counted."""
    count, layout = view.state.devices, view.meta.layout
    stored: Any = zarr.open_array(view.store, path=layout.device_ids.path, mode="r")
    try:
        more = sum(text != "" for text in stored[count : count + _BATCH].tolist())
    except Exception as error:  # Zarr raises many kinds for damaged chunks
        yield Problem("corrupt", layout.device_ids.path, f"{type(error).__name__}: {error}")
        return
    if more:
        what = (
            f"{len(view.registry)} devices are counted, {len(view.registry) + more} are registered"
        )
        yield Problem("counter", layout.state.path, what)


def _bad_quarantine(view: FleetView) -> Iterator[Problem]:
    path, count = f"{view.meta.name}/quarantine", view.state.quarantined
    for start in range(0, count, _BATCH):
        try:
            table = read_quarantine(view.store, view.meta.name, min(start + _BATCH, count), start)
        except Exception as error:  # Zarr raises many kinds for damaged chunks
            yield Problem("quarantine", path, f"{type(error).__name__}: {error}")
            continue
        empty = sum(reason == "" for reason in table["reason"].to_pylist())
        if empty:
            yield Problem("quarantine", path, f"{empty} rows that are counted are not there")


def _numbered(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return one number for each place: window, device block, slot."""
    if not len(places):
        return np.zeros(0, np.int64)
    return (places[:, 0] << 32) | (places[:, 1] << 16) | places[:, 2]
