"""What users say of devices, times, channels and snapshots, checked and made plain; of tags and values see `where`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.where import Where, parse_where, tag_texts
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.timestamps import from_microseconds, to_microseconds
from pipeline.partitioning.pruning import Selection
from pipeline.schema.aliases import current_name, current_names

__all__ = [
    "Devices",
    "TimeRange",
    "Where",
    "channel_names",
    "current_statistics",
    "device_codes",
    "moment",
    "selection_of",
]

Devices = str | Iterable[str] | None
"""A device id, several, or None for all."""

TimeRange = tuple[Any, Any] | slice | None
"""``(start, stop)``, half-open, either of them None for an open end; None for all times."""


def selection_of(
    registry: DeviceRegistry,
    devices: Devices,
    time: TimeRange,
    where: Where = None,
    meta: FleetMeta | None = None,
) -> Selection:
    """Return what is asked for as device codes, microseconds and conditions on values.

    Parameters
    ----------
    registry
        The fleet's devices.
    devices, time
        What users say.
    where
        By tag name, what is wanted; with `meta` also by channel name (`pipeline.archive.where`).
    meta
        The fleet's definition, where conditions on values are honoured.

    Raises
    ------
    NotFoundError
        If a device, or what `where` names, is unknown.
    InvalidInputError
        If `time` is no pair of times, or ends before it starts, or `where` makes no sense.
    """
    if meta is None:
        return Selection.of(*_time_range(time), device_codes(registry, devices, where))
    tags, conditions = parse_where(registry, meta, where)
    return Selection.of(*_time_range(time), device_codes(registry, devices, tags), conditions)


def device_codes(
    registry: DeviceRegistry, devices: Devices, where: Where = None
) -> NDArray[np.int64] | None:
    """Return the sorted codes of devices that have the wanted tags, None for all.

    Raises
    ------
    NotFoundError
        If a device or tag is unknown.
    InvalidInputError
        If `where` is no mapping to texts.
    """
    tagged = registry.where(tag_texts(where)) if where else None
    if devices is None:
        return tagged
    wanted = [devices] if isinstance(devices, str) else list(devices)
    for device in wanted:
        if not isinstance(device, str):
            msg = f"no device {device!r}: ids are texts"
            raise NotFoundError(msg)
    codes = np.unique(registry.codes(wanted))
    return codes if tagged is None else np.intersect1d(codes, tagged, assume_unique=True)


def channel_names(meta: FleetMeta, channels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of known channels, in the order asked for; None for all.

    Names that channels had in older versions of the schema are known too, with a warning.

    Raises
    ------
    NotFoundError
        If a channel is unknown.
    """
    if channels is None:
        return meta.schema.names
    wanted = (channels,) if isinstance(channels, str) else tuple(channels)
    names = current_names(meta.aliases, wanted, stacklevel=4)
    return tuple(meta.schema[name].name for name in names)


def current_statistics[V](meta: FleetMeta, statistics: Mapping[str, V]) -> dict[str, V]:
    """Return a mapping by channel with the names that channels have now."""
    return {current_name(meta.aliases, name, stacklevel=4): one for name, one in statistics.items()}


def moment(value: Any) -> str | datetime | None:
    """Return a snapshot id as it is, and a time as ``datetime``; None stays None.

    Raises
    ------
    InvalidInputError
        If `value` is neither.
    """
    # A text that begins with a year is a time, unless it cannot be read as one.
    if value is None or (isinstance(value, str) and not value[:4].isdecimal()):
        return value
    try:
        return from_microseconds(to_microseconds(value))
    except InvalidInputError:
        if isinstance(value, str):
            return value
        raise


def _time_range(time: TimeRange) -> tuple[int | None, int | None]:
    if time is None:
        return None, None
    bounds: Any = (time.start, time.stop) if isinstance(time, slice) else time
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        msg = f"time={time!r}; give (start, stop), either of them None for an open end"
        raise InvalidInputError(msg)
    start, stop = (None if bound is None else to_microseconds(bound) for bound in bounds)
    return start, stop
