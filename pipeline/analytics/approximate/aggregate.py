"""Aggregates answered approximately, as well as a budget asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pipeline.analytics.aggregate import axes_of
from pipeline.analytics.answer import Axes, answer_dataset, labelled
from pipeline.analytics.approximate.bounded import Bounded
from pipeline.analytics.approximate.budget import Budget
from pipeline.analytics.approximate.ladder import climb
from pipeline.analytics.approximate.rollup_sketches import stored_sketches
from pipeline.analytics.execution import executor_of
from pipeline.analytics.filling import check_fill
from pipeline.analytics.query import Asked, Grouping, Query, make_query
from pipeline.archive.fleet_view import FleetView
from pipeline.errors import InvalidInputError
from pipeline.partitioning.pruning import Selection
from pipeline.summaries.asked import Statistic

__all__ = ["approximate_aggregate", "check_approximable"]


def approximate_aggregate(
    view: FleetView,
    statistics: Mapping[str, Asked],
    selection: Selection,
    grouping: Grouping,
    budget: Budget,
    fill: str = "null",
    client: Any = None,
) -> xr.Dataset:
    """Return statistics with bounds, by device or tag, and by time.

    Parameters
    ----------
    view, statistics, selection, grouping, fill, client
        As for `pipeline.analytics.aggregate.aggregate`, without sessions and conditions on values;
        windows without readings can be marked or left out, but not filled.
    budget
        How exact values have to be, and how long they may take.

    Returns
    -------
    xarray.Dataset
        Besides each variable ``<channel>_<statistic>`` of the exact answer, ``…_low`` and
        ``…_high``, but for texts: what the exact value lies between, ends included, wherever there
        is one. Attributes of the variable: ``approximation`` (``exact``, ``summaries``, ``sketch``
        or ``sample``), ``confidence`` (how often such bounds hold, 1.0 if always) and
        ``ancillary_variables``. Where rows may lie in a window or not, it has a value.

    Raises
    ------
    InvalidInputError
        If the question makes no sense, or a statistic has no bounds and its rows are gone.
    """
    query = make_query(view, statistics, selection, grouping)
    check_approximable(grouping, selection, fill)
    answers = climb(query, budget, stored_sketches(view), executor_of(client)).answers
    axes = axes_of(query.groups, None if grouping.every is None else query.windows)
    return _dataset(query, answers, axes, fill)


def check_approximable(grouping: Grouping, selection: Selection, fill: str = "null") -> None:
    """Check that bounds can be given for a question at all.

    Raises
    ------
    InvalidInputError
        If it asks for sessions or for rows with some values, or fills windows whose readings are
        not known.
    """
    check_fill(fill)
    if selection.conditions:
        msg = "what is stored does not tell how many rows satisfy a condition on values; leave out approximate= or the condition in where="
        raise InvalidInputError(msg)
    if grouping.gap is not None:
        msg = "sessions are found in the rows themselves; leave out approximate= or gap="
        raise InvalidInputError(msg)
    if fill in ("previous", "linear"):
        msg = f"fill={fill!r} needs to know which windows have readings; leave out approximate= or fill="
        raise InvalidInputError(msg)
    if grouping.every is None and fill != "null":
        msg = f"fill={fill!r} fills windows; give every= too"
        raise InvalidInputError(msg)


def _dataset(
    query: Query, answers: Mapping[tuple[str, Statistic], Bounded], axes: Axes, fill: str
) -> xr.Dataset:
    values = {key: answer.values("value") for key, answer in answers.items()}
    dataset = answer_dataset(query.view, query.statistics, values, axes)
    ends: dict[str, Any] = {}
    for (channel, statistic), answer in answers.items():
        name = f"{channel}_{statistic.label}"
        variable = dataset[name].variable
        told = {"approximation": answer.source, "confidence": answer.confidence}
        if variable.dtype.kind != "U":
            told["ancillary_variables"] = f"{name}_low {name}_high"
            for end in ("low", "high"):
                ends[f"{name}_{end}"] = _end(query, (channel, statistic), answer, end, variable)
        variable.attrs |= told
    dataset = dataset.assign(ends)
    if fill == "none":
        seen = [answer.seen.any(axis=0) for answer in answers.values()]
        dataset = dataset.isel(time=np.flatnonzero(np.logical_or.reduce(seen)))
    return dataset


def _end(
    query: Query, key: tuple[str, Statistic], answer: Bounded, end: str, of: xr.Variable
) -> xr.Variable:
    channel, statistic = query.view.meta.schema[key[0]], key[1]
    cells = answer.values(end)
    values = labelled(cells.values, cells.present, channel, query.view, statistic.label)
    word = {"low": "lower", "high": "upper"}[end]
    attributes = {"long_name": f"{word} bound of {of.attrs['long_name']}"}
    if "units" in of.attrs:
        attributes["units"] = of.attrs["units"]
    return xr.Variable(of.dims, values.reshape(of.shape), attributes)
