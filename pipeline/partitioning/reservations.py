"""Device blocks that are reserved for the devices of one tag value each.

A fleet that is partitioned by a tag hands out device codes so that a device block holds devices
of one value only: a device gets the next free code of the block that is open for its value, or
the first code of a new block. Codes that a block does not use stay free. As device blocks follow
from codes, whatever prunes by device code prunes by the tag as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.partitioning.device_blocks import device_blocks

__all__ = ["Reservations"]


@dataclass(frozen=True, slots=True, eq=False)
class Reservations:
    """The device blocks of a fleet, landing apart, and what they are reserved for.

    Parameters
    ----------
    values
        The tag value of each device block, that of block 1 first.
    used
        ``int64``, shape (blocks,): codes of each block that are handed out, its first ones.
    strays
        Bool, shape (blocks,): whether the tag of a device of the block was set to another
        value later.
    devices_per_block
        Codes of a block.
    """

    values: tuple[str, ...]
    used: NDArray[np.int64]
    strays: NDArray[np.bool_]
    devices_per_block: int

    @classmethod
    def none(cls, devices_per_block: int) -> Reservations:
        """Return those of an empty fleet."""
        return cls((), np.zeros(0, np.int64), np.zeros(0, np.bool_), devices_per_block)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def positions(self) -> int:
        """One more than the largest code that is handed out."""
        return (
            0 if len(self) == 0 else (len(self) - 1) * self.devices_per_block + int(self.used[-1])
        )

    def codes(self, blocks: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the codes that are handed out, ascending: in some blocks, or in all.

        Parameters
        ----------
        blocks
            Numbers of device blocks, ascending.
        """
        numbers = np.arange(1, len(self) + 1) if blocks is None else blocks
        used = self.used[numbers - 1]
        before = np.cumsum(used) - used
        first = (numbers - 1) * self.devices_per_block
        return np.repeat(first - before, used) + np.arange(int(used.sum()))

    def allocate(self, values: Sequence[str]) -> tuple[NDArray[np.int64], Reservations]:
        """Hand out a code to each of some new devices.

        Parameters
        ----------
        values
            The tag value of each device; the empty text for a device without one.

        Returns
        -------
        tuple
            ``int64`` codes, shape (devices,), and the reservations that result.
        """
        size, taken = self.devices_per_block, self.used.tolist()
        kept = list(self.values)
        open_blocks = {text: at for at, text in enumerate(kept) if taken[at] < size}
        members: dict[str, list[int]] = {}
        for at, text in enumerate(values):
            members.setdefault(text, []).append(at)
        codes = np.zeros(len(values), np.int64)
        for text, devices in members.items():
            at, start = open_blocks.get(text, -1), 0
            while start < len(devices):
                if at < 0 or taken[at] == size:
                    at = len(kept)
                    kept.append(text)
                    taken.append(0)
                count = min(size - taken[at], len(devices) - start)
                first = at * size + taken[at]
                codes[devices[start : start + count]] = np.arange(first, first + count)
                taken[at] += count
                start += count
        strays = np.zeros(len(kept), np.bool_)
        strays[: len(self)] = self.strays
        return codes, Reservations(tuple(kept), np.array(taken, np.int64), strays, size)

    def with_tags(self, codes: NDArray[np.int64], values: Sequence[str]) -> Reservations:
        """Return the reservations after the tag of some devices was set.

        Parameters
        ----------
        codes
            ``int64``, shape (devices,): their codes.
        values
            The new value of each.
        """
        blocks = device_blocks(codes, self.devices_per_block) - 1
        strays = self.strays.copy()
        for block, value in zip(blocks.tolist(), values, strict=True):
            strays[block] |= self.values[block] != value
        return Reservations(self.values, self.used, strays, self.devices_per_block)

    def holding(self, values: Collection[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where devices of some tag values can be.

        Returns
        -------
        tuple
            ``int64``, ascending: the codes of devices that have one of the values for certain,
            and those of devices whose tag has to be looked at.
        """
        reserved = np.array([text in values for text in self.values], np.bool_)
        certain = 1 + np.flatnonzero(reserved & ~self.strays)
        return self.codes(certain), self.codes(1 + np.flatnonzero(self.strays))
