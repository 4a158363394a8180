"""The compact step: on the embedded cluster, on other processes, and killed in its midst."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import distributed
import numpy as np
import pytest
from pydantic import ValidationError

import pipeline
from pipeline.archive.compacting import CompactionPolicy, plan_merges
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.merging import prepare_merge
from pipeline.archive.transactions import Repository
from pipeline.errors import ArchiveError, NotFoundError
from pipeline.jobs.clusters import open_cluster
from pipeline.jobs.compact_step import compact_fleet
from pipeline.jobs.job_file import ClusterOptions, load_job
from pipeline.jobs.memory import choose_merge_rows, estimate_merge_memory, row_bytes
from pipeline.jobs.opening import JobArchive
from pipeline.jobs.progress import LogLines
from pipeline.jobs.runner import run_job
from pipeline.jobs.step_options import CompactStep
from pipeline.partitioning.pruning import Selection
from tests.jobs.running import Outcome, run, simulated, write_job
from tests.support import minutes

IMPORT = simulated(
    devices=24,
    readings=900,
    interval="5 min",
    devices_per_fragment=2,
    channels=["temperature", "state"],
    step={"fragments_per_commit": 1, "duplicates": "keep_all"},
)
MANY = simulated(
    devices=12,
    readings=2000,
    interval="30 min",
    devices_per_fragment=2,
    channels=["temperature"],
    step={"fragments_per_commit": 1},
)
COMPACT = {"compact": {"fleet": "rooms"}}
ONE_BY_ONE = {"compact": {"fleet": "rooms", "partitions_per_commit": 1}}


def blocks(outcome: Outcome) -> int:
    store = FleetStore(Repository.open(Location.parse(outcome.archive.url)), "rooms")
    return len(store.view().blocks(Selection()))


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """A scheduler with two worker processes."""
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


def test_a_job_compacts_and_tells_what_it_did(tmp_path: Path) -> None:
    imported = run(tmp_path, IMPORT)
    rows, before = imported.archive.fleet("rooms").read().read_all(), blocks(imported)
    done = run(tmp_path, COMPACT, "report")
    step = done.report["steps"][0]
    assert (step["step"], step["fleet"]) == ("compact", "rooms")
    assert (step["blocks_before"], step["blocks_after"]) == (before, blocks(done))
    assert before == 12 * step["windows"] > step["blocks_after"] == step["windows"]
    assert (step["rows"], step["duplicates"], step["retries"]) == (24 * 900, 0, 0)
    assert step["bytes_after"] < step["bytes_before"]
    assert step["rows_per_s"] > 0
    assert done.archive.fleet("rooms").read().read_all().equals(rows)
    assert "Compactions" in done.text
    assert "  rooms " in done.text
    again = run(tmp_path, COMPACT).report["steps"][0]
    assert (again["merges"], again["commits"]) == (0, 0)


def test_workers_in_other_processes_do_the_same(
    tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    here = run(tmp_path / "here", IMPORT, COMPACT)
    there = run(tmp_path / "there", IMPORT)
    there = run(tmp_path / "there", COMPACT, cluster=cluster.scheduler_address)
    one, two = here.report["steps"][1], there.report["steps"][0]
    told = ("merges", "blocks_before", "blocks_after", "rows", "partitions")
    assert [one[name] for name in told] == [two[name] for name in told]
    assert there.rows().equals(here.rows())
    assert blocks(there) == blocks(here)


def test_an_archive_in_memory_is_compacted_by_the_job(tmp_path: Path) -> None:
    path = write_job(tmp_path, IMPORT, COMPACT, archive="memory://compact-step")
    report = run_job(load_job(path), out=io.StringIO(), progress=LogLines())
    assert report["steps"][1]["merges"] > 0


def test_windows_have_to_be_old_enough(tmp_path: Path) -> None:
    imported = run(tmp_path, IMPORT)
    opened = JobArchive(imported.archive, Repository.open(Location.parse(imported.archive.url)))
    step = CompactStep(fleet="rooms", older_than="1 day", rows_at_once=1000)
    with open_cluster(ClusterOptions()) as cluster:
        done = compact_fleet(opened, cluster, step, LogLines(), datetime(2025, 1, 3, 1, tzinfo=UTC))
    assert done.result.windows == 1


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not a duration"):
        CompactStep(fleet="rooms", older_than="soon")
    with pytest.raises(ValidationError):
        CompactStep(fleet="rooms", overlap=0)
    with pytest.raises(NotFoundError, match="no fleet 'rooms'"):
        run(tmp_path, COMPACT)


def commits(folder: Path, kind: str) -> int:
    try:
        history = list(pipeline.Archive.open(folder / "archive").history())
    except ArchiveError:
        return 0
    return sum(commit.metadata.get("kind") == kind for commit in history)


def test_killed_and_run_again_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    rows = run(folder, MANY).rows()
    command = [sys.executable, "-m", "pipeline", "--quiet", str(write_job(folder, ONE_BY_ONE))]
    with subprocess.Popen(command, env=os.environ) as process:
        while commits(folder, "compact") < 3:
            assert process.poll() is None, "the job ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = commits(folder, "compact")
    resumed = run(folder, ONE_BY_ONE)
    report = resumed.report["steps"][0]
    assert 0 < report["merges"] == report["windows"] - done
    assert report["blocks_after"] == report["windows"]
    assert resumed.rows().equals(rows)


def test_a_merge_stays_below_what_is_estimated() -> None:
    archive = pipeline.Archive.create("memory://merge-memory")
    schema = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("n", "int32")])
    fleet = archive.create_fleet("fleet", schema, pipeline.Partitioning(landing_rows=0))
    chance = np.random.default_rng(1)
    size, batches = 60_000, 10
    for number in range(batches):
        fleet.append(
            {
                "device": chance.integers(0, 50, size).astype(str),
                "time": minutes(0)[0] + (np.arange(size) * 1000 + number).astype("m8[us]"),
                "t": np.round(chance.normal(size=size), 2),
                "n": chance.integers(0, 100, size),
            }
        )
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    policy = CompactionPolicy(rows_at_once=size * batches)
    (merge,) = plan_merges(view.blocks(Selection()), policy, {1})
    prepare_merge(view, merge)  # compiled code is loaded, and pools are filled
    tracemalloc.start()
    try:
        prepare_merge(view, merge)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    bound = estimate_merge_memory(row_bytes=row_bytes(schema), rows_at_once=merge.rows, merges=1)
    assert merge.rows * row_bytes(schema) < peak < bound


def test_rows_at_once_fit_in_half_of_the_memory() -> None:
    gigabyte = 1 << 30
    assert choose_merge_rows(100 * gigabyte, 40, 4) == 1 << 21
    assert choose_merge_rows(1, 40, 4) == 1 << 17
    for threads in (1, 4):
        rows = choose_merge_rows(4 * gigabyte, 40, threads)
        held = estimate_merge_memory(row_bytes=40, rows_at_once=rows, merges=threads)
        assert held <= 2 * gigabyte


def test_a_worker_that_is_killed_meanwhile_does_not_matter(
    tmp_path: Path, cluster: distributed.LocalCluster
) -> None:
    rows = run(tmp_path, MANY).rows()
    with ThreadPoolExecutor(1) as pool:
        workers = [worker.pid for worker in cluster.workers.values()]
        job = pool.submit(run, tmp_path, ONE_BY_ONE, cluster=cluster.scheduler_address)
        while commits(tmp_path, "compact") < 3:
            assert not job.done(), "the job ended before a worker could be killed"
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        done = job.result(timeout=120)
    step = done.report["steps"][0]
    assert step["blocks_after"] == step["windows"] == step["commits"]
    assert done.rows().equals(rows)
