"""Rollups are made, grow with their fleet, and are dropped, in a transaction.

A rollup is as large as the data and grows with it, its devices by their codes and its periods from
the first with rows. What is older than its first period moves all chunks along by whole ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.attributes import read_documents
from pipeline.archive.changes import create_changes
from pipeline.archive.chunk_io import chunk_key, delete_many, get_many, put_many
from pipeline.archive.fleet_meta import layout_attribute, load_fleet
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.leftover_grids import delete_groups
from pipeline.archive.rollups.arrays import time_tables
from pipeline.archive.rollups.definition import RollupDefinition
from pipeline.archive.rollups.store import Rollup, load_rollup, rollup_names, save_definition
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.archive.tables import create_array
from pipeline.archive.text_columns import TEXTS_PER_CHUNK, write_texts
from pipeline.errors import AlreadyExistsError
from pipeline.partitioning.pruning import Selection

__all__ = ["create_rollup", "drop_rollup", "fit_rollup"]

_CHUNKS_AT_ONCE: Final = 256


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
    save_definition(view.store, grown)
    _save_shapes(view.store, grown)
    _save_axes(view, rollup.devices, grown)
    if moved:
        _move_chunks(view.store, rollup, moved)
    return True


def _attributes_agree(store: Store, rollup: Rollup) -> bool:
    """Tell whether arrays of categories name all that the fleet has."""
    arrays = [one for one in rollup.arrays if "categories" in one.attributes]
    documents = read_documents(store, [array.path for array in arrays])
    return all(
        document is not None
        and document["attributes"].get("categories") == array.attributes["categories"]
        for array, document in zip(arrays, documents, strict=True)
    )


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
