"""Asking the archive about the rows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import xarray as xr

from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.approximate.aggregate import approximate_aggregate
from pipeline.analytics.approximate.budget import Approximate, budget_of
from pipeline.analytics.query import Asked, Grouping
from pipeline.summaries.asked import Statistic
from pipeline.xarray_engine.labels import free_name
from pipeline.xarray_engine.presentation import DEVICE_ATTRIBUTES, TIME_ATTRIBUTES
from pipeline.xarray_engine.selected_rows import SelectedRows

__all__ = ["ask", "ask_each"]

_OTHERS: Final = ("fill", "approximate", "client")
"""What says how to answer, and not what is asked."""


def ask_each(
    selected: SelectedRows,
    wanted: Mapping[str, Statistic],
    every: Any,
    grouping: Mapping[str, Any],
) -> xr.Dataset:
    """Return one statistic of each channel, in variables of the channels' names.

    Parameters
    ----------
    selected
        The rows.
    wanted
        The statistic of each channel.
    every
        Length of the bins; None for the whole range.
    grouping
        Others of the parameters of `ask` and of `pipeline.analytics.query.Grouping`, by name.
    """
    others = {name: grouping[name] for name in _OTHERS if name in grouping}
    told = {name: one for name, one in grouping.items() if name not in _OTHERS}
    answer = ask(selected, wanted, Grouping(every, **told), **others)
    names = {f"{name}_{one.label}": name for name, one in wanted.items()}
    bounds = {
        f"{old}_{end}": f"{name}_{end}"
        for old, name in names.items()
        for end in ("low", "high")
        if f"{old}_{end}" in answer
    }
    return answer.rename({**names, **bounds})


def ask(
    selected: SelectedRows,
    statistics: Mapping[str, Asked],
    grouping: Grouping,
    fill: str = "null",
    approximate: Approximate = False,
    client: Any = None,
) -> xr.Dataset:
    """Return statistics of selected rows, with devices in the order of their dataset.

    Parameters
    ----------
    selected
        The rows.
    statistics
        By channel, one or several.
    grouping
        How readings are put together.
    fill, approximate, client
        As for `pipeline.analytics.aggregate.aggregate`, and how good an answer has to be.
    """
    budget = budget_of(approximate)
    asked = (selected.view, statistics, selected.selection, grouping)
    if budget is None:
        answer = aggregate(*asked, fill, client)
    else:
        answer = approximate_aggregate(*asked, budget, fill, client)
    return _with_devices(answer, selected)


def _with_devices(answer: xr.Dataset, selected: SelectedRows) -> xr.Dataset:
    """Return an answer with devices in the order of the dataset, and what CF tells of the axes."""
    if "time" in answer.dims:
        answer["time"].attrs.update(TIME_ATTRIBUTES)
    if "device" not in answer.dims:
        return answer
    view = selected.view
    codes = selected.codes
    if codes is not None and len(codes):
        order = np.argsort(np.argsort(codes, kind="stable"), kind="stable")
        answer = answer.isel(device=order)
    codes = view.registry.all_codes() if codes is None else codes
    answer["device"].attrs.update(DEVICE_ATTRIBUTES)
    taken = {str(name) for name in answer.variables}
    found = view.registry.tags_of(view.registry.tag_names, codes)
    coordinates = {
        free_name(name, taken): xr.Variable("device", texts.astype(str), {"long_name": name})
        for name, texts in found.items()
    }
    return answer.assign_coords(coordinates)
