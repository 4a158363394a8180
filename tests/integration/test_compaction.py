"""Compaction beside appending processes, killed in its midst, and on real sensor data."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.layout import BLOCK_ROWS
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.partitioning.pruning import Selection
from pipeline.schema.channels import Schema
from tests.integration.append_worker import ROWS, batch
from tests.integration.test_processes import check_whole_appends, new_archive, start, values_of
from tests.support import rows_of


def store_of(archive: pipeline.Archive, fleet: str = "fleet") -> FleetStore:
    return FleetStore(Repository.open(Location.parse(archive.url)), fleet)


def compacting(archive: pipeline.Archive, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.compact_worker", archive.url, str(log)]
    return subprocess.Popen(command)


def wait_for_merges(process: subprocess.Popen[bytes], log: Path, least: int = 1) -> None:
    deadline = time.monotonic() + 120
    while not log.exists() or sum(map(int, log.read_text().split("\n")[:-1])) < least:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_processes_append_while_another_compacts(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    steps = 40
    compactor = compacting(archive, tmp_path / "merges")
    workers = [start(archive, at, steps, tmp_path / f"log-{at}") for at in range(2)]
    try:
        assert [worker.wait(timeout=240) for worker in workers] == [0, 0]
        wait_for_merges(compactor, tmp_path / "merges", least=3)
    finally:
        compactor.kill()
        compactor.wait(timeout=30)
    frame = rows_of(archive.fleet("fleet").read())
    expected = {v for at in range(2) for step in range(steps) for v in values_of(at, step)}
    assert len(frame) == 2 * steps * ROWS
    assert set(frame["value"]) == expected
    counts = archive.fleet("fleet").aggregate({"value": ["count", "sum"]}, by=[])
    assert counts["value_count"] == len(frame)
    assert counts["value_sum"] == pytest.approx(sum(expected), rel=1e-12)
    archive.fleet("fleet").compact()
    assert rows_of(archive.fleet("fleet").read()).equals(frame)
    assert all(unit.is_simple for unit in store_of(archive).view().units(Selection()))


def kill_again_and_again(folder: Path, times: int) -> None:
    archive = new_archive(folder / "archive")
    fleet, chance = archive.fleet("fleet"), random.Random(5)
    acknowledged: set[tuple[int, int]] = set()
    for number in range(times):
        # The log of an earlier process must not count.
        log = folder / f"merges-{number}"
        for step in range(6):
            fleet.append(batch(number, step))
            acknowledged.add((number, step))
        process = compacting(archive, log)
        if number % 2:
            wait_for_merges(process, log)
        else:
            time.sleep(chance.uniform(0.5, 2.0))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        check_whole_appends(pipeline.Archive.open(archive.url), acknowledged)
    before = rows_of(fleet.read())
    assert len(before) == 6 * times * ROWS
    fleet.compact()
    assert rows_of(fleet.read()).equals(before)


def test_killed_compactions_leave_the_old_state_or_the_new(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 4)


@pytest.mark.campaign
def test_compactions_killed_thirty_times(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 30)


def test_plain_zarr_reads_what_was_compacted(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    fleet = archive.fleet("fleet")
    for step in range(6):
        fleet.append(batch(0, step))
    expected = rows_of(fleet.read())
    fleet.compact()
    view = store_of(archive).view()
    found: dict[str, list[float]] = {"time": [], "value": []}
    for (window, block, slot), rows in zip(
        *(lambda b: (b.places.tolist(), b.rows.tolist()))(view.blocks(Selection())), strict=True
    ):
        for name, values in found.items():
            array = zarr.open_array(view.store, path=f"fleet/raw/{name}", mode="r")
            first = slot * BLOCK_ROWS
            values += np.asarray(array[window, block, first : first + rows]).tolist()
            beyond = np.asarray(array[window, block, first + rows : first + rows + 2])
            assert (beyond == array.fill_value).all() or np.isnan(beyond).all()
    assert sorted(found["value"]) == sorted(expected["value"])
    assert sorted(found["time"]) == sorted(expected["time"])


@pytest.mark.real_data
@pytest.mark.parametrize("duplicates", ["keep_all", "keep_last"])
@pytest.mark.parametrize(
    ("name", "window", "rows"),
    [("room_climate_nodes", "1 day", 15_000), ("hast_lora_leaf_nodes", "1 month", 5_000)],
)
def test_disordered_real_data_ends_in_order(
    name: str, window: str, rows: int, duplicates: str, tmp_path: Path, real_data: Path
) -> None:
    """The rows as the files have them, in batches: late, repeated and mixed."""
    table = pq.read_table(real_data / "parquet" / f"{name}.parquet")
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet(
        "fleet",
        Schema.from_arrow(table.schema),
        pipeline.Partitioning(window),
        duplicates=duplicates,
    )
    for at in range(0, len(table), rows):
        fleet.append(table.slice(at, rows))
    store, before = store_of(archive), fleet.read().read_all()
    assert not all(unit.is_simple for unit in store.view().units(Selection()))
    done = fleet.compact()
    assert fleet.read().read_all().equals(before)
    units = list(store.view().units(Selection()))
    assert all(unit.is_simple and unit.is_ordered for unit in units)
    assert done.blocks_after < done.blocks_before
    stored = int(store.view().blocks(Selection()).rows.sum())
    assert stored == before.num_rows
    assert fleet.compact().merges == 0
