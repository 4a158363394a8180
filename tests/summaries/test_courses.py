"""Segments between readings, their increases and their shares of bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.courses import Segments, cut, increases, mean_value, whole


def array(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


SEGMENTS = Segments.between(
    array(0, 0, 0, 1, 1), array(0, 10, 40, 5, 5), np.array([1.0, 3.0, 2.0, 7.0, 9.0])
)


def test_segments_stay_within_a_device() -> None:
    assert SEGMENTS.series.tolist() == [0, 0, 1]
    assert SEGMENTS.start.tolist() == [0, 10, 5]
    assert SEGMENTS.last.tolist() == [3.0, 2.0, 9.0]


def test_a_step_down_counts_as_the_value_it_ends_at() -> None:
    found = increases(SEGMENTS, array(0, 0, 0))
    assert found.increase.tolist() == [2 + 2, 2]
    assert found.elapsed.tolist() == [40, 0]
    apart = increases(SEGMENTS, array(0, 1, 0))
    assert apart.increase.tolist() == [2, 2, 2]
    assert len(increases(SEGMENTS.take(array()), array()).increase) == 0


def test_segments_are_cut_at_edges() -> None:
    spans = cut(SEGMENTS, array(0, 0, 0), array(0, 2, 0), array(0, 15, 30, 45))
    assert spans.segment.tolist() == [0, 1, 1, 1]
    assert spans.bin.tolist() == [0, 0, 1, 2]
    assert spans.length.tolist() == [10, 5, 15, 10]
    np.testing.assert_allclose(
        mean_value(SEGMENTS, spans, linear=True),
        [2, 3 - 2.5 / 30, 3 - 12.5 / 30, 3 - 25 / 30],
        rtol=1e-15,
    )
    assert mean_value(SEGMENTS, spans, linear=False).tolist() == [1, 3, 3, 3]


def test_spans_that_take_no_time_are_left_out() -> None:
    spans = whole(SEGMENTS, array(0, 1, 2))
    assert (spans.segment.tolist(), spans.bin.tolist()) == ([0, 1], [0, 1])
