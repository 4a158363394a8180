"""Maintenance by the public face."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.archive import layout
from pipeline.errors import InvalidInputError, NotFoundError, StorageError
from tests.support import memory_archive, minutes, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])


def filled(archive: pipeline.Archive, appends: int = 12) -> pipeline.Fleet:
    fleet = archive.create_fleet("rooms", SCHEMA)
    for step in range(appends):
        fleet.append(
            {"device": ["a", "b"], "time": minutes(step, step), "t": [step, 2.0 * step]},
            positions={"log": step},
        )
    return fleet


def test_blocks_are_merged_and_states_are_forgotten(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "x")
    fleet = filled(archive)
    before = rows_of(fleet.read())
    done = archive.maintain(history=timedelta(0), safety="0", alone=True)
    compacted = done.fleets["rooms"].compacted
    assert compacted is not None
    assert (compacted.blocks_before, compacted.blocks_after) == (12, 1)
    assert done.forgotten.snapshots >= 13
    assert rows_of(fleet.read()).equals(before)
    assert fleet.positions == {"log": 11}
    assert archive.verify().is_clean
    again = archive.maintain(history="0 s", safety="0 s", alone=True)
    assert again.forgotten.snapshots == 0
    assert archive.maintain("rooms", compact=False).fleets["rooms"].compacted is None


def test_by_default_a_week_stays() -> None:
    archive = memory_archive()
    filled(archive)
    archive.maintain()
    assert len(list(archive.history())) > 12


def test_old_snapshots_and_unknown_fleets_are_refused() -> None:
    archive = memory_archive()
    filled(archive, 1)
    with pytest.raises(NotFoundError, match="halls"):
        archive.maintain(["halls"])
    with pytest.raises(InvalidInputError, match="duration"):
        archive.maintain(history="long")
    old = archive.at(next(archive.history()).snapshot)
    with pytest.raises(InvalidInputError, match="without at"):
        old.maintain()
    assert old.stats()["rooms"].stored.rows == 2


def test_statistics_by_window() -> None:
    archive = memory_archive()
    fleet = filled(archive, 10)
    days = np.arange(5) * 1440
    fleet.append({"device": "c", "time": minutes(*days), "t": [1.0, np.nan, 2.0, 3.0, 4.0]})
    found = archive.stats()["rooms"]
    assert (found.devices, found.points, found.quarantined) == (3, 24, 0)
    assert found.raw_bytes == 25 * 8 + 24 * 8
    assert [window.stored.rows for window in found.windows] == [21, 1, 1, 1, 1]
    assert [window.stored.blocks for window in found.windows] == [11, 1, 1, 1, 1]
    assert found.stored.landing_blocks == found.stored.blocks == 15
    assert found.stored.write_amplification == 1.0
    assert found.stored.bytes_per_row == found.stored.bytes / 25
    fleet.compact()
    after = archive.stats("rooms")["rooms"]
    assert after.windows[0].stored.blocks < 11
    assert 1.5 < after.stored.write_amplification < 3
    assert after.windows[0].start == "2024-01-01T00:00:00.000000Z"
    fleet.delete(time=(None, None))
    empty = archive.stats()["rooms"]
    assert (empty.stored.rows, empty.ratio, empty.stored.bytes_per_row) == (0, 0.0, 0.0)


def test_an_append_without_a_free_slot_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_SLOTS", 8)
    archive = memory_archive()
    fleet = filled(archive, 8)
    row = {"device": ["a"], "time": minutes(10), "t": [10.0]}
    with pytest.raises(StorageError, match=r"nothing was stored.*fleet\.compact\(\)"):
        fleet.append(row)
    assert archive.verify().is_clean
    archive.maintain()
    fleet.append(row)
    assert rows_of(fleet.read("a"))["t"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 10]
