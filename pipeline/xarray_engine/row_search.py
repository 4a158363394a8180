"""Finding labels among the rows of a dataset: by the blocks' bounds, and by keys where these cut.

Only blocks whose bounds touch what is asked for are looked at. Of them, those that hold nothing
else need not be read; of the others the keys are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.device_rows import decode_devices
from pipeline.archive.fleet_view import KEYS, FleetView
from pipeline.partitioning.ordering import ranges_of_rows
from pipeline.partitioning.pruning import Pruned, Selection
from pipeline.xarray_engine.row_plan import RowPlan

__all__ = ["DeviceRows", "rows_between", "rows_of_devices"]

_ROWS_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class DeviceRows:
    """Rows of some devices.

    Parameters
    ----------
    rows
        ``int64``, ascending: rows of the dataset.
    codes, time
        ``int64``, of the same shape: device code, and microseconds since 1970-01-01 UTC.
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    time: NDArray[np.int64]

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> DeviceRows:
        """Return some of the rows."""
        return DeviceRows(self.rows[chosen], self.codes[chosen], self.time[chosen])


def rows_between(view: FleetView, plan: RowPlan, selection: Selection) -> range | NDArray[np.int64]:
    """Return the rows of a time range, ascending, whatever their devices.

    Parameters
    ----------
    view
        The fleet that the dataset shows.
    plan
        Its rows.
    selection
        The time range; devices are not looked at.

    Returns
    -------
    range or ndarray
        A range where the rows stand side by side, which takes no memory, else ``int64``.
    """
    times = replace(selection, codes=None)
    chosen = _candidates(view, plan, times)
    if not len(chosen):
        return range(0)
    blocks = plan.blocks.take(chosen)
    covered = (blocks.time_min >= times.start) & (blocks.time_max < times.stop)
    starts, sizes = plan.starts[chosen], blocks.rows
    if covered.all() and len(plan.shifts) == 1 and not plan.orders:
        side_by_side = bool((starts[1:] == starts[:-1] + sizes[:-1]).all())
        if side_by_side:
            low, high = int(starts[0]), int(starts[-1] + sizes[-1])
            shift = int(plan.shifts[0])
            return range(max(low - shift, 0), min(high - shift, len(plan)))
    wanted = np.ones(int(sizes.sum()), bool)
    edges = np.cumsum(sizes) - sizes
    for group in _groups(np.flatnonzero(~covered), sizes):
        (column,) = view.fetched(blocks.take(group), [KEYS[1]]).decode_all()
        places = ranges_of_rows(edges[group], sizes[group])
        wanted[places] = (column.values >= times.start) & (column.values < times.stop)
    rows, _ = plan.rows_of(ranges_of_rows(starts, sizes)[wanted])
    return rows


def rows_of_devices(view: FleetView, plan: RowPlan, selection: Selection) -> DeviceRows:
    """Return the rows of the selected devices and times; reads the keys of their blocks.

    Parameters
    ----------
    view
        The fleet that the dataset shows.
    plan
        Its rows.
    selection
        Times, and the devices.
    """
    codes = np.zeros(0, np.int64) if selection.codes is None else selection.codes
    stored = [np.zeros(0, np.int64)]
    found_codes, found_times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for group in _groups(_candidates(view, plan, selection), plan.blocks.rows):
        blocks = plan.blocks.take(group)
        found = decode_devices(view.fetched(blocks, KEYS), codes)
        shift = plan.starts[group] - (np.cumsum(blocks.rows) - blocks.rows)
        at = np.searchsorted(np.cumsum(blocks.rows), found.positions, side="right")
        time = found.columns[1].values
        inside = (time >= selection.start) & (time < selection.stop)
        stored.append((found.positions + shift[at])[inside])
        found_codes.append(found.columns[0].values[inside].astype(np.int64))
        found_times.append(time[inside])
    rows, at = plan.rows_of(np.concatenate(stored))
    return DeviceRows(rows, np.concatenate(found_codes)[at], np.concatenate(found_times)[at])


def _candidates(view: FleetView, plan: RowPlan, selection: Selection) -> NDArray[np.int64]:
    if selection.is_empty:
        return np.zeros(0, np.int64)
    reasons = plan.blocks.pruned_by(selection, view.meta.scheme)
    return np.flatnonzero(reasons == Pruned.NOT)


def _groups(blocks: NDArray[np.int64], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield runs of blocks that are read at once."""
    if len(blocks):
        group = (np.cumsum(rows[blocks]) - rows[blocks]) // _ROWS_AT_ONCE
        yield from np.split(blocks, np.flatnonzero(np.diff(group)) + 1)
