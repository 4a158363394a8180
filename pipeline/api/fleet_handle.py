"""What a fleet is: its name, schema, grid, devices and positions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.positions import positions_of, read_positions
from pipeline.archive.retention import Retention
from pipeline.errors import InvalidInputError
from pipeline.partitioning.scheme import Partitioning
from pipeline.schema.channels import Schema

__all__ = ["FleetHandle"]


class FleetHandle:
    """One fleet of an archive, now or at a snapshot, in the newest version of its schema or another."""

    def __init__(
        self,
        store: FleetStore,
        at: str | datetime | None = None,
        version: int | None = None,
    ) -> None:
        self._store = store
        self._at = at
        self._version = version

    @property
    def name(self) -> str:
        """The fleet's name."""
        return self._store.name

    @property
    def schema(self) -> Schema:
        """The version of the schema that is read: the newest, unless `at_version` says another."""
        return self._view().meta.schema

    @property
    def partitioning(self) -> Partitioning:
        """Windows and device blocks."""
        return self._view().meta.scheme

    @property
    def devices(self) -> list[str]:
        """Ids of all devices, in the order in which they were first seen.

        If the fleet is partitioned by a tag, devices of one value stand together.
        """
        registry = self._view().registry
        return list(registry.ids_of(registry.all_codes()))

    @property
    def tags(self) -> dict[str, dict[str, str]]:
        """Tags of every device that has some, by device id."""
        view = self._view()
        if "tags" not in view.memo:
            view.memo["tags"] = _tags_of(view.registry)
        known: dict[str, dict[str, str]] = view.memo["tags"]
        return {device: dict(tags) for device, tags in known.items()}

    @property
    def positions(self) -> dict[str, Any]:
        """Where every source stands, by its name: what `append` was given, the newest of each.

        Mappings are merged key by key and lists united; of anything else the latest counts.
        """
        if self._at is None:
            return positions_of(self._store.repository, self.name)
        return read_positions(self._view().store, self.name)[0]

    @property
    def retention(self) -> Retention:
        """How long rows and statistics are kept, and from when on there are some."""
        return self._view().meta.retention

    def _view(self) -> FleetView:
        return self._store.view(self._at).at_version(self._version)

    def _writable(self) -> None:
        if self._at is not None:
            msg = "this fleet is from an old snapshot; open the archive without at() to write"
            raise InvalidInputError(msg)

    def __repr__(self) -> str:
        return f"<Fleet {self.name!r} in {self._store.repository.location}>"


def _tags_of(registry: DeviceRegistry) -> dict[str, dict[str, str]]:
    codes = registry.all_codes()
    columns = registry.tags_of(registry.tag_names, codes)
    every = zip(*(texts.tolist() for texts in columns.values()), strict=True)
    rows = every if columns else (() for _ in codes)
    return {
        device: {name: text for name, text in zip(columns, row, strict=True) if text}
        for device, row in zip(registry.ids_of(codes).tolist(), rows, strict=True)
    }
