"""Joining small batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.jobs.joining import distinct, join_batches
from pipeline.model.batches import Column, RecordBatch


def test_distinct_keeps_the_order_of_first_appearance() -> None:
    assert distinct([("b", "a"), (), ("a", "c", "b")]) == ("b", "a", "c")


def batch(
    devices: Sequence[str], values: Sequence[float | None], texts: Sequence[str | None]
) -> RecordBatch:
    """Make a batch with a row per entry; None is missing."""
    ids = tuple(dict.fromkeys(devices))
    known = tuple(dict.fromkeys(text for text in texts if text is not None))
    valid = np.array([value is not None for value in values])
    labelled = np.array([text is not None for text in texts])
    return RecordBatch(
        ids,
        np.array([ids.index(device) for device in devices], np.int32),
        np.arange(len(devices), dtype=np.int64),
        {
            "value": Column(
                np.array([value or 0.0 for value in values]), None if valid.all() else valid
            ),
            "state": Column(
                np.array([known.index(t) if t is not None else 0 for t in texts], np.int32),
                None if labelled.all() else labelled,
                known,
            ),
        },
    )


def listed(rows: RecordBatch) -> list[tuple[str, int, float | None, str | None]]:
    value, state = rows.columns["value"], rows.columns["state"]
    return [
        (
            rows.devices[rows.device_index[at]],
            int(rows.time[at]),
            None if value.valid is not None and not value.valid[at] else float(value.values[at]),
            None
            if state.valid is not None and not state.valid[at]
            else (state.categories or ())[state.values[at]],
        )
        for at in range(len(rows))
    ]


def test_rows_come_back_in_order_with_their_devices_values_and_texts() -> None:
    parts = [
        batch(["a", "b", "a"], [1.0, 2.0, 3.0], ["on", "off", "on"]),
        batch(["c", "a"], [None, 4.0], ["off", None]),
        batch(["b", "b"], [5.0, None], [None, None]),
        batch([], [], []),
    ]
    joined = join_batches(parts)
    assert joined.devices == ("a", "b", "c")
    assert joined.columns["state"].categories == ("on", "off")
    assert listed(joined) == [row for part in parts for row in listed(part)]


def test_columns_without_missing_values_stay_so() -> None:
    parts = [batch(["a"], [1.0], ["on"]), batch(["a"], [2.0], ["on"])]
    assert join_batches(parts).columns["value"].valid is None


def test_one_batch_is_handed_on() -> None:
    one = batch(["a"], [1.0], ["on"])
    assert join_batches([one]) is one
