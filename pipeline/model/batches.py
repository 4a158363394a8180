"""Columnar record batches: what every part of the archive passes around.

A batch holds readings as NumPy columns. Device ids are dictionary-encoded once per batch, so
nothing behind the decoder ever handles one Python object per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import fill_value

__all__ = ["Column", "RecordBatch", "missing_column"]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The values of one channel.

    Parameters
    ----------
    values
        Shape (rows,). Bool, any integer or float dtype; ``int32`` codes into `categories` for
        a category channel. What stands at missing rows carries no meaning.
    valid
        Bool, shape (rows,), False where the value is missing; None when none is. A NaN in
        `values` at a valid row is a reading that happens to be NaN, not a missing one.
    categories
        The texts that the codes of a category channel stand for; None for other channels.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    categories: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 1 or (
            self.valid is not None and self.valid.shape != self.values.shape
        ):
            msg = "a column takes one-dimensional values and a validity of the same length"
            raise InvalidInputError(msg)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[Any] | slice) -> Column:
        """Return the column at `rows` (indices, a bool mask or a slice)."""
        valid = None if self.valid is None else self.valid[rows]
        return Column(self.values[rows], valid, self.categories)


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """Readings of several devices in columns.

    Parameters
    ----------
    devices
        The distinct device ids of the batch.
    device_index
        ``int32``, shape (rows,): each row's position in `devices`.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01T00:00:00 UTC.
    columns
        One `Column` of the same length per channel.
    """

    devices: tuple[str, ...]
    device_index: NDArray[np.int32]
    time: NDArray[np.int64]
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = {len(self.device_index), len(self.time), *(len(c) for c in self.columns.values())}
        if len(rows) != 1:
            msg = f"columns of one batch differ in length: {sorted(rows)}"
            raise InvalidInputError(msg)

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: NDArray[Any] | slice) -> RecordBatch:
        """Return the batch at `rows` (indices, a bool mask or a slice)."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return RecordBatch(self.devices, self.device_index[rows], self.time[rows], columns)


def missing_column(rows: int, dtype: np.dtype[Any]) -> Column:
    """Return a column of a stored dtype in which every row is missing."""
    return Column(np.full(rows, fill_value(dtype), dtype), np.zeros(rows, np.bool_))
