"""Commits are atomic, durable and ordered; history can be read and travelled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import icechunk as ic
import numpy as np
import pytest
import zarr
from zarr.abc.store import Store

import pipeline
from pipeline.archive.chunk_io import get_many, put_many
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.archive.transactions.claims import despite_claims
from pipeline.errors import AlreadyExistsError, InvalidInputError, NotFoundError, StorageError
from tests.support import as_any, memory_archive, minutes

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])


def test_an_archive_is_created_once_and_opened(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "archive"
    created = pipeline.Archive.create(folder)
    created.create_fleet("rooms", SCHEMA)
    assert pipeline.Archive.open(str(folder)).fleets == ["rooms"]
    assert created.url == str(folder)
    with pytest.raises(AlreadyExistsError, match="open it instead"):
        pipeline.Archive.create(folder)
    with pytest.raises(AlreadyExistsError, match=r"archive\.fleet"):
        created.create_fleet("rooms", SCHEMA)


def test_a_file_is_read_in_one_request(tmp_path: Path) -> None:
    location = Location.parse(tmp_path / "x")
    plain = ic.Repository.create(ic.local_filesystem_storage(location.path), spec_version=1)
    before = plain.storage.default_settings()
    settings = Repository.open(location)._repository.config.storage
    assert settings is not None
    assert settings.concurrency is not None
    assert settings.concurrency.max_concurrent_requests_for_object == 1
    assert settings.retries == before.retries
    assert settings.unsafe_use_conditional_update is before.unsafe_use_conditional_update
    assert settings.unsafe_use_metadata is before.unsafe_use_metadata


@pytest.mark.parametrize(("dimension", "manifests"), [("window", 24), ("hour_window", 1)])
def test_manifests_of_hours_span_more_windows(
    tmp_path: Path, dimension: str, manifests: int
) -> None:
    repository = Repository.create(Location.parse(tmp_path / "x"))

    def change(store: Store) -> None:
        zarr.create_array(
            store, name="t", shape=(10_000,), chunks=(1,), dtype="int8", dimension_names=[dimension]
        )
        put_many(store, {f"t/c/{window}": b"1" for window in range(768, 2 * 768)})

    snapshot, _ = repository.commit(change, "chunks")
    assert len(repository._repository.list_manifest_files(snapshot)) == manifests


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(AlreadyExistsError, match="not an empty folder"):
        pipeline.Archive.create(tmp_path)
    with pytest.raises(NotFoundError, match="no archive here"):
        pipeline.Archive.open(tmp_path)
    with pytest.raises(NotFoundError, match=r"Archive\.create"):
        pipeline.Archive.open(tmp_path / "nothing")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be created"):
        pipeline.Archive.create(tmp_path / "file" / "archive")


def test_another_icechunk_store_is_not_taken_for_an_archive(tmp_path: Path) -> None:
    Repository.create(Location.parse(tmp_path / "x"))
    with pytest.raises(InvalidInputError, match="not an IoT archive"):
        pipeline.Archive.open(tmp_path / "x")


def test_an_archive_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    import zarr

    repository = Repository.create(Location.parse(tmp_path / "x"))
    future = {"format": "iot-archive", "format_version": 99}
    repository.commit(lambda store: zarr.create_group(store, attributes=future), "future")
    with pytest.raises(InvalidInputError, match="upgrade iot-archive"):
        pipeline.Archive.open(tmp_path / "x")


def test_memory_archives_have_names() -> None:
    archive = memory_archive()
    archive.create_fleet("rooms", SCHEMA)
    assert pipeline.Archive.open(archive.url).fleets == ["rooms"]
    with pytest.raises(AlreadyExistsError):
        pipeline.Archive.create(archive.url)
    with pytest.raises(NotFoundError):
        pipeline.Archive.open("memory://nobody")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/x", "unknown scheme"),
        ("s3://bucket", "bucket and a prefix"),
        ("gs:///x", "bucket"),
    ],
)
def test_impossible_urls(url: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        pipeline.Archive.create(url)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_unknown_storage_options_are_refused(scheme: str) -> None:
    with pytest.raises(InvalidInputError, match="storage options"):
        pipeline.Archive.open(f"{scheme}://b/p", storage_options={"colour": "red"})


def test_locations_print_as_they_were_given() -> None:
    assert str(Location.parse("s3://bucket/a/b/")) == "s3://bucket/a/b"
    assert str(Location.parse("file:///a%20b")) == "/a b"
    assert str(Location.parse("abfs://box/p")) == "az://box/p"


def test_an_error_inside_a_transaction_leaves_no_trace(tmp_path: Path) -> None:
    repository = Repository.create(Location.parse(tmp_path))
    tip = repository.tip()

    def failing(store: Store) -> None:
        put_many(store, {"x/zarr.json": b'{"zarr_format":3,"node_type":"group"}'})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        repository.commit(failing, "fails")
    assert repository.tip() == tip
    assert get_many(repository.snapshot().store, ["x/zarr.json"]) == [None]


def test_a_transaction_without_changes_makes_no_commit(tmp_path: Path) -> None:
    repository = Repository.create(Location.parse(tmp_path))
    tip = repository.tip()
    assert repository.commit(lambda store: "seen", "nothing") == (tip, "seen")
    assert repository.tip() == tip


def test_history_names_what_was_written_and_from_where() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("rooms", SCHEMA)
    done = fleet.append(
        {"device": ["a"], "time": minutes(0), "t": [1.0]}, positions={"kafka": {"0": 17}}
    )
    newest = next(archive.history())
    assert newest.snapshot == done.snapshot
    assert newest.metadata["fleet"] == "rooms"
    assert newest.metadata["rows"] == 1
    assert newest.metadata["positions"] == {"kafka": {"0": 17}}
    assert newest.time.tzinfo is not None
    assert abs((newest.time - datetime.now(UTC)).total_seconds()) < 60
    messages = [commit.message for commit in archive.history()]
    assert messages[:3] == ["append to rooms", "create fleet rooms", "create archive"]


def test_old_snapshots_stay_as_they_were() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("rooms", SCHEMA)
    first = fleet.append({"device": ["a"], "time": minutes(0), "t": [1.0]})
    between = datetime.now(UTC)
    fleet.append({"device": ["b"], "time": minutes(1), "t": [2.0]})
    for point in (first.snapshot, between, between.replace(tzinfo=None), between.isoformat()):
        then = archive.at(point)
        assert then.fleet("rooms").devices == ["a"]
        assert then.fleet("rooms").read().read_all().num_rows == 1
        with pytest.raises(InvalidInputError, match="without at"):
            then.fleet("rooms").append({"device": ["c"], "time": minutes(2), "t": [3.0]})
        with pytest.raises(InvalidInputError, match="without at"):
            then.create_fleet("more", SCHEMA)
    assert archive.fleet("rooms").read().read_all().num_rows == 2


@pytest.mark.parametrize("point", ["no-such-snapshot", "1CECHNKREP0F1RSTCM00", "1999-01-01"])
def test_there_was_no_such_snapshot(point: str) -> None:
    with pytest.raises(NotFoundError):
        memory_archive().at(point)


def test_what_is_no_point_in_history_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        memory_archive().at(as_any(17))


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_threads_that_append_at_once_lose_nothing(kind: str, tmp_path: Path) -> None:
    archive = memory_archive() if kind == "memory" else pipeline.Archive.create(tmp_path / "x")
    fleet = archive.create_fleet("rooms", SCHEMA)

    def append(worker: int) -> None:
        for step in range(5):
            row = {"device": [f"d{worker}-{step}"], "time": minutes(step), "t": [float(worker)]}
            fleet.append(row)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(4)))
    table = fleet.read().read_all()
    assert sorted(np.unique(table["device"].to_pylist())) == sorted(
        f"d{worker}-{step}" for worker in range(4) for step in range(5)
    )
    assert len(fleet.devices) == 20


def test_a_creation_that_was_cut_short_is_finished_by_the_next(tmp_path: Path) -> None:
    Repository.create(Location.parse(tmp_path / "x"))
    archive = pipeline.Archive.create(tmp_path / "x")
    assert archive.fleets == []
    with pytest.raises(AlreadyExistsError):
        pipeline.Archive.create(tmp_path / "x")


def test_expiry_goes_on_when_a_claim_is_taken_down_in_its_midst() -> None:
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise ic.IcechunkError("ref error ref not found `claim`")
        return "done"

    assert despite_claims(work) == "done"
    assert len(calls) == 3

    def fail() -> None:
        raise ic.IcechunkError("ref error ref not found `main`")

    with pytest.raises(ic.IcechunkError, match="main"):
        despite_claims(fail)
