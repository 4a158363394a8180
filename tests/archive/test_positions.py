"""Positions of sources stay when the history is forgotten."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from zarr.abc.store import Store

import pipeline
from pipeline.archive.expiry import forget
from pipeline.archive.locations import Location
from pipeline.archive.positions import (
    adopt_positions,
    append_positions,
    fold_positions,
    merge_positions,
    read_positions,
)
from pipeline.archive.transactions import Repository
from pipeline.errors import DuplicateRowsError
from tests.golden.make_archive import FOLDER
from tests.support import memory_archive, minutes

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])


def row(step: int) -> dict[str, Any]:
    return {"device": ["a"], "time": minutes(step), "t": [1.0]}


def test_mappings_merge_lists_unite_and_else_the_latest_counts() -> None:
    entries: list[dict[str, Any]] = [
        {"kafka": {"0": 1, "1": 5}, "files": {"done": ["a", {"n": 1}]}, "log": "x"},
        {"kafka": {"0": 7}, "files": {"done": [{"n": 1}, "b"]}, "log": "y"},
        {"log": {"segment": 3}},
    ]
    assert merge_positions(entries) == {
        "kafka": {"0": 7, "1": 5},
        "files": {"done": ["a", {"n": 1}, "b"]},
        "log": {"segment": 3},
    }
    assert merge_positions([*entries, {"log": [1]}, {"log": "z"}])["log"] == "z"


def test_what_append_was_given_is_there_after_the_history_is_gone() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("rooms", SCHEMA)
    for step in range(5):
        fleet.append(row(step), positions={"kafka": {"0": step}})
    fleet.append(row(9))
    at_third = list(archive.history())[3].snapshot
    assert archive.at(at_third).fleet("rooms").positions == {"kafka": {"0": 2}}
    forget(fleet._store.repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    assert len(list(archive.history())) == 2
    assert fleet.positions == {"kafka": {"0": 4}}


def test_positions_of_an_append_that_fails_are_not_there() -> None:
    fleet = memory_archive().create_fleet("rooms", SCHEMA, duplicates="error")
    fleet.append(row(0), positions={"log": 1})
    with pytest.raises(DuplicateRowsError):
        fleet.append(row(0), positions={"log": 2})
    assert fleet.positions == {"log": 1}


def test_many_entries_are_folded_and_more_can_be_added() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("rooms", SCHEMA)
    repository = fleet._store.repository

    def many(store: Store) -> None:
        for step in range(300):
            append_positions(store, "rooms", {"files": {"done": [f"f{step:03}"]}, "last": step})

    repository.commit(many, "positions")
    before = fleet.positions
    assert before["last"] == 299
    assert len(before["files"]["done"]) == 300
    _, folded = repository.commit(lambda store: fold_positions(store, "rooms"), "fold")
    assert folded
    assert fleet.positions == before
    _, again = repository.commit(lambda store: fold_positions(store, "rooms"), "fold")
    assert not again
    fleet.append(row(0), positions={"last": 300})
    assert fleet.positions == before | {"last": 300}


@pytest.fixture
def old_archive(tmp_path: Path) -> pipeline.Archive:
    """An archive written before positions were kept outside of the history."""
    shutil.copytree(FOLDER / "format-1", tmp_path / "archive")
    return pipeline.Archive.open(tmp_path / "archive")


def test_old_archives_have_theirs_in_the_history(old_archive: pipeline.Archive) -> None:
    fleet = old_archive.fleet("golden")
    assert fleet.positions == {"source": {"offset": 7}}
    fleet.append({"device": ["d0"], "time": minutes(600), "int8": [1]}, positions={"more": 1})
    assert fleet.positions == {"source": {"offset": 7}, "more": 1}


@pytest.mark.parametrize("appended", [False, True])
def test_old_archives_adopt_them_before_the_history_is_forgotten(
    old_archive: pipeline.Archive, appended: bool
) -> None:
    fleet = old_archive.fleet("golden")
    if appended:
        newer = {"source": {"offset": 8}}
        fleet.append({"device": ["d0"], "time": minutes(600), "int8": [1]}, positions=newer)
    before = fleet.positions
    repository = Repository.open(Location.parse(old_archive.url))
    history = list(repository.history())
    for needed in (True, False):
        _, adopted = repository.commit(
            lambda store: adopt_positions(store, "golden", history), "adopt"
        )
        assert adopted is needed
    forget(repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    assert fleet.positions == before == {"source": {"offset": 8 if appended else 7}}
    assert read_positions(repository.snapshot().store, "golden")[1]
