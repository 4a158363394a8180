from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidInputError, SchemaError
from pipeline.model.batches import Column, RecordBatch
from pipeline.model.dtypes import CHANNEL_DTYPES, fill_value, storage_dtype, value_dtype
from pipeline.model.ports import Intake
from pipeline.model.rejects import Rejects
from pipeline.model.tables import to_table


def batch() -> RecordBatch:
    return RecordBatch(
        ("a", "b"),
        np.array([0, 1, 0], np.int32),
        np.array([1, 2, 3]),
        {"t": Column(np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))},
    )


def test_rows_are_taken_from_every_column() -> None:
    part = batch().take(np.array([2, 0]))
    assert len(part) == 2
    assert part.time.tolist() == [3, 1]
    assert part.columns["t"].values.tolist() == [3.0, 1.0]
    assert len(batch().take(slice(1, 2)).columns["t"]) == 1


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="differ in length"):
        RecordBatch(("a",), np.zeros(2, np.int32), np.zeros(3, np.int64))
    with pytest.raises(InvalidInputError, match="validity of the same length"):
        Column(np.zeros(2), np.zeros(3, bool))


def test_every_channel_dtype_has_a_stored_form() -> None:
    for name in CHANNEL_DTYPES:
        stored = storage_dtype(name)
        assert fill_value(stored) == stored.type(fill_value(stored)) or stored.kind == "f"
        assert value_dtype(name) == (np.dtype(bool) if name == "bool" else stored)
    assert fill_value(np.dtype(bool)) == 0
    with pytest.raises(SchemaError, match="unknown channel dtype 'text'"):
        storage_dtype("text")


def test_rejects_are_joined_in_order() -> None:
    parts = [Rejects(), Rejects(("r1",), ("why1",), "file"), Rejects(("r2",), ("why2",), "other")]
    joined = Rejects.concat(parts)
    assert (joined.records, joined.reasons, joined.source) == (
        ("r1", "r2"),
        ("why1", "why2"),
        "file",
    )
    assert Rejects.concat(parts, source="all").source == "all"


def test_an_intake_without_rejects_has_empty_ones() -> None:
    intake = Intake(to_table({"device": "a", "time": "2024-01-01"}))
    assert len(intake.rejects) == 0
    assert intake.ignored == 0
