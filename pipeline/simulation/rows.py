"""Rows of simulated devices, with a record of what happened to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column

__all__ = ["Rows", "concat"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows on their way to a table, with what happened to each.

    Parameters
    ----------
    device
        ``int32``, shape (rows,): number of the device in its fleet.
    time
        ``int64``, shape (rows,): what the device's clock showed, microseconds since 1970-01-01 UTC.
    reported, reported_valid
        Time as delivered, shape (rows,); differs from `time` where it was corrupted.
    columns
        One column per channel.
    marks
        For each fault a ``uint8`` array of shape (rows,): how many values of the row, or
        whether the row, it touched.
    lost
        ``int32``: the device of each row that was lost.
    """

    device: NDArray[np.int32]
    time: NDArray[np.int64]
    reported: NDArray[np.int64]
    reported_valid: NDArray[np.bool_]
    columns: Mapping[str, Column]
    marks: Mapping[str, NDArray[np.uint8]]
    lost: NDArray[np.int32]

    def take(self, rows: NDArray[Any], values_from: NDArray[Any] | None = None) -> Rows:
        """Return the rows at `rows`, with the values of `values_from` if given."""
        source = rows if values_from is None else values_from
        return replace(
            self,
            device=self.device[rows],
            time=self.time[rows],
            reported=self.reported[rows],
            reported_valid=self.reported_valid[rows],
            columns={name: column.take(source) for name, column in self.columns.items()},
            marks={name: mark[source] for name, mark in self.marks.items()},
        )

    def between(self, start: int, stop: int) -> Rows:
        """Return the rows of devices `start` to `stop` (excluded)."""
        lost = self.lost[(self.lost >= start) & (self.lost < stop)]
        return replace(self.take((self.device >= start) & (self.device < stop)), lost=lost)

    def marked(self, **marks: NDArray[np.bool_] | NDArray[np.uint8]) -> Rows:
        """Return the rows with further marks."""
        added = {name: mark.astype(np.uint8) for name, mark in marks.items()}
        return replace(self, marks={**self.marks, **added})

    def counts(self) -> dict[str, int]:
        """Return how many values or rows each fault touched; ``gaps`` counts lost rows."""
        return {name: int(mark.sum()) for name, mark in self.marks.items()} | {
            "gaps": len(self.lost)
        }


def concat(parts: Sequence[Rows]) -> Rows:
    """Join rows in the order given."""
    joined = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Rows)
        if field.name not in ("columns", "marks")
    }
    first = parts[0]
    columns = {name: _join([part.columns[name] for part in parts]) for name in first.columns}
    marks = {name: np.concatenate([part.marks[name] for part in parts]) for name in first.marks}
    return Rows(columns=columns, marks=marks, **joined)


def _join(parts: Sequence[Column]) -> Column:
    valid = [part.valid for part in parts if part.valid is not None]
    return Column(
        np.concatenate([part.values for part in parts]),
        np.concatenate(valid) if valid else None,
        parts[0].categories,
    )
