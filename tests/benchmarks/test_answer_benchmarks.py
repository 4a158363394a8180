"""Benchmarks of questions, at tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.tiny_runs import apart, check_tiny_run

__all__ = ["apart"]

NAMES = ["latency", "query", "rollup", "xarray"]


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_reports_its_figures(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_tiny_run(name, tmp_path, capsys)
