"""All fleets of an archive, with their rollups, as one tree of lazy datasets.

::

    /                          attributes of the archive's snapshot
    └── rooms                  one node for each fleet, with its attributes
        ├── raw                its rows, as `xarray.open_dataset` opens them
        └── rollup
            ├── 1day           one node for each rollup, [device, time]
            └── 1h

Paths are those of the groups in the store. Rows and rollups stand beside each other, and not one
below the other, for nodes below one another would have to have the same devices and times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from pipeline.analytics.answer import dataset_attributes
from pipeline.archive.fleet_meta import check_format, fleet_names
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.remembering import RememberingStore
from pipeline.archive.requests import moment, selection_of
from pipeline.archive.rollups.store import load_rollup, rollup_names
from pipeline.archive.transactions import Repository
from pipeline.archive.where import Where, tags_only
from pipeline.errors import NotFoundError
from pipeline.xarray_engine.datasets import row_dataset
from pipeline.xarray_engine.opening import NO_LAZY_VALUES
from pipeline.xarray_engine.rollup_datasets import rollup_dataset

__all__ = ["open_groups"]


def open_groups(
    url: str | Path,
    *,
    fleet: str | None = None,
    devices: str | Iterable[str] | None = None,
    time: Any = None,
    where: Where = None,
    at: Any = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, xr.Dataset]:
    """Return the datasets of an archive by path; see `IotArchiveBackend.open_datatree`."""
    repository = Repository.open(Location.parse(url), storage_options)
    snapshot = repository.snapshot(moment(at))
    check_format(snapshot.store)
    names = fleet_names(snapshot.store)
    if fleet is not None and fleet not in names:
        msg = f"{repository.location}: no fleet {fleet!r}; there are: {', '.join(names) or 'none'}"
        raise NotFoundError(msg)
    root = {"Conventions": "CF-1.11", "snapshot": snapshot.id}
    groups = {"/": xr.Dataset(attrs=root)}
    store = RememberingStore(snapshot.store, snapshot.id)
    for name in names if fleet is None else [fleet]:
        view = FleetView.load(store, snapshot.id, name)
        groups |= _of_fleet(view, devices, time, where)
    return groups


def _of_fleet(
    view: FleetView, devices: str | Iterable[str] | None, time: Any, where: Where
) -> dict[str, xr.Dataset]:
    tags = tags_only(view.registry, view.meta, where, NO_LAZY_VALUES)
    wanted = devices if devices is None or isinstance(devices, str) else list(devices)
    selection = selection_of(view.registry, wanted, time, tags)
    path = f"/{view.meta.name}"
    one_device = isinstance(wanted, str)
    groups = {
        path: xr.Dataset(attrs=dataset_attributes(view)),
        f"{path}/raw": row_dataset(view, selection, one_device=one_device),
    }
    for name in rollup_names(view.store, view.meta):
        rollup = load_rollup(view.store, view.meta, name)
        groups[f"{path}/rollup/{name}"] = rollup_dataset(view, rollup, selection)
    return groups
