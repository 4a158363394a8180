"""From an archive's address and a request in users' words to a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import xarray as xr

from pipeline.archive.fleet_meta import check_format, fleet_names
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.remembering import RememberingStore
from pipeline.archive.requests import channel_names, moment, selection_of
from pipeline.archive.transactions import Repository, Snapshot
from pipeline.archive.where import Where, tags_only
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.xarray_engine.datasets import row_dataset

__all__ = ["NO_LAZY_VALUES", "open_archive"]

NO_LAZY_VALUES: Final = "read() finds rows with given values, and where() of the dataset masks them"
"""What users should do instead of opening rows by their values."""


def open_archive(
    url: str | Path,
    *,
    fleet: str | None = None,
    devices: str | Iterable[str] | None = None,
    time: Any = None,
    channels: Sequence[str] | None = None,
    where: Where = None,
    at: Any = None,
    schema_version: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open rows of an archive; see `pipeline.xarray_engine.backend.IotArchiveBackend`."""
    repository = Repository.open(Location.parse(url), storage_options)
    snapshot = repository.snapshot(moment(at))
    check_format(snapshot.store)
    name = fleet if fleet is not None else _only_fleet(snapshot, repository.location)
    store = RememberingStore(
        snapshot.store, snapshot.id
    )  # selections and questions read the index again
    view = FleetView.load(store, snapshot.id, name).at_version(schema_version)
    tags = tags_only(view.registry, view.meta, where, NO_LAZY_VALUES)
    selection = selection_of(view.registry, devices, time, tags)
    names = None if channels is None else channel_names(view.meta, channels)
    return row_dataset(view, selection, names, one_device=isinstance(devices, str))


def _only_fleet(snapshot: Snapshot, location: Location) -> str:
    names = fleet_names(snapshot.store)
    if len(names) == 1:
        return names[0]
    if not names:
        msg = f"{location}: the archive has no fleet yet; create one with archive.create_fleet"
        raise NotFoundError(msg)
    msg = f"{location}: the archive has several fleets; give fleet= one of {', '.join(names)}"
    raise InvalidInputError(msg)
