"""The rollup step: makes rollups, refreshes them on a cluster, and may be run as often as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from pipeline.errors import JobError, NotFoundError
from pipeline.jobs.job_file import load_job
from tests.jobs.running import run, simulated, write_job
from tests.rollup_checks import assert_right

IMPORT = simulated(
    devices=300,
    readings=96,
    interval="15 min",
    devices_per_fragment=100,
    channels=["temperature", "state"],
)
ROLLUPS: dict[str, Any] = {
    "daily": {"every": "1 day"},
    "1h": {},
    "warm": {"every": "6 h", "statistics": {"temperature": ["max", "p95"]}},
}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two worker processes."""
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        processes=True, n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


def step(rollups: Any = None) -> dict[str, Any]:
    return {"rollup": {"fleet": "rooms", **({} if rollups is None else {"rollups": rollups})}}


def test_rollups_are_made_refreshed_and_found_up_to_date(tmp_path: Path, scheduler: str) -> None:
    cluster = {"address": scheduler, "workers": 2}
    done = run(tmp_path, IMPORT, step(ROLLUPS), "report", cluster=cluster)
    (report,) = [one for one in done.report["steps"] if one["step"] == "rollup"]
    assert [one["name"] for one in report["rollups"]] == ["1h", "warm", "daily"]
    assert [one["source"] for one in report["rollups"]] == ["rows", "rows", "summaries"]
    assert report["rollups"][0]["rows"] == 300 * 96
    assert "3 rollups of rooms" in done.text
    fleet = done.archive.fleet("rooms")
    for name in ROLLUPS:
        assert fleet.rollups[name].state.is_fresh
        assert_right(fleet, name)
    again = run(tmp_path, step(ROLLUPS), step(), cluster=cluster).report["steps"]
    assert [one["commits"] for part in again for one in part["rollups"]] == [0] * 6


def test_what_was_imported_since_is_added(tmp_path: Path) -> None:
    run(tmp_path, IMPORT, step({"1h": {"statistics": {"temperature": ["mean", "p50"]}}}))
    more = simulated(
        devices=300,
        readings=48,
        interval="15 min",
        start="2026-01-02T12:00:00Z",
        devices_per_fragment=100,
        channels=["temperature", "state"],
    )
    done = run(tmp_path, more, step())
    (report,) = done.report["steps"][1]["rollups"]
    assert report["rows"] > 0
    assert_right(done.archive.fleet("rooms"), "1h")


def test_archives_in_memory_are_refreshed_by_the_job(tmp_path: Path) -> None:
    done = run(tmp_path, IMPORT, step({"1h": {}}), archive="memory://rollups-of-a-job")
    assert done.report["steps"][1]["rollups"][0]["cells"] == 300 * 24


def test_another_rollup_of_that_name_is_told(tmp_path: Path) -> None:
    run(tmp_path, IMPORT, step({"1h": {}}))
    with pytest.raises(JobError, match="'1h' of 1 hour that keeps something else"):
        run(tmp_path, step({"1h": {"every": "2 h"}}))
    with pytest.raises(NotFoundError, match="no fleet 'halls'"):
        run(tmp_path, {"rollup": {"fleet": "halls"}})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"1h": {"every": "7 h"}}, r"rollups\.1h\.every.*neither divides a day"),
        ({"1h": {"statistic": {}}}, "did you mean 'statistics'"),
        ({"1h": {"statistics": {}}}, "statistics"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, options: Any, told: str) -> None:
    with pytest.raises(JobError, match=told):
        load_job(write_job(tmp_path, step(options)))
