"""Registering devices and setting tags: planned without writing, then stored in a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.attributes import read_documents
from pipeline.archive.device_lookup import add_codes
from pipeline.archive.device_registry import DeviceRegistry, Known
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.layout import FleetLayout
from pipeline.archive.text_columns import TEXTS_PER_CHUNK, write_texts
from pipeline.errors import InvalidInputError, StorageError
from pipeline.partitioning.reservations import Reservations

__all__ = ["DeviceChanges", "Tags", "plan_devices"]

Tags = Mapping[str, Mapping[str, str]]
"""Tag values by tag name, by device id."""

_ALWAYS_FREE: Final = 4096
"""Device blocks that every archive has room for."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceChanges:
    """New devices and tags of a fleet.

    Parameters
    ----------
    registry
        The devices as they were when this was planned.
    state
        The fleet's counters once this is stored.
    codes
        Codes of the new devices, by id.
    tags
        By tag name, values to set by device code.
    reservations
        The device blocks once this is stored, if the fleet is partitioned by a tag.
    """

    registry: DeviceRegistry
    state: FleetState
    codes: Mapping[str, int]
    tags: Mapping[str, Mapping[int, str]]
    reservations: Reservations | None

    def find(self, devices: Sequence[str]) -> NDArray[np.int64]:
        """Return the codes of devices, old or new; ``int64``, -1 for those that are neither."""
        if not self.codes:
            return self.registry.find(devices)
        known, new = self.registry.known.codes, self.codes
        found = [new.get(name, -1) if (at := known.get(name)) is None else at for name in devices]
        return np.array(found, np.int64) if -1 not in found else self._find(devices)

    def save(self, store: Store) -> None:
        """Write the changes into a transaction's store.

        Raises
        ------
        StorageError
            If the fleet's arrays have no room for so many devices.
        """
        layout = self.registry.layout
        new = np.array(list(self.codes.values()), np.int64)
        _check_room(store, layout, self.state.devices)
        texts: dict[str, tuple[NDArray[np.int64], Sequence[str]]] = {}
        if self.codes:
            texts[layout.device_ids.path] = (new, list(self.codes))
            self._index(store, new)
        for name, column in self._tag_columns(store).items():
            codes = np.array(list(self.tags[name]), np.int64)
            texts[column] = (codes, list(self.tags[name].values()))
        texts |= self._reserve(store)
        write_texts(store, texts)

    def stored(self) -> DeviceRegistry:
        """Return the registry once this is stored, with what was read that still holds."""
        before, layout = self.registry.known, self.registry.layout
        if not self.codes and not self.tags:
            return self.registry
        names = self._tag_names if before.tag_names is not None else None
        columns = {layout.device_ids.path: list(self.codes.values())}
        for name, values in self.tags.items():
            columns[self._tag_path(name)] = list(values)
        changed = {
            (path, number)
            for path, codes in columns.items()
            for number in np.unique(np.array(codes, np.int64) // TEXTS_PER_CHUNK).tolist()
        }
        known = Known(
            {**before.codes, **self.codes},
            before.has_all,
            before.ids,
            {place: chunk for place, chunk in before.chunks.items() if place not in changed},
            names,
            self.reservations,
        )
        return replace(self.registry, state=self.state, known=known)

    def _find(self, devices: Sequence[str]) -> NDArray[np.int64]:
        found = self.registry.find(devices)
        pairs = zip(devices, found.tolist(), strict=True)
        return np.array([self.codes.get(n, -1) if at < 0 else at for n, at in pairs], np.int64)

    @property
    def _tag_names(self) -> tuple[str, ...]:
        stored = self.registry.tag_names
        return (*stored, *(name for name in self.tags if name not in stored))

    def _tag_path(self, name: str) -> str:
        return self.registry.layout.device_tag(self._tag_names.index(name), name).path

    def _tag_columns(self, store: Store) -> dict[str, str]:
        """Return the path of each tag that is set; arrays of new tags are created."""
        if not self.tags:
            return {}
        layout, stored = self.registry.layout, self.registry.tag_names
        for at, name in enumerate(self._tag_names[len(stored) :], len(stored)):
            layout.device_tag(at, name).create(store)
        if len(self._tag_names) > len(stored):
            group = zarr.open_group(store, path=layout.devices_path, mode="r+")
            group.attrs["tags"] = list(self._tag_names)
        return {name: self._tag_path(name) for name in self.tags}

    def _index(self, store: Store, new: NDArray[np.int64]) -> None:
        registry, table = self.registry, self.registry.layout.device_lookup
        ids, codes, indexed = list(self.codes), new, len(registry)
        if not registry.has_lookup:
            ids, codes = [*registry.ids, *ids], np.concatenate([registry.all_codes(), new])
            indexed = 0
        if indexed == 0 and read_documents(store, [table.path])[0] is None:
            table.create(store)
        add_codes(store, table, indexed, ids, codes)

    def _reserve(self, store: Store) -> dict[str, tuple[NDArray[np.int64], Sequence[str]]]:
        before, after = self.registry.reservations, self.reservations
        if before is None or after is None or after is before:
            return {}
        layout, table = self.registry.layout, self.registry.layout.device_blocks
        columns = np.zeros((2, 1 + len(after)), np.int64)
        columns[:, 1:] = after.used, after.strays
        size = table.chunk[1]
        chunks: dict[tuple[int, ...], NDArray[Any]] = {}
        for at in range(-(-columns.shape[1] // size)):
            chunks[0, at] = table.blank()
            part = columns[:, at * size : (at + 1) * size]
            chunks[0, at][:, : part.shape[1]] = part
        table.write(store, chunks)
        numbers = np.arange(1 + len(before), 1 + len(after))
        return {layout.device_block_values.path: (numbers, after.values[len(before) :])}


def plan_devices(
    registry: DeviceRegistry, devices: Sequence[str], tags: Tags | None = None
) -> DeviceChanges:
    """Give codes to the devices that a fleet does not know yet, and find the tags that change.

    Parameters
    ----------
    registry
        The fleet's devices.
    devices
        Device ids, known or new.
    tags
        Tag values to set; devices that are named here only are registered as well.

    Raises
    ------
    InvalidInputError
        If a device has no id, or a tag has no name or a value that is no text.
    """
    wanted = tags or {}
    new = registry.unknown([*devices, *wanted])
    if "" in new:
        msg = "a device has the empty text as its id; give every device an id"
        raise InvalidInputError(msg)
    _check_tags(wanted)
    reserved = registry.reservations
    if reserved is None:
        codes = np.arange(registry.positions, registry.positions + len(new))
    elif new:
        by = str(registry.layout.scheme.by)
        codes, reserved = reserved.allocate([wanted.get(name, {}).get(by, "") for name in new])
    by_id = dict(zip(new, codes.tolist(), strict=True)) if new else {}
    changed = _changed_tags(registry, by_id, wanted)
    if reserved is not None:
        reserved = _with_moved(reserved, registry, by_id, changed)
    if not new and not changed:
        return DeviceChanges(registry, registry.state, {}, {}, reserved)
    positions = registry.positions + len(new) if reserved is None else reserved.positions
    state = replace(
        registry.state,
        devices=positions,
        device_revision=registry.state.device_revision + 1,
        indexed=len(registry) + len(new) if new else registry.state.indexed,
    )
    return DeviceChanges(registry, state, by_id, changed, reserved)


def _check_tags(tags: Tags) -> None:
    for device, values in tags.items():
        for name, value in values.items():
            if not name or not isinstance(value, str):
                msg = f"device {device!r}: tag {name!r} is {value!r}; tags are named texts"
                raise InvalidInputError(msg)


def _changed_tags(
    registry: DeviceRegistry, new: Mapping[str, int], tags: Tags
) -> dict[str, dict[int, str]]:
    """Return the values that differ from what is stored, by tag name and code."""
    changed: dict[str, dict[int, str]] = {}
    known = [device for device in tags if device not in new]
    codes = dict(zip(known, registry.find(known).tolist(), strict=True)) | dict(new)
    for device, values in tags.items():
        for name, value in values.items():
            changed.setdefault(name, {})[codes[device]] = value
    for name in list(changed):
        if name in registry.tag_names:
            at = np.array(list(changed[name]), np.int64)
            stored = registry.tags_of([name], at)[name]
            pairs = zip(changed[name].items(), stored.tolist(), strict=True)
            changed[name] = {code: value for (code, value), old in pairs if value != old}
            if not changed[name]:
                del changed[name]
    return changed


def _with_moved(
    reserved: Reservations,
    registry: DeviceRegistry,
    new: Mapping[str, int],
    changed: Mapping[str, Mapping[int, str]],
) -> Reservations:
    """Return the reservations with those devices noted whose tag is no longer their block's."""
    set_now = changed.get(str(registry.layout.scheme.by), {})
    placed = set(new.values())
    moved = {code: value for code, value in set_now.items() if code not in placed}
    if not moved:
        return reserved
    return reserved.with_tags(np.array(list(moved), np.int64), list(moved.values()))


def _check_room(store: Store, layout: FleetLayout, positions: int) -> None:
    blocks = -(-positions // layout.scheme.devices_per_block)
    if blocks <= _ALWAYS_FREE:
        return
    document: Any = read_documents(store, [layout.raw_path("device_index")])[0]
    room = document["shape"][1] - 1
    if blocks > room:
        msg = (
            f"fleet {layout.name!r}: {positions} device codes need {blocks} device blocks, and there is "
            f"room for {room}; nothing was stored, use a fleet with more devices_per_block"
        )
        raise StorageError(msg)
