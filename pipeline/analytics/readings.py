"""Rows of one channel that have a value, and the cells of the answer they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.summaries.courses import Segments
from pipeline.summaries.merging import runs_of

__all__ = ["Carry", "CellRows", "Readings", "readings_of"]


@dataclass(frozen=True, slots=True, eq=False)
class CellRows:
    """Rows and their cells, sorted by (series, time).

    Parameters
    ----------
    series
        ``int64``, shape (rows,): number of the device among those asked for.
    group, bin
        ``int64``, shape (rows,): cell of each.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC.
    """

    series: NDArray[np.int64]
    group: NDArray[np.int64]
    bin: NDArray[np.int64]
    time: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Rows that have a value, neither missing nor NaN, and the values, shape (readings,)."""

    rows: CellRows
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)


def readings_of(rows: CellRows, column: Column) -> Readings:
    """Return the rows at which a column has a value."""
    values, has = column.values, column.valid
    if values.dtype.kind == "f":
        number = ~np.isnan(values)
        has = number if has is None else has & number
    if has is None or has.all():
        return Readings(rows, values)
    kept = CellRows(rows.series[has], rows.group[has], rows.bin[has], rows.time[has])
    return Readings(kept, values[has])


class Carry:
    """The last reading of every device, so that segments reach across what is read at once."""

    def __init__(self, devices: int, dtype: np.dtype[Any]) -> None:
        self._known = np.zeros(devices, np.bool_)
        self._time = np.zeros(devices, np.int64)
        self._bin = np.zeros(devices, np.int64)
        self._values = np.zeros(devices, dtype)

    def segments(self, readings: Readings) -> tuple[Segments, NDArray[np.int64], NDArray[np.int64]]:
        """Return the segments that end at `readings`, and remember the last reading of each device.

        Returns
        -------
        tuple
            The segments, and ``int64``, shape (segments,): the bins of their first and last
            readings.
        """
        rows = readings.rows
        starts = runs_of(rows.series)
        begun = rows.series[starts]
        known = self._known[begun]
        at, before = starts[known], begun[known]
        series = np.insert(rows.series, at, before)
        time = np.insert(rows.time, at, self._time[before])
        bins = np.insert(rows.bin, at, self._bin[before])
        values = np.insert(readings.values, at, self._values[before])
        ends = np.append(starts[1:], len(readings)) - 1 if len(starts) else starts
        self._known[begun] = True
        self._time[begun], self._bin[begun] = rows.time[ends], rows.bin[ends]
        self._values[begun] = readings.values[ends]
        same = np.flatnonzero(series[1:] == series[:-1])
        return Segments.between(series, time, values), bins[same], bins[same + 1]
