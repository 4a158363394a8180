"""Imports by workers that are processes of their own, and what becomes of them when some are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import psutil
import pyarrow as pa
import pytest
from zarr.core.sync import sync

from pipeline.api.archive import Archive
from pipeline.archive.chunk_io import get_sizes
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
INLINE = 512
"""Chunks up to so many bytes lie in the manifests."""

pytestmark = pytest.mark.timeout(900)  # processes start some dozen times


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    with s3_server() as told:
        yield told


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteCluster]:
    with remote_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
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


LOCAL: dict[str, Any] = {
    "cluster": {
        "class": "distributed.LocalCluster",
        "arguments": {
            "n_workers": 2,
            "threads_per_worker": 1,
            "processes": True,
            "dashboard_address": "127.0.0.1:0",
        },
        "workers": 2,
    }
}


def test_the_whole_cluster_is_killed_again_and_again(tmp_path: Path, expected: pa.Table) -> None:
    """On a local folder: the job with its scheduler and its workers, at random moments."""
    folder, chance = tmp_path / "killed", random.Random(5)
    kill_some(folder, STEP, ["cluster", "driver"], chance)
    check_resumed(folder, STEP, expected)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_thirty_kills_of_driver_worker_and_cluster(tmp_path: Path) -> None:
    step = simulated(
        devices=1200,
        readings=200,
        devices_per_fragment=6,
        channels=["temperature", "state"],
        step={"fragments_per_commit": 2, "duplicates": "keep_all"},
    )
    kill_some(tmp_path / "killed", step, ["driver", "worker", "cluster"] * 10, random.Random(6))
    check_resumed(tmp_path / "killed", step, run(tmp_path / "undisturbed", step).rows())


def kill_some(folder: Path, step: Any, victims: list[str], chance: random.Random) -> None:
    """Start a job again and again, and each time kill some of its processes."""
    command = [sys.executable, "-m", "pipeline", "-q", str(write_job(folder, step, **LOCAL))]
    made = 0
    for victim in victims:
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            await_commits(folder, made + 1, process)
            time.sleep(chance.uniform(0, 0.3))
            children = psutil.Process(process.pid).children()
            if victim == "worker":
                # Another one takes over what it had, and the job goes on.
                kill([child for child in children if is_worker(child)][:1])
                await_commits(folder, appends(str(folder / "archive")) + 1, process)
            kill([psutil.Process(process.pid), *([] if victim == "driver" else children)])
        gone, left = psutil.wait_procs(children, timeout=60)
        assert not left, "workers outlived the job's scheduler"
        assert gone
        made = appends(str(folder / "archive"))


def await_commits(folder: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while appends(str(folder / "archive")) < count:
        assert process.poll() is None, "the job ended before it could be killed"
        time.sleep(0.01)


def is_worker(process: psutil.Process) -> bool:
    return any("spawn_main" in part for part in process.cmdline())


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def check_resumed(folder: Path, step: Any, expected: pa.Table) -> None:
    resumed = run(folder, step, **LOCAL)
    assert resumed.report["steps"][0]["forked"]
    assert resumed.report["steps"][0]["skipped"] >= 3
    assert resumed.rows().equals(expected)
    answer = resumed.archive.fleet("rooms").aggregate({"temperature": "count"}, by=[])
    assert answer["temperature_count"] == len(expected)
    check_swept(resumed.archive)


def check_swept(archive: Archive) -> None:
    """After maintenance, nothing is left of what killed writers had begun."""
    archive.maintain(history="0 s", safety="0 s", compact=False, alone=True)
    report = archive.verify()
    assert report.is_clean, report.problems[:3]
    store = archive._repository.snapshot().store

    async def chunks() -> list[str]:
        return [key async for key in store.list_prefix("") if "/c/" in key]

    sizes = get_sizes(store, sync(chunks()))
    files = [path.stat().st_size for path in Path(archive.url).glob("chunks/*")]
    assert sorted(files) == sorted(size for size in sizes if size > INLINE)
    assert not list(Path(archive.url).rglob("*#*"))


def appends(url: str, options: dict[str, Any] | None = None) -> int:
    """Return how many commits with rows the archive has."""
    try:
        history = list(Archive.open(url, storage_options=options).history())
    except ArchiveError:
        return 0
    return sum("append" in commit.message for commit in history)
