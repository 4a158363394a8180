"""Runs of a scheduled job that meet, are missed, run twice, or are killed or stopped."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pipeline
from tests.integration.test_rollups import ASKED, new_archive
from tests.jobs.running import write_job
from tests.rollup_checks import assert_right
from tests.support import minutes

STEP = {"rollup": {"fleet": "fleet", "rollups": {"5min": {"statistics": ASKED, "every": "5 min"}}}}


def job(folder: Path, overlap: str, length: str = "1 min", step: Any = STEP) -> Path:
    """Write a job file with a report of its own."""
    lease = {"name": "upkeep", "overlap": overlap, "length": length}
    archive = str(folder / "archive")
    steps = step if isinstance(step, list) else [step]
    return write_job(folder / f"{overlap}-{length}", *steps, lease=lease, archive=archive)


def command(path: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "pipeline", "-q", str(path)]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate(timeout=200)[1]
    return process.returncode, said


def report(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((path.parent / "report.json").read_text())
    return told


class Paced:
    """A run of a job that goes on commit by commit."""

    def __init__(self, path: Path) -> None:
        line = [sys.executable, "-m", "tests.integration.job_worker", str(path)]
        self.process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def committed(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "committed\n", self.process.communicate()[1]

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def on(self) -> tuple[int, str]:
        """Let it go on to its end."""
        said = self.process.communicate("on\n" * 20, timeout=200)[1]
        return self.process.returncode, said


def kinds(archive: pipeline.Archive) -> list[str]:
    """Return what the commits were for, newest first."""
    return [commit.metadata.get("kind", "") for commit in archive.history()]


def table(archive: pipeline.Archive) -> xr.Dataset:
    return archive.fleet("fleet").rollups["5min"].to_xarray().load()


def same(one: xr.Dataset, other: xr.Dataset) -> bool:
    return one.drop_attrs().identical(other.drop_attrs())


def undisturbed(folder: Path) -> xr.Dataset:
    """Return the rollup of the same rows, of which nothing was ever interrupted."""
    archive = new_archive(folder / "undisturbed")
    archive.fleet("fleet").rollups["5min"].refresh()
    return table(archive)


def test_a_run_that_meets_another_one_skips_or_waits(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    with Paced(job(tmp_path, "skip", "59 s")) as first:
        first.committed()
        before = archive.history().__next__().snapshot
        skips, waits = job(tmp_path, "skip"), job(tmp_path, "wait")
        waiting = command(waits)
        code, said = ended(command(skips))
        assert code == 0
        assert "skipped: the lease 'upkeep' is held by" in said
        assert not (skips.parent / "report.json").exists()
        assert archive.history().__next__().snapshot == before
        assert waiting.poll() is None
        assert first.on()[0] == 0
    assert ended(waiting) == (0, "")
    (step,) = report(waits)["steps"]
    assert step["rollups"][0]["cells"] == 0
    assert_right(archive.fleet("fleet"), "5min")


def test_missed_runs_are_made_up_for_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    schema = pipeline.Schema([pipeline.Channel("value", "float64")])
    fleet = archive.create_fleet("fleet", schema, pipeline.Partitioning("1 hour"))

    def rows(hours: range) -> None:
        for hour in hours:
            steps = minutes(*range(60 * hour, 60 * hour + 60))
            fleet.append({"device": "a", "time": steps, "value": np.arange(60.0) + hour})

    hourly = {"rollup": {"fleet": "fleet", "rollups": {"hourly": {"every": "1 hour"}}}}
    path = job(tmp_path, "skip", step=hourly)
    rows(range(2))
    assert pipeline.run(path)["status"] == "succeeded"
    rows(range(2, 8))  # six runs are missed, and one row of the first hour comes late
    fleet.append({"device": ["a"], "time": minutes(0.5), "value": [100.0]})
    assert ended(command(path)) == (0, "")
    (done,) = report(path)["steps"][0]["rollups"]
    assert done["cells"] == 6 + 1
    kept = fleet.rollups["hourly"].to_xarray().load().sel(device="a")
    assert kept["value_count"].values[:8].tolist() == [61, *[60] * 7]
    assert_right(fleet, "hourly")

    before = kinds(archive)
    assert ended(command(path)) == (0, "")
    (again,) = report(path)["steps"][0]["rollups"]
    assert (again["tasks"], again["cells"], again["commits"]) == (0, 0, 0)
    # The lease was taken and given back: nothing else was written.
    assert kinds(archive) == ["lease", "lease", *before]


def test_a_run_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    path = job(tmp_path, "wait", "2 s")
    with Paced(path) as killed:
        for _ in range(3):
            killed.committed()
            killed.tell("on")
        killed.committed()
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(timeout=30)
    # Its lease runs out, and what it has committed is not computed once more.
    assert ended(command(path)) == (0, "")
    assert 0 < report(path)["steps"][0]["rollups"][0]["tasks"] <= 9 - 4
    assert same(table(archive), undisturbed(tmp_path))
    assert archive.verify().is_clean


def test_a_run_that_was_stopped_commits_nothing_once_another_took_over(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    path = job(tmp_path, "wait", "2 s")
    with Paced(job(tmp_path, "skip", "2 s")) as asleep:
        asleep.committed()
        asleep.tell("sleep")
        assert ended(command(path)) == (0, "")
        fleet = archive.fleet("fleet")
        fleet.append({"device": ["a"], "time": minutes(1), "value": [7.0]})
        before = archive.history().__next__().snapshot
        asleep.process.send_signal(signal.SIGCONT)
        # There would be something to do again, but it is not for this one.
        code, said = asleep.on()
        assert code == 1
        assert "ran out, and" in said
    assert archive.history().__next__().snapshot == before
    assert report(tmp_path / "skip-2 s" / "job.yaml")["error"]["kind"] == "fenced"
    fleet.rollups["5min"].refresh()
    assert_right(fleet, "5min")


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_runs_in_the_end_all_is_right(tmp_path: Path, seed: int) -> None:
    """Runs overlap, and are killed, or stopped and woken up later, while rows come."""
    rng = random.Random(seed)
    archive = new_archive(tmp_path / "archive")
    fleet = archive.fleet("fleet")
    steps = [STEP, {"maintenance": {"fleets": ["fleet"]}}]
    paths = [job(tmp_path, overlap, "2 s", steps) for overlap in ("skip", "wait")]
    running: list[subprocess.Popen[str]] = []
    for turn in range(12):
        fleet.append(
            {"device": ["a", "b"], "time": minutes(*[turn + 0.5] * 2), "value": [1.0, 2.0]}
        )
        running.append(command(rng.choice(paths)))
        time.sleep(rng.uniform(0, 6))
        for process in running:
            process.send_signal(signal.SIGCONT)
        fate = rng.choice((None, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM))
        if fate is not None:
            rng.choice(running).send_signal(fate)
        time.sleep(rng.uniform(0, 4))
    for process in running:
        process.send_signal(signal.SIGCONT)
    codes = {ended(process)[0] for process in running}
    # Who is told to end before it has begun, or at its very end, ends as any Python program.
    assert codes <= {0, 1, 130, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}
    assert ended(command(paths[1])) == (0, "")
    assert fleet.rollups["5min"].state.is_fresh
    assert fleet.rollups["5min"].refresh().commits == 0
    assert_right(fleet, "5min")
    assert archive.verify().is_clean
    assert len(fleet.read().read_all()) == 2 * 60 * 24 * 4 + 24
