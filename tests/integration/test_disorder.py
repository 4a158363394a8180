"""Disorder replayed live: the archive is that of a bulk append, and late rows are counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import pipeline
from pipeline.simulation.disorder import hold_back, repeat_rows, shuffle_within
from tests.support import START, memory_archive

SECOND = 1_000_000
SCHEMA = pipeline.Schema([pipeline.Channel("v", "float64"), pipeline.Channel("state", "category")])


def disordered(seed: int) -> pa.Table:
    """Return rows of 30 devices in the order in which they arrive: late, shuffled, some twice."""
    chance = np.random.default_rng(seed)
    time = START + np.repeat(np.arange(400) * 30 * SECOND, 30)
    devices = np.tile(np.arange(30), 400)
    order = shuffle_within(time, chance, 0.2, 90 * SECOND).rows
    order = order[hold_back(time[order], chance, 0.03, 600 * SECOND).rows]
    order = order[repeat_rows(len(order), chance, 0.05).rows]
    return pa.table(
        {
            "device": pa.array([f"d{at}" for at in devices[order]]),
            "time": pa.array(time[order]).cast(pa.timestamp("us", "UTC")),
            "v": pa.array(np.round(chance.normal(20, 3, len(order)), 2)),
            "state": pa.array(np.array(["on", "off"])[order % 2]),
        }
    )


def late_by_hand(table: pa.Table, disorder: int) -> int:
    newest: dict[str, int] = {}
    late = 0
    times = table["time"].cast(pa.int64()).to_pylist()
    for device, time in zip(table["device"].to_pylist(), times, strict=True):
        late += device in newest and time < newest[device] - disorder
        newest[device] = max(newest.get(device, time), time)
    return late


@pytest.mark.parametrize("duplicates", ["keep_last", "keep_first", "keep_all"])
def test_a_live_replay_equals_a_bulk_append(tmp_path: Path, duplicates: str) -> None:
    table = disordered(3)
    archive = memory_archive()
    live = archive.create_fleet("live", SCHEMA, duplicates=duplicates)
    bulk = archive.create_fleet("bulk", SCHEMA, duplicates=duplicates)
    bulk.append(table)
    chance = np.random.default_rng(5)
    cuts = np.sort(chance.choice(table.num_rows, 120, replace=False))
    late, at = 0, 0
    # Three sessions one after the other: watermarks go on where the archive is.
    for ends in np.array_split(np.append(cuts, table.num_rows), 3):
        with live.stream(tmp_path / "log", disorder="1 min", flush={"rows": 700}) as stream:
            for end in ends.tolist():
                stream.write(table.slice(at, end - at))
                at = end
            late += stream.counters.late
    assert late == late_by_hand(table, 60 * SECOND)
    assert late > 100
    expected, found = bulk.read().read_all(), live.read().read_all()
    for name in ("time", "v", "state"):
        assert found[name].to_pylist() == expected[name].to_pylist()
    assert found["device"].to_pylist() == expected["device"].to_pylist()
    asked = {"v": ["count", "mean", "last"], "state": "last"}
    one, two = (fleet.aggregate(asked, every="1 h") for fleet in (live, bulk))
    assert (one["v_count"] == two["v_count"]).all()
    assert (one["v_last"] == two["v_last"]).all()
    np.testing.assert_allclose(one["v_mean"], two["v_mean"], rtol=1e-12)
