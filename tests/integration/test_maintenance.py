"""Maintenance that is killed, that meets writers, and on an object store."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto.server import ThreadedMotoServer

import pipeline
from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import compact
from pipeline.archive.expiry import forget
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.thinning import apply_retention
from pipeline.archive.transactions import Repository
from tests.support import START, rows_of

DAY = 86_400_000_000
SCHEMA = pipeline.Schema([pipeline.Channel("value", "float64")])
DAYS, COMMITS = 12, 30


def batch(step: int) -> dict[str, Any]:
    """Return ten rows, one a day and device, that tell of which append they are."""
    rows = np.arange(DAYS)
    time = START + rows * DAY + step * 1_000_000
    return {
        "device": np.array([f"d{row % 3}" for row in rows]),
        "time": time.astype("M8[us]"),
        "value": (step * 1000 + rows).astype(float),
    }


def fill(archive: pipeline.Archive) -> pipeline.Fleet:
    partitioning = pipeline.Partitioning(devices_per_block=2)
    fleet = archive.create_fleet("fleet", SCHEMA, partitioning, retention={"raw": "5 days"})
    for step in range(COMMITS):
        fleet.append(batch(step), positions={"log": step})
    return fleet


NOW = START + 9 * DAY
"""When the first four days are older than the retention."""


def check(archive: pipeline.Archive, counts: Any) -> None:
    """The days that are kept are whole, the others are whole or gone, all statistics are there."""
    fleet = archive.fleet("fleet")
    frame = rows_of(fleet.read())
    days = (frame["time"] - START) // DAY
    for day, rows in days.value_counts().items():
        assert rows == COMMITS, day
    assert set(days) >= set(range(4, DAYS))
    assert len(set(frame["value"])) == len(frame)
    answer = fleet.aggregate({"value": ["count", "sum"]}, every="1 day", by=[])
    np.testing.assert_array_equal(answer["value_count"], counts["value_count"])
    np.testing.assert_allclose(answer["value_sum"], counts["value_sum"], rtol=1e-12)
    assert fleet.positions == {"log": COMMITS - 1}
    report = archive.verify()
    assert report.is_clean, report.problems[:3]


def start(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.integration.maintain_worker", url, str(NOW)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_killed_at_any_moment_it_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    fleet = fill(pipeline.Archive.create(tmp_path / "whole"))
    counts = fleet.aggregate({"value": ["count", "sum"]}, every="1 day", by=[])
    shutil.copytree(tmp_path / "whole", tmp_path / "undisturbed")
    process = start(str(tmp_path / "undisturbed"))
    began = time.perf_counter()
    with process:
        go(process)
        process.wait(timeout=120)
    seconds = time.perf_counter() - began
    chance, killed = random.Random(11), 0
    for turn in range(2):
        folder = tmp_path / f"turn-{turn}"
        shutil.copytree(tmp_path / "whole", folder)
        for _ in range(2):
            with start(str(folder)) as process:
                go(process)
                time.sleep(chance.uniform(0, 0.8 * seconds))
                process.send_signal(signal.SIGKILL)
                killed += process.wait(timeout=30) == -signal.SIGKILL
            check(pipeline.Archive.open(folder), counts)
        with start(str(folder)) as process:
            go(process)
            assert process.wait(timeout=120) == 0
        check(pipeline.Archive.open(folder), counts)
        frame = rows_of(pipeline.Archive.open(folder).fleet("fleet").read())
        assert len(frame) == (DAYS - 4) * COMMITS
        assert files(folder) <= files(tmp_path / "undisturbed") + 6
        assert not list(folder.rglob("*#*"))
    assert killed >= 1  # a round may be over before the kill, on a machine that has become faster


def files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def maintain_beside_others(repository: Repository, safety: timedelta) -> None:
    """Do all parts with ages that a test has the time for."""
    apply_retention(repository, "fleet", NOW)
    compact(FleetStore(repository, "fleet"), CompactionPolicy(), datetime.now(UTC))
    now = datetime.now(UTC)
    states = [commit.time for commit in repository.history() if commit.time <= now - safety]
    if states:
        repository.expire(states[0])
    repository.collect_garbage(now - safety)


def test_writers_and_readers_go_on_beside_it(tmp_path: Path) -> None:
    url = str(tmp_path / "busy")
    fleet = fill(pipeline.Archive.create(url))
    stop, errors, written = threading.Event(), [], []

    def write() -> None:
        own = pipeline.Archive.open(url).fleet("fleet")
        try:
            for step in range(1000, 1020):
                own.append(batch(step))
                written.append(step)
        except Exception as error:
            errors.append(error)
        stop.set()

    def read() -> None:
        own = pipeline.Archive.open(url).fleet("fleet")
        try:
            while not stop.is_set():
                frame = rows_of(own.read(time=(np.datetime64(START + 4 * DAY, "us"), None)))
                assert len(set(frame["value"])) == len(frame) >= (DAYS - 4) * COMMITS
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    repository, rounds = Repository.open(Location.parse(url)), 0
    while not stop.is_set() or rounds < 2:
        maintain_beside_others(repository, timedelta(seconds=20))
        rounds += 1
    for thread in threads:
        thread.join()
    assert errors == []
    maintain_beside_others(repository, timedelta(0))
    frame = rows_of(fleet.read())
    expected = {row for step in [*range(COMMITS), *written] for row in batch(step)["value"][4:]}
    assert set(frame["value"]) == expected
    assert len(frame) == len(expected)
    assert archive_is_clean(pipeline.Archive.open(url))


def archive_is_clean(archive: pipeline.Archive) -> bool:
    report = archive.verify()
    assert report.problems == ()
    return report.is_clean


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    import urllib.request

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    with urllib.request.urlopen(
        urllib.request.Request(f"{endpoint}/bucket", method="PUT"), timeout=30
    ):
        pass
    yield {
        "endpoint_url": endpoint,
        "region": "us-east-1",
        "allow_http": True,
        "force_path_style": True,
        "access_key_id": "test",
        "secret_access_key": "test",
    }
    server.stop()


def test_on_an_object_store_beside_a_writer(options: dict[str, Any]) -> None:
    url = "s3://bucket/kept"
    archive = pipeline.Archive.create(url, storage_options=options)
    fleet = archive.create_fleet("fleet", SCHEMA, retention={"raw": "5 days"})
    for step in range(8):
        fleet.append(batch(step), positions={"log": step})
    counts = fleet.aggregate({"value": "count"}, every="1 day", by=[])
    errors = []

    def write() -> None:
        try:
            own = pipeline.Archive.open(url, storage_options=options).fleet("fleet")
            for step in range(8, 14):
                own.append(batch(step), positions={"log": step})
        except Exception as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    repository = Repository.open(Location.parse(url), options)
    # Objects' times have whole seconds there.
    maintain_beside_others(repository, timedelta(seconds=30))
    writer.join()
    assert errors == []
    apply_retention(repository, "fleet", NOW)
    fleet.delete("d1")
    time.sleep(1.1)
    now = datetime.now(UTC)
    gone = forget(repository, now, timedelta(0), timedelta(0), alone=True)
    assert gone.snapshots > 5
    assert gone.objects > 20
    again = pipeline.Archive.open(url, storage_options=options)
    assert archive_is_clean(again)
    frame = rows_of(again.fleet("fleet").read())
    expected = {
        value
        for step in range(14)
        for row, value in enumerate(batch(step)["value"])
        if row >= 4 and row % 3 != 1
    }
    assert set(frame["value"]) == expected
    assert again.fleet("fleet").positions == {"log": 13}
    after = again.fleet("fleet").aggregate({"value": "count"}, every="1 day", by=[])
    assert after["value_count"].values[0] == 8 <= counts["value_count"].values[0] + 6
    again.fleet("fleet").append(batch(20))
    assert archive_is_clean(again)
