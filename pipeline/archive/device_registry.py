"""The devices of a fleet: ids, integer codes and tags.

A device's code is its position in the registry, handed out when it is first seen and never
changed. Tags (site, model …) are texts; a device without a value has the empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.codecs import ZstdCodec

from pipeline.archive.fleet_state import FleetState
from pipeline.errors import InvalidInputError, NotFoundError

__all__ = ["DeviceRegistry", "create_registry", "load_registry", "save_devices"]

_CAPACITY: Final = 1 << 28
_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRegistry:
    """The devices known at one snapshot.

    Parameters
    ----------
    ids
        Device ids in code order.
    tags
        For each tag name, one text per device.
    state
        The fleet's counters that this registry belongs to.
    """

    ids: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]
    state: FleetState
    _codes: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_codes", {name: code for code, name in enumerate(self.ids)})

    def __len__(self) -> int:
        return len(self.ids)

    def code(self, device: str) -> int:
        """Return a device's code.

        Raises
        ------
        NotFoundError
            If the device is unknown.
        """
        found = self._codes.get(device)
        if found is None:
            msg = f"no device {device!r} among the fleet's {len(self.ids)} devices"
            raise NotFoundError(msg)
        return found

    def codes(self, devices: Iterable[str]) -> NDArray[np.int64]:
        """Return the codes of known devices.

        Raises
        ------
        NotFoundError
            If one of them is unknown.
        """
        return np.array([self.code(device) for device in devices], np.int64)

    def unknown(self, devices: Iterable[str]) -> tuple[str, ...]:
        """Return those of `devices` that have no code yet, each once, in order."""
        return tuple(dict.fromkeys(name for name in devices if name not in self._codes))

    def tag(self, name: str) -> tuple[str, ...]:
        """Return one tag's value for every device.

        Raises
        ------
        NotFoundError
            If no device has that tag.
        """
        if name not in self.tags:
            known = ", ".join(sorted(self.tags)) or "none"
            msg = f"no device has a tag {name!r}; there are: {known}"
            raise NotFoundError(msg)
        return self.tags[name]

    def extended(
        self, new: Sequence[str], tags: Mapping[str, Mapping[str, str]] | None = None
    ) -> DeviceRegistry:
        """Return the registry with `new` devices appended and tags set.

        Parameters
        ----------
        new
            Ids without a code.
        tags
            Tag values by device id; devices not named keep theirs.

        Raises
        ------
        NotFoundError
            If `tags` names an unknown device.
        InvalidInputError
            If a tag has no name or a value that is no text.
        """
        ids = (*self.ids, *new)
        padded = {name: [*values, *[""] * len(new)] for name, values in self.tags.items()}
        moved = {"devices": len(new), "device_revision": 1 if new else 0}
        grown = DeviceRegistry(ids, self.tags, self.state)
        changed = _set_tags(padded, grown, tags or {})
        if changed and not new:
            moved["device_revision"] = 1
        texts = {name: tuple(values) for name, values in padded.items()}
        return DeviceRegistry(ids, texts, self.state.moved(**moved))


def create_registry(store: Store, fleet: str) -> None:
    """Write the arrays of an empty registry."""
    zarr.create_group(store, path=f"{fleet}/devices", attributes={"tags": []})
    _create_text(store, f"{fleet}/devices/id", {"cf_role": "timeseries_id"})


def load_registry(
    store: Store, fleet: str, state: FleetState, known: DeviceRegistry | None = None
) -> DeviceRegistry:
    """Read the registry, unless `known` is still current.

    Parameters
    ----------
    store
        The snapshot's store.
    fleet
        The fleet's name.
    state
        The fleet's counters in that snapshot.
    known
        A registry read earlier.
    """
    current = (state.devices, state.device_revision)
    if known and (known.state.devices, known.state.device_revision) == current:
        return known
    group = zarr.open_group(store, path=f"{fleet}/devices", mode="r")
    names: Any = group.attrs["tags"]
    tags = {
        name: _texts(store, _tag_path(fleet, at), state.devices) for at, name in enumerate(names)
    }
    return DeviceRegistry(_texts(store, f"{fleet}/devices/id", state.devices), tags, state)


def save_devices(store: Store, fleet: str, before: DeviceRegistry, after: DeviceRegistry) -> None:
    """Write what `after` has more than `before`."""
    if after.ids != before.ids:
        _append_texts(store, f"{fleet}/devices/id", len(before), after.ids)
    new_names = [name for name in after.tags if name not in before.tags]
    for at, (name, values) in enumerate(after.tags.items()):
        if name in new_names:
            _create_text(store, _tag_path(fleet, at), {"long_name": name})
        start = _first_difference(before.tags.get(name, ()), values)
        if start < len(values):
            _append_texts(store, _tag_path(fleet, at), start, values)
    if new_names:
        zarr.open_group(store, path=f"{fleet}/devices", mode="r+").attrs["tags"] = list(after.tags)


def _set_tags(
    columns: dict[str, list[str]],
    registry: DeviceRegistry,
    tags: Mapping[str, Mapping[str, str]],
) -> bool:
    changed = False
    for device, values in tags.items():
        code = registry.code(device)
        for name, value in values.items():
            if not name or not isinstance(value, str):
                msg = f"device {device!r}: tag {name!r} is {value!r}; tags are named texts"
                raise InvalidInputError(msg)
            column = columns.setdefault(name, [""] * len(registry))
            changed |= column[code] != value
            column[code] = value
    return changed


def _first_difference(old: Sequence[str], new: Sequence[str]) -> int:
    differing = (at for at, (one, two) in enumerate(zip(old, new, strict=False)) if one != two)
    return next(differing, len(old))


def _tag_path(fleet: str, position: int) -> str:
    # Numbered rather than named: a tag's name may hold any character.
    return f"{fleet}/devices/tag_{position}"


def _create_text(store: Store, path: str, attributes: dict[str, Any]) -> None:
    zarr.create_array(
        store,
        name=path,
        shape=(_CAPACITY,),
        chunks=(_CHUNK,),
        dtype=str,
        fill_value="",
        compressors=ZstdCodec(level=3, checksum=True),
        dimension_names=("device",),
        attributes=attributes,
    )


def _texts(store: Store, path: str, count: int) -> tuple[str, ...]:
    values: Any = zarr.open_array(store, path=path, mode="r")[:count]
    return tuple(values.tolist())


def _append_texts(store: Store, path: str, start: int, values: Sequence[str]) -> None:
    array = zarr.open_array(store, path=path, mode="r+")
    array[start : len(values)] = np.array(values[start:], dtype=object)
