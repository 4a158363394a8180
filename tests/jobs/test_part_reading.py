"""Small fragments are read together by one task, in order, and none is lost with another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ArchiveError
from pipeline.jobs import import_step
from pipeline.jobs.import_parts import Stretch
from pipeline.jobs.memory import ImportSizes
from pipeline.jobs.part_reading import PartReader
from tests.jobs.running import all_rows, run

FILES, ROWS = 12, 10


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files of the same times: later ones have the newer values."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(FILES):
        times = np.datetime64("2026-01-01", "us") + np.arange(ROWS) * 1_000_000
        table = {"device": [f"d{number % 3}"] * ROWS, "time": times, "v": np.arange(ROWS) + number}
        pq.write_table(pa.table(table), folder / f"{number:02d}.parquet")
    return folder


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note of each task that reads how many fragments it is given."""
    noted: list[int] = []
    submit = PartReader._submit

    def note(self: PartReader, stretches: Sequence[Stretch], *told: Any) -> Any:
        noted.append(len(stretches))
        return submit(self, stretches, *told)

    monkeypatch.setattr(PartReader, "_submit", note)
    return noted


def sizes(
    monkeypatch: pytest.MonkeyPatch, part_rows: int, reading: int, group_rows: int = 1000
) -> None:
    told = ImportSizes(part_rows=part_rows, reading=reading, group_rows=group_rows)
    monkeypatch.setattr(import_step, "choose_sizes", lambda *_: told)


def step(files: Path, **options: Any) -> dict[str, Any]:
    source = {"parquet": {"path": str(files / "*.parquet")}}
    return {"import": {"fleet": "f", "source": source, **options}}


def values(folder: Path) -> list[float]:
    rows = all_rows(run(folder, "report").archive, "f").to_pylist()
    ordered = sorted(rows, key=lambda row: (row["device"], row["time"]))
    return [float(row["v"]) for row in ordered]


NEWEST = [float(row + FILES - 3 + device) for device in range(3) for row in range(ROWS)]


def test_small_files_are_read_together(
    files: Path, tmp_path: Path, tasks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes(monkeypatch, part_rows=1000, reading=2)
    report = run(tmp_path, step(files)).report["steps"][0]
    assert (report["fragments"], report["rows"] + report["duplicates"]) == (FILES, FILES * ROWS)
    assert tasks == [3, 3, 3, 3]  # so that there is work for all
    assert values(tmp_path) == NEWEST


def test_a_task_stops_when_it_has_enough_rows(
    files: Path, tmp_path: Path, tasks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes(monkeypatch, part_rows=25, reading=1)
    monkeypatch.setattr(PartReader, "_expected", lambda *_: 1)  # as a file's size may mislead
    report = run(tmp_path, step(files)).report["steps"][0]
    assert (report["fragments"], report["rows"] + report["duplicates"]) == (FILES, FILES * ROWS)
    assert tasks[0] == 6
    assert len(tasks) > 2
    assert values(tmp_path) == NEWEST


def test_commits_of_some_fragments_read_each_alone(
    files: Path, tmp_path: Path, tasks: list[int]
) -> None:
    report = run(tmp_path, step(files, fragments_per_commit=5)).report["steps"][0]
    assert report["commits"] == 3
    assert tasks == [1] * FILES


def test_files_before_a_damaged_one_are_stored(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes(monkeypatch, part_rows=1000, reading=1, group_rows=ROWS)
    damaged = files / "04.parquet"
    sound = damaged.read_bytes()
    middle = len(sound) // 3
    damaged.write_bytes(sound[: middle - 40] + bytes(40) + sound[middle:])
    with pytest.raises(ArchiveError, match=r"04\.parquet"):
        run(tmp_path, step(files))
    assert values(tmp_path)
    damaged.write_bytes(sound)
    # The last commit before it may not have begun.
    assert run(tmp_path, step(files)).report["steps"][0]["skipped"] in (3, 4)
    assert values(tmp_path) == NEWEST
