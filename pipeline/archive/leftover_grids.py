"""Grids that a fleet does not name: a re-partitioning goes on, or was killed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from zarr.abc.store import Store
from zarr.core.sync import sync

from pipeline.archive.attributes import read_attributes
from pipeline.archive.fleet_meta import load_fleet
from pipeline.archive.layout import FleetLayout
from pipeline.archive.stored_chunks import stored_names
from pipeline.archive.transactions import Repository

__all__ = ["MARK", "delete_groups", "drop_leftovers", "leftovers"]

MARK: Final = "repartitioning"
"""Attribute of a grid's group while it is being written: which run does it, and when it last did."""

_GENERATION: Final = re.compile(r"g[0-9]+")


def drop_leftovers(repository: Repository, fleet: str, older_than: datetime) -> int:
    """Remove what re-partitionings left that were killed; return how many.

    Parameters
    ----------
    repository
        The archive.
    fleet
        The fleet's name.
    older_than
        With a timezone; what was written to at this moment or later stays.
    """

    def change(store: Store) -> int:
        paths = leftovers(store, load_fleet(store, fleet).layout)
        marks = [one or {} for one in read_attributes(store, paths)]
        old = [
            path
            for path, mark in zip(paths, marks, strict=True)
            if MARK not in mark or datetime.fromisoformat(mark[MARK]["touched"]) < older_than
        ]
        delete_groups(store, old)
        return len(old)

    if not leftovers(snapshot := repository.snapshot().store, load_fleet(snapshot, fleet).layout):
        return 0
    metadata = {"fleet": fleet, "kind": "repartition"}
    return repository.commit(change, f"leftovers of {fleet}", lambda _: metadata)[1]


def leftovers(store: Store, layout: FleetLayout) -> list[str]:
    """Return the paths of grids that the fleet does not name."""
    names = (name for name in stored_names(store, layout.name) if _GENERATION.fullmatch(name))
    return [path for name in names if (path := f"{layout.name}/{name}") != layout.root]


def delete_groups(store: Store, paths: Sequence[str]) -> None:
    """Delete groups with all that is in them, in a transaction."""
    for path in paths:
        sync(store.delete_dir(path))
