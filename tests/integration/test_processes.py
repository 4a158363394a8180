"""Several processes on one archive, and processes that are killed in the middle of an append."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pipeline
from tests.integration.append_worker import ROWS, batch
from tests.support import rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("value", "float64")])


def new_archive(folder: Path) -> pipeline.Archive:
    archive = pipeline.Archive.create(folder)
    archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning(devices_per_block=2))
    return archive


def start(
    archive: pipeline.Archive, worker: int, commits: int, log: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.append_worker"]
    arguments = [archive.url, str(worker), str(commits), str(log)]
    return subprocess.Popen([*command, *arguments])


def values_of(worker: int, step: int) -> set[float]:
    return {float(value) for value in batch(worker, step)["value"]}  # type: ignore[attr-defined]


def test_four_processes_append_at_once(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    commits = 25
    workers = [start(archive, at, commits, tmp_path / f"log-{at}") for at in range(4)]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0, 0, 0]
    frame = rows_of(archive.fleet("fleet").read())
    expected = {v for at in range(4) for step in range(commits) for v in values_of(at, step)}
    assert len(frame) == 4 * commits * ROWS
    assert set(frame["value"]) == expected
    appends = [c for c in archive.history() if c.metadata.get("kind") == "append"]
    assert len(appends) == 4 * commits
    for worker in range(4):
        key = f"worker-{worker}"
        steps = [c.metadata["positions"][key] for c in appends if key in c.metadata["positions"]]
        assert steps == list(range(commits - 1, -1, -1))
    counts = archive.fleet("fleet").aggregate({"value": ["count", "sum"]}, by=[])
    assert counts["value_count"] == len(frame)
    assert counts["value_sum"] == pytest.approx(sum(expected), rel=1e-12)


def test_killed_processes_lose_nothing_acknowledged_and_leave_nothing_half(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    chance = random.Random(7)
    acknowledged: set[tuple[int, int]] = set()
    for worker in range(10):
        log = tmp_path / f"log-{worker}"
        process = start(archive, worker, 10_000, log)
        deadline = time.monotonic() + 60
        while not log.exists() or log.stat().st_size == 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        acknowledged |= {(worker, int(line)) for line in log.read_text().split("\n")[:-1]}
        check_whole_appends(pipeline.Archive.open(archive.url), acknowledged)
    assert len(acknowledged) >= 10


def check_whole_appends(archive: pipeline.Archive, acknowledged: set[tuple[int, int]]) -> None:
    """Every acknowledged append is there, none is there in part, and the summaries agree."""
    fleet = archive.fleet("fleet")
    frame = rows_of(fleet.read())
    values = set(frame["value"])
    assert len(values) == len(frame)
    steps = {(int(v) // 1_000_000, int(v) % 1_000_000 // ROWS) for v in values}
    assert acknowledged <= steps
    assert {v for worker, step in steps for v in values_of(worker, step)} == values
    # What was not acknowledged may be the one append that each process was killed in.
    assert len(steps - acknowledged) <= len({worker for worker, _ in steps})
    assert fleet.aggregate({"value": "count"}, by=[])["value_count"] == len(frame)


def test_a_commit_waits_for_the_lock_and_not_for_a_dead_holder(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    hold = "import fcntl,os,sys,time; fd=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT); fcntl.flock(fd,2); print('held',flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, os.path.join(archive.url, "commit.lock")],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        writer = start(archive, 0, 1, tmp_path / "log")
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=4)
        assert not (tmp_path / "log").exists() or not (tmp_path / "log").read_text()
        holder.kill()
        holder.wait(timeout=30)
        assert writer.wait(timeout=60) == 0
    assert archive.fleet("fleet").read().read_all().num_rows == ROWS
