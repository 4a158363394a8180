"""The devices of a fleet: ids, integer codes and tags, read as far as they are asked for.

A device's code is its position in the arrays of ids and tags, handed out when it is first seen
and never changed. Tags (site, model …) are texts; a device without a value has the empty text.
Codes follow one another, except in a fleet that is partitioned by a tag: see
`pipeline.partitioning.reservations`. A code that no device has holds the empty text as its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.attributes import read_attributes
from pipeline.archive.device_lookup import find_codes
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.layout import FleetLayout
from pipeline.archive.text_columns import Chunks, TextReader
from pipeline.errors import NotFoundError
from pipeline.partitioning.reservations import Reservations

__all__ = ["DeviceRegistry", "Known", "create_registry", "load_registry"]

_FEW: Final = 256


@dataclass(slots=True)
class Known:
    """What has been read of a fleet's devices.

    Parameters
    ----------
    codes
        Codes by device id.
    has_all
        Whether these are all.
    ids
        Ids by code, of devices that were asked for by few.
    chunks
        Chunks of ids and tags.
    tag_names
        Names of the tags, in the order of their arrays.
    reservations
        The device blocks of a fleet that is partitioned by a tag.
    """

    codes: dict[str, int] = field(default_factory=dict)
    has_all: bool = False
    ids: dict[int, str] = field(default_factory=dict)
    chunks: Chunks = field(default_factory=dict)
    tag_names: tuple[str, ...] | None = None
    reservations: Reservations | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRegistry:
    """The devices known at one snapshot.

    Parameters
    ----------
    store
        The snapshot's or the transaction's store.
    layout
        The fleet's layout.
    state
        The fleet's counters there.
    known
        What has been read already.
    """

    store: Store
    layout: FleetLayout
    state: FleetState
    known: Known = field(default_factory=Known, repr=False)

    def __len__(self) -> int:
        return self.state.devices if self.layout.scheme.by is None else self.state.indexed

    @property
    def positions(self) -> int:
        """One more than the largest device code."""
        return self.state.devices

    @property
    def has_lookup(self) -> bool:
        """Whether the lookup holds all devices; archives of before have none."""
        return self.state.indexed == len(self)

    @property
    def ids(self) -> tuple[str, ...]:
        """The device id of every code up to the largest; all are read."""
        return tuple(self.ids_of(np.arange(self.positions)).tolist())

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Names of the tags."""
        if self.known.tag_names is None:
            attributes: Any = read_attributes(self.store, [self.layout.devices_path])[0]
            self.known.tag_names = tuple(attributes["tags"])
        return self.known.tag_names

    @property
    def tags(self) -> Mapping[str, tuple[str, ...]]:
        """For each tag name, one text for every code up to the largest; all are read."""
        columns = self.tags_of(self.tag_names, np.arange(self.positions))
        return {name: tuple(texts.tolist()) for name, texts in columns.items()}

    @property
    def reservations(self) -> Reservations | None:
        """The device blocks of tag values; None unless the fleet is partitioned by a tag."""
        if self.layout.scheme.by is None:
            return None
        if self.known.reservations is None:
            self.known.reservations = self._load_reservations()
        return self.known.reservations

    def all_codes(self) -> NDArray[np.int64]:
        """Return the codes of all devices, ascending."""
        reserved = self.reservations
        return np.arange(self.positions) if reserved is None else reserved.codes()

    def ids_of(self, codes: NDArray[np.int64]) -> NDArray[np.object_]:
        """Return the ids of codes, in their order; only the chunks that hold them are read."""
        if len(codes) <= _FEW:
            found = [self.known.ids.get(code) for code in codes.tolist()]
            if None not in found:
                return np.array([*found, None], dtype=object)[:-1]
        return self._reader.texts([self.layout.device_ids.path], codes)[0]

    def tags_of(
        self, names: Iterable[str], codes: NDArray[np.int64]
    ) -> dict[str, NDArray[np.object_]]:
        """Return tag values of codes, by tag name; only the chunks that hold them are read.

        Raises
        ------
        NotFoundError
            If no device has such a tag.
        """
        wanted = list(names)
        paths = [self._tag_path(name) for name in wanted]
        return dict(zip(wanted, self._reader.texts(paths, codes), strict=True))

    def tag(self, name: str) -> tuple[str, ...]:
        """Return one tag's value for every code up to the largest.

        Raises
        ------
        NotFoundError
            If no device has that tag.
        """
        return tuple(self.tags_of([name], np.arange(self.positions))[name].tolist())

    def code(self, device: str) -> int:
        """Return a device's code.

        Raises
        ------
        NotFoundError
            If the device is unknown.
        """
        return int(self.codes([device])[0])

    def codes(self, devices: Iterable[str]) -> NDArray[np.int64]:
        """Return the codes of known devices.

        Raises
        ------
        NotFoundError
            If one of them is unknown.
        """
        wanted = list(devices)
        found = self.find(wanted)
        if found.min(initial=0) < 0:
            device = wanted[int(np.argmin(found))]
            msg = f"no device {device!r} among the fleet's {len(self)} devices"
            raise NotFoundError(msg)
        return found

    def find(self, devices: Sequence[str]) -> NDArray[np.int64]:
        """Return the codes of devices; ``int64``, -1 for those that are unknown."""
        known = self.known.codes
        found = [known.get(name, -1) for name in devices]
        if -1 in found and len(self) and not self.known.has_all:
            self._look_up([n for n, code in zip(devices, found, strict=True) if code < 0])
            found = [known.get(name, -1) for name in devices]
        return np.array(found, np.int64)

    def unknown(self, devices: Iterable[str]) -> tuple[str, ...]:
        """Return those of `devices` that have no code yet, each once, in order."""
        wanted = list(dict.fromkeys(devices))
        missing = np.flatnonzero(self.find(wanted) < 0)
        return tuple(wanted[at] for at in missing.tolist())

    def where(self, tags: Mapping[str, Set[str]]) -> NDArray[np.int64]:
        """Return the ascending codes of the devices that have one of the values of every tag.

        Parameters
        ----------
        tags
            By tag name, the values wanted; the empty text is that of devices without the tag.

        Raises
        ------
        NotFoundError
            If no device has such a tag.
        """
        for name in tags:
            self._tag_path(name)
        reserved, by = self.reservations, self.layout.scheme.by
        if reserved is None or by is None or by not in tags:
            return self._having(tags, self.all_codes())
        certain, uncertain = reserved.holding(tags[by])
        others = {name: values for name, values in tags.items() if name != by}
        return np.sort(
            np.concatenate([self._having(others, certain), self._having(tags, uncertain)])
        )

    def at(self, store: Store, state: FleetState) -> DeviceRegistry | None:
        """Return the registry for another snapshot, unless devices or tags are others there."""
        ours, theirs = self.state, state
        if (ours.devices, ours.device_revision) != (theirs.devices, theirs.device_revision):
            return None
        return replace(self, store=store, state=state)

    def _having(self, tags: Mapping[str, Set[str]], codes: NDArray[np.int64]) -> NDArray[np.int64]:
        if not tags or not len(codes):
            return codes
        kept = np.ones(len(codes), np.bool_)
        for name, texts in self.tags_of(tags, codes).items():
            kept &= np.fromiter((text in tags[name] for text in texts), np.bool_, len(codes))
        return codes[kept]

    def _look_up(self, names: Iterable[str]) -> None:
        known = self.known
        if self.has_lookup:
            wanted = list(dict.fromkeys(names))
            codes = find_codes(self.store, self.layout.device_lookup, len(self), wanted).tolist()
            found = [(name, code) for name, code in zip(wanted, codes, strict=True) if code >= 0]
            known.codes.update(found)
            if len(found) <= _FEW:
                known.ids.update((code, name) for name, code in found)
        else:
            known.codes.update((name, code) for code, name in enumerate(self.ids))
            known.has_all = True

    def _tag_path(self, name: str) -> str:
        if name not in self.tag_names:
            known = ", ".join(sorted(self.tag_names)) or "none"
            msg = f"no device has a tag {name!r}; there are: {known}"
            raise NotFoundError(msg)
        return self.layout.device_tag(self.tag_names.index(name), name).path

    def _load_reservations(self) -> Reservations:
        layout, size = self.layout, self.layout.scheme.devices_per_block
        numbers = np.arange(1, 1 + -(-self.positions // size))
        if not len(numbers):
            return Reservations.none(size)
        values = TextReader(self.store, {}).texts([layout.device_block_values.path], numbers)[0]
        table = layout.device_blocks
        last = int(numbers[-1]) // table.chunk[1]
        chunks = table.load(self.store, [(0, at) for at in range(last + 1)])
        used, strays = np.concatenate(list(chunks.values()), axis=1)[:, numbers]
        return Reservations(tuple(values.tolist()), used, strays > 0, size)

    @property
    def _reader(self) -> TextReader:
        return TextReader(self.store, self.known.chunks)


def create_registry(store: Store, layout: FleetLayout) -> None:
    """Write the arrays of an empty registry."""
    zarr.create_group(store, path=layout.devices_path, attributes={"tags": []})
    layout.device_ids.create(store)
    layout.device_lookup.create(store)
    if layout.scheme.by is not None:
        layout.device_block_values.create(store)
        layout.device_blocks.create(store)


def load_registry(
    store: Store, layout: FleetLayout, state: FleetState, known: DeviceRegistry | None = None
) -> DeviceRegistry:
    """Return the registry of a snapshot; nothing is read until it is asked for.

    Parameters
    ----------
    store
        The snapshot's store.
    layout
        The fleet's layout.
    state
        The fleet's counters in that snapshot.
    known
        A registry of the fleet at another snapshot: what it has read is used if it still holds.
    """
    current = None if known is None else known.at(store, state)
    return DeviceRegistry(store, layout, state) if current is None else current
