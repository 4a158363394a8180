"""The lease of a job: what job files may say, and what runs do that meet."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive.leases import read_leases, take_lease
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.errors import FencedError, JobError, LeaseHeldError
from pipeline.jobs import runner
from pipeline.jobs.command import main
from pipeline.jobs.job_file import load_job
from pipeline.jobs.progress import LogLines
from pipeline.jobs.runner import run_job
from tests.jobs.running import failed_report, run, simulated, write_job
from tests.support import START

LONG = 10**15
NOW = START + 10**14


def held(folder: Path, holder: str = "other", now: int = NOW) -> Repository:
    """Have somebody hold the lease ``upkeep`` for years."""
    repository = Repository.open(Location.parse(folder / "archive"))
    take_lease(repository, None, "upkeep", holder, now, LONG)
    return repository


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "a", "overlap": "kill"}, "lease.overlap: has to be 'skip' or 'wait'"),
        ({"overlap": "wait"}, "lease: key 'name' is missing"),
        ("", "lease.name"),
        ({"name": "a", "length": "soon"}, "lease.length"),
        ({"name": "a", "length": "3 days"}, "lease.length: a lease of 3 days would keep"),
        ({"name": "a", "ttl": 3}, "lease: unknown key 'ttl'"),
    ],
)
def test_what_is_no_lease(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(JobError, match=said):
        load_job(write_job(tmp_path, "report", lease=given))


def test_a_lease_is_not_kept_in_what_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="which 'if_exists: replace' deletes"):
        load_job(write_job(tmp_path, "report", lease="upkeep", if_exists="replace"))


def test_a_run_takes_the_lease_and_gives_it_back(tmp_path: Path) -> None:
    done = run(tmp_path, simulated(), lease="upkeep")
    assert done.report["skipped"] is None
    told = read_leases(Repository.open(Location.parse(tmp_path / "archive")).snapshot().store, None)
    assert told["leases"]["upkeep"]["epoch"] == 1
    # It can be taken at once.
    assert run(tmp_path, "report", lease="upkeep").report["status"] == "succeeded"


def test_a_skipped_run_leaves_the_report_to_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, simulated())
    repository = held(tmp_path)
    before = json.loads((tmp_path / "report.json").read_text())
    path, tip = write_job(tmp_path, "report", lease="upkeep"), repository.tip()
    assert main(["--quiet", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("skipped: the lease 'upkeep' is held by 'other' until ")
    assert json.loads((tmp_path / "report.json").read_text()) == before
    assert repository.tip() == tip
    report = run_job(load_job(path), out=io.StringIO(), progress=LogLines())
    assert (report["status"], report["steps"]) == ("skipped", [])


def test_who_has_waited_in_vain_fails(tmp_path: Path) -> None:
    run(tmp_path, simulated())
    held(tmp_path)
    with pytest.raises(LeaseHeldError, match="'other'"):
        run(tmp_path, "report", lease={"name": "upkeep", "overlap": "wait", "wait": "300 ms"})
    assert failed_report(tmp_path)["error"]["while"] == "waiting for the lease upkeep"


def test_a_run_that_lost_its_lease_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, simulated())

    def meanwhile(*_: object) -> None:
        held(tmp_path, "successor", NOW + LONG)

    monkeypatch.setattr(runner, "ask_latest", meanwhile)
    monkeypatch.setattr(runner._Run, "add", lambda *_: None)
    steps = [{"latest": {"fleet": "rooms"}}, {"maintenance": {}}]
    with pytest.raises(FencedError, match="'successor' has it now; nothing was written"):
        run(tmp_path, *steps, lease="upkeep")
    assert failed_report(tmp_path)["error"]["kind"] == "fenced"


def test_a_long_run_keeps_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, simulated())
    lease, others = {"name": "upkeep", "length": "600 ms"}, []

    def long(*_: object) -> None:
        deadline = time.monotonic() + 1.5
        path = write_job(tmp_path / "other", "report", lease=lease, archive=f"{tmp_path}/archive")
        while time.monotonic() < deadline:
            done = run_job(load_job(path), out=io.StringIO(), progress=LogLines())
            others.append(done["status"])
            time.sleep(0.05)

    monkeypatch.setattr(runner, "ask_latest", long)
    monkeypatch.setattr(runner._Run, "add", lambda *_: None)
    run(tmp_path, {"latest": {"fleet": "rooms"}}, lease=lease)
    assert set(others) == {"skipped"}
