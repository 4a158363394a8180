"""What users say of devices, times, channels and snapshots, checked and made plain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.device_registry import DeviceRegistry
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.timestamps import from_microseconds, to_microseconds
from pipeline.partitioning.pruning import Selection
from pipeline.schema.channels import Schema

__all__ = [
    "Devices",
    "TimeRange",
    "Where",
    "channel_names",
    "device_codes",
    "moment",
    "selection_of",
]

Devices = str | Iterable[str] | None
"""A device id, several, or None for all."""

Where = Mapping[str, str | Iterable[str]] | None
"""By tag name, the value that devices have to have, or several of which they have to have one."""

TimeRange = tuple[Any, Any] | slice | None
"""``(start, stop)``, half-open, either of them None for an open end; None for all times."""


def selection_of(
    registry: DeviceRegistry, devices: Devices, time: TimeRange, where: Where = None
) -> Selection:
    """Return what is asked for as device codes and microseconds.

    Raises
    ------
    NotFoundError
        If a device or tag is unknown.
    InvalidInputError
        If `time` is no pair of times, or ends before it starts, or `where` is no mapping to texts.
    """
    return Selection.of(*_time_range(time), device_codes(registry, devices, where))


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
    tagged = registry.where(_tag_values(where)) if where else None
    if devices is None:
        return tagged
    wanted = [devices] if isinstance(devices, str) else list(devices)
    for device in wanted:
        if not isinstance(device, str):
            msg = f"no device {device!r}: ids are texts"
            raise NotFoundError(msg)
    codes = np.unique(registry.codes(wanted))
    return codes if tagged is None else np.intersect1d(codes, tagged, assume_unique=True)


def channel_names(schema: Schema, channels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of known channels, in the order asked for; None for all.

    Raises
    ------
    NotFoundError
        If a channel is unknown.
    """
    if channels is None:
        return schema.names
    wanted = (channels,) if isinstance(channels, str) else tuple(channels)
    return tuple(schema[name].name for name in wanted)


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


def _tag_values(where: Any) -> dict[str, set[str]]:
    if not isinstance(where, Mapping):
        msg = (
            f"where={where!r}; give a mapping of tag names to values, such as {{'site': 'Bergen'}}"
        )
        raise InvalidInputError(msg)
    values = {
        name: {given} if isinstance(given, str) else set(given) for name, given in where.items()
    }
    for name, texts in values.items():
        if not all(isinstance(text, str) for text in texts):
            msg = f"where: tag {name!r} is compared with {where[name]!r}; the values of tags are texts"
            raise InvalidInputError(msg)
    return values


def _time_range(time: TimeRange) -> tuple[int | None, int | None]:
    if time is None:
        return None, None
    bounds: Any = (time.start, time.stop) if isinstance(time, slice) else time
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        msg = f"time={time!r}; give (start, stop), either of them None for an open end"
        raise InvalidInputError(msg)
    start, stop = (None if bound is None else to_microseconds(bound) for bound in bounds)
    return start, stop
