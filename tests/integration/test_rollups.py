"""Rollups beside other processes: two at once, killed, while rows come; and read by plain xarray."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pipeline
from tests.integration.test_processes import start
from tests.rollup_checks import assert_right
from tests.support import START, minutes

SCHEMA = pipeline.Schema([pipeline.Channel("value", "float64")])
ASKED = {"value": ["mean", "std", "p95", "last"]}
DAYS = 60


def new_archive(folder: Path) -> pipeline.Archive:
    """Return an archive whose rollup of minutes is a dozen tasks."""
    archive = pipeline.Archive.create(folder)
    partitioning = pipeline.Partitioning("1 day", devices_per_block=2)
    fleet = archive.create_fleet("fleet", SCHEMA, partitioning)
    steps = np.arange(DAYS * 24 * 4)
    fleet.append(
        {
            "device": np.repeat(["a", "b"], len(steps)),
            "time": np.tile(START + steps * 900_000_000, 2).astype("M8[us]"),
            "value": np.random.default_rng(0).normal(size=2 * len(steps)),
        }
    )
    fleet.rollups.create("5min", ASKED, every="5 min")
    return archive


def refreshing(archive: pipeline.Archive, log: Path, times: int = 1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.integration.rollup_worker"]
    return subprocess.Popen([*command, archive.url, "5min", str(log), str(times)])


def wait_for(process: subprocess.Popen[bytes], log: Path, least: int) -> None:
    """Wait until so many groups are committed."""
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < least:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_two_processes_refresh_at_once(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    workers = [refreshing(archive, tmp_path / f"log-{at}") for at in range(2)]
    assert [worker.wait(timeout=200) for worker in workers] == [0, 0]
    fleet = archive.fleet("fleet")
    assert fleet.rollups["5min"].state.is_fresh
    assert fleet.rollups["5min"].refresh().commits == 0
    assert_right(fleet, "5min")
    # Each task was committed by one of them.
    done = [int(log.read_text().split()[-1]) for log in tmp_path.glob("log-*") if log.read_text()]
    assert sum(done) == 9


def test_rows_come_while_it_is_refreshed(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    worker = refreshing(archive, tmp_path / "log", times=0)
    steps = 30
    appending = [start(archive, at, steps, tmp_path / f"rows-{at}") for at in range(2)]
    try:
        assert [one.wait(timeout=200) for one in appending] == [0, 0]
        wait_for(worker, tmp_path / "log", 10)
    finally:
        worker.kill()
        worker.wait(timeout=30)
    fleet = archive.fleet("fleet")
    fleet.rollups["5min"].refresh()
    assert fleet.rollups["5min"].state.is_fresh
    assert_right(fleet, "5min")


def kill_again_and_again(folder: Path, times: int) -> None:
    archive, chance = new_archive(folder / "archive"), random.Random(3)
    fleet, committed = archive.fleet("fleet"), 0
    for number in range(times):
        log = folder / f"log-{number}"
        process = refreshing(archive, log, times=0)
        try:
            if number % 2:
                time.sleep(chance.uniform(0.5, 3.0))
            else:
                # Later, there may be no more to do than the row that was added.
                wait_for(process, log, 1 if number else 2)
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        committed += log.read_text().count("\n") if log.exists() else 0
        rollup = pipeline.Archive.open(archive.url).fleet("fleet").rollups["5min"]
        view = rollup._store.view()
        length = view.meta.scheme.window_length
        first = length.number(START)
        fresh = np.flatnonzero(rollup.fresh_windows(range(first, first + DAYS)))
        # What is said to be up to date is, wherever the process was killed.
        within = [(length.start(at), length.start(at + 1)) for at in (fresh + first).tolist()]
        assert_right(pipeline.Archive.open(archive.url).fleet("fleet"), "5min", within)
        fleet.append({"device": ["a"], "time": minutes(number * 1440), "value": [float(number)]})
    assert committed
    rest = fleet.rollups["5min"].refresh()
    assert rest.retries == 0
    assert_right(fleet, "5min")
    assert archive.verify().is_clean


def test_what_was_committed_before_a_kill_is_not_done_again(tmp_path: Path) -> None:
    archive = new_archive(tmp_path / "archive")
    log = tmp_path / "log"
    process = refreshing(archive, log)
    wait_for(process, log, 3)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    before = log.read_text().count("\n")
    rest = archive.fleet("fleet").rollups["5min"].refresh()
    # The one that was committed when it was killed may not have been noted any more.
    assert rest.tasks in (9 - before, 8 - before)
    assert_right(archive.fleet("fleet"), "5min")


def test_killed_refreshes_leave_nothing_that_is_wrong(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 3)


@pytest.mark.campaign
def test_refreshes_killed_thirty_times(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, 30)


def test_a_script_without_the_package_reads_a_rollup(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    channels = [
        pipeline.Channel("t", "float64", units="degC"),
        pipeline.Channel("n", "int8"),
        pipeline.Channel("mode", "category"),
    ]
    fleet = archive.create_fleet("fleet", pipeline.Schema(channels))
    steps = np.arange(0, 30 * 60, 5)
    steps = steps[(steps < 600) | (steps >= 720)]
    fleet.append(
        {
            "device": np.repeat(["a", "b"], len(steps)),
            "time": np.tile(minutes(*steps), 2),
            "t": np.round(np.sin(np.arange(2 * len(steps)) / 9), 2),
            "n": (np.arange(2 * len(steps)) % 256 - 128).astype(np.int8),
            "mode": np.where(np.arange(2 * len(steps)) % 24 < 12, "on", "stand by"),
        }
    )
    fleet.rollups.create("1h", {"t": "mean", "n": "min", "mode": "last"}).refresh()
    script = Path(__file__).with_name("rollup_reader.py")
    assert "import pipeline" not in script.read_text()
    output = tmp_path / "found.json"
    subprocess.run(
        [sys.executable, str(script), archive.url, "fleet/rollup/1h", str(output)],
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    found = json.loads(output.read_text())
    expected = fleet.aggregate({"t": "mean", "n": "min", "mode": "last"}, every="1h")
    assert found["sizes"] == {"device": 2, "time": 30, "bound": 2}
    assert found["variables"] == [
        "mode_count", "mode_last", "n_count", "n_min", "rows", "t_count", "t_mean", "time_bounds",
    ]  # fmt: skip
    assert found["devices"] == ["a", "b"]
    assert found["times"] == expected["time"].values.astype(int).tolist()
    assert [stop for _, stop in found["bounds"]][:-1] == found["times"][1:]
    np.testing.assert_allclose(found["t_mean"], expected["t_mean"].values, rtol=1e-12)
    assert np.isnan(found["t_mean"][0][10:12]).all()
    np.testing.assert_array_equal(found["n_min"], expected["n_min"].values)
    meanings = [*found["meanings"].split(), ""]
    texts = [[meanings[-1 if code != code else int(code)] for code in row] for row in found["mode"]]
    assert texts == [
        [text.replace(" ", "_") for text in row] for row in expected["mode_last"].values
    ]
    assert found["attributes"] == {"units": "degC", "cell_methods": "time: mean"}
    np.testing.assert_allclose(found["dask"], expected["t_mean"].values[:, 6:9].mean())
