"""Batches are taken alike whether they go the fast way or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.errors import InvalidInputError, SchemaError
from pipeline.ingest.intake import Intake
from pipeline.model.tables import to_table
from pipeline.schema.channels import Channel, Schema
from tests.support import minutes

SCHEMA = Schema(
    [Channel("f", "float64"), Channel("i", "int16"), Channel("b", "bool"), Channel("c", "category")]
)
TIMES = minutes(0, 1, 2)
PLAIN: dict[str, Any] = {
    "device": ["a", "b", "a"],
    "time": TIMES,
    "f": np.array([1.5, np.nan, -0.0]),
    "i": np.array([1, 2, 3], np.int16),
    "b": np.array([True, False, True]),
    "c": ["x", "y", "x"],
}
TABLE = to_table(PLAIN)


def expected() -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(PLAIN["device"], pa.string()),
            pa.array(TIMES).cast(pa.timestamp("us", "UTC")),
            pa.array(PLAIN["f"]),
            pa.array(PLAIN["i"]),
            pa.array(PLAIN["b"]),
            pa.array(PLAIN["c"], pa.string()),
        ],
        schema=Intake(SCHEMA).arrow,
    )


WAYS = {
    "lists and arrays": PLAIN,
    "object array": PLAIN | {"device": np.array(["a", "b", "a"], dtype=object)},
    "text array": PLAIN | {"device": np.array(["a", "b", "a"])},
    "table": TABLE,
    "table of two chunks": pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]),
    "record batch": TABLE.to_batches()[0],
    "dictionaries": TABLE.set_column(
        0, "device", TABLE["device"].combine_chunks().dictionary_encode()
    ),
    "frame": TABLE.to_pandas(),
    "other types": PLAIN | {"i": np.array([1.0, 2.0, 3.0]), "time": TIMES.astype("M8[ns]")},
    "strided": PLAIN | {"f": np.array([1.5, 0, np.nan, 0, -0.0, 0])[::2]},
    "as it is stored": expected(),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_rows(way: str) -> None:
    taken = Intake(SCHEMA).take(WAYS[way])
    assert taken.rows.schema.equals(expected().schema)
    assert taken.rows.serialize().equals(expected().serialize())
    assert taken.codes.tolist() == [0, 1, 0]
    assert not len(taken.rejects)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"device": ["a", "", "a"]}, "device id is empty"),
        ({"device": ["a", None, "a"]}, "device is missing"),
        ({"time": np.array([TIMES[0], "NaT", TIMES[2]], "M8[us]")}, "time is missing"),
        ({"time": np.array([0, 2**62, 0], "M8[us]")}, "outside"),
        ({"i": np.array([1, 70_000, 3])}, "channel 'i'"),
    ],
)
def test_rows_that_do_not_fit_are_set_aside(change: Any, reason: str) -> None:
    taken = Intake(SCHEMA).take(PLAIN | change, source="here")
    assert taken.rows.num_rows == 2
    assert taken.rejects.source == "here"
    assert reason in taken.rejects.reasons[0]


def test_missing_stays_missing() -> None:
    masked = np.ma.MaskedArray([1.5, 2.5, 3.5], [False, True, False])
    taken = Intake(SCHEMA).take({"device": "a", "time": TIMES, "f": masked})
    assert taken.rows["f"].to_pylist() == [1.5, None, 3.5]
    assert taken.rows["i"].null_count == 3
    frame = pd.DataFrame({"device": "a", "time": TIMES, "c": ["x", None, "y"]})
    assert Intake(SCHEMA).take(frame).rows["c"].to_pylist() == ["x", None, "y"]


def test_plain_columns_with_something_missing_or_odd_are_taken_all_the_same() -> None:
    taken = Intake(SCHEMA).take(PLAIN | {"c": ["x", None, "y"]})
    assert taken.rows["c"].to_pylist() == ["x", None, "y"]
    assert taken.rows["b"].to_pylist() == [True, False, True]
    assert taken.codes.tolist() == [0, 1, 0]
    taken = Intake(SCHEMA).take(PLAIN | {"c": ["x", 5, "y"]})
    assert taken.rows["c"].to_pylist() == ["x", "5", "y"]


def test_a_writer_may_use_its_arrays_again() -> None:
    values = np.array([1.0, 2.0, 3.0])
    taken = Intake(SCHEMA).take({"device": ["a"] * 3, "time": TIMES, "f": values})
    values[:] = 0
    assert taken.rows["f"].to_pylist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (PLAIN | {"z": [1, 2, 3]}, SchemaError),
        ({"device": ["a"], "f": np.array([1.0])}, InvalidInputError),
        (PLAIN | {"device": ["a"]}, InvalidInputError),
        (7, InvalidInputError),
    ],
)
def test_what_cannot_be_taken_is_an_error(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Intake(SCHEMA).take(data)
