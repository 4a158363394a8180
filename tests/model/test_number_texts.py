from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.number_texts import NumberStyle, parse_numbers

COMMA = NumberStyle(decimal=",")
HEX = NumberStyle(base=16)


def parse_one(text: str, dtype: str, style: NumberStyle | None = None) -> Any:
    values, reasons = parse_numbers(pa.array([text]), dtype, style or NumberStyle())
    return reasons[0] if reasons else values.tolist()[0]


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("21.3", "float64", 21.3),
        ("21.3", "float32", 21.299999237060547),
        (" 7 ", "int8", 7),
        ("+3", "int8", 3),
        ("2e3", "int16", 2000),
        ("21.0", "uint8", 21),
        ("-.5", "float64", -0.5),
        ("5.", "float64", 5.0),
        ("18446744073709551615", "uint64", 18_446_744_073_709_551_615),
        ("-9223372036854775808", "int64", -(2**63)),
        ("-inf", "float64", float("-inf")),
        ("+Infinity", "float32", float("inf")),
        ("TRUE", "bool", True),
        ("0", "bool", False),
    ],
)
def test_numbers_are_read_exactly(text: str, dtype: str, expected: object) -> None:
    assert parse_one(text, dtype) == expected


def test_nan_is_a_value_of_a_float_channel_only() -> None:
    value = parse_one("NaN", "float64")
    assert value != value
    assert "takes a number" in parse_one("NaN", "int64")


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8"])
@pytest.mark.parametrize("text", ["", "x", "0x10", "1_0", "1,5", "--1", "1e", "true", "٣"])
def test_what_is_no_number_says_so(text: str, dtype: str) -> None:
    assert f"{text!r} is none" in parse_one(text, dtype)


@pytest.mark.parametrize(
    ("text", "dtype", "words"),
    [
        ("300", "int8", "300 is outside"),
        ("99999999999999999999", "int64", "is outside"),
        ("1.5", "int8", "whole numbers"),
        ("1e400", "float64", "beyond"),
        ("1e39", "float32", "beyond"),
        ("21.34567891", "float32", "declare the channel float64"),
        ("2", "bool", "true or false"),
    ],
)
def test_numbers_that_the_dtype_cannot_hold(text: str, dtype: str, words: str) -> None:
    assert words in parse_one(text, dtype)


def test_bad_texts_leave_the_others_alone() -> None:
    texts = pa.array(["1.5", "x", None, "2.5"]).dictionary_encode()
    values, reasons = parse_numbers(texts, "float64")
    assert values[[0, 3]].tolist() == [1.5, 2.5]
    assert list(reasons) == [1]


@given(st.lists(st.floats() | st.none()))
def test_every_double_survives_its_text(numbers: list[float | None]) -> None:
    texts = pa.array([None if n is None else repr(n) for n in numbers], pa.string())
    values, reasons = parse_numbers(texts, "float64")
    assert reasons == {}
    assert all(
        n is None or repr(n) == repr(v) for n, v in zip(numbers, values.tolist(), strict=True)
    )


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_every_integer_survives_its_text(numbers: list[int]) -> None:
    values, reasons = parse_numbers(pa.array([str(n) for n in numbers], pa.string()), "int64")
    assert reasons == {}
    assert values.tolist() == numbers


def test_decimal_comma() -> None:
    assert parse_one("2,5", "float64", COMMA) == 2.5
    assert "'2.5' is none" in parse_one("2.5", "float64", COMMA)
    assert "'1.000,5' is none" in parse_one("1.000,5", "float64", COMMA)


@given(
    st.integers(-(10**12), 10**12), st.sampled_from(["0.01", "0.1", "1e-6", "0.05", "12.5", "-1"])
)
def test_a_decimal_scale_is_exact(number: int, scale: str) -> None:
    style = NumberStyle(scale=Decimal(scale))
    expected = float(Decimal(number) * Decimal(scale))
    assert parse_one(str(number), "float64", style) == expected


@pytest.mark.parametrize(
    ("text", "dtype", "style", "expected"),
    [
        ("2358", "float64", NumberStyle(scale=Decimal("0.01")), 23.58),
        ("1.5", "float64", NumberStyle(scale=Decimal("0.01")), 0.015),
        ("1e3", "float64", NumberStyle(scale=Decimal("0.01")), 10.0),
        ("1,5", "float64", NumberStyle(decimal=",", scale=Decimal(2)), 3.0),
        ("5", "float64", NumberStyle(scale=Decimal("1.23456789012345")), 6.17283945061725),
        ("1.5", "int16", NumberStyle(scale=Decimal(10)), 15),
        ("0x20", "uint8", HEX, 32),
        ("fF", "float32", HEX, 255.0),
        ("101", "int8", NumberStyle(base=2), 5),
        ("0x10", "float64", NumberStyle(base=16, scale=Decimal("0.5")), 8.0),
    ],
)
def test_styles(text: str, dtype: str, style: NumberStyle, expected: float) -> None:
    assert parse_one(text, dtype, style) == expected


def test_styles_name_what_they_cannot_read() -> None:
    scaled = NumberStyle(scale=Decimal(10))
    assert "not 15.50" in parse_one("1.55", "int16", scaled)
    assert "'x' is none" in parse_one("x", "float64", scaled)
    assert "'zz' is none" in parse_one("zz", "uint8", HEX)
    assert "'1_0' is none" in parse_one("1_0", "uint8", HEX)
    assert "'1ff' is none" in parse_one("1ff", "uint8", HEX)
    assert "is none" in parse_one("1000001", "float32", HEX)
    values, reasons = parse_numbers(pa.array([None, "20"]), "int64", HEX)
    assert reasons == {}
    assert values[1] == 32
