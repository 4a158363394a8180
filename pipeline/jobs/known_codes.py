"""Codes of devices and texts as workers need them to encode rows as soon as they are read.

They are those that the job has come across, under the plan that its next commit will most likely
have. A worker looks nothing up in the archive, which it may not even reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.appending import AppendPlan
from pipeline.archive.fleet_meta import FleetMeta

__all__ = ["KnownCodes"]


@dataclass(frozen=True, slots=True)
class KnownCodes:
    """Codes that a plan gives, and the definition for encoding with them.

    Parameters
    ----------
    meta
        The fleet's definition, of the plan.
    arrays
        By channel, the array that it is stored in.
    devices
        Codes by device id.
    texts
        By category channel, codes by text.
    """

    meta: FleetMeta
    arrays: Mapping[str, str]
    devices: Mapping[str, int]
    texts: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(
        cls, plan: AppendPlan, devices: Sequence[str], texts: Mapping[str, Sequence[str]]
    ) -> KnownCodes:
        """Return the codes that a plan gives to some devices, and to some texts by channel."""
        found = plan.category_codes(texts)
        return cls(
            plan.meta,
            plan.arrays,
            dict(zip(devices, plan.device_codes(devices).tolist(), strict=True)),
            {
                channel: dict(zip(wanted, found[plan.arrays[channel]].tolist(), strict=True))
                for channel, wanted in texts.items()
            },
        )

    def itself(self) -> KnownCodes:
        """Return these codes: a task that holds them on a worker, for others to get them there."""
        return self

    def device_codes(self, devices: Sequence[str]) -> NDArray[np.int32] | None:
        """Return ``int32`` codes of devices; None if one has none yet."""
        return _codes(self.devices, devices)

    def category_codes(
        self, texts: Mapping[str, Sequence[str]]
    ) -> dict[str, NDArray[np.int32]] | None:
        """Return ``int32`` codes of texts, by the array of each channel; None if one has none yet."""
        found: dict[str, NDArray[np.int32]] = {}
        for channel, wanted in texts.items():
            codes = _codes(self.texts.get(channel, {}), wanted)
            if codes is None:
                return None
            found[self.arrays[channel]] = codes
        return found


def _codes(known: Mapping[str, int], names: Sequence[str]) -> NDArray[np.int32] | None:
    codes = np.fromiter((known.get(name, -1) for name in names), np.int32, len(names))
    return None if (codes < 0).any() else codes
