from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.batches import Column
from pipeline.schema.changes import AddChannel, Categories, Change, ChangeDtype, ChangeUnits
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.conversions import Conversion, conversions
from pipeline.schema.images import Image
from tests.schema.histories import history


def conversion(channel: Channel, *changes: Change) -> Conversion:
    found = history(*((change,) for change in changes), first=Schema([channel]))
    return conversions(found, 1, len(found))["x"]


def image(channel: Channel, *changes: Change) -> Image:
    found = conversion(channel, *changes).image
    assert found is not None
    return found


FLOAT = Channel("x", "float64", "degF")
SHORT = Channel("x", "int16")
CHAINS: list[tuple[Channel, tuple[Change, ...]]] = [
    (FLOAT, (ChangeUnits("x", "degC", 5, -160, 9),)),
    (FLOAT, (ChangeUnits("x", "below", -1, 3),)),
    (FLOAT, (ChangeUnits("x", "a", -2), ChangeUnits("x", "b", -3, 1))),
    (FLOAT, (ChangeDtype("x", "float32", tolerance=1.0), ChangeUnits("x", "b", -3, 1))),
    (SHORT, (ChangeDtype("x", "int64"), ChangeUnits("x", "b", -3, 1))),
    (SHORT, (ChangeDtype("x", "float64"), ChangeUnits("x", "b", 0.1))),
]


@pytest.mark.parametrize(("channel", "changes"), CHAINS)
@given(data=st.data())
def test_statistics_of_converted_values(
    channel: Channel, changes: tuple[Change, ...], data: st.DataObject
) -> None:
    drawn: Any = (
        st.integers(-1000, 1000) if channel.dtype == "int16" else st.floats(-1e4, 1e4, width=32)
    )
    values = np.array(data.draw(st.lists(drawn, min_size=1, max_size=20)), channel.dtype)
    found = image(channel, *changes)
    converted = conversion(channel, *changes).convert({"x": Column(values)}, len(values)).values
    low, high = np.array([values.min()]), np.array([values.max()])
    assert found.fits(low, high).all()
    least, greatest = found.extremes(low, high)
    assert (least[0], greatest[0]) == (converted.min(), converted.max())
    assert found.points(values[:1])[0] == converted[0]
    wide = values.astype(float)
    count, total = np.array([len(values)]), np.array([wide.sum()])
    m2 = np.array([np.square(wide - wide.mean()).sum()])
    total, m2 = found.sums(count, total, m2)
    scale = max(float(np.abs(converted).max()), 1.0)
    np.testing.assert_allclose(
        total, converted.astype(float).sum(), atol=1e-6 * scale * len(values)
    )
    expected = np.square(converted - converted.astype(float).mean()).sum()
    np.testing.assert_allclose(m2, expected, rtol=1e-4, atol=1e-4 * scale)


def test_where_a_value_between_may_not_fit_nothing_is_said() -> None:
    low, high = np.array([0, 0], np.int32), np.array([100, 70_000], np.int32)
    narrow = image(Channel("x", "int32"), ChangeDtype("x", "int16"))
    assert narrow.fits(low, high).tolist() == [True, False]
    doubles = image(Channel("x", "int64"), ChangeDtype("x", "float64"))
    ends = np.array([2**53, 2**53 + 2], np.int64)
    assert doubles.fits(np.zeros(2, np.int64), ends).tolist() == [True, False]
    single = image(FLOAT, ChangeDtype("x", "float32", tolerance=1e-3))
    tops = np.array([10.0, 1e6, 1e300])
    assert single.fits(-tops, tops).tolist() == [True, False, False]
    whole = image(Channel("x", "int32"), ChangeUnits("x", "mm", 1000))
    assert whole.fits(low, np.array([100, 2**31 - 1], np.int32)).tolist() == [True, False]
    parts = image(Channel("x", "int32"), ChangeUnits("x", "km", 1, 0, 1000))
    assert not parts.fits(low, high).any()


@pytest.mark.parametrize(
    ("channel", "change"),
    [
        (FLOAT, ChangeDtype("x", "int16", tolerance=0.5)),
        (Channel("x", "category"), Categories("x", renamed=(("a", "b"),))),
        (Channel("x", "bool"), ChangeDtype("x", "category")),
    ],
)
def test_conversions_whose_statistics_need_the_rows(channel: Channel, change: Change) -> None:
    assert conversion(channel, change).image is None


def test_defaults_have_no_image_and_plain_arrays_are_one() -> None:
    found = history((AddChannel(Channel("y", "int8"), default=1),), first=Schema([FLOAT]))
    assert conversions(found, 1, 2)["y"].image is None
    plain = conversions(found, 1, 2)["x"].image
    assert plain == Image("x")
    assert plain is not None
    assert plain.is_identity
