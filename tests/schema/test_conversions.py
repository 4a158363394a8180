from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import AlreadyExistsError, NotFoundError, SchemaError
from pipeline.model.batches import Column
from pipeline.schema import functions
from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeUnits,
    MergeChannels,
    RemoveChannel,
    RenameChannel,
    SplitChannel,
)
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.conversions import Conversion, conversions
from pipeline.schema.functions import register_function
from tests.schema.histories import FIRST, THREE, history


def one(change: Change, channel: Channel, *, back: bool = False) -> Conversion:
    """Return the conversion of a channel that a change makes, or the way back."""
    found = history((change,), first=Schema([channel, Channel("other", "int8")]))
    source, target = (2, 1) if back else (1, 2)
    return conversions(found, source, target)[channel.name]


def values(conversion: Conversion, column: Column) -> list[Any]:
    """Return converted values, None where missing, texts for categories."""
    found = conversion.convert(dict.fromkeys(conversion.arrays, column), len(column))
    plain: list[Any] = found.values.tolist()
    if found.categories is not None:
        plain = [found.categories[code] if found.categories else None for code in plain]
    some = np.ones(len(column), bool) if found.valid is None else found.valid
    return [value if ok else None for value, ok in zip(plain, some, strict=True)]


def column(given: list[Any], dtype: str) -> Column:
    filled = [0 if value is None else value for value in given]
    valid = np.array([value is not None for value in given])
    return Column(np.array(filled, dtype), None if valid.all() else valid)


def test_what_was_not_changed_is_taken_as_it_is_stored() -> None:
    found = history(*THREE)
    first = conversions(found, 1, 3)
    assert list(first) == list(found[3].schema.names)
    assert not first["temperature"].is_plain
    assert first["humidity"].is_missing
    assert first["humidity"].arrays == ()
    assert conversions(found, 2, 3)["temperature"].is_plain
    assert conversions(found, 2, 3)["temperature"].arrays == ("temperature~2",)
    back = conversions(found, 3, 1)
    assert back["open"].is_missing
    assert back["mode"].arrays == ("state",)
    with pytest.raises(NotFoundError):
        conversions(found, 4, 1)


def test_every_step_between_two_versions_is_taken() -> None:
    first = conversions(history(*THREE), 1, 3)
    assert values(first["temperature"], column([32.0, None, 212.0], "f8")) == [0.0, None, 100.0]
    assert values(first["count"], column([-32768, 7], "i2")) == [-32768, 7]
    texts = Column(np.array([0, 1, 0], np.int32), np.array([True, True, False]), ("on", "off"))
    assert values(first["state"], texts) == ["running", "off", None]
    assert first["temperature"].error == "rounding of float64"
    assert first["count"].error == ""


def test_a_default_is_for_older_rows_only() -> None:
    added = AddChannel(Channel("x", "int32"), default=5)
    found = history((added,), (RenameChannel("x", "y"), ChangeDtype("x", "float64"))[:1])
    assert values(conversions(found, 1, 2)["x"], Column(np.zeros(0))) == []
    assert conversions(found, 1, 3)["y"].convert({}, 2).values.tolist() == [5, 5]
    assert conversions(found, 2, 3)["y"].arrays == ("x",)
    text = history((AddChannel(Channel("t", "category"), default="idle"),))
    made = conversions(text, 1, 2)["t"].convert({}, 2)
    assert (made.values.tolist(), made.categories) == ([0, 0], ("idle",))
    flag = history((AddChannel(Channel("f", "bool"), default=True),))
    assert conversions(flag, 1, 2)["f"].convert({}, 1).values.dtype == np.int8


@pytest.mark.parametrize(
    ("dtype", "new", "tolerance", "given", "expected"),
    [
        ("int16", "int32", None, [1, None, -32768], [1, None, -32768]),
        ("int64", "float64", None, [2**53, -1], [2.0**53, -1.0]),
        ("uint8", "int8", None, [127, 0], [127, 0]),
        ("float64", "int32", None, [3.0, -7.0], [3, -7]),
        ("float64", "int8", 0.5, [2.4, -2.6], [2, -3]),
        ("float64", "float32", 1e-3, [0.1, np.inf], [float(np.float32(0.1)), np.inf]),
        ("float32", "float64", None, [0.5, np.nan], [0.5, np.nan]),
        ("bool", "int64", None, [0, 1, None], [0, 1, None]),
        ("int8", "bool", None, [0, 1, None], [0, 1, None]),
        ("float64", "bool", None, [0.0, 1.0], [0, 1]),
    ],
)
def test_casts(
    dtype: str, new: str, tolerance: float | None, given: list[Any], expected: list[Any]
) -> None:
    stored = "int8" if dtype == "bool" else dtype
    change = ChangeDtype("x", new, tolerance=tolerance)
    found = values(one(change, Channel("x", dtype)), column(given, stored))
    np.testing.assert_equal(found, expected)
    assert all(type(a) is type(b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("dtype", "new", "tolerance", "given"),
    [
        ("int32", "int16", None, [1, 40_000]),
        ("int64", "float64", None, [0, 2**53 + 1]),
        ("float64", "int32", None, [1.0, 0.5]),
        ("float64", "int32", 0.1, [1.0, 0.5]),
        ("float64", "int32", 0.5, [1.0, np.nan]),
        ("float64", "float32", 1e-6, [0.5, 1e6 + 0.01]),
        ("float64", "float32", 1e3, [0.5, 1e300]),
        ("int8", "bool", None, [0, 2]),
    ],
)
def test_what_does_not_fit_is_told_or_missing(
    dtype: str, new: str, tolerance: float | None, given: list[Any]
) -> None:
    told = one(ChangeDtype("x", new, tolerance=tolerance), Channel("x", dtype))
    with pytest.raises(SchemaError, match=r"1 values of version 1 .*at_version\(1\)"):
        values(told, column(given, dtype))
    change = ChangeDtype("x", new, tolerance=tolerance, misfits="missing")
    found = values(one(change, Channel("x", dtype)), column(given, dtype))
    assert found[0] is not None
    assert found[1] is None
    missing = values(told, column([given[0], None], dtype))
    assert missing[1] is None


def test_the_way_back_is_checked_too() -> None:
    change = ChangeDtype("x", "int64")
    back = one(change, Channel("x", "int16"), back=True)
    assert values(back, column([5], "int64")) == [5]
    with pytest.raises(SchemaError, match="of version 2"):
        values(back, column([70_000], "int64"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_of_floats(dtype: str) -> None:
    change = ChangeUnits("x", "degC", 5, -160, 9)
    there = values(one(change, Channel("x", dtype, "degF")), column([32.0, None, 50.0], dtype))
    assert there == [0.0, None, 10.0]
    back = one(change, Channel("x", dtype, "degF"), back=True)
    assert values(back, column([0.0, 10.0], dtype)) == [32.0, 50.0]


def test_floats_that_overflow_do_not_fit() -> None:
    found = one(ChangeUnits("x", "m", 1000), Channel("x", "float32", "km"))
    with pytest.raises(SchemaError, match="do not fit float32"):
        values(found, column([3e38], "float32"))
    np.testing.assert_equal(values(found, column([np.inf, np.nan], "float32")), [np.inf, np.nan])


def test_units_of_integers_stay_whole() -> None:
    change = ChangeUnits("x", "mm", 1000)
    assert values(one(change, Channel("x", "int32", "m")), column([3, None], "int32")) == [
        3000,
        None,
    ]
    back = one(change, Channel("x", "int32", "m"), back=True)
    assert values(back, column([2000], "int32")) == [2]
    with pytest.raises(SchemaError, match="do not fit"):
        values(back, column([1], "int32"))


def test_another_name_for_the_same_unit_is_no_conversion() -> None:
    found = history((ChangeUnits("temperature", "Fahrenheit", 1),))
    assert found[2].arrays["temperature"] == "temperature"
    assert conversions(found, 1, 2)["temperature"].is_plain
    assert conversions(found, 2, 1)["temperature"].is_plain


def test_numbers_and_texts() -> None:
    spelled = ChangeDtype("x", "category", texts={0: "off", 1: "on"})  # type: ignore[arg-type]
    found = one(spelled, Channel("x", "int8"))
    assert values(found, column([1, 0, None], "int8")) == ["on", "off", None]
    with pytest.raises(SchemaError, match="do not fit category"):
        values(found, column([2], "int8"))
    back = one(spelled, Channel("x", "int8"), back=True)
    texts = Column(np.array([1, 0], np.int32), None, ("on", "off"))
    assert values(back, texts) == [0, 1]
    bools = one(ChangeDtype("x", "category"), Channel("x", "bool"))
    assert values(bools, column([1, 0], "int8")) == ["true", "false"]


def test_texts_of_numbers_are_read() -> None:
    found = one(ChangeDtype("x", "float64", misfits="missing"), Channel("x", "category"))
    texts = Column(np.array([0, 1, 2], np.int32), None, ("1.5", "n/a", "-2"))
    assert values(found, texts) == [1.5, None, -2.0]
    empty = Column(np.zeros(2, np.int32), np.zeros(2, bool), ())
    assert values(found, empty) == [None, None]
    back = one(ChangeDtype("x", "float64"), Channel("x", "category"), back=True)
    assert back.is_missing


def test_texts_that_become_one() -> None:
    change = Categories("x", renamed=(("ok", "good"), ("fine", "good"), ("bad", "poor")))
    texts = Column(np.array([0, 1, 2, 3], np.int32), None, ("ok", "fine", "bad", "else"))
    assert values(one(change, Channel("x", "category")), texts) == ["good", "good", "poor", "else"]
    back = one(change, Channel("x", "category"), back=True)
    newer = Column(np.array([0, 1], np.int32), None, ("good", "poor"))
    assert values(back, newer) == ["good", "bad"]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_REGISTERED", {})


def cents(price: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.floor(price), np.round(100 * (price - np.floor(price)))


def price_of(whole: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    return whole + part / 100


PARTS = (Channel("whole", "int32"), Channel("cents", "uint8"))


@pytest.mark.usefixtures("registry")
def test_split_and_back() -> None:
    register_function("cents", 1, cents, price_of)
    change = SplitChannel("x", PARTS, "cents")
    found = history((change,), first=Schema([Channel("x", "float64")]))
    there = conversions(found, 1, 2)
    price = {"x": column([1.25, None, 7.0], "f8")}
    assert there["whole"].convert(price, 3).values.tolist()[::2] == [1, 7]
    made = there["cents"].convert(price, 3)
    assert made.values.dtype == np.uint8
    assert made.valid is not None
    assert made.valid.tolist() == [True, False, True]
    back = conversions(found, 2, 1)["x"]
    assert back.arrays == ("whole", "cents")
    both = {"whole": column([1, 7], "i4"), "cents": column([25, 0], "u1")}
    assert back.convert(both, 2).values.tolist() == [1.25, 7.0]
    assert "version 1 of the function 'cents'" in back.error


@pytest.mark.usefixtures("registry")
def test_merge_without_a_way_back() -> None:
    register_function("price", 1, price_of)
    change = MergeChannels(("whole", "cents"), Channel("x", "float32"), "price")
    found = history((change,), first=Schema(PARTS))
    both = {"whole": column([1, 2, None], "i4"), "cents": column([50, None, 3], "u1")}
    made = conversions(found, 1, 2)["x"].convert(both, 3)
    assert made.values.dtype == np.float32
    assert made.valid is not None
    assert made.values[made.valid].tolist() == [1.5]
    back = conversions(found, 2, 1)["whole"].convert({"x": column([1.5], "f4")}, 1)
    assert back.valid is not None
    assert not back.valid.any()


@pytest.mark.usefixtures("registry")
def test_functions_take_texts_and_are_checked() -> None:
    register_function("length", 1, lambda texts: np.array([len(text) for text in texts], float))
    change = SplitChannel("x", (Channel("n", "int8"),), "length")
    found = history((change,), first=Schema([Channel("x", "category")]))
    texts = Column(np.array([0, 1, 0], np.int32), np.array([True, True, False]), ("abc", "z"))
    made = conversions(found, 1, 2)["n"].convert({"x": texts}, 3)
    assert made.values.tolist()[:2] == [3, 1]
    register_function("wrong", 1, lambda texts: texts[:0])
    wrong = history((SplitChannel("x", PARTS, "wrong"),), first=Schema([Channel("x", "int8")]))
    with pytest.raises(SchemaError, match="has to return 2 arrays"):
        conversions(wrong, 1, 2)["whole"].convert({"x": column([1], "i1")}, 1)


@pytest.mark.usefixtures("registry")
def test_functions_are_known_by_name_and_version() -> None:
    found = history((SplitChannel("x", PARTS, "none"),), first=Schema([Channel("x", "int8")]))
    with pytest.raises(NotFoundError, match="register_function"):
        conversions(found, 1, 2)["whole"].convert({"x": column([1], "i1")}, 1)
    register_function("f", 1, cents)
    assert register_function("f", 1, cents).forward is cents
    register_function("f", 2, price_of)
    with pytest.raises(AlreadyExistsError, match="next version"):
        register_function("f", 1, price_of)
    with pytest.raises(SchemaError, match="version from 1"):
        register_function("f", 0, price_of)


@pytest.mark.usefixtures("registry")
def test_what_is_retired_before_it_is_used_is_missing_after() -> None:
    register_function("cents", 1, cents)
    found = history(
        (AddChannel(Channel("x", "float64")),),
        (SplitChannel("x", PARTS, "cents"), ChangeDtype("whole", "float64")),
        (RemoveChannel("whole"),),
    )
    assert conversions(found, 1, 3)["whole"].is_missing
    assert conversions(found, 4, 3)["whole"].is_missing


shorts = st.lists(st.none() | st.integers(-(2**15), 2**15 - 1), max_size=30)


@given(shorts, st.sampled_from(["int32", "int64", "float32", "float64"]))
def test_widening_is_lossless(given_: list[int | None], wider: str) -> None:
    change = ChangeDtype("x", wider)
    there = one(change, Channel("x", "int16")).convert({"x": column(given_, "i2")}, len(given_))
    back = one(change, Channel("x", "int16"), back=True)
    again = back.convert({back.arrays[0]: there}, len(given_))
    some = np.ones(len(given_), bool) if again.valid is None else again.valid
    assert [v if ok else None for v, ok in zip(again.values.tolist(), some, strict=True)] == given_


def test_a_history_without_a_change_of_values_needs_no_arithmetic() -> None:
    found = history((RenameChannel("count", "n"),), (AddChannel(Channel("z", "int8")),))
    for source in (1, 2, 3):
        for target in (1, 2, 3):
            for conversion in conversions(found, source, target).values():
                assert conversion.is_plain or conversion.is_missing
    assert FIRST.names[1] == "count"
