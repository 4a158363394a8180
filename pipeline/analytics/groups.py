"""Grouping of devices: each on its own, by tags, or all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.device_registry import DeviceRegistry

__all__ = ["Groups", "group_devices"]


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The rows of an answer.

    Parameters
    ----------
    dimension
        Name of the dimension along groups; None if all devices are one group.
    coordinates
        Text coordinates along it.
    of_code
        ``int64``, shape (devices of the fleet,): the group of each device code, -1 for devices
        that were not asked for.
    size
        Number of groups.
    """

    dimension: str | None
    coordinates: Mapping[str, Sequence[str]]
    of_code: NDArray[np.int64]
    size: int


def group_devices(
    registry: DeviceRegistry, codes: NDArray[np.int64] | None, by: Sequence[str] | None
) -> Groups:
    """Return the grouping of the selected devices.

    Parameters
    ----------
    registry
        The fleet's devices.
    codes
        Sorted codes of the selected devices; None for all.
    by
        None: every device is a group. Tag names: devices with equal tags form a group, groups
        in the order of their texts. Empty: all devices together.

    Raises
    ------
    NotFoundError
        If a tag is unknown.
    """
    chosen = np.arange(len(registry)) if codes is None else codes
    of_code = np.full(len(registry), -1, np.int64)
    if by is None:
        of_code[chosen] = np.arange(len(chosen))
        ids = [registry.ids[code] for code in chosen.tolist()]
        return Groups("device", {"device": ids}, of_code, len(chosen))
    if not by:
        of_code[chosen] = 0
        return Groups(None, {}, of_code, 1)
    columns = [registry.tag(name) for name in by]
    keys = [tuple(column[code] for column in columns) for code in chosen.tolist()]
    distinct = sorted(set(keys))
    position = {key: at for at, key in enumerate(distinct)}
    of_code[chosen] = [position[key] for key in keys]
    coordinates = {name: [key[at] for key in distinct] for at, name in enumerate(by)}
    return Groups(by[0] if len(by) == 1 else "group", coordinates, of_code, len(distinct))
