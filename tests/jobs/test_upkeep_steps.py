"""The steps of a job that keep an archive in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.api.archive import Archive
from pipeline.errors import InvalidInputError, JobError, NotFoundError
from tests.jobs.running import TINY, failed_report, run, simulated

ALONE = {"history": "0 s", "safety": "0 s", "alone": True}


def steps(report: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [step for step in report["steps"] if step["step"] == kind]


def test_maintenance_keeps_an_archive_small_and_an_import_resumable(tmp_path: Path) -> None:
    small = simulated(step={"fragments_per_commit": 1}, devices=24)
    before = run(tmp_path, small).rows()
    done = run(tmp_path, {"maintenance": ALONE}, "verify", "stats", "report")
    (report,) = steps(done.report, "maintenance")
    assert report["forgotten"]["snapshots"] > 5
    assert report["forgotten"]["objects"] > 20
    assert report["bytes_after"] < report["bytes_before"] / 2
    assert report["fleets"]["rooms"]["compacted"]["blocks_before"] > 1
    assert done.rows().equals(before)
    assert len(list(done.archive.history())) == 2
    # The history that told what was imported is gone.
    again = run(tmp_path, small).report["steps"][0]
    assert (again["fragments"], again["skipped"], again["rows"]) == (0, 6, 0)
    for said in (
        "snapshots expired",
        "blocks merged into",
        "Verification in",
        "none",
        "Statistics",
    ):
        assert said in done.text


def test_verification_runs_on_the_cluster_and_fails_the_job(tmp_path: Path) -> None:
    run(tmp_path, simulated(readings=1500, devices=3))
    report = run(tmp_path, "verify").report
    assert report["cluster"]["kind"] == "local"
    (verified,) = steps(report, "verify")
    assert verified["clean"]
    assert verified["fleets"]["rooms"]["rows"] == 4500
    largest = max((tmp_path / "archive" / "chunks").iterdir(), key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(JobError, match=r"1 problem, the first: rooms/raw/.* repair step"):
        run(tmp_path, "verify", "report")
    (failed,) = steps(failed_report(tmp_path), "verify")
    assert failed["fleets"]["rooms"]["counts"] == {"corrupt": 1}
    (problem,) = failed["fleets"]["rooms"]["problems"]
    assert problem["kind"] == "corrupt"


def test_archives_in_memory_are_verified_by_the_job_itself(tmp_path: Path) -> None:
    where = {"archive": "memory://verified-by-job"}
    report = run(tmp_path, simulated(), "verify", "stats", **where).report
    assert steps(report, "verify")[0]["clean"]
    assert report["steps"][-1]["archive_bytes"] is None


def test_retention_is_set_when_a_fleet_is_created_or_later(tmp_path: Path) -> None:
    given = {"retention": {"raw": "90 days"}, "partitioning": {"window": "hour"}}
    first = run(tmp_path, simulated(step=given))
    assert first.archive.fleet("rooms").retention.raw == 90 * 86_400_000_000
    before = first.archive.fleet("rooms").aggregate({"temperature": "count"}, by=[])
    later = {"rooms": {"raw": "1 h", "summaries": "36500 days"}}
    done = run(tmp_path, {"maintenance": {"retention": later, "compact": False}}, "report")
    (report,) = steps(done.report, "maintenance")
    dropped = report["fleets"]["rooms"]
    assert dropped["thinned"]["rows"] == 12 * 50
    assert dropped["compacted"] is None
    assert done.rows().num_rows == 0
    after = done.archive.fleet("rooms").aggregate({"temperature": "count"}, by=[])
    assert after["temperature_count"] == before["temperature_count"] > 500
    assert "600 rows of 1 window dropped" in done.text


def test_statistics_of_a_fleet(tmp_path: Path) -> None:
    report = run(tmp_path, simulated(), "stats").report["steps"][-1]
    rooms = report["fleets"]["rooms"]
    assert rooms["devices"] == 12
    assert rooms["stored"]["rows"] == 600
    assert rooms["stored"]["write_amplification"] == 1.0
    assert rooms["stored"]["small_blocks"] == rooms["stored"]["blocks"] > 0
    assert rooms["raw_bytes"] == 600 * 8 + rooms["points"] * 8
    assert rooms["ratio"] > 1
    assert [window["start"][:10] for window in rooms["windows"]] == ["2025-01-01"]
    json.dumps(report)


def test_rows_are_deleted(tmp_path: Path) -> None:
    run(tmp_path, simulated())
    name = Archive.open(tmp_path / "archive").fleet("rooms").devices[3]
    done = run(tmp_path, {"delete": {"fleet": "rooms", "devices": name}}, "report")
    (report,) = steps(done.report, "delete")
    assert report["rows"] == TINY["readings"]
    assert name not in set(done.rows()["device"].to_pylist())
    assert "beyond recovery once" in done.text


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"delete": {"fleet": "rooms"}}, r"steps\.0\.delete.*give devices, time, or both"),
        ({"maintenance": {"history": "a while"}}, r"steps\.0\.maintenance\.history.*duration"),
        ({"maintenance": {"retention": {"x": {"summaries": "1 day"}}}}, "at least as long"),
        ({"verify": {"fleet": "x"}}, "did you mean 'fleets'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(
    step: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=said):
        run(tmp_path, step)
    assert not (tmp_path / "archive").exists()


def test_unsafe_ages_and_unknown_fleets_fail_the_step(tmp_path: Path) -> None:
    run(tmp_path, simulated())
    with pytest.raises(InvalidInputError, match="alone"):
        run(tmp_path, {"maintenance": {"safety": "1 min"}})
    with pytest.raises(NotFoundError, match="no fleet 'halls'"):
        run(tmp_path, {"maintenance": {"fleets": ["halls"]}})
    with pytest.raises(NotFoundError, match="no fleet 'halls'"):
        run(tmp_path, {"verify": {"fleets": ["halls"]}})


def test_a_fleet_is_partitioned_anew(tmp_path: Path) -> None:
    first = run(tmp_path, simulated())
    before, scheme = first.rows(), first.archive.fleet("rooms").partitioning
    step = {"fleet": "rooms", "window": "year", "devices_per_block": 3}
    done = run(tmp_path, {"repartition": step}, "verify", "report")
    after = done.archive.fleet("rooms").partitioning
    assert (after.window_length.value, after.devices_per_block) == ("1 year", 3)
    assert (after.landing_rows, after.by) == (scheme.landing_rows, scheme.by)
    assert after.summary_length is after.window_length
    (report,) = steps(done.report, "repartition")
    assert (report["before"], report["after"]) == (scheme.to_json(), after.to_json())
    assert report["rows"] == len(before)
    assert "Re-partitioning" in done.text
    assert done.rows().equals(before)
    again = run(tmp_path, {"repartition": step}, "report")
    assert "nothing to do" in again.text


@pytest.mark.parametrize(
    "step",
    [{"fleet": "rooms"}, {"fleet": "rooms", "window": "week"}, {"fleet": "rooms", "by": "site"}],
)
def test_a_repartitioning_says_what_is_to_change(tmp_path: Path, step: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=r"unknown key 'by'|unknown window 'week'|give window"):
        run(tmp_path, {"repartition": step})


def test_summary_periods_stay_where_they_fit(tmp_path: Path) -> None:
    given = {"partitioning": {"window": "day", "summary": "hour"}}
    run(tmp_path, simulated(step=given))
    step = {"fleet": "rooms", "window": "month", "landing_rows": 1}
    after = run(tmp_path, {"repartition": step}).archive.fleet("rooms").partitioning
    assert after.to_json() == {
        "window": "1 month", "devices_per_block": 256, "summary": "1 hour", "landing_rows": 1
    }  # fmt: skip
