"""The command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.jobs import runner
from pipeline.jobs.command import main
from tests.jobs.running import simulated, write_job


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    """Put back what a signal does to the process."""
    action = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, action)


def command(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "pipeline", *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, check=False)


def test_a_job_from_the_shell(tmp_path: Path) -> None:
    path = write_job(tmp_path, simulated(), {"latest": {"fleet": "rooms"}}, "report")
    done = command(str(path), "archive=elsewhere", "steps.0.import.fleet=halls", folder=tmp_path)
    # The second step still asks for the fleet of the file.
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: no fleet 'rooms' in this archive; it has: halls"
    )
    done = command(str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("job\n===\n")
    assert "import rooms: 3 of 3 fragments, 600 rows" in done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "succeeded"


def test_help_answers_without_loading_anything_heavy() -> None:
    code = (
        "import sys; from pipeline.jobs.command import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pyarrow', 'zarr', 'xarray', 'dask', 'distributed', 'numba', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exit codes" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "error: nowhere.yaml: no such job file\n"),
        (["{job}", "archive"], "error: override 'archive': write it as path=value"),
        (["{job}", "stpes=[]"], "unknown key 'stpes'; did you mean 'steps'?\n"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    path = str(write_job(tmp_path, "report"))
    assert main([path if word == "{job}" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "report.json").exists()


def test_a_step_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write_job(tmp_path, {"latest": {"fleet": "x"}}))]) == 1
    assert capsys.readouterr().err == "error: no fleet 'x' in this archive; it has: none yet\n"


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quiet", str(write_job(tmp_path, simulated()))]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    which: signal.Signals,
) -> None:
    monkeypatch.setattr(runner, "open_archive", lambda _: signal.raise_signal(which))
    # Who starts programs in the background may have them ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main([str(write_job(tmp_path, "report"))]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "error: interrupted\n"
    assert json.loads((tmp_path / "report.json").read_text())["error"]["kind"] == "interrupted"
