"""Quantiles of a sketch are as near as it promises, however it was put together."""

from __future__ import annotations

import functools
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.summaries.quantile_sketch import QuantileSketch
from pipeline.summaries.sketch_format import sketch_from_bytes, sketch_to_bytes
from tests.support import as_any

normal = st.floats(allow_nan=False, allow_subnormal=False)
sensor = st.floats(-50, 50).map(lambda value: round(value, 1))
readings = st.lists(
    normal | sensor | st.sampled_from([0.0, -0.0, math.inf, -math.inf]), max_size=80
)
accuracies = st.sampled_from([1e-5, 0.001, 0.01, 0.1, 0.5])
quantiles = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 0.95, 1.0])


def of(values: list[float], alpha: float = 0.01, most: int = 2**31 - 1) -> QuantileSketch:
    return QuantileSketch(alpha, most).insert(np.array(values, np.float64))


@given(readings, accuracies, quantiles)
def test_quantiles_are_within_alpha(values: list[float], alpha: float, q: float) -> None:
    sketch = of(values, alpha)
    found = sketch.quantile(q)
    if not values:
        assert math.isnan(found)
        return
    wanted = sorted(values)[math.floor(q * (len(values) - 1))]
    if math.isinf(wanted) or wanted == 0:
        assert found == wanted
    else:
        assert abs(found - wanted) <= alpha * abs(wanted)
    assert min(values) <= found <= max(values)
    assert sketch.guaranteed_from == 0


@given(readings.filter(len), accuracies, quantiles, st.sampled_from([2, 5, 2048]))
def test_bounds_hold_the_exact_quantile(
    values: list[float], alpha: float, q: float, most: int
) -> None:
    low, high = of(values, alpha, most).bounds(q)
    ordered, rank = sorted(values), q * (len(values) - 1)
    assert low <= ordered[math.floor(rank)] <= ordered[math.ceil(rank)] <= high
    assert low >= ordered[0]
    assert high <= ordered[-1]


@given(st.lists(readings, min_size=1, max_size=6), st.sampled_from([2, 3, 8, 2048]), st.randoms())
def test_merging_in_any_order_is_counting_at_once(
    parts: list[list[float]], most: int, random: st.DataObject
) -> None:
    whole = sketch_to_bytes(of([value for part in parts for value in part], 0.05, most))
    as_any(random).shuffle(parts)
    merged = functools.reduce(QuantileSketch.merge, [of(part, 0.05, most) for part in parts])
    assert sketch_to_bytes(merged) == whole
    inserted = QuantileSketch(0.05, most)
    for part in parts:
        inserted = inserted.insert(np.array(part))
    assert sketch_to_bytes(inserted) == whole


@given(readings, quantiles, st.integers(2, 50))
def test_few_buckets_keep_the_promise_far_from_zero(
    values: list[float], q: float, most: int
) -> None:
    sketch = of(values, 0.05, most)
    assert max(len(sketch.positive.counts), len(sketch.negative.counts)) <= most
    assert sketch.count == len(values)
    if values:
        wanted = sorted(values)[math.floor(q * (len(values) - 1))]
        if sketch.guaranteed_from < abs(wanted) < math.inf:
            assert abs(sketch.quantile(q) - wanted) <= 0.05 * abs(wanted)


@given(readings, accuracies, st.sampled_from([2, 7, 2048]))
def test_bytes_tell_all(values: list[float], alpha: float, most: int) -> None:
    data = sketch_to_bytes(of(values, alpha, most))
    read = sketch_from_bytes(data)
    assert sketch_to_bytes(read) == data
    assert (read.count, read.alpha, read.max_buckets) == (len(values), alpha, most)


def test_counts_of_every_width() -> None:
    sketch = of([1.0])
    for _ in range(40):
        sketch = sketch.merge(sketch)
    assert sketch_from_bytes(sketch_to_bytes(sketch)).count == 1 << 40
    assert len(sketch_to_bytes(of([1.0] * 300))) == len(sketch_to_bytes(of([1.0]))) + 1


def test_a_year_of_a_sensor_takes_little() -> None:
    values = np.random.default_rng(5).normal(20, 5, 500_000)
    sketch = QuantileSketch(0.01).insert(values)
    assert len(sketch_to_bytes(sketch)) < 4000
    assert sketch.quantile(0.95) == pytest.approx(
        np.quantile(values, 0.95, method="lower"), rel=0.01
    )


def test_nan_is_no_reading_and_integers_are_taken() -> None:
    assert of([math.nan, 1.0]).count == 1
    sketch = QuantileSketch().insert(np.array([[1, 2], [3, -4]], np.int16))
    assert (sketch.count, sketch.min, sketch.max) == (4, -4, 3)
    assert sketch.insert(np.zeros(0)) is sketch
    assert math.isnan(QuantileSketch().bounds(0.5)[0])


def test_zeros_of_both_signs_are_one_value() -> None:
    zeros = [sketch_to_bytes(of([a]).merge(of([b]))) for a, b in ((0.0, -0.0), (-0.0, 0.0))]
    assert zeros[0] == zeros[1] == sketch_to_bytes(of([-0.0, -0.0]))


def test_subnormal_readings_count_as_zero() -> None:
    sketch = of([5e-324, -5e-324, 1.0])
    assert sketch.zeros == 2
    low, high = sketch.bounds(0.0)
    assert low == -5e-324
    assert 0 <= high <= 2.3e-308


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantileSketch(0.9), "alpha=0.9"),
        (lambda: QuantileSketch(math.nan), "alpha=nan"),
        (lambda: QuantileSketch(0.01, 1), "at least 2"),
        (lambda: of([1.0]).quantile(1.5), "not between 0 and 1"),
        (lambda: of([1.0]).bounds(-0.1), "not between 0 and 1"),
        (lambda: of([1.0], 0.1).merge(of([1.0], 0.2)), "does not merge"),
    ],
)
def test_what_makes_no_sense(make: functools.partial[object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()


def test_damaged_bytes_are_refused() -> None:
    data = sketch_to_bytes(of([1.0, -2.0, 300.0]))
    for size in range(len(data)):
        with pytest.raises(CorruptBlockError):
            sketch_from_bytes(data[:size], "here")
    with pytest.raises(CorruptBlockError, match="here: version 9"):
        sketch_from_bytes(b"\x09" + data[1:], "here")
    with pytest.raises(CorruptBlockError, match="1 bytes too many"):
        sketch_from_bytes(data + b"\x00")
    with pytest.raises(CorruptBlockError, match="alpha"):
        sketch_from_bytes(data[:1] + struct.pack("<d", 7.0) + data[9:])
    wide = sketch_to_bytes(of([1.0])).replace(b"\x01\x01", b"\x08" + b"\xff" * 8)
    with pytest.raises(CorruptBlockError):
        sketch_from_bytes(wide)
