"""The archive of a job: opened, created, or replaced."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.api.archive import Archive
from pipeline.archive.durability import commit_lock
from pipeline.archive.fleet_meta import check_format, initialise
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.errors import AlreadyExistsError, ArchiveError, JobError, NotFoundError
from pipeline.jobs.job_file import Job

__all__ = ["JobArchive", "open_archive"]

_OURS: Final = frozenset(
    (
        "chunks",
        "commit.lock",
        "config.yaml",
        "manifests",
        "overwritten",
        "refs",
        "repo",
        "snapshots",
        "transactions",
    )
)
"""What an archive's folder holds at its top."""


@dataclass(frozen=True, slots=True, eq=False)
class JobArchive:
    """An open archive with the repository below it, which imports write through."""

    archive: Archive
    repository: Repository

    @property
    def folder(self) -> Path | None:
        """Where a local archive is; None for object stores and memory."""
        location = self.repository.location
        return Path(location.path) if location.scheme == "file" else None

    def stored_bytes(self) -> int | None:
        """Return the bytes of all files of a local archive; None for others."""
        if self.folder is None:
            return None
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(FileNotFoundError):  # another writer's, meanwhile renamed or deleted
                    total += (Path(folder) / name).lstat().st_size
        return total


def open_archive(job: Job) -> JobArchive:
    """Open the job's archive, creating or replacing it as ``if_exists`` says.

    Raises
    ------
    AlreadyExistsError
        If there is one and ``if_exists`` is ``fail``, or the folder holds something else.
    JobError
        If it should be replaced and is not certainly an archive in a local folder.
    StorageError, InvalidInputError, NotFoundError
        As of `pipeline.Archive.create` and ``open``.
    """
    location, options = Location.parse(job.archive), job.storage_options
    if job.if_exists == "replace":
        _remove(location)
    try:
        repository = Repository.open(location, options)
    except NotFoundError:
        repository = Repository.create(location, options)
        repository.commit(initialise, "create archive")
    else:
        if job.if_exists == "fail":
            msg = f"{location}: an archive exists already and if_exists is 'fail'; name another one"
            raise AlreadyExistsError(msg)
        check_format(repository.snapshot().store)
    return JobArchive(Archive(repository), repository)


def _remove(location: Location) -> None:
    if location.scheme != "file":
        msg = f"{location}: only archives in local folders are replaced; delete it yourself, or name another one"
        raise JobError(msg)
    root = Path(location.path)
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    _check_ours(root)
    with commit_lock(root):
        shutil.rmtree(root)


def _check_ours(root: Path) -> None:
    refusal = f"{root}: not replaced, for it is not certainly an archive"
    if not root.is_dir() or root.is_symlink():
        msg = f"{refusal}: it is no plain folder; delete it yourself, or name another one"
        raise JobError(msg)
    strange = sorted(entry.name for entry in root.iterdir() if entry.name not in _OURS)
    if strange:
        msg = f"{refusal}: it holds {strange[0]!r}; move that away, or name another one"
        raise JobError(msg)
    try:
        Archive.open(root)
    except ArchiveError as error:
        msg = f"{refusal}: {error}"
        raise JobError(msg) from error
