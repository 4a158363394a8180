"""Benchmarks of questions, at tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.tiny_runs import check_tiny_run

NAMES = ["latency", "query", "rollup", "xarray"]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_reports_its_figures(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_tiny_run(name, tmp_path, capsys)
