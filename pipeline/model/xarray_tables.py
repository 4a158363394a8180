"""Rows of an xarray dataset as an Arrow table, without importing xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["table_of_dataset"]


def table_of_dataset(dataset: xr.Dataset) -> pa.Table:
    """Return the rows of `dataset`; fields carry the variables' ``units`` and ``description``.

    Parameters
    ----------
    dataset
        Variables along one dimension, with ``device`` (per row, or one for all) and ``time``
        variables, or arrays over the dimensions ``device`` and ``time``. Coordinates that are
        neither are not channels and are left out.

    Raises
    ------
    InvalidInputError
        If ``device`` or ``time`` is missing, or a variable has other dimensions.
    """
    missing = [name for name in ("device", "time") if name not in dataset.variables]
    if missing:
        msg = (
            f"the dataset has no {' and no '.join(map(repr, missing))} variable; found "
            f"{[str(name) for name in dataset.variables]}"
        )
        raise InvalidInputError(msg)
    device, time = dataset["device"], dataset["time"]
    if device.dims == ("device",) and time.dims == ("time",):
        return _long_form(dataset)
    if time.ndim == 1 and device.dims in ((), time.dims):
        return _row_form(dataset)
    msg = (
        f"'device' {device.dims} and 'time' {time.dims} have to lie along one common dimension, "
        "or along dimensions of their own names"
    )
    raise InvalidInputError(msg)


def _row_form(dataset: xr.Dataset) -> pa.Table:
    dims = dataset["time"].dims
    rows = dataset["time"].size
    names = _channels(dataset, dims)
    devices = np.broadcast_to(dataset["device"].values, (rows,))
    values = {name: dataset[name].values for name in names}
    return _assemble(dataset, devices, dataset["time"].values, values)


def _long_form(dataset: xr.Dataset) -> pa.Table:
    dims = ("device", "time")
    values = {
        name: dataset[name].transpose(*dims).values.reshape(-1)
        for name in _channels(dataset, set(dims))
    }
    devices, times = dataset["device"].values, dataset["time"].values
    held = np.zeros(len(devices) * len(times), dtype=bool)
    for column in values.values():
        held |= ~_is_missing(column)
    rows = np.flatnonzero(held)
    kept = {name: column[rows] for name, column in values.items()}
    return _assemble(dataset, devices[rows // len(times)], times[rows % len(times)], kept)


def _channels(dataset: xr.Dataset, dims: Any) -> list[str]:
    names = [str(name) for name in dataset.data_vars if name not in ("device", "time")]
    other = {n: dataset[n].dims for n in names if set(dataset[n].dims) != set(dims)}
    if other:
        msg = f"variables {other} do not lie along {tuple(sorted(dims))}; drop or reshape them"
        raise InvalidInputError(msg)
    return names


def _assemble(
    dataset: xr.Dataset, devices: NDArray[Any], times: NDArray[Any], values: dict[str, NDArray[Any]]
) -> pa.Table:
    named = {"device": devices, "time": times, **values}
    arrays = [pa.array(column, mask=_is_missing(column)) for column in named.values()]
    fields = [
        pa.field(name, array.type, metadata=_metadata(dataset[name].attrs))
        for name, array in zip(named, arrays, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


def _metadata(attrs: dict[str, Any]) -> dict[str, str]:
    found = {
        "units": attrs.get("units", ""),
        "description": attrs.get("description", attrs.get("long_name", "")),
    }
    return {key: str(value) for key, value in found.items() if value}


def _is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind in "fM":
        return np.asarray(values != values, dtype=bool)
    if values.dtype.kind == "O":
        return np.array([value is None or value != value for value in values], dtype=bool)
    return np.zeros(values.shape, dtype=bool)
