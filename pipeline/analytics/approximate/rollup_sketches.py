"""The quantile sketches that a fleet's rollups keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.levels import RollupLevel, rollup_levels
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.rollups.periods import Period

__all__ = ["RollupSketches", "stored_sketches"]


@dataclass(frozen=True, slots=True, eq=False)
class RollupSketches:
    """Sketches of one rollup, as far as they are in step with the rows.

    Parameters
    ----------
    level
        A rollup of periods that lie in one summary period each.
    """

    level: RollupLevel

    def periods(self, start: int, stop: int) -> range:
        """Return the numbers of the periods that touch a half-open range of microseconds."""
        return self.level.touched(start, stop)

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where periods start, ``int64`` microseconds since 1970-01-01 UTC."""
        return self.level.starts(numbers)

    def sketches(
        self, codes: NDArray[np.int64], periods: range, channel: str
    ) -> NDArray[np.object_]:
        """Return sketches of devices, shape (devices, periods); None where there is none to trust."""
        if not self.level.keeps(channel, "sketch"):
            return np.full((len(codes), len(periods)), None, dtype=object)
        found = self.level.found.sketches(codes, periods, channel)
        edges = self.starts(np.arange(periods.start, periods.stop + 1))
        found[:, ~self.level.is_fresh(edges[:-1], edges[1:])] = None
        return found


def stored_sketches(view: FleetView) -> RollupSketches | None:
    """Return the sketches of the longest periods that nest in a fleet's summaries; None without any."""
    summary = Period.of_window(view.meta.scheme.summary_length)
    for level in rollup_levels(view):
        definition = level.found.rollup.definition
        if summary.holds(definition.period) and any(
            level.keeps(channel, "sketch") for channel in definition.statistics
        ):
            return RollupSketches(level)
    return None
