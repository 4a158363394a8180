"""Blocks that are prepared one by one say the same as their batch as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.archive.fleet_meta import Duplicates, FleetMeta
from pipeline.archive.layout import BLOCK_ROWS, FleetLayout
from pipeline.archive.preparing import prepare, summarise
from pipeline.model.batches import Column, RecordBatch
from pipeline.partitioning.scheme import Partitioning
from pipeline.schema.channels import Channel, Schema
from tests.support import HOUR, START

ROWS = 2 * BLOCK_ROWS + 100


def meta(summary: str) -> FleetMeta:
    """Return a fleet whose windows are months."""
    scheme = Partitioning("1 month", 256, summary)
    schema = Schema([Channel("t", "float64")])
    return FleetMeta(FleetLayout("rooms", scheme), schema, Duplicates.KEEP_LAST)


@pytest.mark.parametrize("order", ["device", "time"])
@pytest.mark.parametrize("summary", ["1 hour", "1 day", "1 month"])
def test_statistics_do_not_depend_on_where_blocks_are_cut(order: str, summary: str) -> None:
    rng = np.random.default_rng(1)
    device, reading = np.divmod(np.arange(ROWS), ROWS // 3)
    time = START + reading * HOUR // 100
    values = rng.normal(20, 1, ROWS).round(1)
    valid = rng.random(ROWS) > 0.01
    rows = np.arange(ROWS) if order == "device" else np.argsort(reading, kind="stable")
    index = device.astype(np.int32)
    batch = RecordBatch(
        ("a", "b", "c", "d"), index[rows], time[rows], {"t": Column(values[rows], valid[rows])}
    )
    fleet = meta(summary)
    found = prepare(batch, fleet, np.arange(4, dtype=np.int32), {})
    period = fleet.scheme.summary_length
    # Devices one after the other, whatever the order of delivery.
    expected = summarise(period, index, time, {"t": Column(values, valid)})
    assert found.rows == ROWS
    assert sum(entry.rows for entry in found.entries) == ROWS
    assert len(found.entries) >= 3
    at = np.lexsort((found.statistics.period, found.statistics.device))
    for name in ("device", "period", "rows", "time_min", "time_max"):
        ours, theirs = getattr(found.statistics, name)[at], getattr(expected, name)
        np.testing.assert_array_equal(ours, theirs, name)
    mine, whole = found.statistics.channels["t"][at], expected.channels["t"]
    for ours, theirs in zip(mine.arrays()[:5], whole.arrays()[:5], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(mine.total, whole.total, rtol=1e-13)
    np.testing.assert_allclose(mine.m2, whole.m2, rtol=1e-9, atol=1e-9)


def test_a_batch_without_rows_is_prepared() -> None:
    none = RecordBatch((), np.zeros(0, np.int32), np.zeros(0, np.int64), {"t": Column(np.zeros(0))})
    found = prepare(none, meta("1 day"), np.zeros(0, np.int32), {})
    assert (found.rows, found.entries, len(found.statistics)) == (0, (), 0)
