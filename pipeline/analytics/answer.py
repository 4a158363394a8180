"""The answer of a query as a labelled dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.analytics.groups import Groups
from pipeline.archive.fleet_view import FleetView
from pipeline.model.dtypes import fill_value
from pipeline.schema.channels import Channel
from pipeline.summaries.statistics import Statistics, finalise

__all__ = ["answer_dataset", "dataset_attributes", "labelled"]

_CELL_METHODS: Final = {
    "min": "minimum",
    "max": "maximum",
    "sum": "sum",
    "mean": "mean",
    "std": "standard_deviation",
    "var": "variance",
    "first": "point",
    "last": "point",
}
_EXACT_IN_FLOAT: Final = 1 << 53


def answer_dataset(
    view: FleetView,
    wanted: Mapping[str, Sequence[str]],
    states: Mapping[str, Statistics],
    groups: Groups,
    bins: Bins | None,
) -> xr.Dataset:
    """Return states as a dataset with one variable per channel and statistic.

    Parameters
    ----------
    view
        The fleet that was asked.
    wanted
        Statistics by channel.
    states
        States by channel, shape (groups, bins).
    groups, bins
        What the axes mean; no bins for an answer without a time axis.
    """
    dimensions = () if groups.dimension is None else (groups.dimension,)
    coordinates: dict[str, Any] = {
        name: (dimensions, np.array(texts, dtype=object).astype(str))
        for name, texts in groups.coordinates.items()
    }
    if bins is not None:
        dimensions = (*dimensions, "time")
        coordinates["time"] = ("time", bins.starts.astype("M8[us]"))
    dataset = xr.Dataset(coords=coordinates, attrs=dataset_attributes(view))
    shape = tuple(dataset.sizes[name] for name in dimensions)
    for channel, names in wanted.items():
        definition = view.meta.schema[channel]
        for name in names:
            values, present = finalise(states[channel], name)
            dataset[f"{channel}_{name}"] = (
                dimensions,
                labelled(values, present, definition, view, name).reshape(shape),
                _variable_attributes(definition, name),
            )
    return dataset


def labelled(
    values: NDArray[Any],
    present: NDArray[np.bool_],
    channel: Channel,
    view: FleetView,
    statistic: str,
) -> NDArray[Any]:
    """Return values as users see them: texts for categories, and gaps marked as missing.

    Integers with gaps become floats with NaN where that is exact; beyond 2**53 they stay
    integers, and gaps hold the smallest (signed) or largest (unsigned) value.
    """
    is_value = statistic in ("min", "max", "first", "last")
    if is_value and channel.dtype == "category":
        texts = np.array([*view.meta.categories.get(channel.name, ()), ""], dtype=object)
        return texts[np.where(present, values, -1)].astype(str)
    if is_value and channel.dtype == "bool" and present.all():
        return values.astype(bool)
    if values.dtype.kind == "f":
        return np.where(present, values, values.dtype.type(np.nan))
    if present.all():
        return values
    kept = values[present]
    if len(kept) == 0 or (kept.max() <= _EXACT_IN_FLOAT and kept.min() >= -_EXACT_IN_FLOAT):
        return np.where(present, values.astype(np.float64), np.nan)
    return np.where(present, values, values.dtype.type(fill_value(values.dtype)))


def dataset_attributes(view: FleetView) -> dict[str, Any]:
    """Return the attributes that tell where an answer comes from."""
    return {
        "Conventions": "CF-1.11",
        "fleet": view.meta.name,
        "schema_version": view.meta.schema.version,
        "snapshot": view.snapshot,
    }


def _variable_attributes(channel: Channel, statistic: str) -> dict[str, str]:
    attributes = {"long_name": f"{statistic} of {channel.description or channel.name}"}
    if statistic == "count":
        return attributes | {"units": "1"}
    if channel.units:
        units = channel.units if statistic != "var" else f"({channel.units})2"
        attributes["units"] = units
    return attributes | {"cell_methods": f"time: {_CELL_METHODS[statistic]}"}
