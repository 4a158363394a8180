"""Whatever is appended and asked: exact answers lie between the bounds of approximate ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from tests.properties.test_against_a_model import batches, filled, partitionings, policies
from tests.properties.test_answers_against_pandas import EDGES, spans, windowings
from tests.support import HOUR, START

NUMBER = [
    "count", "missing", "min", "max", "range", "sum", "mean", "std", "var", "median", "p5", "p99.9",
    "distinct", "time_weighted_mean", "time_weighted_mean_previous", "increase",
]  # fmt: skip
ALONE = ["first", "last", "delta"]


def assert_inside(exact: xr.Dataset, found: xr.Dataset) -> None:
    """Check every value of the exact answer that there is, and what says how good it is."""
    for name, values in exact.data_vars.items():
        assert found[name].attrs["confidence"] == 1.0
        source = found[name].attrs["approximation"]
        assert source in ("exact", "summaries", "sketch")
        if values.dtype.kind == "U":
            np.testing.assert_array_equal(found[name].values, values.values)
            continue
        wanted = values.values.astype(np.float64)
        low, high = (found[f"{name}_{end}"].values.astype(np.float64) for end in ("low", "high"))
        there = ~np.isnan(wanted)
        if source == "exact" or "distinct" not in str(name):
            assert not np.isnan(found[name].values.astype(np.float64)[there]).any()
        low, high, wanted = low[there], high[there], wanted[there]
        room = 1e-9 * np.abs(wanted) if source == "exact" else np.zeros(len(wanted))
        if str(name).endswith(("_var", "_std", "_mean", "_sum")) and source == "exact":
            room += 1e-7 * np.abs(wanted).max(initial=0.0)
        with np.errstate(invalid="ignore"):  # an infinite value is its own bound
            assert ((low <= wanted) | (low - room <= wanted)).all(), name
            assert ((wanted <= high) | (wanted <= high + room)).all(), name
        assert found[name].attrs["ancillary_variables"] == f"{name}_low {name}_high"


@given(policies, partitionings, batches, windowings, spans, st.booleans())
@settings(max_examples=15)
def test_exact_answers_lie_between_the_bounds(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    options: dict[str, Any],
    span: tuple[int, int] | None,
    together: bool,
) -> None:
    fleet, _ = filled(policy, partitioning, content)
    names = [*(NUMBER if together else [*NUMBER, *ALONE]), pipeline.histogram(EDGES)]
    question = {
        "statistics": {
            "value": names,
            "count": names,
            "state": ["missing", "distinct", *(() if together else ("last",))],
            "open": ["missing", "distinct", "min", "time_in_state"],
        },
        "time": None
        if span is None
        else tuple(np.datetime64(START + step * HOUR // 2, "us") for step in sorted(span)),
        "by": [] if together else None,
        **options,
    }
    with np.errstate(all="ignore"):
        exact = fleet.aggregate(**question)
        found = fleet.aggregate(**question, approximate=True)
    xr.testing.assert_equal(exact.coords.to_dataset(), found.coords.to_dataset())
    assert_inside(exact, found)


@given(policies, partitionings, batches, st.sampled_from([0.0, 0.01, 0.5]))
@settings(max_examples=15)
def test_a_budget_is_kept(
    policy: str,
    partitioning: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    allowed: float,
) -> None:
    fleet, _ = filled(policy, partitioning, content)
    budget = pipeline.Budget(relative_error=allowed)
    found = fleet.aggregate({"count": ["median", "p95", "sum"]}, every="1 day", approximate=budget)
    exact = fleet.aggregate({"count": ["median", "p95", "sum"]}, every="1 day")
    for name, values in exact.data_vars.items():
        there = ~np.isnan(values.values)
        error = np.abs(found[name].values - values.values)[there]
        assert (error <= allowed * np.abs(found[name].values[there]) * (1 + 1e-12)).all()
        if allowed == 0 and found[name].attrs["approximation"] == "exact":
            assert found[name].values[there] == pytest.approx(values.values[there], rel=1e-12)
