"""What of a fleet a dataset shows: the selection that the archive can be asked about."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.partitioning.pruning import Selection
from pipeline.xarray_engine.origins import ENCODING, RowOrigin
from pipeline.xarray_engine.provenance import check_untouched
from pipeline.xarray_engine.ragged_index import RaggedIndex
from pipeline.xarray_engine.ragged_rows import Rows
from pipeline.xarray_engine.row_search import rows_of_devices

__all__ = ["SelectedRows"]


@dataclass(frozen=True, slots=True, eq=False)
class SelectedRows:
    """The rows of a dataset, said in the words of the archive.

    Parameters
    ----------
    dataset
        The dataset.
    origin
        The rows that it was opened on.
    rows
        Which of them it shows, in their order.
    selection
        Times and devices that these are all rows of.
    codes
        ``int64``: the devices in the order of the dataset; None for all, in the fleet's order.
    """

    dataset: xr.Dataset
    origin: RowOrigin
    rows: Rows
    selection: Selection
    codes: NDArray[np.int64] | None

    @classmethod
    def of(cls, dataset: xr.Dataset) -> SelectedRows:
        """Return the rows of a dataset that was opened by the engine, and selected from with ``sel``.

        Raises
        ------
        InvalidInputError
            If it was not, or its rows were picked in another way.
        """
        found = [one for one in dataset.xindexes.values() if isinstance(one, RaggedIndex)]
        if found:
            ragged = found[0].rows
            if ragged.selection is None:
                raise _picked()
            own = ragged.selection.codes
            codes = None if own is None else ragged.codes
            return cls(dataset, ragged.origin, ragged.rows, ragged.selection, codes)
        origin = dataset.encoding.get(ENCODING)
        if not isinstance(origin, RowOrigin):
            msg = (
                "this dataset does not lead to an archive (any more): open a fleet with "
                "engine='iot_archive', and ask before computing with it"
            )
            raise InvalidInputError(msg)
        device = dataset.variables.get("device")
        if device is not None and device.ndim == 0 and "time" in dataset.variables:
            return _of_series(dataset, origin, str(device.values))
        _, plan = origin.find()
        selection = origin.selection
        return cls(dataset, origin, range(len(plan)), selection, selection.codes)

    @property
    def view(self) -> FleetView:
        """The fleet."""
        return self.origin.find()[0]

    def channels(self, names: str | Iterable[Hashable] | None = None) -> list[str]:
        """Return the channels asked for; by default all that the dataset has.

        Raises
        ------
        NotFoundError
            If one is none, or was left out of the dataset.
        InvalidInputError
            If a variable shows something else than what is stored.
        """
        known = self.view.meta.schema.names
        held = [name for name in known if name in self.dataset.data_vars]
        wanted = [names] if isinstance(names, str) else names
        chosen = held if wanted is None else [str(name) for name in wanted]
        for name in chosen:
            if name not in held:
                msg = f"no channel {name!r} in this dataset; it has: {', '.join(held) or 'none'}"
                raise NotFoundError(msg)
            check_untouched(self.dataset.variables[name], name, self.origin, self.rows)
        return chosen


def _of_series(dataset: xr.Dataset, origin: RowOrigin, device: str) -> SelectedRows:
    view, plan = origin.find()
    codes = view.registry.codes([device])
    times = np.atleast_1d(dataset["time"].values).astype("M8[us]").astype(np.int64)
    bounds = (int(times[0]), int(times[-1]) + 1) if len(times) else (0, 0)
    selection = Selection.of(bounds[0], max(bounds), codes)
    found = rows_of_devices(view, plan, selection)
    if not np.array_equal(found.time[np.argsort(found.time, kind="stable")], times):
        raise _picked()
    order = np.lexsort((found.rows, found.time))
    return SelectedRows(dataset, origin, found.rows[order], selection, codes)


def _picked() -> InvalidInputError:
    return InvalidInputError(
        "the rows of this dataset were picked by position or by their values, which the archive "
        "cannot follow: select with sel(device=…, time=…) only, or use xarray's own methods"
    )
