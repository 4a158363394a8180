"""What a rollup holds, as states that merge, and of which windows it tells the truth."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.changes import read_changes
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.rollups.arrays import RollupArray, gather
from pipeline.archive.rollups.definition import provided
from pipeline.archive.rollups.sketch_kinds import sketch_kind
from pipeline.archive.rollups.store import Rollup, load_rollup, read_built
from pipeline.errors import NotFoundError
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.summaries.statistics import STATISTICS, Statistics

__all__ = ["RollupView"]

_NEEDS: Final = {
    "count": frozenset[str](),
    "min": frozenset({"min"}),
    "max": frozenset({"max"}),
    "sum": frozenset({"total"}),
    "mean": frozenset({"total"}),
    "std": frozenset({"total", "m2"}),
    "var": frozenset({"total", "m2"}),
    "first": frozenset({"first"}),
    "last": frozenset({"last"}),
}

_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "count": frozenset(),
    "min": frozenset({"min"}),
    "max": frozenset({"max"}),
    "first": frozenset({"first"}),
    "last": frozenset({"last"}),
    "mean": frozenset({"total", "m2"}),
    "sum": frozenset({"total", "exact"}),
    "std": frozenset({"m2"}),
    "var": frozenset({"m2"}),
}
"""What of the states stored statistics tell; the means, too, when variances are merged."""


@dataclass(frozen=True, slots=True, eq=False)
class RollupView:
    """A rollup at one snapshot, for reading.

    Parameters
    ----------
    view
        The fleet at the snapshot.
    rollup
        The rollup there.
    """

    view: FleetView
    rollup: Rollup
    _arrays: dict[tuple[str | None, str], RollupArray] = field(repr=False)

    @classmethod
    def load(cls, view: FleetView, name: str) -> RollupView:
        """Read what a rollup is.

        Raises
        ------
        NotFoundError
            If there is none of that name.
        """
        rollup = load_rollup(view.store, view.meta, name)
        arrays = {
            (one.channel, "" if one.statistic is None else one.statistic.label): one
            for one in rollup.arrays
        }
        return cls(view, rollup, arrays)

    def answers(self, channel: str) -> frozenset[str]:
        """Return which of `pipeline.summaries.statistics.STATISTICS` its states of a channel tell."""
        if channel not in self.rollup.definition.statistics:
            return frozenset()
        told = self.tells(channel)
        return frozenset(name for name in STATISTICS if _NEEDS[name] <= told)

    def tells(self, channel: str) -> frozenset[str]:
        """Return what of a channel's states is stored, see `pipeline.archive.rollups.definition.provided`."""
        definition = self.rollup.definition
        if channel not in definition.statistics:
            return frozenset()
        return provided(definition.stored(channel), self.view.meta.schema[channel].dtype)

    def rows(self, codes: NDArray[np.int64], periods: range) -> NDArray[np.int64]:
        """Return rows with and without values: ``int64``, shape (codes, periods).

        Parameters
        ----------
        codes
            ``int64``: device codes.
        periods
            Numbers of periods, see `pipeline.archive.rollups.periods.Period`.
        """
        return self._cells([self._arrays[None, ""]], codes, periods)[0]

    def states(
        self,
        codes: NDArray[np.int64],
        periods: range,
        channel: str,
        parts: frozenset[str] | None = None,
    ) -> Statistics:
        """Return a channel's states, shape (codes, periods); of no meaning is what is not stored.

        Parameters
        ----------
        codes, periods
            As for `rows`.
        channel
            One that the rollup has; see `answers` for what of it is stored.
        parts
            What is needed of them besides the count, see `tells`; by default all there is.
        """
        dtype = storage_dtype(self.view.meta.schema[channel].dtype)
        known = self._labels(channel, parts)
        arrays = [self._arrays[channel, name] for name in known]
        found = dict(zip(known, self._cells(arrays, codes, periods), strict=True))
        count = found["count"]
        some = count > 0
        empty = Statistics.empty(count.shape, dtype)
        low, high, first, last = (
            np.where(some, found[name], 0).astype(dtype) if name in found else empty.min
            for name in ("min", "max", "first", "last")
        )
        return Statistics(count, low, high, first, last, *_moments(found, some))

    def positions(self, periods: range) -> range:
        """Return where periods lie along the time axis, which may be beyond its ends."""
        origin = self.rollup.definition.origin
        return range(periods.start - origin, periods.stop - origin)

    def arrays_of(self, parts: Mapping[str, frozenset[str]]) -> list[RollupArray]:
        """Return the arrays that are read for rows and for parts of the states of some channels."""
        return [
            self._arrays[None, ""],
            *(
                self._arrays[channel, name]
                for channel, wanted in parts.items()
                for name in self._labels(channel, wanted)
            ),
        ]

    def _labels(self, channel: str, parts: frozenset[str] | None) -> list[str]:
        """Return the labels of the stored statistics that parts of a channel's states are made of."""
        return [
            name
            for name, of in _PARTS.items()
            if (channel, name) in self._arrays and (parts is None or not of or of & parts)
        ]

    def exact_sums(
        self, codes: NDArray[np.int64], periods: range, channel: str
    ) -> NDArray[np.int64]:
        """Return stored sums of a channel of integers: ``int64``, shape (codes, periods)."""
        return self._cells([self._arrays[channel, "sum"]], codes, periods)[0]

    def sketches(
        self, codes: NDArray[np.int64], periods: range, channel: str, kind: str = "sketch"
    ) -> NDArray[np.object_]:
        """Return quantile sketches, ready to be merged.

        Parameters
        ----------
        codes, periods
            As for `rows`.
        channel
            One whose sketches the rollup has.
        kind
            ``sketch`` or ``kll``, see `pipeline.archive.rollups.definition.SKETCHES`.

        Returns
        -------
        ndarray
            ``object``, shape (codes, periods): `pipeline.summaries.quantile_sketch.QuantileSketch`,
            or ``datasketches.kll_doubles_sketch``; None without a reading.

        Raises
        ------
        NotFoundError
            If the rollup has no such sketches.
        MissingDependencyError
            If their library is not installed.
        CorruptBlockError
            If a chunk is damaged.
        """
        array = self._arrays.get((channel, kind))
        if array is None:
            msg = f"rollup {self.rollup.definition.name!r} keeps no {kind!r} of channel {channel!r}"
            raise NotFoundError(msg)
        made = sketch_kind(kind)
        texts: NDArray[Any] = self._cells([array], codes, periods)[0]
        found = np.full(texts.shape, None, dtype=object)
        for at in np.argwhere(texts != "").tolist():
            found[*at] = made.from_bytes(b64decode(texts[*at]), array.path)
        return found

    @property
    def windows(self) -> range:
        """The windows of the fleet that may have changed: those in use, and those of the time axis."""
        rollup, length = self.rollup, self.view.meta.scheme.window_length
        used = self.view.windows(Selection())
        ends = [used[0], used[-1]] if used else []
        if rollup.periods:
            axis = np.array([rollup.axis.start, rollup.axis.stop])
            bounds = rollup.definition.period.starts(axis) - np.array([0, 1])
            ends += length.numbers(np.clip(bounds, GRID_START, GRID_STOP - 1)).tolist()
        return range(min(ends), max(ends) + 1) if ends else range(0)

    def stale(self) -> NDArray[np.int64]:
        """Return the numbers of all windows in which cells may differ from the rows, ascending."""
        windows = np.arange(self.windows.start, self.windows.stop)
        return windows[~self.fresh_windows(windows)]

    def fresh_windows(self, windows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return in which windows of the fleet all cells are those of the rows.

        Periods longer than a window may hold rows of others that are not.

        Parameters
        ----------
        windows
            Numbers of windows, ascending.

        Returns
        -------
        ndarray
            Bool, shape (windows,).
        """
        numbers = np.asarray(windows, np.int64)
        if not len(numbers):
            return np.zeros(0, np.bool_)
        every = range(int(numbers[0]), int(numbers[-1]) + 1)
        changed = read_changes(self.view.store, self.view.meta.layout, every).max(axis=0)
        built = read_built(self.view.store, self.rollup)
        fresh = ~_stale_windows(self.rollup, every, changed, built)
        return fresh[numbers - every.start]

    def _cells(
        self, arrays: Sequence[RollupArray], codes: NDArray[np.int64], periods: range
    ) -> list[NDArray[Any]]:
        return gather(self.view.store, arrays, codes, self.positions(periods))


def _stale_windows(
    rollup: Rollup, windows: range, changed: NDArray[np.int64], built: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return in which windows cells may differ from the rows; bool, shape (windows,).

    Parameters
    ----------
    rollup
        The rollup.
    windows
        Numbers of windows.
    changed
        ``int64``, shape (windows,): when each changed last, 0 for never.
    built
        ``int64``, shape (device runs, chunk columns): from `pipeline.archive.rollups.store.read_built`.
    """
    length = rollup.meta.scheme.window_length
    at = np.flatnonzero(changed)
    numbers = at + windows.start
    starts, stops = length.starts(numbers), length.starts(numbers + 1)
    period, axis = rollup.definition.period, rollup.axis
    first, last = period.numbers(starts), period.numbers(stops - 1)
    # A window that reaches beyond the axis has no rows there, but for one that was not fitted yet.
    width = rollup.arrays[0].chunk[1]
    inside = (last >= axis.start) & (first < axis.stop)
    low = np.maximum(first - axis.start, 0) // width
    high = np.minimum(last, axis.stop - 1) - axis.start
    least = built.min(axis=0, initial=np.iinfo(np.int64).max) if len(built) else np.zeros(0)
    stale = np.ones(len(at), np.bool_)
    for one in np.flatnonzero(inside).tolist():
        reached = least[low[one] : high[one] // width + 1]
        stale[one] = int(reached.min(initial=changed[at[one]])) < changed[at[one]]
    for start, stop in rollup.definition.incomplete:
        stale |= (starts < stop) & (stops > start)
    result = np.zeros(len(windows), np.bool_)
    result[at] = stale
    return result


def _moments(
    found: dict[str, NDArray[np.int64]], some: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = found["count"]
    total = np.zeros(count.shape)
    if "sum" in found:
        total = found["sum"].astype(np.float64)
    elif "mean" in found:
        total = np.where(some, found["mean"], 0.0) * count
    m2 = np.zeros(count.shape)
    if "std" in found:
        m2 = np.square(np.where(some, found["std"], 0.0)) * count
    elif "var" in found:
        m2 = np.where(some, found["var"], 0.0) * count
    return total, m2
