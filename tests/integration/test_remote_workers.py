"""Imports by workers that are processes of their own, and what becomes of them when some are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import psutil
import pyarrow as pa
import pytest

from pipeline.api.archive import Archive
from pipeline.errors import ArchiveError
from tests.integration.servers import RemoteCluster, remote_cluster, s3_server
from tests.jobs.running import all_rows, run, simulated, write_job

STEP = simulated(
    devices=120,
    readings=400,
    devices_per_fragment=6,
    channels=["temperature", "state"],
    step={"fragments_per_commit": 2, "duplicates": "keep_all"},
)
FRAGMENTS = 20


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    with s3_server() as told:
        yield told


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RemoteCluster]:
    (tmp_path / "cluster").mkdir()
    with remote_cluster(tmp_path / "cluster", workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """All rows of an undisturbed import."""
    return run(tmp_path_factory.mktemp("undisturbed"), STEP).rows()


def keys(cluster: RemoteCluster, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "archive": f"s3://bucket/{uuid4().hex}",
        "storage_options": options,
        "cluster": {"address": cluster.address, "workers": 2},
    }


def test_workers_that_share_only_the_object_store(
    tmp_path: Path, cluster: RemoteCluster, options: dict[str, Any], expected: pa.Table
) -> None:
    told = keys(cluster, options)
    report = run(tmp_path, STEP, **told).report["steps"][0]
    assert report["forked"]
    assert report["commits"] == FRAGMENTS // 2
    archive = Archive.open(told["archive"], storage_options=options)
    assert all_rows(archive).equals(expected)
    again = run(tmp_path, STEP, **told).report["steps"][0]
    assert (again["rows"], again["skipped"]) == (0, FRAGMENTS)


def test_a_worker_that_is_killed_and_one_that_joins_late(
    tmp_path: Path, cluster: RemoteCluster, options: dict[str, Any], expected: pa.Table
) -> None:
    told = keys(cluster, options)

    def disturb() -> None:
        deadline = time.monotonic() + 120
        while appends(told["archive"], options) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.workers[0].send_signal(signal.SIGKILL)
        cluster.add_worker()

    disturbing = Thread(target=disturb)
    disturbing.start()
    report = run(tmp_path, STEP, **told).report["steps"][0]
    disturbing.join()
    assert report["commits"] == FRAGMENTS // 2
    archive = Archive.open(told["archive"], storage_options=options)
    assert all_rows(archive).equals(expected)


def test_the_whole_cluster_is_killed_again_and_again(tmp_path: Path, expected: pa.Table) -> None:
    """On a local folder: the job with its scheduler and its workers, at random moments."""
    arguments = {
        "n_workers": 2, "threads_per_worker": 1, "processes": True,
        "dashboard_address": "127.0.0.1:0",
    }  # fmt: skip
    told = {"cluster": {"class": "distributed.LocalCluster", "arguments": arguments, "workers": 2}}
    chance, folder = random.Random(5), tmp_path / "killed"
    path, made = str(write_job(folder, STEP, **told)), 0
    for _ in range(3):
        command = [sys.executable, "-m", "pipeline", "--quiet", path]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            while appends(str(folder / "archive")) <= made and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            kill_tree(process.pid)
        made = appends(str(folder / "archive"))
    assert made >= 3
    resumed = run(folder, STEP, **told)
    assert resumed.report["steps"][0]["forked"]
    assert resumed.rows().equals(expected)
    assert resumed.archive.fleet("rooms").aggregate({"temperature": "count"}, by=[])[
        "temperature_count"
    ] == len(expected)


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started, the parent first."""
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def appends(url: str, options: dict[str, Any] | None = None) -> int:
    """Return how many commits with rows the archive has."""
    try:
        history = list(Archive.open(url, storage_options=options).history())
    except ArchiveError:
        return 0
    return sum("append" in commit.message for commit in history)
