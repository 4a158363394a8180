"""Quantile sketches that earlier releases wrote are still read."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.summaries.sketch_format import sketch_from_bytes, sketch_to_bytes
from tests.golden.make_sketches import FOLDER, sketch_cases

KNOWN = {
    "empty": (0, math.nan, math.nan),
    "sensor": (1000, 15.0, 25.0),
    "both-signs": (1000, -500 / 7, 499 / 7),
    "specials": (6, -math.inf, math.inf),
    "collapsed": (100, 1e-3, 1e6),
    "wide-counts": (70_000, 3.5, 3.5),
}


@pytest.mark.parametrize("name", KNOWN)
def test_old_sketches_are_read(name: str) -> None:
    data = (FOLDER / f"{name}.sketch").read_bytes()
    assert data[0] == 1
    sketch = sketch_from_bytes(data, name)
    count, low, high = KNOWN[name]
    assert sketch.count == count
    assert (sketch.min, sketch.max) == pytest.approx((low, high), nan_ok=True)
    assert sketch_to_bytes(sketch) == data


def test_old_sketches_answer_as_before() -> None:
    sensor = sketch_from_bytes((FOLDER / "sensor.sketch").read_bytes())
    values = np.round(20 + 5 * np.sin(np.arange(1000) / 50), 1)
    assert sensor.quantile(0.5) == pytest.approx(np.sort(values)[499], rel=0.01)
    collapsed = sketch_from_bytes((FOLDER / "collapsed.sketch").read_bytes())
    assert collapsed.quantile(0.99) == pytest.approx(10 ** (-3 + 9 * 98 / 99), rel=0.1)
    assert 1e5 < collapsed.guaranteed_from < 1e6


def test_every_case_is_there() -> None:
    files = {path.stem for path in FOLDER.glob("*.sketch")}
    assert files == set(sketch_cases()) == set(KNOWN)
