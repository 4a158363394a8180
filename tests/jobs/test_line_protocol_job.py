"""The job file for line protocol, from files to answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import pipeline
from pipeline.jobs.command import main

CONFIG = Path(__file__).parents[2] / "configs" / "line-protocol.yaml"
START = 1_735_689_600_000_000_000


def reading(sensor: int, second: int, site: str = "Bergen") -> str:
    fields = f'temp={20 + second / 10},humidity={second % 100}i,state="on, {second % 2}"'
    return f"weather,site={site},sensor=s{sensor} {fields} {START + second * 10**9}"


def test_lines_are_rows_or_quarantined_or_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    lines = [reading(at % 3, at) for at in range(600)]
    lines[10:10] = ["# a comment", "", "cpu,host=h1 load=0.5 1", "weather,site=Bergen temp=1 5"]
    lines[20:20] = ["weather,site=Bergen,sensor=s0 temp=warm 5", "weather", 'weather,a=b state="x']
    (folder / "a.lp").write_text("\n".join(lines[:300]) + "\n")
    (folder / "b.lp.gz").write_bytes(gzip.compress(("\n".join(lines[300:]) + "\n").encode()))
    monkeypatch.setenv("LINE_PROTOCOL", str(folder))
    report = tmp_path / "report.json"
    arguments = [str(CONFIG), f"archive={tmp_path / 'archive'}", f"report={report}"]
    assert main(arguments) == 0
    done = json.loads(report.read_text())["steps"][0]
    assert (done["rows"], done["quarantined"], done["ignored"]) == (600, 4, 3)
    assert done["rows"] + done["quarantined"] + done["ignored"] == len(lines)
    fleet = pipeline.Archive.open(tmp_path / "archive").fleet("weather")
    assert set(fleet.quarantine()["record"].to_pylist()) <= set(lines)
    assert fleet.schema["temperature"].units == "degC"
    rows = fleet.read(devices="Bergen-s1").read_all()
    assert rows["temperature"].to_pylist() == [20 + at / 10 for at in range(1, 600, 3)]
    assert set(rows["state"].to_pylist()) == {"on, 0", "on, 1"}
    assert fleet.aggregate({"temperature": "count"}, by=["site"])["temperature_count"] == 600
    assert main(arguments) == 0
    assert json.loads(report.read_text())["steps"][0]["skipped"] == 2
    capsys.readouterr()


def test_tags_of_later_files_reach_devices_that_come_later(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for at, site in enumerate(["Bergen", "Oslo", "Bodo"]):
        (folder / f"{at}.lp").write_text(f"{reading(at, at, site)}\n{reading(9, at, 'Bergen')}\n")
    arguments = [
        str(CONFIG),
        f"archive={tmp_path / 'archive'}",
        f"report={tmp_path / 'report.json'}",
        f"steps.0.import.source.line_protocol.path={folder}",
        "steps.0.import.fragments_per_commit=1",
    ]
    assert main(arguments) == 0
    fleet = pipeline.Archive.open(tmp_path / "archive").fleet("weather")
    counts = fleet.aggregate({"temperature": "count"}, by=["site"])
    found = dict(zip(counts["site"].values, counts["temperature_count"].values, strict=True))
    assert found == {"Bergen": 4, "Oslo": 1, "Bodo": 1}
