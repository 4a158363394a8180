"""Comparing rollups with what their fleet answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import pipeline
from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.query import Grouping
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.requests import selection_of
from pipeline.archive.transactions import Repository

__all__ = [
    "assert_right",
    "assert_same_answers",
    "expected_of",
    "store_of",
    "without_rollups",
]


def store_of(archive: pipeline.Archive, fleet: str = "fleet") -> FleetStore:
    """Return the fleet of an archive below its face."""
    return FleetStore(Repository.open(Location.parse(archive.url)), fleet)


def expected_of(fleet: pipeline.Fleet, name: str) -> xr.Dataset:
    """Return what the fleet's rows answer to what a rollup keeps."""
    state = fleet.rollups[name].state
    return without_rollups(fleet, state.statistics, every=state.period)


def without_rollups(
    fleet: pipeline.Fleet, statistics: Any, time: Any = None, **grouping: Any
) -> xr.Dataset:
    """Return what the fleet answers when it knows of no rollup."""
    view = replace(fleet._view(), memo={"levels": ()})
    selection = selection_of(view.registry, None, time)
    return aggregate(view, statistics, selection, Grouping(**grouping))


def assert_same_answers(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Check that two answers to a question agree, but for the rounding of sums."""
    assert found.sizes == expected.sizes
    for name, coordinate in expected.coords.items():
        assert found[name].equals(coordinate), name
    for variable in expected.data_vars:
        scale = _scale(expected, str(variable).rsplit("_", 1)[0])
        _assert_equal(found[variable].values, expected[variable].values, scale, str(variable))


def assert_right(
    fleet: pipeline.Fleet, name: str, within: Sequence[tuple[int, int]] | None = None
) -> xr.Dataset:
    """Check that a rollup holds what its fleet answers; return what it holds.

    `within` are time ranges in microseconds: periods that lie in none of them are not looked at.
    """
    found, expected = fleet.rollups[name].to_xarray(), expected_of(fleet, name)
    bounds = found["time_bounds"].values.astype("M8[us]").astype(np.int64)
    kept = np.ones(len(bounds), np.bool_)
    if within is not None:
        inside = [(bounds[:, 0] >= low) & (bounds[:, 1] <= high) for low, high in within]
        kept = np.logical_or.reduce(inside) if inside else ~kept
    known = np.isin(found["time"].values, expected["time"].values)
    beyond = found.isel(time=np.flatnonzero(kept & ~known))
    assert not beyond["rows"].values.any()
    here = np.flatnonzero(kept & known)
    ours, theirs = found.isel(time=here), expected.sel(time=found["time"].values[here])
    assert ours["device"].values.tolist() == theirs["device"].values.tolist()
    for variable in theirs.data_vars:
        channel = str(variable).rsplit("_", 1)[0]
        scale = _scale(theirs, channel)
        _assert_equal(ours[variable].values, theirs[variable].values, scale, str(variable))
    return found


def _scale(answer: xr.Dataset, channel: str) -> NDArray[np.float64] | float:
    """Return how large the readings of each cell are: sums of them cancel."""
    names = [f"{channel}_{one}" for one in ("min", "max")]
    if not all(name in answer and answer[name].dtype.kind in "iufb" for name in names):
        return 1.0
    sizes = [np.abs(answer[name].values.astype(np.float64)) for name in names]
    return np.nan_to_num(np.maximum(*sizes)) + 1.0


def _assert_equal(ours: Any, theirs: Any, scale: Any, name: str) -> None:
    if theirs.dtype.kind in "UO":
        assert ours.astype(str).tolist() == theirs.astype(str).tolist(), name
        return
    one, two = ours.astype(np.float64), theirs.astype(np.float64)
    assert (np.isnan(one) == np.isnan(two)).all(), name
    equal = (one == two) | np.isnan(one) | (np.abs(one - two) <= 1e-9 * (np.abs(two) + scale))
    assert equal.all(), (name, one[~equal], two[~equal])
