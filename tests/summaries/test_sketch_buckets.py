"""Buckets of sketches hold the readings that were counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.quantile_bounds import quantile_bounds
from pipeline.summaries.quantile_sketch import QuantileSketch
from pipeline.summaries.sketch_buckets import parts_of_sketches

numbers = st.lists(
    st.floats(allow_nan=False, width=32)
    | st.sampled_from([0.0, -0.0, 1e-310, 1e308, -1e308, float("inf"), float("-inf")]),
    min_size=1,
    max_size=60,
)


@given(numbers, st.sampled_from([2, 16, 2048]), st.sampled_from([0.001, 0.05]))
def test_every_reading_lies_in_its_bucket(given_: list[float], most: int, alpha: float) -> None:
    sketch = QuantileSketch(alpha, most).insert(np.array(given_))
    low, high, count = sketch.buckets()
    assert count.sum() == sketch.count
    assert (low <= high).all()
    ordered = np.sort(given_)
    assert (np.repeat(low, count) <= ordered).all()
    assert (ordered <= np.repeat(high, count)).all()


@given(st.lists(numbers, min_size=1, max_size=4), st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0]))
def test_sketches_bound_quantiles_as_parts(runs: list[list[float]], quantile: float) -> None:
    sketches = [QuantileSketch().insert(np.array(run)) for run in runs]
    cell, every = np.zeros(len(runs), np.int64), np.ones(len(runs))
    parts = parts_of_sketches(sketches, cell, every.astype(np.bool_), every, 1)
    found = quantile_bounds(parts, quantile)
    ordered = np.sort(np.concatenate(runs))
    rank = (len(ordered) - 1) * quantile
    assert found.low[0] <= ordered[int(np.floor(rank))]
    assert ordered[int(np.ceil(rank))] <= found.high[0]


def test_an_empty_sketch_has_none() -> None:
    assert [len(array) for array in QuantileSketch().buckets()] == [0, 0, 0]
