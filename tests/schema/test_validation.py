from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError, SchemaError
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.model.timestamps import TimeFormat
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.validation import validate


def check(table: pa.Table, schema: Schema, **more: Any) -> tuple[RecordBatch, Rejects]:
    return validate(table, schema, earliest=0, latest=10**18, **more)


def one_channel(values: Any, dtype: str, kind: Any = None) -> tuple[RecordBatch, Rejects]:
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    times = pa.array(np.arange(len(array)), pa.timestamp("us", tz="UTC"))
    table = pa.table({"device": pa.array(["a"] * len(array)), "time": times, "x": array})
    return validate(table, Schema([Channel("x", dtype)]), earliest=0, latest=10**18)


def stored(values: Any, dtype: str, kind: Any = None) -> list[Any]:
    """Return the values that were taken, None where missing."""
    batch, _ = one_channel(values, dtype, kind)
    column = batch.columns["x"]
    found = column.values.tolist()
    if column.categories is not None:
        found = [column.categories[code] if column.categories else None for code in found]
    valid = np.ones(len(found), bool) if column.valid is None else column.valid
    return [value if ok else None for value, ok in zip(found, valid, strict=True)]


def reasons(values: Any, dtype: str, kind: Any = None) -> tuple[str, ...]:
    return one_channel(values, dtype, kind)[1].reasons


def test_rows_that_fit_become_a_batch_in_order() -> None:
    table = pa.table(
        {
            "device": ["b", "a", "b"],
            "time": ["2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z", "2023-12-31T00:00:00Z"],
            "t": [1.5, None, float("nan")],
        }
    )
    schema = Schema([Channel("t", "float64"), Channel("door", "bool"), Channel("s", "category")])
    batch, rejects = validate(table, schema, earliest=0, latest=2**62, source="file")
    assert batch.devices == ("b", "a")
    assert batch.device_index.tolist() == [0, 1, 0]
    assert batch.time.tolist() == [
        1_704_067_200_000_000,
        1_704_067_201_000_000,
        1_703_980_800_000_000,
    ]
    valid = batch.columns["t"].valid
    assert valid is not None
    assert valid.tolist() == [True, False, True]
    assert np.isnan(batch.columns["t"].values[2])
    assert len(rejects) == 0
    for name in ("door", "s"):
        missing = batch.columns[name].valid
        assert missing is not None
        assert not missing.any()
    assert batch.columns["s"].categories == ()


def test_every_rejected_row_is_kept_whole_with_its_first_reason() -> None:
    table = pa.table(
        {
            "device": ["a", None, "", "b", "c", "d", "e"],
            "time": pa.array([1, 2, 3, None, 10**18, 6, -1], pa.timestamp("us", tz="UTC")),
            "x": pa.array([1, 2, 3, 4, 5, 300, 7], pa.int64()),
            "y": pa.array([0.1, float("nan"), float("inf"), 1.0, None, 2.0, 1e300]),
        }
    )
    schema = Schema([Channel("x", "int8"), Channel("y", "float32")])
    batch, rejects = validate(table, schema, earliest=0, latest=10**18, source="node.csv")
    assert batch.devices == ("a",)
    assert batch.time.tolist() == [1]
    assert rejects.source == "node.csv"
    words = [
        "device is missing",
        "device id is empty",
        "time is missing",
        "outside",
        "300",
        "outside",
    ]
    assert all(word in reason for word, reason in zip(words, rejects.reasons, strict=True))
    rows = [json.loads(record) for record in rejects.records]
    assert rows[0] == {"device": None, "time": "1970-01-01T00:00:00.000002Z", "x": 2, "y": "nan"}
    assert rows[1]["y"] == "inf"
    assert rows[2]["time"] is None
    assert rows[5]["y"] == 1e300


def test_rows_and_rejects_add_up_and_rejected_texts_leave_no_trace() -> None:
    table = pa.table(
        {
            "device": pa.array(["good", "bad", "good"]).dictionary_encode(),
            "time": pa.array([1, -5, 2], pa.timestamp("us")),
            "s": pa.array(["on", "junk", "off"]),
            "t": [1, 2, 3],
        }
    )
    schema = Schema([Channel("s", "category"), Channel("t", "int8")])
    batch, rejects = validate(table, schema, earliest=0, latest=10)
    assert len(batch) + len(rejects) == 3
    assert batch.devices == ("good",)
    assert batch.columns["s"].categories == ("on", "off")
    assert batch.columns["s"].values.tolist() == [0, 1]


def test_a_batch_of_nothing_but_rejects() -> None:
    batch, rejects = one_channel(["x", "y"], "int8")
    assert len(batch) == 0
    assert batch.devices == ()
    assert len(rejects) == 2


def test_an_empty_table() -> None:
    batch, rejects = one_channel(pa.array([], pa.float64()), "float64")
    assert (len(batch), len(rejects)) == (0, 0)


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "bad"),
    [
        ([1, 300, -129, None], "int8", pa.int64(), ["300", "-129"]),
        ([1.0, 1.5, float("nan"), float("inf")], "int32", None, ["1.5", "nan", "inf"]),
        ([2**63, 1], "int64", pa.uint64(), ["9223372036854775808"]),
        (["1", "x", "1.5"], "int16", None, ["'x'", "1.5"]),
        ([21.3, 1 / 3, 1e39], "float32", None, ["0.3333333333333333", "1e+39"]),
        ([2**53 + 1, 5], "float64", pa.int64(), ["9007199254740993"]),
        ([0, 1, 2], "bool", None, ["2"]),
        ([0.0, 0.5], "bool", None, ["0.5"]),
        ([3, None], "category", None, ["3"]),
        ([True], "category", None, ["takes texts, not bool"]),
        ([b"\xff"], "float64", None, ["ff"]),
        ([[1.0]], "float64", None, ["takes float64, not list"]),
        ([datetime(2024, 1, 1, tzinfo=UTC)], "int64", None, ["2024-01-01T00:00:00.000000Z"]),
        ([Decimal("1.5")], "int8", None, ["1.5"]),
    ],
)
def test_values_that_the_dtype_cannot_hold(
    values: Any, dtype: str, kind: Any, bad: list[str]
) -> None:
    found = reasons(values, dtype, kind)
    assert len(found) == len(bad)
    for word, reason in zip(bad, found, strict=True):
        assert word in reason
        assert "channel 'x'" in reason


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "expected"),
    [
        ([1, None, -128], "int8", pa.int64(), [1, None, -128]),
        ([1.0, 2.0], "uint8", None, [1, 2]),
        ([21.3], "float32", None, [float(np.float32(21.3))]),
        ([1.5], "float64", pa.float16(), [1.5]),
        ([1.5, None], "float64", pa.float32(), [1.5, None]),
        ([True, None], "bool", None, [True, None]),
        ([1, 0], "bool", pa.uint8(), [True, False]),
        ([True, False], "int8", None, [1, 0]),
        (["true", "0"], "bool", None, [True, False]),
        (["1.5", None, "nan"][:2], "float64", None, [1.5, None]),
        ([Decimal("1.50")], "float64", None, [1.5]),
        (["on", None, "off", "on"], "category", None, ["on", None, "off", "on"]),
        (["on", None], "category", pa.large_string(), ["on", None]),
        ([None, None], "int16", None, [None, None]),
        ([None], "category", None, [None]),
        ([""], "category", None, [""]),
        ([[1.0], None][1:], "float64", pa.list_(pa.float64()), [None]),
    ],
)
def test_values_that_lose_nothing_are_taken(
    values: Any, dtype: str, kind: Any, expected: list[Any]
) -> None:
    assert reasons(values, dtype, kind) == ()
    assert stored(values, dtype, kind) == expected


def test_outliers_are_data() -> None:
    schema = Schema([Channel("t", "float64", valid_range=(-40, 85))])
    table = pa.table({"device": ["a"], "time": pa.array([1], pa.timestamp("us")), "t": [1e9]})
    batch, rejects = check(table, schema)
    assert batch.columns["t"].values.tolist() == [1e9]
    assert len(rejects) == 0


def test_dictionaries_with_holes_and_repeats() -> None:
    dictionary = pa.array(["off", "on", None, "off", "never"])
    codes = pa.array([3, 0, 1, 2, None])
    array = pa.DictionaryArray.from_arrays(codes, dictionary)
    batch, rejects = one_channel(array, "category")
    assert len(rejects) == 0
    assert batch.columns["x"].categories == ("off", "on")
    assert stored(array, "category") == ["off", "off", "on", None, None]
    numbers = pa.array([5, 7, 5]).dictionary_encode()
    assert stored(numbers, "int8") == [5, 7, 5]


def test_categories_follow_the_dictionary_or_the_first_appearance() -> None:
    ordered = pa.DictionaryArray.from_arrays(pa.array([2, 0]), pa.array(["low", "mid", "high"]))
    assert one_channel(ordered, "category")[0].columns["x"].categories == ("low", "high")
    assert one_channel(["b", "a"], "category")[0].columns["x"].categories == ("b", "a")


@pytest.mark.parametrize(
    "devices",
    [
        pa.array(["7", "8"]),
        pa.array([7, 8]),
        pa.array(["7", "8"], pa.large_string()),
        pa.array(["7", "8"]).dictionary_encode(),
        pa.chunked_array([["7"], ["8"]]),
    ],
)
def test_device_ids_are_texts_and_integers_are_their_digits(devices: Any) -> None:
    table = pa.table({"device": devices, "time": pa.array([1, 2], pa.timestamp("us")), "x": [1, 2]})
    batch, _ = check(table, Schema([Channel("x", "int8")]))
    assert batch.devices == ("7", "8")
    assert batch.device_index.dtype == np.int32


def test_devices_of_another_type_and_all_missing() -> None:
    schema = Schema([Channel("x", "int8")])
    times = pa.array([1], pa.timestamp("us"))
    with pytest.raises(InvalidInputError, match="texts or integers, not double"):
        check(pa.table({"device": [1.5], "time": times}), schema)
    _, rejects = check(pa.table({"device": pa.nulls(1), "time": times}), schema)
    assert rejects.reasons == ("device is missing",)


def test_times_take_their_declared_format() -> None:
    table = pa.table({"device": ["a", "a"], "time": [5, 10**12], "x": [1, 2]})
    batch, rejects = check(table, Schema([Channel("x", "int8")]), time_format=TimeFormat("s"))
    assert batch.time.tolist() == [5_000_000]
    assert "1970-01-01T00:00:00.000000Z to " in rejects.reasons[0]


def test_columns_that_the_schema_does_not_have() -> None:
    table = pa.table(
        {"device": ["a"], "time": pa.array([1], pa.timestamp("us")), "x": [1], "y": [2]}
    )
    schema = Schema([Channel("x", "int8")])
    with pytest.raises(SchemaError, match=r"\['y'\].*add them to the schema"):
        check(table, schema)
    batch, _ = check(table, schema, unknown="ignore")
    assert list(batch.columns) == ["x"]


def test_columns_that_are_missing_or_repeated() -> None:
    schema = Schema([Channel("x", "int8")])
    with pytest.raises(InvalidInputError, match="exactly one column 'time'"):
        check(pa.table({"device": ["a"]}), schema)
    twice = pa.table([["a"], ["2024-01-01"], [1], [2]], names=["device", "time", "x", "x"])
    with pytest.raises(SchemaError, match="more than once"):
        check(twice, schema)


def test_columns_of_the_right_type_are_not_copied() -> None:
    values = pa.array(np.arange(1000.0))
    batch, _ = one_channel(values, "float64")
    assert batch.columns["x"].values.ctypes.data == values.buffers()[1].address
    assert batch.columns["x"].valid is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "", None]),
            st.one_of(st.none(), st.integers(-10, 10)),
            st.one_of(st.none(), st.integers(-200, 200)),
        )
    )
)
def test_no_row_is_ever_dropped_or_reordered(rows: list[tuple[Any, Any, Any]]) -> None:
    table = pa.table(
        {
            "device": pa.array([row[0] for row in rows], pa.string()),
            "time": pa.array([row[1] for row in rows], pa.timestamp("us")),
            "x": pa.array([row[2] for row in rows], pa.int16()),
        }
    )
    batch, rejects = validate(table, Schema([Channel("x", "int8")]), earliest=-5, latest=5)
    good = [
        row
        for row in rows
        if row[0]
        and row[1] is not None
        and -5 <= row[1] < 5
        and (row[2] is None or -128 <= row[2] < 128)
    ]
    assert [batch.devices[i] for i in batch.device_index] == [row[0] for row in good]
    assert batch.time.tolist() == [row[1] for row in good]
    assert len(rejects) == len(rows) - len(good)
    column = batch.columns["x"]
    valid = np.ones(len(good), bool) if column.valid is None else column.valid
    kept = [v if ok else None for v, ok in zip(column.values.tolist(), valid, strict=True)]
    assert kept == [row[2] for row in good]


def test_rejected_rows_keep_every_type_readable() -> None:
    table = pa.table(
        {
            "device": pa.array([None], pa.string()),
            "time": pa.array([1], pa.timestamp("ns", tz="UTC")),
            "b": pa.array([b"\x01\xff"]),
            "d": pa.array([Decimal("1.50")]),
            "l": pa.array([[1.0, float("inf")]]),
            "m": pa.array([{"k": None}]),
            "t": pa.array([None], pa.timestamp("us")),
            "ok": pa.array([True]),
        }
    )
    _, rejects = check(table, Schema([Channel("ok", "bool")]), unknown="ignore")
    assert json.loads(rejects.records[0]) == {
        "device": None,
        "time": "1970-01-01T00:00:00.000000001Z",
        "b": "01ff",
        "d": "1.50",
        "l": [1.0, "inf"],
        "m": {"k": None},
        "t": None,
        "ok": True,
    }
