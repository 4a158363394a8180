"""The engine ``iot_archive`` of `xarray.open_dataset`.

>>> import pipeline, xarray
>>> schema = pipeline.Schema([pipeline.Channel("level", "float64")])
>>> tanks = pipeline.Archive.create("memory://tanks").create_fleet("tanks", schema)
>>> _ = tanks.append({"device": "a", "time": ["2024-03-01T00:00Z"], "level": [1.5]})
>>> xarray.open_dataset("memory://tanks", engine="iot_archive", devices="a")["level"].values
array([1.5])
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from pipeline.archive.locations import Location
from pipeline.errors import InvalidInputError

__all__ = ["IotArchiveBackend"]


class IotArchiveBackend(BackendEntrypoint):
    """Opens rows of an IoT archive as a lazy dataset."""

    description: ClassVar[str] = "Open fleets of IoT archives (device time series) lazily"
    url: ClassVar[str] = (
        "https://cfconventions.org/Data/cf-conventions/cf-conventions-1.11/"
        "cf-conventions.html#discrete-sampling-geometries"
    )
    supports_groups: ClassVar[bool] = True
    # xarray tells every engine's parameters apart by this list; one that took **kwargs would
    # break `xarray.open_zarr` for everyone.
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj",
        "drop_variables",
        "fleet",
        "devices",
        "time",
        "channels",
        "where",
        "at",
        "schema_version",
        "storage_options",
    )

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        fleet: str | None = None,
        devices: str | Iterable[str] | None = None,
        time: Any = None,
        channels: Sequence[str] | None = None,
        where: Mapping[str, str | Iterable[str]] | None = None,
        at: Any = None,
        schema_version: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open rows of one fleet.

        Parameters
        ----------
        filename_or_obj
            Folder or URL of the archive: ``s3://bucket/prefix``, ``gs://…``, ``az://…``,
            ``memory://name``.
        drop_variables
            Names of variables to leave out; those that are not there are ignored.
        fleet
            Its name; may be left out if the archive has one fleet only.
        devices
            One id (then the dataset has a plain ``time`` dimension), several (CF contiguous
            ragged array), or None for all (CF indexed ragged array).
        time
            ``(start, stop)`` or a slice, half-open, UTC: ISO 8601 texts, ``datetime``,
            ``numpy.datetime64`` or None for an open end.
        channels
            Names of channels; None for all.
        where
            By tag name, the value that devices have to have, or several of which they have to
            have one.
        at
            Id of a snapshot, or a time; None for the newest. Dask arrays of datasets that were
            opened at different moments are told apart only by what is given here: name the
            snapshot (attribute ``snapshot``) when such datasets are used together.
        schema_version
            Version of the fleet's schema in which rows are wanted; None for the newest.
        storage_options
            For object stores: region, credentials and so on.

        Returns
        -------
        xarray.Dataset
            See `pipeline.xarray_engine.datasets`. ``sel(device=…, time=…)`` selects rows, and what
            is read then are the partitions of the selection. Slices of `sel` include both ends,
            as always in xarray, other than the half-open `time` here. ``dataset.iot`` asks the
            archive about the rows (`pipeline.xarray_engine.accessor`).

        Raises
        ------
        NotFoundError
            If there is no such archive, fleet, device, tag, channel or snapshot.
        InvalidInputError
            If an argument makes no sense, or the fleet is left out and there are several.
        """
        # Imported here because xarray imports this module on its first open of any file, whatever
        # the engine; what reads archives takes half a second more to import.
        from pipeline.xarray_engine.opening import open_archive

        dataset = open_archive(
            _path(filename_or_obj),
            fleet=fleet,
            devices=devices,
            time=time,
            channels=channels,
            where=where,
            at=at,
            schema_version=schema_version,
            storage_options=storage_options,
        )
        return _without(dataset, drop_variables)

    def open_datatree(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        fleet: str | None = None,
        devices: str | Iterable[str] | None = None,
        time: Any = None,
        where: Mapping[str, str | Iterable[str]] | None = None,
        at: Any = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.DataTree:
        """Open all fleets, or one, with their rollups.

        Parameters
        ----------
        filename_or_obj
            Folder or URL of the archive.
        drop_variables
            Names of variables to leave out of every node; those that are not there are ignored.
        fleet
            The only one wanted; None for all.
        devices, time, where, at, storage_options
            As for `open_dataset`, for rows and rollups alike; `time` holds the starts of periods.

        Returns
        -------
        xarray.DataTree
            Nodes ``<fleet>/raw`` and ``<fleet>/rollup/<name>``; see `pipeline.xarray_engine.trees`.

        Raises
        ------
        NotFoundError
            If there is no such archive, fleet, device, tag or snapshot.
        InvalidInputError
            If an argument makes no sense.
        """
        groups = self.open_groups_as_dict(
            filename_or_obj,
            drop_variables=drop_variables,
            fleet=fleet,
            devices=devices,
            time=time,
            where=where,
            at=at,
            storage_options=storage_options,
        )
        return xr.DataTree.from_dict(groups)

    def open_groups_as_dict(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        fleet: str | None = None,
        devices: str | Iterable[str] | None = None,
        time: Any = None,
        where: Mapping[str, str | Iterable[str]] | None = None,
        at: Any = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open the nodes of `open_datatree`, by path."""
        from pipeline.xarray_engine.trees import open_groups

        found = open_groups(
            _path(filename_or_obj),
            fleet=fleet,
            devices=devices,
            time=time,
            where=where,
            at=at,
            storage_options=storage_options,
        )
        return {path: _without(dataset, drop_variables) for path, dataset in found.items()}

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Tell whether a local folder is an archive; False for anything else."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        try:
            location = Location.parse(os.fspath(filename_or_obj))
            root = Path(location.path)
            # A branch of the storage library, and the lock that every commit of ours takes.
            wanted = (root / "refs" / "branch.main" / "ref.json", root / "commit.lock")
            return location.scheme == "file" and all(path.is_file() for path in wanted)
        except (OSError, TypeError, ValueError):
            return False


def _path(filename_or_obj: Any) -> str:
    if not isinstance(filename_or_obj, str | os.PathLike):
        msg = f"{filename_or_obj!r}: give the folder or URL of an archive"
        raise InvalidInputError(msg)
    return str(os.fspath(filename_or_obj))


def _without(dataset: xr.Dataset, drop_variables: str | Iterable[str] | None) -> xr.Dataset:
    """Return a dataset without some variables, and without the index of those that had one."""
    names = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
    dropped = {name for name in names if name in dataset.variables}
    indexed = [
        name
        for index, variables in dataset.xindexes.group_by_index()
        if dropped & set(variables)
        for name in variables
    ]
    return dataset.drop_indexes(indexed).drop_vars(list(dropped))
