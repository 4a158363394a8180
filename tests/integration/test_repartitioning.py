"""Re-partitioning beside appending processes, and killed at random moments."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pipeline
from pipeline.archive.stored_chunks import stored_names
from tests.integration.append_worker import ROWS, batch
from tests.integration.repartition_worker import SCHEMES
from tests.integration.test_processes import check_whole_appends, new_archive, start, values_of
from tests.support import rows_of


def repartitioning(archive: pipeline.Archive, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.repartition_worker", archive.url, str(log)]
    return subprocess.Popen(command)


def wait_for(process: subprocess.Popen[bytes], log: Path, word: str, least: int = 1) -> None:
    deadline = time.monotonic() + 240
    while not log.exists() or log.read_text().count(word) < least:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_processes_append_while_another_partitions_anew(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    steps = 20
    workers = [start(archive, at, steps, tmp_path / f"log-{at}") for at in range(2)]
    process = repartitioning(archive, tmp_path / "log")
    try:
        assert [worker.wait(timeout=500) for worker in workers] == [0, 0]
        wait_for(process, tmp_path / "log", "done", least=2)
    finally:
        process.kill()
        process.wait(timeout=30)
    frame = rows_of(archive.fleet("fleet").read())
    expected = {v for at in range(2) for step in range(steps) for v in values_of(at, step)}
    assert len(frame) == 2 * steps * ROWS
    assert set(frame["value"]) == expected
    counts = archive.fleet("fleet").aggregate({"value": ["count", "sum"]}, by=[])
    assert counts["value_count"] == len(frame)
    assert counts["value_sum"] == pytest.approx(sum(expected), rel=1e-12)
    assert archive.verify().is_clean


def kill_again_and_again(folder: Path, times: int) -> None:
    archive = new_archive(folder / "archive")
    fleet, chance = archive.fleet("fleet"), random.Random(11)
    acknowledged: set[tuple[int, int]] = set()
    for number in range(times):
        for step in range(4):
            fleet.append(batch(number, step))
            acknowledged.add((number, step))
        log = folder / f"log-{number}"
        process = repartitioning(archive, log)
        wait_for(process, log, "begins")
        time.sleep(chance.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        reopened = pipeline.Archive.open(archive.url)
        check_whole_appends(reopened, acknowledged)
        report = reopened.verify()
        assert report.is_clean, report.problems
    before = rows_of(fleet.read()).sort_values(["device", "time"]).reset_index(drop=True)
    assert len(before) == 4 * times * ROWS
    scheme = next(one for one in SCHEMES if one != fleet.partitioning)
    fleet.repartition(scheme)
    after = rows_of(fleet.read()).sort_values(["device", "time"]).reset_index(drop=True)
    assert after.equals(before)
    assert archive.verify().is_clean
    names = stored_names(archive._repository.snapshot().store, "fleet")
    assert sum(name.startswith("g") for name in names) == 1


def test_killed_ones_leave_the_old_grid_or_the_new(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 5)


@pytest.mark.campaign
def test_killed_thirty_times(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 30)
