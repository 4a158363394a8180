"""Rollups in a transaction: made, grown with the fleet, written to, cleared, dropped.

A rollup is as large as the data and grows with it, its devices by their codes and its periods from
the first with rows. What is older than its first period moves all chunks along by whole ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.attributes import read_documents
from pipeline.archive.block_index import used_windows
from pipeline.archive.changes import create_changes, mark_rewritten
from pipeline.archive.chunk_io import chunk_key, delete_many, get_many, put_many
from pipeline.archive.fleet_meta import FleetMeta, layout_attribute, load_fleet
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.leftover_grids import delete_groups
from pipeline.archive.rollup_arrays import (
    RollupArray,
    built_table,
    rollup_arrays,
    rollup_path,
    time_tables,
)
from pipeline.archive.rollup_definition import DEVICES_PER_RUN, RollupDefinition
from pipeline.archive.stored_chunks import stored_chunks, stored_names
from pipeline.archive.tables import Table, create_array
from pipeline.archive.text_columns import TEXTS_PER_CHUNK, write_texts
from pipeline.errors import AlreadyExistsError, NotFoundError
from pipeline.partitioning.pruning import Selection

__all__ = [
    "Built",
    "Rollup",
    "clear_rollups",
    "commit_built",
    "create_rollup",
    "drop_rollup",
    "fit_rollup",
    "load_rollup",
    "read_built",
    "rollup_names",
]

_CHUNKS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Rollup:
    """A rollup of a fleet at one snapshot.

    Parameters
    ----------
    meta
        The fleet.
    definition
        What the rollup is.
    devices, periods
        Sizes of its axes.
    """

    meta: FleetMeta
    definition: RollupDefinition
    devices: int
    periods: int

    @property
    def path(self) -> str:
        """Path of its group."""
        return rollup_path(self.meta.layout, self.definition.name)

    @property
    def arrays(self) -> list[RollupArray]:
        """Its arrays, that of rows first."""
        return rollup_arrays(self.meta, self.definition)

    @property
    def built(self) -> Table:
        """The table of what it was built at."""
        return built_table(self.meta.layout, self.definition.name)

    @property
    def axis(self) -> range:
        """Numbers of the periods along its time axis."""
        origin = self.definition.origin
        return range(origin, origin + self.periods)

    def positions(self, start: int, stop: int) -> range:
        """Return the positions of the periods that ``[start, stop)`` touches, of those there are."""
        touched, axis = self.definition.period.touched(start, stop), self.axis
        first, last = max(touched.start, axis.start), min(touched.stop, axis.stop)
        return range(first - axis.start, max(first, last) - axis.start)


@dataclass(frozen=True, slots=True)
class Built:
    """Chunks of some devices and periods, brought up to date.

    Parameters
    ----------
    run, column
        Number of the run of devices, and of the chunks along the time axis.
    before, after
        What they were built at, and are now.
    chunks
        Encoded chunks by store key; those of other arrays and devices stay.
    """

    run: int
    column: int
    before: int
    after: int
    chunks: Mapping[str, bytes]


def rollup_names(store: Store, meta: FleetMeta) -> list[str]:
    """Return the names of a fleet's rollups, sorted."""
    return stored_names(store, meta.layout.rollup_group) if meta.layout.tracked else []


def load_rollup(store: Store, meta: FleetMeta, name: str) -> Rollup:
    """Read what a rollup is.

    Raises
    ------
    NotFoundError
        If there is none of that name; the message names those there are.
    """
    path = rollup_path(meta.layout, name)
    group, time, device = read_documents(store, [path, f"{path}/time", f"{path}/device"])
    if group is None or time is None or device is None:
        known = ", ".join(rollup_names(store, meta)) or "none yet"
        msg = f"fleet {meta.name!r} has no rollup {name!r}; it has: {known}"
        raise NotFoundError(msg)
    definition = RollupDefinition.from_json(name, group["attributes"]["rollup"])
    return Rollup(meta, definition, int(device["shape"][0]), int(time["shape"][0]))


def create_rollup(store: Store, fleet: str, definition: RollupDefinition) -> None:
    """Write an empty rollup, and begin to keep what changes if it is the fleet's first.

    Raises
    ------
    AlreadyExistsError
        If the fleet has one of that name.
    """
    meta = load_fleet(store, fleet)
    if definition.name in rollup_names(store, meta):
        msg = f"fleet {fleet!r} has a rollup {definition.name!r} already; drop it first, or give another name"
        raise AlreadyExistsError(msg)
    if not meta.layout.tracked:
        meta = replace(meta, layout=replace(meta.layout, tracked=True))
        create_changes(store, meta.layout)
        group = zarr.open_group(store, path=fleet, mode="r+")
        group.attrs["partitioning"] = layout_attribute(meta.layout)
        zarr.create_group(store, path=meta.layout.rollup_group)
    rollup = Rollup(meta, definition, 0, 0)
    attributes = {
        "Conventions": "CF-1.11",
        "title": f"{definition.period.text} of {fleet}",
        "fleet": fleet,
        "rollup": definition.to_json(),
    }
    zarr.create_group(store, path=rollup.path, attributes=attributes)
    zarr.create_group(store, path=f"{rollup.path}/state")
    create_array(store, rollup.built)
    for table in time_tables(meta.layout, definition.name, 0):
        create_array(store, table)
    zarr.create_array(
        store,
        name=f"{rollup.path}/device",
        shape=(0,),
        chunks=(TEXTS_PER_CHUNK,),
        dtype=str,
        fill_value="",
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=("device",),
        attributes={"cf_role": "timeseries_id", "long_name": "device"},
    )
    for array in rollup.arrays:
        array.create(store, (0, 0))
    fit_rollup(FleetView.load(store, "", fleet), rollup)


def drop_rollup(store: Store, fleet: str, name: str) -> None:
    """Delete a rollup.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    """
    delete_groups(store, [load_rollup(store, load_fleet(store, fleet), name).path])


def fit_rollup(view: FleetView, rollup: Rollup, *, dry_run: bool = False) -> bool:
    """Make a rollup as large as its fleet; return whether it was smaller.

    Parameters
    ----------
    view
        The fleet in the transaction.
    rollup
        The rollup there.
    dry_run
        Whether only to tell.
    """
    definition, period = rollup.definition, rollup.definition.period
    start, stop = view.time_bounds(view.windows(Selection()))
    needed, axis = period.touched(start, stop), rollup.axis
    first, last = axis.start, axis.stop
    if needed and not rollup.periods:
        first, last = needed.start, needed.stop
    elif needed:
        width = rollup.arrays[0].chunk[1]
        earlier = -(-max(axis.start - needed.start, 0) // width)
        first, last = axis.start - earlier * width, max(axis.stop, needed.stop)
    devices = max(rollup.devices, view.registry.positions)
    grown = Rollup(view.meta, replace(definition, origin=first), devices, last - first)
    same = (grown.axis, devices) == (rollup.axis, rollup.devices)
    if same and _attributes_agree(view.store, rollup):
        return False
    if dry_run:
        return True
    moved = (axis.start - first) // rollup.arrays[0].chunk[1] if rollup.periods else 0
    if moved:
        revised = replace(grown.definition, revision=definition.revision + 1)
        grown = replace(grown, definition=revised)
    _save_definition(view.store, grown)
    _save_shapes(view.store, grown)
    _save_axes(view, rollup.devices, grown)
    if moved:
        _move_chunks(view.store, rollup, moved)
    return True


def read_built(store: Store, rollup: Rollup) -> NDArray[np.int64]:
    """Return what was built at which sequence: ``int64``, shape (device runs, chunk columns)."""
    table, (height, width) = rollup.built, rollup.built.chunk
    runs = -(-rollup.devices // DEVICES_PER_RUN)
    columns = -(-rollup.periods // rollup.arrays[0].chunk[1])
    places = [(r, c) for r in range(-(-runs // height)) for c in range(-(-columns // width))]
    found = np.zeros((runs + height, columns + width), np.int64)
    for (row, column), chunk in table.read(store, places).items():
        found[row * height : (row + 1) * height, column * width : (column + 1) * width] = chunk[
            : runs + height - row * height, : columns + width - column * width
        ]
    return found[:runs, :columns]


def commit_built(
    store: Store,
    planned: Rollup,
    results: Sequence[Built],
    incomplete: tuple[tuple[int, int], ...] = (),
) -> None:
    """Write what a refresh has built, in a transaction.

    Parameters
    ----------
    store
        The transaction's store.
    planned
        The rollup that the refresh planned for.
    results
        What it has built.
    incomplete
        Time ranges that it found to lack rows.

    Raises
    ------
    StalePlanError
        If the rollup or its fleet's grid was changed, or somebody else refreshed the same cells;
        nothing was written, plan again.
    """
    meta = load_fleet(store, planned.meta.name)
    rollup = load_rollup(store, meta, planned.definition.name)
    if (meta.layout, rollup.definition) != (planned.meta.layout, planned.definition):
        raise StalePlanError
    if incomplete != rollup.definition.incomplete:
        _save_definition(
            store, replace(rollup, definition=replace(rollup.definition, incomplete=incomplete))
        )
    table = rollup.built
    chunks = table.load(store, sorted({_chunk_of(table, one) for one in results}))
    for one in results:
        chunk = chunks[_chunk_of(table, one)]
        at = (one.run % table.chunk[0], one.column % table.chunk[1])
        if chunk[at] != one.before:
            raise StalePlanError
        chunk[at] = one.after
    put_many(store, {key: data for one in results for key, data in one.chunks.items()})
    table.write(store, chunks)


def clear_rollups(store: Store, meta: FleetMeta, selections: Sequence[Selection]) -> int:
    """Make cells of all rollups of a fleet what they are without a row; return how many chunks.

    Parameters
    ----------
    store
        A transaction's store.
    meta
        The fleet there.
    selections
        Devices and times; cells are cleared of every period that these touch. Windows with rows
        that such a period reaches into count as changed, so that a refresh makes it anew.
    """
    changed, reached = 0, set[int]()
    for name in rollup_names(store, meta):
        rollup = load_rollup(store, meta, name)
        found = 0
        for selection in selections:
            found += _clear(store, rollup, selection)
            reached |= _windows_beyond(store, rollup, selection)
        if found:
            revised = replace(rollup.definition, revision=rollup.definition.revision + 1)
            _save_definition(store, replace(rollup, definition=revised))
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
    devices, width = rollup.arrays[0].chunk
    columns = range(positions.start // width, (positions.stop - 1) // width + 1)
    places = [(row, at) for row in np.unique(codes // devices).tolist() for at in columns]
    changed = 0
    for array in rollup.arrays:
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


def _chunk_of(table: Table, one: Built) -> tuple[int, int]:
    return one.run // table.chunk[0], one.column // table.chunk[1]


def _attributes_agree(store: Store, rollup: Rollup) -> bool:
    """Tell whether arrays of categories name all that the fleet has."""
    arrays = [one for one in rollup.arrays if "categories" in one.attributes]
    documents = read_documents(store, [array.path for array in arrays])
    return all(
        document is not None
        and document["attributes"].get("categories") == array.attributes["categories"]
        for array, document in zip(arrays, documents, strict=True)
    )


def _save_definition(store: Store, rollup: Rollup) -> None:
    group = zarr.open_group(store, path=rollup.path, mode="r+")
    group.attrs["rollup"] = rollup.definition.to_json()


def _save_shapes(store: Store, rollup: Rollup) -> None:
    """Write the sizes of all arrays down, and the categories there are now."""
    sizes: dict[str, tuple[list[int], Mapping[str, Any]]] = {
        array.path: ([rollup.devices, rollup.periods], array.attributes) for array in rollup.arrays
    }
    path, periods = rollup.path, rollup.periods
    sizes[f"{path}/time"] = ([periods], {})
    sizes[f"{path}/time_bounds"] = ([periods, 2], {})
    sizes[f"{path}/device"] = ([rollup.devices], {})
    changed = {}
    for at, document in zip(sizes, read_documents(store, list(sizes)), strict=True):
        assert document is not None  # noqa: S101 (made with the rollup)
        shape, attributes = sizes[at]
        document |= {"shape": shape, "attributes": {**document["attributes"], **attributes}}
        changed[f"{at}/zarr.json"] = json.dumps(document).encode()
    put_many(store, changed)


def _save_axes(view: FleetView, known: int, rollup: Rollup) -> None:
    """Write the ids of devices that are new, and all periods."""
    codes = np.arange(known, rollup.devices)
    if len(codes):
        ids = view.registry.ids_of(codes).tolist()
        write_texts(view.store, {f"{rollup.path}/device": (codes, ids)})
    edges = rollup.definition.period.starts(np.arange(rollup.axis.start, rollup.axis.stop + 1))
    starts, bounds = time_tables(view.meta.layout, rollup.definition.name, rollup.periods)
    size = starts.chunk[0]
    for number, first in enumerate(range(0, rollup.periods, size)):
        stop = min(first + size, rollup.periods)
        chunk, pair = starts.blank(), bounds.blank()
        chunk[: stop - first] = edges[first:stop]
        pair[: stop - first] = np.stack([edges[first:stop], edges[first + 1 : stop + 1]], axis=1)
        starts.write(view.store, {(number,): chunk})
        bounds.write(view.store, {(number, 0): pair})


def _move_chunks(store: Store, rollup: Rollup, by: int) -> None:
    """Move all chunks to later places along the time axis, as they are stored."""
    for array in rollup.arrays:
        for keys in _moved(store, array.path, by):
            found = get_many(store, list(keys))
            delete_many(store, list(keys))
            put_many(
                store,
                {
                    target: data.tobytes()
                    for target, data in zip(keys.values(), found, strict=True)
                    if data is not None
                },
            )
    table = rollup.built
    old = table.read(store, list(stored_chunks(store, table.path)))
    new: dict[tuple[int, ...], NDArray[Any]] = {}
    width = table.chunk[1]
    for (row, column), chunk in old.items():
        for run, at in np.argwhere(chunk).tolist():
            number = column * width + at + by
            into = new.setdefault((row, number // width), table.blank())
            into[run, number % width] = chunk[run, at]
    delete_many(store, [chunk_key(table.path, at) for at in set(old) - set(new)])
    table.write(store, new)


def _moved(store: Store, path: str, by: int) -> Iterator[dict[str, str]]:
    """Yield old and new keys of chunks, the latest first: none is written over before it is read."""
    places = sorted(stored_chunks(store, path), key=lambda at: -at[1])
    for first in range(0, len(places), _CHUNKS_AT_ONCE):
        part = places[first : first + _CHUNKS_AT_ONCE]
        yield {chunk_key(path, at): chunk_key(path, (at[0], at[1] + by)) for at in part}
