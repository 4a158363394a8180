"""What the README shows works as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs.job_file import load_job

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def _csv_files(folder: Path) -> None:
    """Write the files that the README names; the last line of each is no row."""
    for site, device in (("bergen", "pump-1"), ("bergen", "pump-2"), ("oslo", "fan-1")):
        lines = [f"2026-01-01T{at // 60:02}:{at % 60:02},{at / 10},{50 + at}" for at in range(300)]
        lines[7] = "2026-01-01T00:07,-999,57"
        path = folder / site / f"{device}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["time,temp,humidity", *lines, "the end"]) + "\n")


def _run_csv_command(folder: Path) -> None:
    """Run the command for CSV files, with this Python instead of uv's."""
    found = re.search(r"```bash\nuv run python (-m pipeline configs/csv.*)\n```", README)
    assert found is not None
    shutil.copytree(ROOT / "configs", folder / "configs")
    command = [sys.executable, *shlex.split(found.group(1))]
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "PYTHONPATH": search})


def test_every_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    _csv_files(tmp_path / "logs")
    _run_csv_command(tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, Any] = {}
    for at, block in enumerate(blocks):
        exec(compile(block, f"README block {at}", "exec"), names)
    assert names["rooms"].read().read_all().num_rows == 1441
    hourly = names["table"]["temperature_mean"]
    assert hourly.sizes == {"device": 3, "time": 5}
    assert hourly.sel(device="fan-1").values[1] == pytest.approx(8.95)
    assert names["sensors"].quarantine().num_rows == 3
    assert names["sensors"].tags["fan-1"] == {"site": "oslo"}


def test_ci_runs_the_documented_test_command() -> None:
    command = (ROOT / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert f"```bash\n{command}\n```" in README


def test_every_config_is_in_the_table() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"`configs/{path.name}`" in README


def test_every_job_it_shows_can_be_loaded(tmp_path: Path) -> None:
    jobs = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    loaded = 0
    for block in jobs:
        if "archive:" in block:
            path = tmp_path / "job.yaml"
            path.write_text(block)
            load_job(path)
            loaded += 1
    assert loaded >= 1
