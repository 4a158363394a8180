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
        variables, arrays over the dimensions ``device`` and ``time``, or a CF ragged array
        (contiguous or indexed). Coordinates that are neither are not channels and are left out.
        A bool variable ``<channel>_missing`` that the channel names in its
        ``ancillary_variables`` tells where the channel is missing.

    References
    ----------
    CF conventions, section 9.3, "Representation of collections of features in data variables".

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
    dataset = _with_device_per_row(dataset)
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


def _with_device_per_row(dataset: xr.Dataset) -> xr.Dataset:
    """Return a CF ragged array with a device for every row; other datasets as they are."""
    devices = dataset["device"].values
    for name, variable in dataset.variables.items():
        if variable.attrs.get("sample_dimension") in dataset.dims:
            rows = np.repeat(devices, variable.values)
            dimension = variable.attrs["sample_dimension"]
        elif variable.attrs.get("instance_dimension") == "device":
            rows = devices[variable.values]
            dimension = variable.dims[0]
        else:
            continue
        return (
            dataset.drop_indexes(list(dataset.xindexes))  # one may span devices and rows
            .drop_dims("device", errors="ignore")
            .drop_vars([name], errors="ignore")
            .assign(device=(dimension, rows))
        )
    return dataset


def _row_form(dataset: xr.Dataset) -> pa.Table:
    dims = dataset["time"].dims
    rows = dataset["time"].size
    names = _channels(dataset, dims)
    devices = np.broadcast_to(dataset["device"].values, (rows,))
    values = {name: _without_masked(dataset, name) for name in names}
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
    masks = {_mask_name(variable.attrs, str(name)) for name, variable in dataset.items()}
    taken = {"device", "time", *masks}
    names = [str(name) for name in dataset.data_vars if name not in taken]
    other = {n: dataset[n].dims for n in names if set(dataset[n].dims) != set(dims)}
    if other:
        msg = f"variables {other} do not lie along {tuple(sorted(dims))}; drop or reshape them"
        raise InvalidInputError(msg)
    return names


def _mask_name(attrs: dict[str, Any], channel: str) -> str | None:
    wanted = f"{channel}_missing"
    return wanted if wanted in str(attrs.get("ancillary_variables", "")).split() else None


def _without_masked(dataset: xr.Dataset, name: str) -> NDArray[Any]:
    """Return a channel's values, None at rows that its companion says are missing."""
    values: NDArray[Any] = dataset[name].values
    mask = _mask_name(dataset[name].attrs, name)
    if mask is None or mask not in dataset.variables or not dataset[mask].values.any():
        return values
    values = values.astype(object)
    values[dataset[mask].values] = None
    return values


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
