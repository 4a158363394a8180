"""What becomes of an archive that is there already; above all, nothing else is ever deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

from pipeline.api.archive import Archive
from pipeline.errors import AlreadyExistsError, InvalidInputError, JobError
from pipeline.jobs.job_file import Job
from pipeline.jobs.opening import open_archive
from pipeline.schema.channels import Channel, Schema


def job(archive: Path | str, if_exists: str) -> Job:
    document = {"archive": str(archive), "if_exists": if_exists, "steps": ["report"]}
    return Job.model_validate(document)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive with one fleet."""
    made = Archive.create(tmp_path / "archive")
    made.create_fleet("old", Schema([Channel("x", "int8")]))
    return tmp_path / "archive"


@pytest.mark.parametrize("if_exists", ["append", "fail", "replace"])
@pytest.mark.parametrize("empty_folder", [True, False])
def test_one_that_is_not_there_is_created(
    tmp_path: Path, if_exists: str, empty_folder: bool
) -> None:
    if empty_folder:
        (tmp_path / "new").mkdir()
    opened = open_archive(job(tmp_path / "new", if_exists))
    assert opened.archive.fleets == []
    assert Archive.open(tmp_path / "new").fleets == []
    assert opened.folder == tmp_path / "new"


def test_append_opens_it(archive: Path) -> None:
    assert open_archive(job(archive, "append")).archive.fleets == ["old"]


def test_fail_fails(archive: Path) -> None:
    with pytest.raises(AlreadyExistsError, match="if_exists is 'fail'"):
        open_archive(job(archive, "fail"))
    assert Archive.open(archive).fleets == ["old"]


def test_replace_begins_anew(archive: Path) -> None:
    assert open_archive(job(archive, "replace")).archive.fleets == []


def test_an_archive_in_memory(tmp_path: Path) -> None:
    opened = open_archive(job(f"memory://{tmp_path.name}", "append"))
    assert (opened.folder, opened.stored_bytes()) == (None, None)
    assert open_archive(job(f"memory://{tmp_path.name}", "append")).archive.fleets == []


class TestWhatIsNotReplaced:
    def refused(self, place: Path | str, why: str) -> None:
        with pytest.raises(JobError, match=why):
            open_archive(job(place, "replace"))

    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        self.refused(tmp_path, "it holds 'thesis.txt'")
        assert (tmp_path / "thesis.txt").exists()

    def test_an_archive_with_a_stranger_in_it(self, archive: Path) -> None:
        (archive / "notes.md").write_text("do not lose")
        self.refused(archive, "it holds 'notes.md'; move that away")
        assert Archive.open(archive).fleets == ["old"]

    def test_a_folder_that_only_looks_like_one(self, tmp_path: Path) -> None:
        (tmp_path / "refs").mkdir()
        self.refused(tmp_path, "not certainly an archive")
        assert (tmp_path / "refs").exists()

    def test_a_plain_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        self.refused(tmp_path / "file", "it is no plain folder")

    def test_a_link(self, archive: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(archive)
        self.refused(tmp_path / "link", "it is no plain folder")
        assert Archive.open(archive).fleets == ["old"]

    def test_other_places_than_folders(self) -> None:
        self.refused("memory://x", "only archives in local folders are replaced")
        self.refused("s3://bucket/x", "only archives in local folders are replaced")


def test_another_zarr_store_is_not_opened(tmp_path: Path) -> None:
    from pipeline.archive.locations import Location
    from pipeline.archive.transactions import Repository

    repository = Repository.create(Location.parse(tmp_path / "other"))
    repository.commit(lambda store: zarr.create_group(store), "someone else's")
    with pytest.raises(InvalidInputError, match="not an IoT archive"):
        open_archive(job(tmp_path / "other", "append"))
    with pytest.raises(JobError, match="not an IoT archive"):
        open_archive(job(tmp_path / "other", "replace"))
