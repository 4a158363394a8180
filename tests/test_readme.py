"""What the README shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs.job_file import load_job

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, Any] = {}
    for at, block in enumerate(blocks):
        exec(compile(block, f"README block {at}", "exec"), names)
    assert names["rooms"].read().read_all().num_rows == 1441


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
