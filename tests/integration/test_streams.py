"""Streams of processes that are killed, and a log on a disk without room."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pipeline
from tests.integration.stream_worker import ROWS
from tests.support import rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("value", "float64")])


def new_archive(folder: Path) -> pipeline.Archive:
    archive = pipeline.Archive.create(folder)
    # Every row that is stored twice is seen.
    archive.create_fleet("fleet", SCHEMA, duplicates="keep_all")
    return archive


def killed_writers(tmp_path: Path, rounds: int) -> None:
    archive = new_archive(tmp_path / "archive")
    chance = random.Random(11)
    acknowledged: set[int] = set()
    for number in range(rounds):
        log = tmp_path / f"log-{number}"
        command = [sys.executable, "-m", "tests.integration.stream_worker"]
        first = number * 1_000_000
        arguments = [archive.url, str(tmp_path / "wal"), str(first), str(log)]
        process = subprocess.Popen([*command, *arguments])
        deadline = time.monotonic() + 120
        while not log.exists() or log.stat().st_size == 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        acknowledged |= {int(line) for line in log.read_text().split("\n")[:-1]}
    fleet = pipeline.Archive.open(archive.url).fleet("fleet")
    with fleet.stream(tmp_path / "wal") as stream:
        live = stream.read().read_all().num_rows
    values = rows_of(fleet.read())["value"].astype(int).tolist()
    assert len(values) == live == len(set(values))
    assert fleet.quarantine().num_rows == 0
    stored = {value // ROWS for value in values}
    assert acknowledged <= stored
    assert len(values) == len(stored) * ROWS
    # What was not acknowledged may be the writes that were going on.
    assert len(stored - acknowledged) <= 2 * rounds
    assert len(acknowledged) >= rounds


def test_killed_writers_lose_nothing_acknowledged_and_store_nothing_twice(tmp_path: Path) -> None:
    killed_writers(tmp_path, 6)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_a_hundred_killed_writers(tmp_path: Path) -> None:
    killed_writers(tmp_path, 100)


FULL_DISK = """
import resource, sys
import pipeline
from pipeline.errors import StorageError
from tests.integration.stream_worker import batch
fleet = pipeline.Archive.open(sys.argv[1]).fleet("fleet")
with fleet.stream(sys.argv[2], flush={"age": "1 h"}, compact=False) as stream:
    stream.write(batch(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    failed = 0
    try:
        for number in range(1, 4):
            try:
                stream.write(batch(number))
            except StorageError as error:
                failed += 1
                assert "nothing of this write is kept" in str(error), error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed == 3, failed
    assert stream.counters.held_rows == 20, stream.counters
    stream.write(batch(9))
"""


def test_a_disk_without_room_fails_writes_and_loses_none(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    command = [sys.executable, "-c", FULL_DISK, archive.url, str(tmp_path / "wal")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frame = rows_of(archive.fleet("fleet").read())
    assert sorted(set(frame["value"].astype(int) // ROWS)) == [0, 9]
    assert len(frame) == 2 * ROWS
