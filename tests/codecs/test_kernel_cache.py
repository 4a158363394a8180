"""Compiled loops on disk are only used with the sources that they were compiled from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba import config

import pipeline

SCRIPT = """
import numpy as np
from pipeline.codecs.kernels import block_rows
lengths = np.zeros(3, np.int64)
assert block_rows.surround(np.array([1], np.uint64), np.uint64(3), lengths)
assert lengths.tolist() == [1, 1, 1]
print(sum(block_rows.surround.stats.cache_hits.values()))
"""


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")  # type: ignore[attr-defined]
def test_a_change_in_any_loop_makes_all_be_compiled_again(tmp_path: Path) -> None:
    package = Path(pipeline.__file__).parent
    shutil.copytree(package, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "compiled")

    def hits() -> int:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment,
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return int(done.stdout)

    assert hits() == 0
    assert hits() == 1
    parts = tmp_path / "pipeline" / "codecs" / "kernels" / "bits.py"
    parts.write_text(parts.read_text() + "\n_MORE = 1\n")
    assert hits() == 0
