"""Statistics of devices and periods of a rollup, gathered as they come and turned into its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.collectors import Shape, Values
from pipeline.analytics.order_collector import OrderCollector
from pipeline.analytics.readings import CellRows, readings_of
from pipeline.analytics.rollups.sketch_cells import SketchCells
from pipeline.analytics.stored import stored_values
from pipeline.analytics.windows import Windows
from pipeline.archive.fleet_view import Rows
from pipeline.archive.rollups.arrays import RollupArray
from pipeline.archive.rollups.definition import SKETCHES, RollupDefinition, has_exact_sum
from pipeline.archive.rollups.sketch_kinds import sketch_kind
from pipeline.archive.run_statistics import run_statistics
from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.schema.channels import Channel, Schema
from pipeline.summaries.asked import Statistic
from pipeline.summaries.merging import runs_of
from pipeline.summaries.statistics import Statistics

__all__ = ["CellStates", "Gathered"]


@dataclass(frozen=True, slots=True, eq=False)
class CellStates:
    """States of distinct cells, later in time than what was gathered of them before.

    Parameters
    ----------
    cells
        ``int64``, shape (states,): device number times periods, plus period.
    rows
        ``int64``, shape (states,): rows with and without values.
    channels
        By channel, shape (states,).
    sums
        By channel of integers whose exact sums are kept, ``int64``, shape (states,).
    """

    cells: NDArray[np.int64]
    rows: NDArray[np.int64]
    channels: Mapping[str, Statistics]
    sums: Mapping[str, NDArray[np.int64]]


class Gathered:
    """What is known of some devices and consecutive periods.

    Parameters
    ----------
    schema
        Of the fleet.
    definition
        The rollup.
    codes
        ``int64``, ascending, shape (devices,).
    periods
        Numbers of the periods.
    """

    def __init__(
        self,
        schema: Schema,
        definition: RollupDefinition,
        codes: NDArray[np.int64],
        periods: range,
    ) -> None:
        self.codes, self.periods = codes, periods
        self._definition = definition
        self._channels = [schema[name] for name in definition.statistics]
        numbers = np.arange(periods.start, periods.stop + 1)
        length = definition.period.length
        self._bins = Bins(definition.period.starts(numbers), length or None)
        size = len(codes) * len(periods)
        self._rows = np.zeros(size, np.int64)
        self._states = {
            channel.name: Statistics.empty(size, storage_dtype(channel.dtype))
            for channel in self._channels
        }
        self._sums = {
            channel.name: np.zeros(size, np.int64)
            for channel in self._channels
            if _keeps_exact_sum(definition, channel)
        }
        self._shape = Shape(len(codes), len(periods), Windows(self._bins))
        self._collectors = {
            channel.name: OrderCollector(statistics, self._shape)
            for channel in self._channels
            if (statistics := _decoded(definition.stored(channel.name)))
        }

        self._sketches = {
            (channel.name, one.kind): SketchCells(sketch_kind(one.kind), size)
            for channel in self._channels
            for one in definition.stored(channel.name)
            if one.kind in SKETCHES
        }

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that are read."""
        return tuple(channel.name for channel in self._channels)

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the channels of integers whose exact sums are kept."""
        return tuple(self._sums)

    @property
    def sketched(self) -> tuple[tuple[str, str], ...]:
        """Channels and kinds of the sketches that are kept."""
        return tuple(self._sketches)

    @property
    def start(self) -> int:
        """Start of the first period, in microseconds since 1970-01-01 UTC."""
        return int(self._bins.edges[0])

    @property
    def stop(self) -> int:
        """Stop of the last period, excluded."""
        return int(self._bins.edges[-1])

    def add_rows(self, rows: Rows) -> None:
        """Take decoded rows of these devices and periods, sorted by (device, time)."""
        series = np.searchsorted(self.codes, rows.codes).astype(np.int64)
        bins = self._bins.numbers(rows.time)
        starts = runs_of(series, bins)
        cells = series[starts] * len(self.periods) + bins[starts]
        states = {
            name: run_statistics(rows.columns[name].values, rows.columns[name].valid, starts)
            for name in self._states
        }
        sums = {name: _exact_sums(rows.columns[name], starts) for name in self._sums}
        counts = np.diff(starts, append=len(rows))
        self.add(CellStates(cells, counts, states, sums))
        places = CellRows(series, series, bins, rows.time)
        for name, collector in self._collectors.items():
            collector.add(readings_of(places, rows.columns[name]))
        for (name, _), sketches in self._sketches.items():
            readings = readings_of(places, rows.columns[name])
            numbers = readings.rows.series * len(self.periods) + readings.rows.bin
            sketches.add(numbers, readings.values)

    def add_sketches(
        self, channel: str, kind: str, periods: NDArray[np.int64], sketches: NDArray[np.object_]
    ) -> None:
        """Merge sketches of shorter periods.

        Parameters
        ----------
        channel, kind
            What they are.
        periods
            ``int64``, shape (shorter periods,): the position of the period that holds each.
        sketches
            ``object``, shape (devices, shorter periods): None where there is none.
        """
        for device, shorter in np.argwhere(sketches != None).tolist():  # noqa: E711 (elementwise)
            cell = device * len(self.periods) + int(periods[shorter])
            self._sketches[channel, kind].merge(cell, sketches[device, shorter])

    def close(self, time: int) -> None:
        """Know that all rows to come are of this moment or later."""
        if time > self.start:
            pane = int(self._bins.numbers(np.array([min(time, self.stop - 1)], np.int64))[0])
            for collector in self._collectors.values():
                collector.close(pane)

    def add(self, found: CellStates) -> None:
        """Merge states."""
        at = found.cells
        self._rows[at] += found.rows
        for name, sums in found.sums.items():
            self._sums[name][at] += sums
        for name, new in found.channels.items():
            held = self._states[name]
            # Rows of a cell lie in one block as a rule, so that there is nothing to merge with.
            merged = held[at].combine(new) if held.count[at].any() else new
            for array, values in zip(held.arrays(), merged.arrays(), strict=True):
                array[at] = values

    def values(self, array: RollupArray) -> NDArray[Any]:
        """Return the cells of an array of the rollup, shape (devices, periods)."""
        shape = (len(self.codes), len(self.periods))
        if array.channel is None or array.statistic is None:
            return self._rows.reshape(shape)
        if array.statistic.kind in SKETCHES:
            return self._sketches[array.channel, array.statistic.kind].texts().reshape(shape)
        found = self._values(array.channel, array.statistic, shape)
        cells = found.values.astype(array.dtype, copy=False)
        return np.where(found.present, cells, np.array(array.fill, array.dtype))

    def _values(self, channel: str, statistic: Statistic, shape: tuple[int, int]) -> Values:
        if not statistic.is_stored:
            return self._collectors[channel].result(statistic, self._shape)
        states = Statistics(*(one.reshape(shape) for one in self._states[channel].arrays()))
        if statistic.kind == "sum" and channel in self._sums:
            return Values.always(self._sums[channel].reshape(shape), states.count > 0)
        return stored_values(states, self._rows.reshape(shape), statistic)


def _decoded(statistics: Sequence[Statistic]) -> list[Statistic]:
    plain = (statistic for statistic in statistics if statistic.kind not in SKETCHES)
    return [statistic for statistic in plain if not statistic.is_stored]


def _keeps_exact_sum(definition: RollupDefinition, channel: Channel) -> bool:
    kinds = {statistic.kind for statistic in definition.statistics[channel.name]}
    return "sum" in kinds and has_exact_sum(channel.dtype)


def _exact_sums(column: Column, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    values = column.values.astype(np.int64)
    if column.valid is not None:
        values = np.where(column.valid, values, 0)
    return np.add.reduceat(values, starts) if len(starts) else np.zeros(0, np.int64)
