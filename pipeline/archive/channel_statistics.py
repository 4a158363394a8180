"""Stored statistics of a channel, whatever versions of the schema its rows were written in.

Statistics are kept for every array. A channel that was converted has several: what each of them
tells is mapped (`pipeline.schema.images`) and merged. That is exact but for three cases, in which
the rows of a cell are read: a conversion that statistics say nothing of, a value that may not fit,
and, where first and last readings are asked for, a cell with rows of several arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.fleet_view import FleetView
from pipeline.archive.mapped_statistics import mapped_states
from pipeline.archive.rewriting import recomputed
from pipeline.archive.summary_tables import Cells, read_extent, read_statistics
from pipeline.archive.version_reading import VersionReading
from pipeline.errors import InvalidInputError
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.pruning import Selection
from pipeline.schema.conversions import Conversion
from pipeline.summaries.statistics import Statistics

__all__ = ["channel_states"]


def channel_states(
    view: FleetView,
    channel: str,
    codes: NDArray[np.int64],
    periods: range,
    *,
    ordered: bool = True,
) -> Statistics:
    """Return a channel's statistics in the version of the schema that the view shows.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    channel
        The channel's name.
    codes
        ``int64``, ascending: device codes.
    periods
        Numbers of summary periods.
    ordered
        Whether first and last readings have to be right.

    Returns
    -------
    Statistics
        Shape (devices, periods).

    Raises
    ------
    InvalidInputError
        If rows would have to be read that the retention dropped.
    SchemaError
        If a value does not fit the version.
    """
    reading = view.meta.reading
    array = view.meta.schema[channel] if reading is None else reading.single(channel)
    if reading is None or array is not None:
        return read_statistics(
            view.store, view.meta.layout, array or view.meta.schema[channel], codes, periods
        )
    merged = _Merged(view, reading, channel, codes, periods)
    merged.add_arrays(ordered=ordered)
    merged.add_constants()
    merged.look_at_rows()
    return merged.states


@dataclass(slots=True, eq=False)
class _Merged:
    """What is known of the cells, and which are open: their rows have to be read."""

    view: FleetView
    reading: VersionReading
    channel: str
    codes: NDArray[np.int64]
    periods: range
    states: Statistics = None  # type: ignore[assignment]
    open: NDArray[np.bool_] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        shape = (len(self.codes), len(self.periods))
        dtype = storage_dtype(self.view.meta.schema[self.channel].dtype)
        self.states = Statistics.empty(shape, dtype)
        self.open = np.zeros(shape, np.bool_)

    @property
    def conversions(self) -> Sequence[Conversion]:
        """Those that differ, oldest version first."""
        found = {one.expression: one for one in self.reading.every(self.channel).values()}
        return list(found.values())

    def add_arrays(self, *, ordered: bool) -> None:
        """Merge the statistics of all arrays that conversions tell something of."""
        seen = np.zeros(self.open.shape, np.bool_)
        for conversion in self.conversions:
            image = conversion.image
            if image is None:
                for name in conversion.arrays:
                    self.open |= self._stored(name).count > 0
                continue
            states, sure = mapped_states(image, self._stored(image.array))
            some = states.count > 0
            self.open |= ~sure
            if ordered:
                self.open |= seen & some
            seen |= some
            self.states = self.states.combine(states)

    def add_constants(self) -> None:
        """Count the rows whose version has a default for the channel, where all rows have one."""
        every = self.reading.every(self.channel)
        constant = {at: one for at, one in every.items() if not one.arrays and not one.is_missing}
        if not constant:
            return
        view, period = self.view, self.view.meta.scheme.summary_length
        start, stop = period.start(self.periods.start), period.start(self.periods.stop)
        blocks = view.blocks(Selection(start, stop))
        window = view.meta.scheme.window_length.numbers(period.starts(np.array(self.periods)))
        old = np.isin(blocks.schema_version, list(constant))
        with_old = np.isin(window, blocks.window[old])
        # Of windows whose rows were dropped, no block tells which version they had.
        with_old |= ~np.isin(window, blocks.window)
        with_new = np.isin(window, blocks.window[~old])
        rows = read_extent(view.store, view.meta.layout, self.codes, self.periods)[0]
        self.open |= (rows > self.states.count) & with_old
        if len({one.expression for one in constant.values()}) > 1:
            return
        whole = with_old & ~with_new & np.isin(window, blocks.window)
        cells = np.nonzero(whole & (rows > 0))
        value = self.reading.converted(next(iter(constant.values())), {}, 1).values[0]
        self.states.put(cells, Statistics.constant(rows[cells], value, self.states.min.dtype))
        self.open[cells] = False

    def look_at_rows(self) -> None:
        """Compute the statistics of open cells from their rows."""
        device, at = np.nonzero(self.open)
        if not len(device):
            return
        cells = Cells(self.codes[device], self.periods.start + at)
        self._check_kept(cells)
        none = Statistics.empty(len(device), self.states.min.dtype)
        self.states.put((device, at), none)
        for update in recomputed(self.view, cells, [self.channel]):
            where = (np.searchsorted(self.codes, update.device), update.period - self.periods.start)
            self.states.put(where, update.channels[self.channel])

    def _stored(self, array: str) -> Statistics:
        view, channel = self.view, self.reading.history.stored[array]
        return read_statistics(view.store, view.meta.layout, channel, self.codes, self.periods)

    def _check_kept(self, cells: Cells) -> None:
        starts: Any = self.view.meta.scheme.summary_length.starts(cells.period)
        if (starts < self.view.meta.retention.raw_from).any():
            numbers = ", ".join(str(one) for one in self.reading.every(self.channel))
            msg = (
                f"channel {self.channel!r}: what its statistics are in version "
                f"{self.reading.target} of the schema cannot be told without rows that the retention "
                f"dropped; ask for later times, or as another version of {numbers}: "
                "fleet.at_version(...)"
            )
            raise InvalidInputError(msg)
