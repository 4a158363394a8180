"""Disorder replayed live: the archive is that of a bulk append, and late rows are counted right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.schema.channels import Schema
from pipeline.simulation.disorder import hold_back, repeat_rows, shuffle_within
from pipeline.simulation.tsbs_iot import TsbsIot
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


def replay(
    live: pipeline.Fleet, table: pa.Table, folder: Path, *, rows: int = 700, disorder: int = 60
) -> int:
    """Write a table in batches of any size, by three sessions; return how many rows were late."""
    chance = np.random.default_rng(5)
    cuts = np.sort(chance.choice(table.num_rows, 120, replace=False))
    late, at = 0, 0
    # Three sessions one after the other: watermarks go on where the archive is.
    for ends in np.array_split(np.append(cuts, table.num_rows), 3):
        with live.stream(folder, disorder=f"{disorder} s", flush={"rows": rows}) as stream:
            for end in ends.tolist():
                stream.write(table.slice(at, end - at))
                at = end
            late += stream.counters.late
    return late


def same_rows(live: pipeline.Fleet, bulk: pipeline.Fleet) -> None:
    expected, found = (with_texts(fleet.read().read_all()) for fleet in (bulk, live))
    pd.testing.assert_frame_equal(found, expected)


def with_texts(table: pa.Table) -> pd.DataFrame:
    plain = [
        column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for column in table.columns
    ]
    # Devices come in the order in which they were met; rows of one stay in the order of time.
    frame: pd.DataFrame = pa.table(plain, names=table.column_names).to_pandas()
    return frame.sort_values("device", kind="stable", ignore_index=True)


@pytest.mark.parametrize("duplicates", ["keep_last", "keep_first", "keep_all"])
def test_a_live_replay_equals_a_bulk_append(tmp_path: Path, duplicates: str) -> None:
    table = disordered(3)
    archive = memory_archive()
    live = archive.create_fleet("live", SCHEMA, duplicates=duplicates)
    bulk = archive.create_fleet("bulk", SCHEMA, duplicates=duplicates)
    bulk.append(table)
    late = replay(live, table, tmp_path / "log")
    assert late == late_by_hand(table, 60 * SECOND)
    assert late > 100
    same_rows(live, bulk)
    asked = {"v": ["count", "mean", "last"], "state": "last"}
    one, two = (fleet.aggregate(asked, every="1 h") for fleet in (live, bulk))
    assert (one["v_count"] == two["v_count"]).all()
    assert (one["v_last"] == two["v_last"]).all()
    np.testing.assert_allclose(one["v_mean"], two["v_mean"], rtol=1e-12)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "window", "late"),
    [("room_climate_nodes", "1 day", 0), ("hast_lora_leaf_nodes", "1 month", 1)],
)
def test_real_disorder_replayed_live(
    name: str, window: str, late: int, tmp_path: Path, real_data: Path
) -> None:
    """The rows as the files have them; `late` is the least number of late ones."""
    table = pq.read_table(real_data / "parquet" / f"{name}.parquet")
    archive, schema = memory_archive(), Schema.from_arrow(table.schema)
    live, bulk = (
        archive.create_fleet(one, schema, pipeline.Partitioning(window)) for one in ("live", "bulk")
    )
    bulk.append(table)
    found = replay(live, table, tmp_path / "log", rows=20_000)
    valid = table.filter(table["time"].is_valid())
    assert found == late_by_hand(valid, 60 * SECOND) >= late
    same_rows(live, bulk)
    assert live.quarantine().num_rows == bulk.quarantine().num_rows
    for device in live.devices[:20]:
        assert live.latest(devices=[device]).equals(bulk.latest(devices=[device]))


def test_the_disorder_of_tsbs_replayed_live(tmp_path: Path) -> None:
    source = TsbsIot(trucks=20, days=0.25, disorder=True).readings()
    table = pa.concat_tables(
        intake.table for fragment in source.fragments() for intake in fragment.read()
    )
    archive, schema = memory_archive(), Schema.from_arrow(source.arrow_schema())
    live, bulk = (archive.create_fleet(one, schema) for one in ("live", "bulk"))
    bulk.append(table)
    late = replay(live, table, tmp_path / "log", rows=5000, disorder=5)
    assert late == late_by_hand(table, 5 * SECOND) > 0
    same_rows(live, bulk)
