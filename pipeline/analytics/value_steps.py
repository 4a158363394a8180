"""What has to be read for an aggregate of rows with given values.

Stored statistics of the channels that the conditions are about are read first, for all devices
and periods of the question. Then headers tell which of the blocks that are left hold no match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.plan import (
    FromRows,
    FromSummaries,
    Judged,
    RuledOut,
    Step,
    touched_periods,
)
from pipeline.analytics.thinned import check_rows_kept
from pipeline.analytics.value_plan import batches, judge_cells, parts_to_decode
from pipeline.archive.block_index import BlockTable
from pipeline.archive.channel_statistics import channel_states
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.read_units import read_units
from pipeline.archive.summary_tables import read_extent
from pipeline.partitioning.conditions import Known
from pipeline.partitioning.pruning import Selection, prune_blocks

__all__ = ["ValueSteps"]


@dataclass(frozen=True, slots=True, eq=False)
class ValueSteps:
    """A question about rows that satisfy conditions.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    selection
        Times, devices, and at least one condition.
    codes
        ``int64``, ascending: the devices that were asked for.
    used, bounds
        Windows of the fleet inside the selection that hold rows, and the time range of their rows.
    bins
        Bins of the answer.
    """

    view: FleetView
    selection: Selection
    codes: NDArray[np.int64]
    used: Sequence[int]
    bounds: tuple[int, int]
    bins: Bins

    def steps(self, *, stored: bool) -> Iterator[Step]:
        """Yield what is to be done, after what is known of all devices and periods was read.

        Parameters
        ----------
        stored
            Whether stored statistics may answer where all rows match.

        Raises
        ------
        InvalidInputError
            If rows have to be looked at that the fleet's retention dropped.
        """
        scheme = self.view.meta.scheme
        numbers, whole = touched_periods(self.used, scheme, self.selection, self.bounds, self.bins)
        parts: dict[int, Selection] = {}
        for run in batches(numbers, scheme, len(self.codes)):
            periods = range(int(run[0]), int(run[-1]) + 1)
            covered = np.zeros(len(periods), np.bool_)
            covered[numbers[whole & np.isin(numbers, run)] - periods.start] = stored
            rows, known = self._known(periods)
            cells = judge_cells(periods, covered, rows, known, self.selection.conditions)
            answered, found = parts_to_decode(
                cells, self.codes, scheme, self.selection, self.bounds
            )
            yield Judged(
                periods,
                int(np.count_nonzero(rows)),
                int(cells.needed.sum()),
                int(cells.answered.sum()),
            )
            if answered.any():
                yield FromSummaries(periods, answered)
            parts |= found
        if parts:
            yield from self._from_rows(parts)

    def _known(self, periods: range) -> tuple[NDArray[np.int64], Mapping[str, Known]]:
        view, layout = self.view, self.view.meta.layout
        rows = read_extent(view.store, layout, self.codes, periods)[0]
        known = {}
        for name in self.selection.conditions.channels:
            states = channel_states(view, name, self.codes, periods, ordered=False)
            known[name] = Known(rows, states.count, states.min, states.max)
        return rows, known

    def _from_rows(self, parts: Mapping[int, Selection]) -> Iterator[Step]:
        view, conditions = self.view, self.selection.conditions
        for part in parts.values():
            check_rows_kept(view, part)
        blocks = _blocks_of(view, parts)
        matching = view.matching_blocks(blocks, conditions)
        yield RuledOut(blocks.take(~matching))
        for unit in read_units(blocks.take(matching), view.meta.scheme):
            yield FromRows(unit, parts[unit.window])


def _blocks_of(view: FleetView, parts: Mapping[int, Selection]) -> BlockTable:
    """Return the blocks of each window that may hold rows of its part; the index is read once."""
    every = list(parts.values())
    some = None if any(part.codes is None for part in every) else _union(every)
    hull = replace(
        every[0],
        start=min(part.start for part in every),
        stop=max(part.stop for part in every),
        codes=some,
    )
    blocks = view.blocks(hull)
    wanted = np.zeros(len(blocks), np.bool_)
    for window, part in parts.items():
        here = slice(*np.searchsorted(blocks.window, [window, window + 1]).tolist())
        found = BlockTable(blocks.places[here], blocks.fields[:, here])
        bounds = (found.time_min, found.time_max, found.device_min, found.device_max)
        wanted[here] = prune_blocks(part, *bounds)
    return blocks.take(wanted)


def _union(parts: Sequence[Selection]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([part.codes for part in parts if part.codes is not None]))
