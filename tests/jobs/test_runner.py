"""Whole jobs: steps in order, and a report whatever happens."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pipeline.api.archive import Archive
from pipeline.errors import ArchiveError, JobError, NotFoundError
from pipeline.jobs import runner
from pipeline.jobs.job_file import load_job
from pipeline.jobs.progress import TerminalLine
from pipeline.jobs.runner import run_job
from pipeline.simulation.fleets import SimulatedFragment
from tests.jobs.running import failed_report, run, simulated, write_job

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_quickstart_tells_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    size = "steps.0.import.source.simulated"
    loaded = load_job(CONFIGS / "quickstart.yaml", [f"{size}.devices=50", f"{size}.readings=100"])
    for _ in range(2):  # it replaces its archive, so it can be run again
        out, screen = io.StringIO(), io.StringIO()
        report = run_job(loaded, out=out, progress=TerminalLine(screen))
        assert report["status"] == "succeeded"
        assert report["steps"][0]["points"] == 5000
    assert (tmp_path / "reports" / "quickstart.json").is_file()
    assert Archive.open("data/quickstart").fleets == ["rooms"]
    for said in ("rooms", "points/s", "ratio", "hourly means of all devices", "median", "[degC]"):
        assert said in out.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")


def test_a_job_without_imports_starts_no_cluster(tmp_path: Path) -> None:
    run(tmp_path, simulated())
    report = run(tmp_path, {"latest": {"fleet": "rooms"}}, "report").report
    assert report["cluster"] is None


def test_the_report_describes_the_run(tmp_path: Path) -> None:
    report = run(tmp_path, simulated()).report
    assert report["format"] == 1
    assert report["error"] is None
    assert report["started"].endswith("+00:00")
    assert report["environment"]["iot-archive"]
    cluster = report["cluster"]
    assert (cluster["kind"], cluster["workers"]) == ("local", 1)
    assert cluster["start_s"] > 0
    assert cluster["warmup_s"] > 0
    assert report["seconds"] > report["steps"][0]["seconds"]


class TestFailures:
    def test_earlier_steps_stay_in_the_report_and_in_the_archive(self, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="no fleet 'halls'"):
            run(tmp_path, simulated(), {"latest": {"fleet": "halls"}})
        report = failed_report(tmp_path)
        assert report["error"] == {
            "kind": "not_found",
            "message": "no fleet 'halls' in this archive; it has: rooms",
            "while": "steps.1.latest",
        }
        assert [step["step"] for step in report["steps"]] == ["import"]
        assert run(tmp_path, "report").rows().num_rows == 600

    def test_the_archive_stays_at_its_last_commit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sound = SimulatedFragment.read

        def failing(self: SimulatedFragment) -> object:
            if self.start == 4:
                raise OSError("disk gone")
            return sound(self)

        monkeypatch.setattr(SimulatedFragment, "read", failing)
        with pytest.raises(JobError, match="disk gone"):
            run(tmp_path, simulated(step={"fragments_per_commit": 1}))
        assert failed_report(tmp_path)["error"]["kind"] == "job"
        devices = Archive.open(tmp_path / "archive").fleet("rooms").devices
        assert devices == [f"device-{number:05d}" for number in range(4)]

    def test_errors_nobody_expects(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("oops")

        monkeypatch.setattr(runner, "ask_latest", broken)
        with pytest.raises(JobError, match=r"steps.0.latest: ZeroDivisionError: oops"):
            run(tmp_path, {"latest": {"fleet": "rooms"}})
        assert failed_report(tmp_path)["error"]["kind"] == "unexpected"

    def test_an_interrupt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(runner, "ask_latest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, {"latest": {"fleet": "rooms"}})
        error = failed_report(tmp_path)["error"]
        assert (error["kind"], error["message"]) == ("interrupted", "KeyboardInterrupt")

    def test_an_archive_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "archive").write_text("a file")
        with pytest.raises(ArchiveError):
            run(tmp_path, simulated())
        assert failed_report(tmp_path)["error"]["while"] == "opening the archive"

    def test_a_report_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        place = str(tmp_path / "file" / "report.json")
        with pytest.raises(JobError, match=r"report .*: cannot be written"):
            run(tmp_path, "report", report=place)
        with pytest.raises(JobError, match=r"no fleet 'x' .*; also, report .*: cannot be written"):
            run(tmp_path, {"latest": {"fleet": "x"}}, report=place)

    def test_a_missing_folder_names_the_variable(self, tmp_path: Path) -> None:
        loaded = load_job(
            CONFIGS / "real-data.yaml",
            [f"archive={tmp_path}/archive", f"report={tmp_path}/report.json"],
            {"IOT_ARCHIVE_REAL_DATA": str(tmp_path / "nowhere")},
        )
        with pytest.raises(
            NotFoundError, match=r"variable IOT_ARCHIVE_REAL_DATA to look elsewhere"
        ):
            run_job(loaded, out=io.StringIO(), progress=TerminalLine(io.StringIO()))
        assert failed_report(tmp_path)["error"]["while"] == "looking for the sources"
        assert not (tmp_path / "archive").exists()


@pytest.mark.real_data
def test_real_data(tmp_path: Path) -> None:
    folder = Path(os.environ.get("IOT_ARCHIVE_REAL_DATA", CONFIGS.parent / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set IOT_ARCHIVE_REAL_DATA")
    loaded = load_job(
        CONFIGS / "real-data.yaml",
        [
            f"archive={tmp_path}/archive",
            f"report={tmp_path}/report.json",
            f"steps.0.import.source.parquet.path={folder}/**/o*.parquet",
        ],
    )
    out = io.StringIO()
    report = run_job(loaded, out=out, progress=TerminalLine(io.StringIO()))
    (step,) = report["steps"]
    assert (step["fleet"], step["devices"], step["rows"]) == ("occupancy_room", 3, 20_560)
    assert step["raw_bytes"] > step["stored_bytes"]
    assert "occupancy_room" in out.getvalue()


def test_the_default_report_stands_beside_the_archive(tmp_path: Path) -> None:
    path = write_job(tmp_path, "report", report=None)
    run_job(load_job(path), out=io.StringIO(), progress=TerminalLine(io.StringIO()))
    assert (tmp_path / "archive.report.json").is_file()
