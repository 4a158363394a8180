"""A rollup as a lazy dataset ``[device, time]``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.abc.store import Store

from pipeline.archive.fleet_meta import versions_attribute
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.rollups.arrays import RollupArray, gather
from pipeline.archive.rollups.store import Rollup
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_START
from pipeline.xarray_engine.labels import free_name
from pipeline.xarray_engine.presentation import DEVICE_ATTRIBUTES, TIME_ATTRIBUTES

__all__ = ["rollup_dataset"]


def rollup_dataset(
    view: FleetView, rollup: Rollup, selection: Selection, channels: Sequence[str] | None = None
) -> xr.Dataset:
    """Return the cells of a rollup; values are read when they are used.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    rollup
        The rollup there.
    selection
        Devices, and times: those of the periods that start in its range.
    channels
        Channels; all that the rollup has by default.

    Returns
    -------
    xarray.Dataset
        Dimensions (device, time), and ``rows`` and one variable ``<channel>_<statistic>`` for each
        statistic that is kept. Missing are NaN, or the empty text; integers of 64 bits keep their
        dtype and hold its least or greatest value where the count is 0.
    """
    period, axis = rollup.definition.period, rollup.axis
    starts = period.starts(np.arange(axis.start, axis.stop))
    # The first day of the grid may lie inside of a period.
    kept = (starts >= selection.start) | (selection.start == GRID_START)
    chosen = np.flatnonzero(kept & (starts < selection.stop))
    positions = range(int(chosen[0]), int(chosen[-1]) + 1) if len(chosen) else range(0)
    codes = view.registry.all_codes() if selection.codes is None else selection.codes
    ids = np.array(view.registry.ids_of(codes), dtype=object).astype(str)
    wanted = set(rollup.definition.statistics if channels is None else channels)
    variables = {}
    for array in rollup.arrays:
        if array.channel is None or array.channel in wanted:
            cells = _Cells(view.store, array, codes, positions)
            name = "rows" if array.statistic is None else f"{array.channel}_{array.statistic.label}"
            data = indexing.LazilyIndexedArray(cells)
            chunks = {
                "device": _cuts(codes, array.chunk[0]),
                "time": _cuts(np.arange(positions.start, positions.stop), array.chunk[1]),
            }
            preferred = {"preferred_chunks": chunks} if all(chunks.values()) else {}
            attributes = _attributes(array)
            variables[name] = xr.Variable(("device", "time"), data, attributes, preferred)
    bounds = period.starts(np.arange(axis.start, axis.stop + 1)).astype("M8[us]")
    inside = slice(positions.start, positions.stop)
    pairs = np.stack([bounds[:-1][inside], bounds[1:][inside]], axis=1)
    coordinates: dict[str, Any] = {
        "device": ("device", ids, DEVICE_ATTRIBUTES),
        "time": ("time", bounds[:-1][inside], {**TIME_ATTRIBUTES, "bounds": "time_bounds"}),
        "time_bounds": (("time", "bound"), pairs),
    }
    taken = {*variables, *coordinates, "bound"}
    for tag, texts in view.registry.tags_of(view.registry.tag_names, codes).items():
        name = free_name(tag, taken)
        coordinates[name] = ("device", texts.astype(str), {"long_name": tag})
    told = {
        "Conventions": "CF-1.11",
        "fleet": view.meta.name,
        "rollup": rollup.definition.name,
        "period": period.text,
        "schema_version": view.meta.schema.version,
        **versions_attribute(view.meta),
        "snapshot": view.snapshot,
    }
    return xr.Dataset(variables, coordinates, told)


def _cuts(places: NDArray[np.int64], size: int) -> tuple[int, ...]:
    """Return sizes of runs of ascending places that lie in one chunk of the array each."""
    edges = np.flatnonzero(np.diff(places // size)) + 1
    return tuple(np.diff([0, *edges, len(places)]).tolist()) if len(places) else ()


def _attributes(array: RollupArray) -> dict[str, Any]:
    dropped = ("_FillValue", "flag_values", "flag_meanings", "categories", "channel", "statistic")
    return {name: value for name, value in array.attributes.items() if name not in dropped}


class _Cells(BackendArray):
    """Some cells of an array, indexed like an array."""

    def __init__(
        self, store: Store, array: RollupArray, codes: NDArray[np.int64], positions: range
    ) -> None:
        self._store, self._array = store, array
        self._codes, self._positions = codes, positions
        self._texts: list[str] | None = array.attributes.get("categories")
        self.shape = (len(codes), len(positions))
        self.dtype = self._view(np.zeros((0, 0), array.dtype)).dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        return await asyncio.to_thread(self.__getitem__, key)

    def _read(self, key: tuple[Any, ...]) -> Any:
        rows, columns = (
            np.atleast_1d(np.arange(size)[one]) for size, one in zip(self.shape, key, strict=True)
        )
        low, high = (int(columns.min()), int(columns.max()) + 1) if len(columns) else (0, 0)
        positions = range(self._positions.start + low, self._positions.start + high)
        found = gather(self._store, [self._array], self._codes[rows], positions)[0]
        cells = self._view(found[:, columns - low])
        for axis in (1, 0):
            if isinstance(key[axis], int | np.integer):
                cells = cells.take(0, axis)
        return cells

    def _view(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Return cells as users see them."""
        if self._texts is not None:
            texts = np.array([*self._texts, ""], dtype=object)
            found: NDArray[Any] = texts[cells]
            return found
        if "_FillValue" in self._array.attributes:
            return np.where(cells == self._array.fill, np.nan, cells.astype(np.float64))
        return cells
