"""A process that is killed while it changes a schema leaves the old version or the new one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.schema.changes import Describe
from tests.support import minutes, rows_of

PROGRAM = """
import sys
import pipeline
from pipeline.schema.changes import AddChannel, ChangeUnits, RemoveChannel
fleet = pipeline.Archive.open(sys.argv[1]).fleet("fleet")
told = False
while True:
    if "x" in fleet.schema:
        fleet.evolve(RemoveChannel("x"))
    else:
        channel = pipeline.Channel("x", "float32")
        fleet.evolve(AddChannel(channel, default=1), ChangeUnits("level", "?", multiply=2))
    if not told:
        told = True
        print("ready", flush=True)
"""


def kill_while_evolving(folder: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def check_kills(folder: Path, kills: int) -> None:
    archive = pipeline.Archive.create(folder)
    fleet = archive.create_fleet("fleet", pipeline.Schema([pipeline.Channel("level", "float64")]))
    fleet.append({"device": "a", "time": minutes(0, 1), "level": [1.0, 2.0]})
    random = np.random.default_rng(kills)
    for _ in range(kills):
        kill_while_evolving(folder, float(random.uniform(0.05, 0.4)))
        again = pipeline.Archive.open(folder)
        fleet = again.fleet("fleet")
        doublings = sum("x" in one.schema and len(one.changes) == 2 for one in fleet.schemas)
        rows = rows_of(fleet.read())
        assert rows["level"].tolist() == [2.0**doublings, 2 * 2.0**doublings]
        if "x" in fleet.schema:
            assert rows["x"].tolist() == [1.0, 1.0]
        answer = fleet.aggregate({"level": ["sum", "last"]})
        assert answer["level_sum"].values.tolist() == [3 * 2.0**doublings]
        assert again.verify().is_clean
    assert len(fleet.schemas) > 1
    fleet.evolve(Describe("level", "still alive"))


def test_killed_while_evolving(tmp_path: Path) -> None:
    check_kills(tmp_path / "archive", 2)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_killed_thirty_times_while_evolving(tmp_path: Path) -> None:
    check_kills(tmp_path / "archive", 30)
