"""The migrate step: on the embedded cluster, told before it is done, killed in its midst."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

import pipeline
from pipeline.jobs.upkeep_options import MigrateStep
from pipeline.partitioning.pruning import Selection
from pipeline.schema.changes import ChangeDtype, ChangeUnits, RenameChannel
from tests.jobs.running import Outcome, run, simulated, write_job

IMPORT = simulated(
    devices=24,
    readings=900,
    interval="5 min",
    devices_per_fragment=2,
    channels=["temperature", "state"],
    step={"partitioning": {"window": "day", "devices_per_block": 4}},
)


def evolved(folder: Path) -> Outcome:
    """Return an archive of one fleet whose rows are of the version before the newest."""
    imported = run(folder, IMPORT)
    imported.archive.fleet("rooms").evolve(
        ChangeUnits("temperature", "degF", multiply=9, add=160, divide=5),
        ChangeDtype("temperature", "float32", tolerance=0.01),
        RenameChannel("state", "mode"),
    )
    return imported


def versions(archive: pipeline.Archive) -> set[int]:
    blocks = archive.fleet("rooms")._view().blocks(Selection())
    return set(blocks.schema_version.tolist())


def step(**options: Any) -> dict[str, Any]:
    return {"migrate": {"fleet": "rooms", **options}}


def same(one: pa.Table, two: pa.Table) -> bool:
    return bool(one.equals(two))


def test_a_job_migrates_and_tells_what_it_did(tmp_path: Path) -> None:
    outcome = evolved(tmp_path)
    before = outcome.rows()
    told = run(tmp_path, step(dry_run=True), if_exists="append").report["steps"][0]
    assert versions(outcome.archive) == {1}
    done = run(tmp_path, step(verify=True), "verify", "report", if_exists="append")
    made = done.report["steps"][0]
    assert versions(outcome.archive) == {2}
    assert same(outcome.rows(), before)
    assert (made["blocks"], made["rows"]) == (told["blocks"], told["rows"])
    assert made["rows"] == 24 * 900
    assert made["verified"] == made["blocks"]
    assert made["mb_per_s"] > 0
    assert told["estimate_seconds"] > 0
    assert f"before it: snapshot {made['before']}" in done.text
    back = run(tmp_path, step(roll_back_to=made["before"]), "report", if_exists="append")
    assert back.report["steps"][0]["blocks"] == made["blocks"]
    assert versions(outcome.archive) == {1}
    assert same(outcome.rows(), before)


def test_what_makes_no_sense() -> None:
    with pytest.raises(ValidationError, match="leave out to and dry_run"):
        MigrateStep(fleet="rooms", roll_back_to="ABC", dry_run=True)
    with pytest.raises(ValidationError, match="greater than 0"):
        MigrateStep(fleet="rooms", bytes_per_second=0)


def killed(folder: Path, after: int) -> None:
    """Start a migration with small commits, and kill it after some of them."""
    job = write_job(folder, step(partitions_per_commit=1), if_exists="append")
    begun = len(list(pipeline.Archive.open(folder / "archive").history()))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", str(job)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            commits = len(list(pipeline.Archive.open(folder / "archive").history())) - begun
            if commits >= after or process.poll() is not None:
                break
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_killed_and_run_again_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    outcome = evolved(tmp_path)
    before = outcome.rows()
    expected = outcome.archive.fleet("rooms").aggregate(
        {"temperature": ["mean", "last"]}, every="1 day"
    )
    killed(tmp_path, 2)
    assert 2 in versions(outcome.archive)
    assert same(outcome.rows(), before)
    assert outcome.archive.verify().is_clean
    run(tmp_path, step(), if_exists="append")
    assert versions(outcome.archive) == {2}
    assert same(outcome.rows(), before)
    found = outcome.archive.fleet("rooms").aggregate(
        {"temperature": ["mean", "last"]}, every="1 day"
    )
    for name, values in expected.data_vars.items():
        np.testing.assert_allclose(found[name].values, values.values, rtol=1e-5)
    assert outcome.archive.verify().is_clean


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_killed_thirty_times(tmp_path: Path) -> None:
    outcome = evolved(tmp_path)
    before, random = outcome.rows(), np.random.default_rng(int(os.environ.get("SEED", "1")))
    for _ in range(30):
        killed(tmp_path, int(random.integers(1, 4)))
        assert same(outcome.rows(), before)
        assert versions(outcome.archive) <= {1, 2}
    run(tmp_path, step(), if_exists="append")
    assert versions(outcome.archive) == {2}
    assert same(outcome.rows(), before)
    assert outcome.archive.verify().is_clean
