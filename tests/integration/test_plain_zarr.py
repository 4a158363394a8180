"""What is written stays readable by plain Zarr and xarray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import pipeline
from pipeline.partitioning.windows import WindowLength
from tests.support import START, minutes


def test_a_script_without_the_package_reads_a_raw_column(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    schema = pipeline.Schema([pipeline.Channel("t", "float64", units="degC")])
    fleet = archive.create_fleet("fleet", schema, pipeline.Partitioning(landing_rows=0))
    count = 70_000
    times = minutes(0)[0] + np.arange(count) * np.timedelta64(1, "s")
    values = np.round(np.sin(np.arange(count) / 5000) * 100) / 10
    fleet.append({"device": "a", "time": times, "t": values})
    fleet.append({"device": "b", "time": times[:100], "t": values[:100]})
    script = Path(__file__).with_name("plain_reader.py")
    assert "import pipeline" not in script.read_text()
    output = tmp_path / "found.json"
    window = WindowLength.DAY.number(START)
    subprocess.run(
        [sys.executable, str(script), archive.url, str(output)],
        input=f"{window}\n",
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=120,
    )
    found = json.loads(output.read_text())
    assert found["t"] == values.tolist() + values[:100].tolist()
    assert found["time"] == times.astype(int).tolist() + times[:100].astype(int).tolist()
    assert found["device_index"] == [0] * count + [1] * 100
    assert found["units"] == "degC"
    assert all(found["nothing"])
    assert found["xarray"] == values[:50].tolist()
    assert found["engine"] == values.tolist()
    assert found["ids"] == ["a", "b"]
