"""A job whose process is killed goes on where its last commit ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.api.archive import Archive
from pipeline.errors import ArchiveError
from tests.jobs.running import Outcome, run, simulated, write_job

STEP = simulated(
    devices=120,
    readings=500,
    devices_per_fragment=4,
    channels=["temperature", "state"],
    step={"fragments_per_commit": 1, "duplicates": "keep_all"},
)
FRAGMENTS = 30


def appends(folder: Path) -> int:
    """Return how many commits with rows the archive has."""
    try:
        history = list(Archive.open(folder / "archive").history())
    except ArchiveError:
        return 0
    return sum("append" in commit.message for commit in history)


def kill_after_a_commit(folder: Path) -> int:
    """Start the job in a process of its own, kill it in its midst, return its commits."""
    command = [sys.executable, "-m", "pipeline", "--quiet", str(write_job(folder, STEP))]
    with subprocess.Popen(command, env=os.environ) as process:
        before = appends(folder)
        while appends(folder) < before + 2:
            assert process.poll() is None, "the job ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    return appends(folder)


def content(outcome: Outcome) -> list[list[object]]:
    rows = outcome.rows()
    return [rows[name].to_pylist() for name in rows.column_names]


def test_killed_twice_and_run_again_it_holds_what_an_undisturbed_run_holds(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    first = kill_after_a_commit(folder)
    second = kill_after_a_commit(folder)
    assert 0 < first < second < FRAGMENTS
    resumed = run(folder, STEP)
    report = resumed.report["steps"][0]
    assert report["skipped"] == second
    assert report["commits"] == FRAGMENTS - second
    undisturbed = run(tmp_path / "undisturbed", STEP)
    assert content(resumed) == content(undisturbed)
    assert resumed.archive.fleet("rooms").devices == undisturbed.archive.fleet("rooms").devices
    assert resumed.archive.fleet("rooms").tags == undisturbed.archive.fleet("rooms").tags
    assert run(folder, STEP).report["steps"][0]["rows"] == 0
