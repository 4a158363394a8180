"""A process that is paused, and wakes up after another took its place, overwrites nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pipeline
from tests.support import rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("value", "float64")])


class Worker:
    def __init__(self, url: str, length: str) -> None:
        command = [sys.executable, "-m", "tests.integration.leased_worker", url, length]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def write(self, number: int, value: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number} {value}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_a_paused_writer_is_fenced(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA)
    paused = Worker(archive.url, "2 s")
    successor = None
    try:
        assert paused.answer() == "ready"
        paused.write(0, 1.0)
        assert paused.answer() == "written"
        paused.process.send_signal(signal.SIGSTOP)
        successor = Worker(archive.url, "2 s")
        assert successor.answer() == "ready"
        successor.write(0, 2.0)
        assert successor.answer() == "written"
        # The paused one finds this when it wakes up, and would make 1.0 the last value again.
        paused.write(0, 1.0)
        paused.process.send_signal(signal.SIGCONT)
        assert paused.answer() == "fenced"
        successor.write(1, 3.0)
        assert successor.answer() == "written"
    finally:
        paused.end()
        if successor is not None:
            successor.end()
    assert rows_of(fleet.read())["value"].tolist() == [2.0, 3.0]


def test_the_place_of_a_killed_writer_is_taken(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", SCHEMA)
    for turn in range(2):
        worker = Worker(archive.url, "1 s")
        try:
            assert worker.answer() == "ready"
            worker.write(turn, float(turn))
            assert worker.answer() == "written"
        finally:
            worker.end()
    assert rows_of(fleet.read())["value"].tolist() == [0.0, 1.0]
