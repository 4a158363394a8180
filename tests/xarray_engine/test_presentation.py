from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pipeline


def fleet_of(dtype: str, values: list[Any]) -> pipeline.Fleet:
    schema = pipeline.Schema([pipeline.Channel("value", dtype)])
    fleet = pipeline.Archive.create("memory://").create_fleet("rooms", schema)
    times = np.arange(len(values)).astype("M8[s]")
    fleet.append({"device": "a", "time": times, "value": values})
    return fleet


@pytest.mark.parametrize(
    ("dtype", "values", "shown"),
    [
        ("float32", [1.5, None, -0.0], np.array([1.5, np.nan, -0.0], np.float32)),
        ("float64", [1.5, None, float("nan")], np.array([1.5, np.nan, np.nan])),
        ("int8", [-128, None, 127], np.array([-128, np.nan, 127.0])),
        ("uint32", [0, None, 2**32 - 1], np.array([0, np.nan, 2.0**32 - 1])),
        ("bool", [True, None, False], np.array([1, np.nan, 0.0])),
    ],
)
def test_missing_numbers_are_nan(dtype: str, values: list[Any], shown: Any) -> None:
    found = fleet_of(dtype, values).to_xarray(devices="a")["value"]
    assert found.dtype == shown.dtype
    np.testing.assert_array_equal(found.values, shown)
    assert found.count() == np.isfinite(shown).sum()


def test_dtypes_do_not_depend_on_the_values() -> None:
    for dtype, value in [("int32", 1), ("bool", True), ("category", "on"), ("int64", 1)]:
        whole = fleet_of(dtype, [value] * 2).to_xarray(devices="a")
        gaps = fleet_of(dtype, [value, None]).to_xarray(devices="a")
        assert whole.dtypes == gaps.dtypes == whole.load().dtypes == gaps.load().dtypes


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_of_64_bits_stay_exact_and_their_gaps_are_told_apart(dtype: str) -> None:
    bounds = np.iinfo(dtype)
    values = [bounds.min, bounds.max, None, 2**53 + 1]
    dataset = fleet_of(dtype, values).to_xarray(devices="a")
    found = dataset["value"]
    assert found.dtype == dtype
    assert found.values[[0, 1, 3]].tolist() == [bounds.min, bounds.max, 2**53 + 1]
    missing = dataset[found.attrs["ancillary_variables"]]
    assert missing.values.tolist() == [False, False, True, False]
    assert found.where(~missing).count() == 3
    assert "_FillValue" not in found.attrs | found.encoding


def test_categories_are_their_texts() -> None:
    found = fleet_of("category", ["on", None, "", "off"]).to_xarray(devices="a")["value"]
    assert found.values.tolist() == ["on", None, "", "off"]
    assert found.isnull().values.tolist() == [False, True, False, False]
    assert (found == "off").values.tolist() == [False, False, False, True]
    assert fleet_of("category", [None, None]).to_xarray(devices="a")["value"].values.tolist() == [
        None,
        None,
    ]


def test_units_and_meanings_are_told() -> None:
    channels = [
        pipeline.Channel("t", "float64", "degC", "air temperature"),
        pipeline.Channel("door", "bool"),
    ]
    fleet = pipeline.Archive.create("memory://").create_fleet("rooms", pipeline.Schema(channels))
    dataset = fleet.to_xarray()
    assert dataset["t"].attrs == {"long_name": "air temperature", "units": "degC"}
    assert dataset["door"].attrs == {
        "long_name": "door",
        "flag_values": [0.0, 1.0],
        "flag_meanings": "false true",
    }
