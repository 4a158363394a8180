from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

from pipeline.errors import InvalidInputError
from pipeline.model.tables import to_table
from pipeline.model.timestamps import parse_times

TIMES = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "M8[ns]")
ROWS = {"device": ["a", "b", "b"], "time": TIMES, "t": [1.5, 2.5, None]}


class Stream:
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.table(ROWS).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        pa.table(ROWS),
        pa.table(ROWS).to_batches()[0],
        pa.table(ROWS).to_reader(),
        Stream(),
        {**ROWS, "t": np.ma.MaskedArray([1.5, 2.5, 9.0], mask=[False, False, True])},
        {**ROWS, "t": pd.Series([1.5, 2.5, None], dtype="Float64")},
        {**ROWS, "t": np.array([1.5, 2.5, None], object)},
        {**ROWS, "time": pa.array(TIMES)},
        pd.DataFrame({**ROWS, "t": pd.Series([1.5, 2.5, None], dtype="Float64")}),
        pd.DataFrame({"t": pd.array([1.5, 2.5, None], dtype="Float64")}).set_index(
            pd.MultiIndex.from_arrays([["a", "b", "b"], TIMES], names=["device", "time"])
        ),
        xr.Dataset(
            {name: ("row", values) for name, values in {**ROWS, "t": [1.5, 2.5, np.nan]}.items()}
        ),
    ],
    ids=lambda data: type(data).__name__,
)
def test_the_same_rows_from_anything(data: Any) -> None:
    table = to_table(data)
    assert table["device"].to_pylist() == ["a", "b", "b"]
    assert table["time"].cast(pa.timestamp("us")).cast(pa.int64()).to_pylist() == [
        int(time) // 1000 for time in TIMES.astype(int)
    ]
    assert table["t"].to_pylist() == [1.5, 2.5, None]


def test_nan_in_a_float_column_is_a_value_and_none_is_missing() -> None:
    frame = pd.DataFrame(
        {"device": "a", "time": TIMES, "t": [1.0, np.nan, 2.0], "s": ["x", None, "y"]}
    )
    frame.loc[1, "time"] = pd.NaT
    table = to_table(frame)
    assert table["t"].null_count == 0
    assert np.isnan(table["t"][1].as_py())
    assert table["s"].to_pylist() == ["x", None, "y"]
    assert table["time"].null_count == 1


def test_categories_of_pandas_stay_dictionaries() -> None:
    frame = pd.DataFrame({"device": pd.Categorical(["a", "b"]), "time": TIMES[:2]})
    assert pa.types.is_dictionary(to_table(frame)["device"].type)


def test_a_named_index_level_becomes_a_column_and_an_unnamed_does_not() -> None:
    frame = pd.DataFrame({"device": ["a"], "time": TIMES[:1]}, index=pd.Index([7], name="room"))
    assert to_table(frame).column_names == ["room", "device", "time"]
    frame.index.name = None
    assert to_table(frame).column_names == ["device", "time"]


def test_scalars_stand_in_every_row() -> None:
    table = to_table({"device": "a", "time": TIMES, "t": np.float64(2.5)})
    assert table["device"].to_pylist() == ["a"] * 3
    assert table["t"].to_pylist() == [2.5] * 3
    single = to_table({"device": "a", "time": "2024-01-01T00:00Z", "t": np.array(2.5)})
    assert single.num_rows == 1


@pytest.mark.parametrize(
    "time",
    [
        "2024-01-01",
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01T00", "h"),
        TIMES[0],
        pd.Timestamp("2024-01-01"),
        np.array("2024-01-01", "M8[us]"),
    ],
)
def test_one_time_for_all_rows(time: Any) -> None:
    table = to_table({"device": ["a", "b"], "time": time})
    assert parse_times(table["time"]).time.tolist() == [1_704_067_200_000_000] * 2


def test_mixed_types_become_texts_for_validation_to_judge() -> None:
    table = to_table({"device": "a", "time": TIMES, "t": [1.5, "off", None], "n": [2**70, 1, None]})
    assert table["t"].to_pylist() == ["1.5", "off", None]
    assert table["n"].to_pylist() == [str(2**70), "1", None]


def test_numpy_dates_of_any_unit() -> None:
    for unit in ("D", "h", "m", "s"):
        table = to_table({"device": "a", "time": TIMES.astype(f"M8[{unit}]")})
        assert (
            table["time"].cast(pa.timestamp("us")).cast(pa.int64())[0].as_py()
            == 1_704_067_200_000_000
        )


def grid() -> xr.Dataset:
    values = [[1.0, np.nan], [np.nan, np.nan], [3.0, 4.0]]
    return xr.Dataset(
        {
            "t": (("time", "device"), values, {"units": "K", "long_name": "Temperature"}),
            "state": (
                ("device", "time"),
                np.array([["on", None, None], [None, None, "off"]], object),
            ),
        },
        coords={"device": ["a", "b"], "time": TIMES, "site": ("device", ["x", "y"])},
    )


def test_a_grid_becomes_one_row_per_cell_that_holds_anything() -> None:
    table = to_table(grid())
    assert table["device"].to_pylist() == ["a", "a", "b"]
    assert [str(t) for t in table["time"].to_numpy().astype("M8[D]")] == [
        "2024-01-01",
        "2024-01-03",
        "2024-01-03",
    ]
    assert table["t"].to_pylist() == [1.0, 3.0, 4.0]
    assert table["state"].to_pylist() == ["on", None, "off"]
    assert table.schema.field("t").metadata == {b"units": b"K", b"description": b"Temperature"}


def test_one_device_of_a_grid_is_rows_along_time() -> None:
    table = to_table(grid()[["t"]].isel(device=0))
    assert table["device"].to_pylist() == ["a"] * 3
    assert table["t"].to_pylist() == [1.0, None, 3.0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"dev": ["a"], "time": TIMES[:1]}, r"'device' not found among \['dev', 'time'\]"),
        ({}, "'device' and 'time'"),
        (5, "cannot take rows from int"),
        ({"device": ["a"], "time": TIMES}, "differ in length"),
        ({"device": "a", "time": TIMES, "t": [1, {2}, 3]}, "column 't'"),
        ({"device": "a", "time": TIMES[:1], "t": np.array([1 + 2j])}, "column 't'"),
        (pd.DataFrame({"device": ["a"], "time": TIMES[:1], 5: [1]}), r"texts, not \[5\]"),
        (pd.DataFrame([["a", 1, 2]], columns=["device", "time", "time"]), "repeats"),
        (pa.table([["a"], [1], [2]], names=["device", "time", "time"]), "more than once"),
        (grid().assign(x=(("device", "time"), np.ones((2, 3), complex))), "from this Dataset"),
        (grid().drop_vars("time"), "no 'time' variable"),
        (grid().assign(x=("device", [1, 2])), "do not lie along"),
        (grid().drop_vars("site").rename_dims(device="d").reset_coords(), "common dimension"),
    ],
)
def test_what_cannot_be_rows_is_refused_with_its_name(data: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        to_table(data)
