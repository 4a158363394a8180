"""Labels of a ragged array: ``sel(device=…, time=…)`` that prunes partitions.

The index keeps no labels. It asks the archive: windows and device blocks outside of what is
selected are pruned by arithmetic, blocks by their bounds, and of the blocks that are left only
the keys are read, and these only where the bounds do not tell enough. What ``sel`` returns is as
lazy as before, and what is then read of it are the blocks of the selection.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from xarray.core.indexes import Index, PandasIndex
from xarray.core.indexing import IndexSelResult

from pipeline.errors import InvalidInputError
from pipeline.xarray_engine.labels_of_rows import Times, device_labels, time_labels
from pipeline.xarray_engine.ragged_rows import RaggedRows
from pipeline.xarray_engine.row_search import DeviceRows

__all__ = ["RaggedIndex"]


class RaggedIndex(Index):
    """Index over ``device`` and ``time`` of a CF ragged array.

    ``sel(time=…)`` keeps the form of the array; ``sel(device="a")`` gives a plain time series, and
    ``sel(device=["a", "b"])`` a contiguous ragged array, device by device in the order asked for,
    as `xarray.open_dataset` does for such ``devices``. ``isel`` of rows in their order keeps the
    index. Arrays of different rows are not aligned: that raises an error. As single variables of a
    ragged array have no devices, ``dataset["level"]`` and ``dataset[["level"]]`` leave the index
    behind: select first.

    Parameters
    ----------
    rows
        The rows of the array.
    """

    def __init__(self, rows: RaggedRows) -> None:
        self.rows = rows

    @classmethod
    def from_variables(cls, variables: Any, *, options: Any) -> NoReturn:  # noqa: ARG003 - xarray's signature
        """Refuse: the engine makes this index, for rows that lie in an archive."""
        msg = "this index asks an archive; it cannot be made from variables. Open the fleet with engine='iot_archive'"
        raise InvalidInputError(msg)

    @classmethod
    def concat(cls, indexes: Sequence[Any], dim: Hashable, positions: Any = None) -> NoReturn:  # noqa: ARG003
        """Refuse: rows behind one another are no selection of an archive any more."""
        names = [*indexes[0].rows.names.coordinates]
        msg = (
            f"ragged arrays cannot be put behind one another along {dim!r} with their index: open "
            f"or select what is wanted at once, or leave the index behind with drop_indexes({names!r})"
        )
        raise InvalidInputError(msg)

    def create_variables(
        self, variables: Mapping[Any, xr.Variable] | None = None
    ) -> dict[Any, xr.Variable]:
        """Return the coordinates that are those of these rows, and the rows of each device anew.

        xarray gives the coordinates of before, too, which it then indexes itself.
        """
        rows, names = self.rows, self.rows.names
        sizes = {names.row: len(rows.rows), names.device: len(rows.codes)}
        found: dict[Any, xr.Variable] = {
            name: variable
            for name, variable in (variables or {}).items()
            if name in names.coordinates
            and variable.ndim == 1
            and variable.sizes[variable.dims[0]] == sizes.get(variable.dims[0])
        }
        if rows.row_size is not None:
            known = (variables or {}).get(names.helper)
            attributes = _size_attributes(names.row) if known is None else known.attrs
            found[names.helper] = xr.Variable(names.device, rows.row_size, attributes)
        return found

    def sel(
        self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None
    ) -> IndexSelResult:
        """Return where the rows of devices and times are.

        Parameters
        ----------
        labels
            ``device``: an id, or several. ``time``: a slice, whose ends are both included, as
            label slices of xarray and pandas are; one time; or several. A text such as
            ``"2026-03"`` means all of the month.
        method, tolerance
            Not supported: rows of several devices have no nearest one.

        Raises
        ------
        KeyError
            If a device is not among those of the array, or there is no row at a time asked for.
        InvalidInputError
            If a label makes no sense.
        """
        names = self.rows.names
        if method is not None or tolerance is not None:
            msg = "method= and tolerance= need the rows of one device: select the device first, then its time"
            raise InvalidInputError(msg)
        if names.helper in labels:
            msg = f"select by {names.device!r} and {names.time!r}; {names.helper!r} tells which device a row is of"
            raise InvalidInputError(msg)
        times = time_labels(labels[names.time]) if names.time in labels else Times(None, None)
        if names.device not in labels:
            positions = self.rows.between(times)
            index = RaggedIndex(self.rows.picked(positions, self.rows.selected(times)))
            found: dict[Any, Index] = dict.fromkeys(names.coordinates, index)
            return IndexSelResult({names.row: positions}, found, index.create_variables())
        wanted = device_labels(labels[names.device])
        if isinstance(wanted, str):
            (place,) = self.rows.places_of_devices([wanted])
            return self._series(int(place), self.rows.of_devices(np.array([place]), times))
        places = self.rows.places_of_devices(wanted)
        return self._contiguous(places, self.rows.of_devices(places, times), times)

    def isel(self, indexers: Mapping[Any, Any]) -> RaggedIndex | None:
        """Return the index of some rows in their order; None where nothing is left of it.

        Raises
        ------
        InvalidInputError
            If devices are picked, whose rows would stay, or rows of a contiguous array in another
            order.
        """
        names, count = self.rows.names, len(self.rows.rows)
        if names.row not in indexers:
            return self._of_device_positions(indexers[names.device])
        wanted = indexers[names.row]
        if len(indexers) > 1:
            return None
        if isinstance(wanted, xr.Variable):
            wanted = wanted.values if wanted.dims == (names.row,) else None
        if isinstance(wanted, slice):
            chosen = range(count)[wanted]
            if chosen == range(count):
                return self
            if chosen.step == 1:
                part = slice(chosen.start, max(chosen.start, chosen.stop))
                return RaggedIndex(self.rows.picked(part, None))
            wanted = np.arange(chosen.start, chosen.stop, chosen.step)
        if wanted is None or np.ndim(wanted) != 1:
            return None
        positions = _positions(np.asarray(wanted), count)
        if (np.diff(positions) > 0).all():
            return RaggedIndex(self.rows.picked(positions, None))
        if self.rows.row_size is None:
            return None
        msg = (
            "rows of a contiguous ragged array lie device by device, and cannot be repeated or put "
            f"in another order; first drop_vars({[*names.coordinates]!r})"
        )
        raise InvalidInputError(msg)

    def equals(self, other: Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Tell whether both are of the same rows of the same snapshot, in the same order."""
        if not isinstance(other, RaggedIndex):
            return False
        return self.rows.equals(other.rows, of_devices=self.rows.names.row in (exclude or ()))

    def join(self, other: Any, how: Any = "inner") -> NoReturn:  # noqa: ARG002
        """Refuse: rows of different ragged arrays have no common order."""
        msg = (
            "ragged arrays of different rows cannot be aligned: select the same devices and times "
            "of both, or bring both to a grid with .iot.to_grid()"
        )
        raise InvalidInputError(msg)

    def reindex_like(self, other: Any) -> NoReturn:
        """Refuse, as `join` does."""
        self.join(other)

    def rename(
        self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]
    ) -> RaggedIndex:
        """Return the index with the new names of its coordinates and of its dimension."""
        old = self.rows.names
        new = replace(
            old,
            row=dims_dict.get(old.row, old.row),
            device=name_dict.get(old.device, old.device),
            time=name_dict.get(old.time, old.time),
            helper=name_dict.get(old.helper, old.helper),
        )
        return self if new == old else RaggedIndex(replace(self.rows, names=new))

    def _copy(self, deep: bool = True, memo: dict[int, Any] | None = None) -> RaggedIndex:  # noqa: ARG002 - xarray's signature
        """Return the index itself: it never changes."""
        return self

    def __repr__(self) -> str:
        return f"RaggedIndex({len(self.rows.rows):,} rows, {len(self.rows.codes):,} devices)"

    def _repr_inline_(self, max_width: int) -> str:
        return repr(self)[:max_width]

    def _of_device_positions(self, wanted: Any) -> RaggedIndex | None:
        """Return the index if devices stay, None if the only one becomes a scalar."""
        count = len(self.rows.codes)
        if isinstance(wanted, slice) and range(count)[wanted] == range(count):
            return self
        if count == 1 and np.ndim(wanted) == 0 and not isinstance(wanted, slice):
            return None
        name = self.rows.names.device
        msg = f"picking devices by position would leave the rows of the others behind; use sel({name}=[…])"
        raise InvalidInputError(msg)

    def _series(self, place: int, found: DeviceRows) -> IndexSelResult:
        names = self.rows.names
        order = np.lexsort((found.rows, found.time))
        values = found.time[order].view("M8[us]")
        index = PandasIndex(pd.Index(values), names.time)
        variables = index.create_variables({names.time: xr.Variable(names.time, values)})
        indexers = {names.row: found.rows[order], names.device: place}
        return IndexSelResult(
            indexers, {names.time: index}, variables, [names.helper], [], {names.row: names.time}
        )

    def _contiguous(
        self, places: NDArray[np.int64], found: DeviceRows, times: Times
    ) -> IndexSelResult:
        names = replace(self.rows.names, helper=self.rows.names.row_size)
        codes = self.rows.codes[places]
        sorter = np.argsort(codes)
        rank = sorter[np.searchsorted(codes, found.codes, sorter=sorter)]
        positions = found.rows[np.lexsort((found.rows, found.time, rank))]
        rows = replace(
            self.rows,
            rows=self.rows.at(positions),
            codes=codes,
            selection=self.rows.selected(times, np.unique(codes)),
            row_size=np.bincount(rank, minlength=len(codes)).astype(np.int64),
            names=names,
        )
        index = RaggedIndex(rows)
        former = self.rows.names.helper
        return IndexSelResult(
            {names.row: positions, names.device: places},
            dict.fromkeys(names.coordinates, index),
            index.create_variables(),
            [] if former == names.helper else [former],
        )


def _positions(wanted: NDArray[Any], count: int) -> NDArray[np.int64]:
    if wanted.dtype.kind == "b":
        return np.flatnonzero(wanted)
    positions = wanted.astype(np.int64)
    return np.where(positions < 0, positions + count, positions)


def _size_attributes(row: Hashable) -> dict[str, Any]:
    return {"sample_dimension": str(row), "long_name": "rows of the device"}
