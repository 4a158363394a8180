"""Appending, importing, compacting and maintaining processes on one archive, all at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipeline
from tests.integration.append_worker import ROWS
from tests.integration.busy_worker import IMPORTER
from tests.integration.servers import s3_server
from tests.integration.test_processes import SCHEMA, values_of
from tests.support import rows_of

ROLES = ("append", "import", "compact", "maintain")


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, Any]]:
    with s3_server() as told:
        yield told


def work(url: str, options: dict[str, Any] | None, seconds: float, folder: Path) -> None:
    """Let one process of each role work for some time, and check what is stored."""
    archive = pipeline.Archive.create(url, storage_options=options)
    archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning(devices_per_block=2))
    command = [sys.executable, "-m", "tests.integration.busy_worker"]
    logs = {role: folder / f"{role}.log" for role in ROLES}
    processes = [
        subprocess.Popen([*command, role, url, json.dumps(options), str(seconds), str(log)])
        for role, log in logs.items()
    ]
    try:
        codes = [process.wait(timeout=seconds + 240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0, 0, 0]
    turns = {role: [int(line) for line in log.read_text().split()] for role, log in logs.items()}
    assert all(turns.values()), turns
    assert sum(turns["compact"]) > 0
    check(pipeline.Archive.open(url, storage_options=options), turns)


def check(archive: pipeline.Archive, turns: dict[str, list[int]]) -> None:
    """What was acknowledged is there, once, and everything stored agrees with itself."""
    fleet = archive.fleet("fleet")
    frame = rows_of(fleet.read())
    expected = {value for step in turns["append"] for value in values_of(0, step)}
    expected |= {value for step in turns["import"] for value in values_of(IMPORTER, step)}
    assert len(frame) == len(expected) == ROWS * (len(turns["append"]) + len(turns["import"]))
    assert set(frame["value"]) == expected
    answer = fleet.aggregate({"value": ["count", "sum"]}, by=[])
    assert answer["value_count"] == len(frame)
    assert answer["value_sum"] == pytest.approx(sum(expected), rel=1e-12)
    assert fleet.positions["worker-0"] == turns["append"][-1]
    report = archive.verify()
    assert report.is_clean, report.problems[:3]
    fleet.compact()
    assert rows_of(fleet.read()).equals(frame)


def test_four_kinds_of_writers_on_a_folder(tmp_path: Path) -> None:
    work(str(tmp_path / "archive"), None, 8, tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_four_kinds_of_writers_for_ten_minutes_on_a_folder(tmp_path: Path) -> None:
    work(str(tmp_path / "archive"), None, 600, tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_four_kinds_of_writers_for_ten_minutes_on_an_object_store(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    work("s3://bucket/busy", options, 600, tmp_path)
