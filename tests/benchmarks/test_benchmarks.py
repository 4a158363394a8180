"""The command that runs benchmarks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks import (
    test_answer_benchmarks,
    test_archive_benchmarks,
    test_intake_benchmarks,
)
from tests.benchmarks.command import main
from tests.benchmarks.measuring import machine_facts
from tests.benchmarks.outcome import Benchmark, Outcome, Size, WrongResultError
from tests.benchmarks.quickstart_bench import run_job
from tests.benchmarks.registry import BENCHMARKS
from tests.benchmarks.tiny_runs import KEYS


def test_every_benchmark_runs_at_tiny_size() -> None:
    rooms = (test_answer_benchmarks, test_archive_benchmarks, test_intake_benchmarks)
    assert sorted(name for room in rooms for name in room.NAMES) == sorted(BENCHMARKS)
    assert KEYS.keys() == BENCHMARKS.keys()


def test_benchmarks_are_listed_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    for benchmark in BENCHMARKS.values():
        assert benchmark.name in listed
        assert benchmark.description in listed


def test_an_unknown_name_is_an_error_that_tells_the_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["imports"]) == 2
    message = capsys.readouterr().err
    assert "'imports'" in message
    assert all(name in message for name in BENCHMARKS)


def test_a_file_that_cannot_be_written_is_an_error_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "--tiny", "--json", str(tmp_path / "none" / "figures.json")]) == 2
    assert "none" in capsys.readouterr().err


def test_two_sizes_at_once_are_refused() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["import", "--quick", "--tiny"])
    assert ended.value.code == 2


def test_a_size_that_a_benchmark_does_not_have_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["import", "--large"]) == 2
    assert "import has no --large" in capsys.readouterr().err


def test_benchmarks_do_not_need_pytest() -> None:
    script = "import sys; sys.modules['pytest'] = None; import tests.benchmarks.__main__"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_machine_facts_tell_cores_and_versions_but_not_which_machine_it_is() -> None:
    facts = machine_facts()
    assert facts["cores"] >= 1
    assert {"python", "numpy", "zarr", "duckdb"} <= facts.keys()
    node = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout
    assert node.strip() not in facts.values()


def test_a_job_that_fails_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(WrongResultError, match="no-such-job"):
        run_job(str(tmp_path / "no-such-job.yaml"), tmp_path)


def test_a_benchmark_whose_work_went_wrong_reports_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose_rows(size: Size, show: Callable[[str], None]) -> Outcome:
        raise WrongResultError("rows are lost")

    broken = {"broken": Benchmark("broken", "loses rows", lose_rows)}
    monkeypatch.setattr("tests.benchmarks.command.BENCHMARKS", broken)
    file = tmp_path / "figures.json"
    assert main(["broken", "--json", str(file)]) == 1
    assert "rows are lost" in capsys.readouterr().err
    assert not file.exists()
