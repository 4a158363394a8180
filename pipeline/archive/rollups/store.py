"""What is stored of rollups, and what a refresh writes to them in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.attributes import read_documents
from pipeline.archive.chunk_io import put_many
from pipeline.archive.fleet_meta import FleetMeta, load_fleet
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.rollups.arrays import (
    RollupArray,
    built_table,
    rollup_arrays,
    rollup_path,
)
from pipeline.archive.rollups.definition import DEVICES_PER_RUN, RollupDefinition
from pipeline.archive.stored_chunks import stored_names
from pipeline.archive.tables import Table
from pipeline.errors import NotFoundError

__all__ = [
    "Built",
    "Rollup",
    "commit_built",
    "load_rollup",
    "read_built",
    "rollup_names",
    "save_definition",
]


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


def read_built(store: Store, rollup: Rollup) -> NDArray[np.int64]:
    """Return what was built at which sequence: ``int64``, shape (device runs, chunk columns)."""
    table, (height, width) = rollup.built, rollup.built.chunk
    runs = -(-rollup.devices // DEVICES_PER_RUN)
    columns = -(-rollup.periods // rollup.arrays[0].chunk[1])
    places = [(r, c) for r in range(-(-runs // height)) for c in range(-(-columns // width))]
    found = np.zeros((runs + height, columns + width), np.int64)
    for (row, column), chunk in table.read(store, places).items():
        rows = slice(row * height, (row + 1) * height)
        found[rows, column * width : (column + 1) * width] = chunk
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
        save_definition(
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


def _chunk_of(table: Table, one: Built) -> tuple[int, int]:
    return one.run // table.chunk[0], one.column // table.chunk[1]


def save_definition(store: Store, rollup: Rollup) -> None:
    """Write down what a rollup is, in a transaction."""
    group = zarr.open_group(store, path=rollup.path, mode="r+")
    group.attrs["rollup"] = rollup.definition.to_json()
