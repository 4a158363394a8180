"""Decoded rows of a unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.read_units import ReadUnit
from pipeline.model.batches import Column
from pipeline.partitioning.ordering import RowOrder

__all__ = ["Rows", "in_order"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Selected rows of a unit, sorted by (device, time), duplicates resolved.

    Parameters
    ----------
    unit
        Where they come from.
    codes
        ``int32``, shape (rows,): device codes.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC.
    order
        Where each row is among the rows of the unit's blocks; None if the rows are all of them
        in order.
    columns
        The channels that were read along, as they are stored.
    """

    unit: ReadUnit
    codes: NDArray[np.int32]
    time: NDArray[np.int64]
    order: RowOrder | None
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.time)

    def where(self, kept: NDArray[np.bool_]) -> Rows:
        """Return some of the rows; their unit has those blocks only that hold one of them.

        Parameters
        ----------
        kept
            Bool, shape (rows,).
        """
        if kept.all():
            return self
        chosen = np.flatnonzero(kept)
        columns = {name: column.take(chosen) for name, column in self.columns.items()}
        rows = None if self.order is None else self.order.indices()
        unit, positions = _narrowed(self.unit, chosen if rows is None else rows[chosen])
        order = RowOrder.of_positions(positions)
        return Rows(unit, self.codes[chosen], self.time[chosen], order, columns)


def in_order(column: Column, order: RowOrder) -> Column:
    """Return the rows of a column in an order."""
    valid = None if column.valid is None else order.take(column.valid)
    return Column(order.take(column.values), valid, column.categories)


def _narrowed(unit: ReadUnit, positions: NDArray[np.int64]) -> tuple[ReadUnit, NDArray[np.int64]]:
    """Return the unit of the blocks that hold some rows of a unit, and where they are in it."""
    if len(unit.blocks) == 1:
        return unit, positions
    ends = np.cumsum(unit.blocks.rows)
    block = np.searchsorted(ends, positions, "right")
    used = np.bincount(block, minlength=len(ends)) > 0
    if used.all() or not len(positions):
        return unit, positions
    left_out = np.cumsum(np.where(used, 0, unit.blocks.rows))
    narrow = ReadUnit(unit.blocks.take(used), unit.first_code, unit.last_code)
    return narrow, positions - left_out[block]
