"""The answer of a query as a labelled dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.analytics.collectors import Values
from pipeline.analytics.filling import fill_linear, fill_previous
from pipeline.analytics.row_query import states_of
from pipeline.archive.fleet_meta import versions_attribute
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.statistic_attributes import statistic_attributes
from pipeline.model.dtypes import fill_value
from pipeline.schema.channels import Channel
from pipeline.summaries.asked import Statistic

__all__ = ["Axes", "answer_dataset", "dataset_attributes", "labelled"]

_EXACT_IN_FLOAT: Final = 1 << 53


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """What the two axes of all values mean.

    Parameters
    ----------
    dimensions
        Names of the dimensions, of those axes that the answer has.
    coordinates
        Coordinates along them.
    time
        ``int64``, shape (windows,): where windows lie on the time axis; None without one.
    """

    dimensions: tuple[str, ...]
    coordinates: Mapping[str, Any]
    time: NDArray[np.int64] | None = None


def answer_dataset(
    view: FleetView,
    wanted: Mapping[str, Sequence[Statistic]],
    found: Mapping[tuple[str, Statistic], Values],
    axes: Axes,
    fill: str = "null",
) -> xr.Dataset:
    """Return values as a dataset with one variable per channel and statistic.

    Parameters
    ----------
    view
        The fleet that was asked.
    wanted
        Statistics by channel.
    found
        Values by channel and statistic.
    axes
        What the axes of the values mean.
    fill
        What to do about windows without readings (`pipeline.analytics.filling.FILLS`).
    """
    coordinates = dict(axes.coordinates)
    for channel, statistics in wanted.items():
        for statistic in statistics:
            coordinates |= _part_coordinates(view, channel, statistic)
    sizes = _sizes(coordinates)
    variables: dict[str, Any] = {}
    for channel, statistics in wanted.items():
        definition = view.meta.schema[channel]
        for statistic in statistics:
            cells = _filled(found[channel, statistic], axes.time, fill)
            parts = (_part_dimension(channel, statistic),) if cells.values.ndim == 3 else ()
            dimensions = (*axes.dimensions, *parts)
            shape = tuple(sizes[name] for name in dimensions)
            variables[f"{channel}_{statistic.label}"] = (
                dimensions,
                labelled(cells.values, cells.present, definition, view, statistic.label).reshape(
                    shape
                ),
                statistic_attributes(definition, statistic),
            )
    # All at once: to align what is added later takes as long as a small question.
    dataset = xr.Dataset(variables, coordinates, dataset_attributes(view))
    if fill == "none" and axes.time is not None:
        seen = [values.seen.any(axis=0) for values in found.values()]
        dataset = dataset.isel(time=np.flatnonzero(np.logical_or.reduce(seen)))
    return dataset


def _sizes(coordinates: Mapping[str, Any]) -> dict[str, int]:
    """Return the length of each dimension that has coordinates."""
    sizes: dict[str, int] = {}
    for dimensions, values, *_ in coordinates.values():
        names = (dimensions,) if isinstance(dimensions, str) else dimensions
        sizes |= zip(names, np.shape(values), strict=True)
    return sizes


def _filled(cells: Values, time: NDArray[np.int64] | None, fill: str) -> Values:
    if time is None or cells.values.ndim == 3 or cells.present.all():
        return cells
    if fill == "previous":
        return Values(*fill_previous(cells.values, cells.present), cells.seen)
    if fill == "linear":
        return Values(*fill_linear(cells.values, cells.present, time), cells.seen)
    return cells


def _part_dimension(channel: str, statistic: Statistic) -> str:
    return f"{channel}_{'bucket' if statistic.kind == 'histogram' else 'state'}"


def _part_coordinates(view: FleetView, channel: str, statistic: Statistic) -> dict[str, Any]:
    """Return what the buckets of a histogram or the states of a channel are."""
    if statistic.kind not in ("histogram", "time_in_state"):
        return {}
    name = _part_dimension(channel, statistic)
    if statistic.kind == "time_in_state":
        states = states_of(view, channel)
        is_bool = view.meta.schema[channel].dtype == "bool"
        return {name: (name, np.array(states, dtype=bool if is_bool else str))}
    edges = np.array(statistic.edges)
    units = view.meta.schema[channel].units
    attributes = {"units": units} if units else {}
    return {
        name: (name, edges[:-1], {"long_name": f"lower edge of {channel}", **attributes}),
        f"{name}_stop": (name, edges[1:], {"long_name": f"upper edge of {channel}", **attributes}),
    }


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
    if values.ndim == 3:
        return values
    if is_value and channel.dtype == "category":
        texts = np.array([*view.meta.texts(channel.name), ""], dtype=object)
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
        **versions_attribute(view.meta),
        "snapshot": view.snapshot,
    }
