"""Gaps are filled as pandas would."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analytics.filling import check_fill, fill_linear, fill_previous
from pipeline.errors import InvalidInputError

rows = st.integers(0, 8).flatmap(
    lambda width: st.lists(
        st.lists(st.none() | st.integers(-100, 100), min_size=width, max_size=width), max_size=4
    )
)


def table(cells: list[list[int | None]]) -> pd.DataFrame:
    width = len(cells[0]) if cells else 0
    return pd.DataFrame(np.array(cells, dtype=object).reshape(len(cells), width)).astype(float)


@given(rows)
def test_previous_equals_pandas(cells: list[list[int | None]]) -> None:
    frame = table(cells)
    present = frame.notna().to_numpy()
    values, known = fill_previous(frame.fillna(-999).to_numpy(), present)
    np.testing.assert_array_equal(np.where(known, values, np.nan), frame.ffill(axis=1).to_numpy())


@given(rows, st.integers(1, 1000))
def test_linear_equals_pandas(cells: list[list[int | None]], seed: int) -> None:
    frame = table(cells)
    present = frame.notna().to_numpy()
    steps = np.random.default_rng(seed).integers(1, 9, frame.shape[1])
    time = np.cumsum(steps).astype(np.int64)
    values, known = fill_linear(frame.fillna(-999).to_numpy(), present, time)
    frame.columns = pd.Index(time)
    wanted = frame.T.interpolate(method="index", limit_area="inside").T if frame.size else frame
    np.testing.assert_allclose(np.where(known, values, np.nan), wanted.to_numpy(), atol=1e-9)


def test_unknown_policies_are_refused() -> None:
    check_fill("linear")
    with pytest.raises(InvalidInputError, match="null, none, previous, linear"):
        check_fill("zero")
