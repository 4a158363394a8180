"""Old states are forgotten; what anybody may still need is not."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pipeline
from pipeline.archive.chunk_io import get_many, put_many
from pipeline.archive.expiry import Forgotten, forget, sweep_files
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.errors import InvalidInputError, NotFoundError
from tests.support import memory_archive, minutes

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])
NONE = timedelta(0)


def row(step: int) -> dict[str, Any]:
    return {"device": ["a"], "time": minutes(step), "t": [float(step)]}


def new_archive(folder: Path, appends: int = 5) -> tuple[pipeline.Archive, Repository]:
    archive = pipeline.Archive.create(folder)
    fleet = archive.create_fleet("rooms", SCHEMA)
    for step in range(appends):
        fleet.append(row(step))
    return archive, Repository.open(Location.parse(folder))


def forget_all(repository: Repository) -> Forgotten:
    return forget(repository, datetime.now(UTC), NONE, NONE, alone=True)


def files(folder: Path) -> set[Path]:
    kinds = ("chunks", "manifests", "snapshots", "transactions")
    return {path for kind in kinds for path in (folder / kind).glob("*")}


def test_everything_old_goes_and_the_newest_state_stays(tmp_path: Path) -> None:
    archive, repository = new_archive(tmp_path / "x", 20)
    oldest = list(archive.history())[5].snapshot
    before = len(files(tmp_path / "x"))
    done = forget_all(repository)
    assert done.snapshots == 21
    assert done.objects == before - len(files(tmp_path / "x")) > 50
    assert done.bytes > 1000
    assert archive.fleet("rooms").read().read_all().num_rows == 20
    again = pipeline.Archive.open(archive.url)
    assert len(list(again.history())) == 2
    with pytest.raises(NotFoundError):
        again.at(oldest).fleet("rooms").read().read_all()
    assert forget_all(repository) == Forgotten()
    again.fleet("rooms").append(row(30))
    assert again.fleet("rooms").read().read_all().num_rows == 21


def test_states_of_the_history_asked_for_can_be_opened(tmp_path: Path) -> None:
    archive, repository = new_archive(tmp_path / "x")
    moment = datetime.now(UTC)
    time.sleep(0.05)
    archive.fleet("rooms").append(row(10))
    archive.fleet("rooms").append(row(11))
    now = datetime.now(UTC)
    done = forget(repository, now, now - moment, NONE, alone=True)
    assert done.snapshots == 6
    then = pipeline.Archive.open(archive.url).at(moment)
    assert then.fleet("rooms").read().read_all().num_rows == 5
    assert len(list(archive.history())) == 4 == len(list(repository.history()))


def test_the_state_of_the_moment_stays_however_long_ago_it_was_written(tmp_path: Path) -> None:
    # A reader may have opened an old but newest snapshot right before it was replaced.
    archive, repository = new_archive(tmp_path / "x")
    opened = archive.at(next(archive.history()).snapshot)
    time.sleep(0.2)
    moment = datetime.now(UTC)
    archive.fleet("rooms").append(row(10))
    now = datetime.now(UTC)
    forget(repository, now, NONE, now - moment, alone=True)
    assert opened.fleet("rooms").read().read_all().num_rows == 5


def test_chunks_of_a_change_that_is_being_written_stay(tmp_path: Path) -> None:
    archive, _ = new_archive(tmp_path / "x")
    began = datetime.now(UTC)

    def slow(store: Any) -> None:
        put_many(store, {"rooms/raw/t/c/99/0/0": b"x" * 5000})
        now = datetime.now(UTC)
        forget_in_another_thread(tmp_path / "x", now, now - began + timedelta(seconds=1))

    archive._repository.commit(slow, "slow")
    stored = get_many(archive._repository.snapshot().store, ["rooms/raw/t/c/99/0/0"])[0]
    assert stored is not None
    assert stored.tobytes() == b"x" * 5000


def forget_in_another_thread(folder: Path, now: datetime, safety: timedelta) -> None:
    # Without the lock, which the writer holds: as on an object store.
    repository = Repository.open(Location.parse(folder))
    repository.collect_garbage(now - safety)


def test_histories_that_others_know_from_before_end_where_it_was_cut(tmp_path: Path) -> None:
    archive, repository = new_archive(tmp_path / "x")
    other = pipeline.Archive.open(archive.url)
    assert len(list(other.history())) == 8
    forget_all(repository)
    archive.fleet("rooms").append(row(7))
    assert len(list(other.history())) == 3
    forget_all(repository)
    archive.fleet("rooms").append(row(9))
    moment = datetime.now(UTC)
    assert other.at(moment).fleet("rooms").read().read_all().num_rows == 7
    assert other.fleet("rooms").read().read_all().num_rows == 7
    other.fleet("rooms").append(row(8))
    assert archive.fleet("rooms").read().read_all().num_rows == 8


def test_a_history_that_is_cut_while_it_is_read_ends_there(tmp_path: Path) -> None:
    archive, repository = new_archive(tmp_path / "x", 20)
    whole = [commit.snapshot for commit in archive.history()]
    walk = archive.history()
    seen = [next(walk).snapshot]
    forget_all(repository)
    seen += [commit.snapshot for commit in walk]
    assert seen == whole[: len(seen) - 1] + whole[-1:]


def test_memory_archives_forget_too() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("rooms", SCHEMA)
    for step in range(3):
        fleet.append(row(step))
    assert forget_all(archive._repository).snapshots == 4
    assert fleet.read().read_all().num_rows == 3


def test_files_of_killed_writers_are_swept_when_old(tmp_path: Path) -> None:
    _, repository = new_archive(tmp_path / "x")
    names = ["chunks/AB#1", "manifests/CD#12", "refs/branch.main/ref.json#1"]
    for name in names:
        (tmp_path / "x" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_bytes(b"half")
    mine = tmp_path / "x" / "snapshots" / "#mine"
    mine.write_text("not a temporary file")
    hour = datetime.now(UTC) - timedelta(hours=1)
    assert sweep_files(repository, hour) == 0
    os.utime(tmp_path / "x" / names[0], (0, 0))
    assert sweep_files(repository, hour) == 1
    assert forget_all(repository).stray_files == 2
    assert mine.exists()


def test_unsafe_ages_are_refused(tmp_path: Path) -> None:
    _, repository = new_archive(tmp_path / "x", 1)
    now = datetime.now(UTC)
    with pytest.raises(InvalidInputError, match="alone=True"):
        forget(repository, now, timedelta(days=1), timedelta(minutes=59))
    with pytest.raises(InvalidInputError, match="history"):
        forget(repository, now, timedelta(days=-1))
    assert forget(repository, now, NONE) == Forgotten()
    assert len(list(repository.history())) == 4
