"""Partition pruning: which part of the grid a request can touch.

Pruning is arithmetic on window and device-block numbers; nothing is read. Blocks are then
pruned by the bounds that the block index keeps for each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.partitioning.conditions import NO_CONDITIONS, Conditions
from pipeline.partitioning.device_blocks import LANDING_BLOCK, device_blocks
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START, GRID_STOP

__all__ = ["Pruned", "Selection", "prune_blocks", "pruned_by"]


class Pruned(IntEnum):
    """What rules a block out of a request."""

    NOT = 0
    WINDOW = 1
    DEVICE_BLOCK = 2
    TIME_BOUNDS = 3
    DEVICE_BOUNDS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The rows a request asks for.

    Parameters
    ----------
    start, stop
        Half-open time range in microseconds since 1970-01-01 UTC, clipped to the grid.
    codes
        Sorted, distinct ``int64`` device codes; None for all devices.
    conditions
        What the values of the rows have to be. All else here goes by time and device alone:
        `pipeline.archive.fleet_view.FleetView` leaves out rows and blocks that do not match.
    """

    start: int = GRID_START
    stop: int = GRID_STOP
    codes: NDArray[np.int64] | None = None
    conditions: Conditions = NO_CONDITIONS

    @classmethod
    def of(
        cls,
        start: int | None = None,
        stop: int | None = None,
        codes: Any = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Selection:
        """Return a selection with its times clipped to the grid and its codes sorted.

        Raises
        ------
        InvalidInputError
            If `stop` lies before `start`.
        """
        begin = GRID_START if start is None else start
        end = GRID_STOP if stop is None else stop
        if end < begin:
            msg = "the time range ends before it starts; give time=(start, stop) with start <= stop"
            raise InvalidInputError(msg)
        distinct = None if codes is None else np.unique(np.asarray(codes, np.int64))
        return cls(
            min(max(begin, GRID_START), GRID_STOP),
            min(max(end, GRID_START), GRID_STOP),
            distinct,
            conditions,
        )

    @property
    def of_any_value(self) -> Selection:
        """The same times and devices without conditions on values."""
        return replace(self, conditions=NO_CONDITIONS)

    @property
    def is_empty(self) -> bool:
        """Whether no row can match."""
        return self.start >= self.stop or (self.codes is not None and len(self.codes) == 0)

    def windows(self, scheme: Partitioning) -> range:
        """Return the numbers of the windows that the time range touches."""
        if self.is_empty:
            return range(0)
        length = scheme.window_length
        return range(length.number(self.start), length.number(self.stop - 1) + 1)

    def device_blocks(self, scheme: Partitioning) -> NDArray[np.int64] | None:
        """Return the device blocks of the selected devices without landing; None for all."""
        if self.codes is None:
            return None
        return np.unique(device_blocks(self.codes, scheme.devices_per_block))

    def covers(self, start: int, stop: int) -> bool:
        """Tell whether all of ``[start, stop)`` lies inside the time range."""
        return self.start <= start and stop <= self.stop

    def mask(self, codes: NDArray[Any], time: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows have a selected device and time; bool, shape (rows,)."""
        found: NDArray[np.bool_] = (time >= self.start) & (time < self.stop)
        if self.codes is not None:
            found &= np.isin(codes, self.codes)
        return found


def pruned_by(
    selection: Selection,
    scheme: Partitioning,
    window: NDArray[np.int64],
    device_block: NDArray[np.int64],
    bounds: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.int8]:
    """Return what rules each block out: the first that does of its place and its bounds.

    Parameters
    ----------
    selection
        What is asked.
    scheme
        The fleet's partitioning.
    window, device_block
        ``int64``, shape (blocks,): where the blocks are.
    bounds
        As for `prune_blocks`.

    Returns
    -------
    ndarray
        ``int8``, shape (blocks,): values of `Pruned`.
    """
    of_time = replace(selection, codes=None)
    windows = of_time.windows(scheme)
    wanted = selection.device_blocks(scheme)
    elsewhere = np.zeros(len(window), np.bool_)
    if wanted is not None:
        elsewhere = ~np.isin(device_block, [LANDING_BLOCK, *wanted.tolist()])
    reasons = {
        Pruned.WINDOW: (window < windows.start) | (window >= windows.stop),
        Pruned.DEVICE_BLOCK: elsewhere,
        Pruned.TIME_BOUNDS: ~prune_blocks(of_time, *bounds),
        Pruned.DEVICE_BOUNDS: ~prune_blocks(selection, *bounds),
    }
    found: NDArray[np.int8] = np.select(list(reasons.values()), list(reasons), Pruned.NOT)
    return found.astype(np.int8)


def prune_blocks(
    selection: Selection,
    time_min: NDArray[np.int64],
    time_max: NDArray[np.int64],
    device_min: NDArray[np.int64],
    device_max: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which blocks may hold selected rows, from their inclusive bounds.

    Parameters
    ----------
    selection
        What is asked.
    time_min, time_max, device_min, device_max
        ``int64``, shape (blocks,): the bounds that the block index keeps.

    Returns
    -------
    ndarray
        Bool, shape (blocks,).
    """
    found: NDArray[np.bool_] = (time_max >= selection.start) & (time_min < selection.stop)
    if selection.codes is not None:
        at = np.searchsorted(selection.codes, device_min)
        inside = at < len(selection.codes)
        nearest = selection.codes[np.minimum(at, len(selection.codes) - 1)] if inside.any() else at
        found &= inside & (nearest <= device_max)
    return found
