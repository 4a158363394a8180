"""Atomic commits, history and time travel.

A transaction runs a function on a writable Zarr store that starts at the archive's newest
snapshot, and makes all it wrote visible at once or not at all. On a local folder a transaction
holds the folder's lock, so it always starts at the tip, and its bytes are on the disk before
the branch moves. On object stores a commit is conditional on the tip; when another writer was
faster, the function runs again on the new tip.

Icechunk's format 1 is used: after 1,000 small commits and garbage collection an archive of
format 1 held 0.1 MB of metadata where format 2 kept 91 MB, and commits took 8 ms against 13 ms.
"""

from __future__ import annotations

import copy
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import icechunk as ic
from zarr.abc.store import Store

from pipeline.archive.durability import commit_lock, sync_file, sync_filesystem
from pipeline.archive.locations import Location
from pipeline.archive.transactions.claims import BranchClaims, despite_claims
from pipeline.archive.transactions.differences import Differences, differences_of
from pipeline.archive.transactions.forks import Fork, Transaction
from pipeline.archive.transactions.guarded import GuardedStore, translated
from pipeline.archive.transactions.storage import (
    BRANCH,
    configuration,
    local_root,
    make_root,
    open_storage,
)
from pipeline.archive.turns import take_turn
from pipeline.errors import AlreadyExistsError, ConflictError, NotFoundError

__all__ = ["Commit", "Garbage", "Repository", "Snapshot"]

_log = logging.getLogger(__name__)

_FORMAT: Final = 1
_ATTEMPTS: Final = 30
_GARBAGE_MEMORY: Final = 256 << 20
_MEMORY: dict[str, Repository] = {}


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of an archive's history.

    Parameters
    ----------
    snapshot
        Id of the snapshot that the commit made.
    time
        When, with timezone UTC.
    message
        What for.
    metadata
        JSON values that the writer attached, such as counts and source positions.
    """

    snapshot: str
    time: datetime
    message: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A read-only, never changing view of everything in the archive."""

    id: str
    store: Store


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a garbage collection deleted: objects of each kind, and their bytes."""

    snapshots: int
    chunks: int
    others: int
    bytes: int


class Repository:
    """A transactional Zarr store at one location.

    Attributes
    ----------
    retries
        How often a commit met a faster writer and was made anew.
    """

    def __init__(self, location: Location, repository: ic.Repository) -> None:
        self.location = location
        self.retries = 0
        self._repository = repository
        self._thread_lock = threading.Lock()
        # Locks make writers take turns on local folders and in memory.
        self._claims = (
            BranchClaims(repository) if location.scheme not in ("file", "memory") else None
        )
        self._fence: Callable[[Store], None] | None = None

    def fenced(self, check: Callable[[Store], None]) -> Repository:
        """Return the same repository, with a check before every change that is made through it.

        Parameters
        ----------
        check
            Is given the state that a commit follows on, and raises if it must not be made. No other
            commit comes between the two.
        """
        other = copy.copy(self)
        other._fence = check
        return other

    @classmethod
    def create(cls, location: Location, options: Mapping[str, Any] | None = None) -> Repository:
        """Create an empty repository.

        Raises
        ------
        AlreadyExistsError
            If there is one already, or the folder holds something else.
        StorageError
            If the place cannot be written.
        """
        taken = f"{location}: an archive exists already; open it instead"
        if location.scheme == "memory" and location.path in _MEMORY:
            raise AlreadyExistsError(taken)
        root = local_root(location)
        if root is not None:
            make_root(root)
        with translated(location):
            storage = open_storage(location, options)
            config = configuration(location, storage)
            if not ic.Repository.exists(storage):
                repository = ic.Repository.create(storage, config=config, spec_version=_FORMAT)
            else:
                repository = ic.Repository.open(storage, config=config)
                if len(list(islice(repository.ancestry(branch=BRANCH), 2))) > 1:
                    raise AlreadyExistsError(taken)
                # Nothing was ever committed: whoever began to create it did not finish.
        made = cls(location, repository)
        if location.scheme == "memory" and location.path:
            _MEMORY[location.path] = made
        return made

    @classmethod
    def open(cls, location: Location, options: Mapping[str, Any] | None = None) -> Repository:
        """Open an existing repository.

        Raises
        ------
        NotFoundError
            If there is none at `location`.
        """
        missing = f"{location}: no archive here; create it with Archive.create"
        if location.scheme == "memory":
            if location.path not in _MEMORY:
                raise NotFoundError(missing)
            return _MEMORY[location.path]
        root = local_root(location)
        if root is not None and not root.is_dir():
            raise NotFoundError(missing)
        with translated(location):
            storage = open_storage(location, options)
            if not ic.Repository.exists(storage):
                raise NotFoundError(missing)
            config = configuration(location, storage)
            return cls(location, ic.Repository.open(storage, config=config))

    def tip(self) -> str:
        """Return the id of the newest snapshot."""
        with translated(self.location):
            return str(self._repository.lookup_branch(BRANCH))

    def snapshot(self, at: str | datetime | None = None) -> Snapshot:
        """Return the newest snapshot, the one with an id, or the newest at a time.

        Raises
        ------
        NotFoundError
            If there is no such snapshot.
        """
        with translated(self.location):
            if isinstance(at, str):
                session = self._repository.readonly_session(snapshot_id=at)
            elif at is None:
                session = self._repository.readonly_session(BRANCH)
            else:
                moment = at if at.tzinfo else at.replace(tzinfo=UTC)
                session = self._fresh().readonly_session(BRANCH, as_of=moment)
            return self._read(session.snapshot_id, session.store)

    def _read(self, snapshot: str, store: ic.IcechunkStore) -> Snapshot:
        def another() -> ic.IcechunkStore:
            return self._repository.readonly_session(snapshot_id=snapshot).store

        return Snapshot(snapshot, GuardedStore(store, self.location, another))

    def differences(self, older: str, newer: str) -> Differences | None:
        """Return what the commits between two snapshots changed; None if that cannot be told.

        It cannot if `older` is no ancestor of `newer`, or was expired.
        """
        try:
            diff = self._repository.diff(from_snapshot_id=older, to_snapshot_id=newer)
        except ic.IcechunkError:
            return None
        return differences_of(diff)

    def history(self) -> Iterator[Commit]:
        """Yield the commits, newest first, back to the oldest that was not expired."""
        passed: set[str] = set()
        try:
            yield from self._ancestry(passed)
        except NotFoundError:  # expired under way
            yield from self._ancestry(passed)

    def _ancestry(self, passed: set[str]) -> Iterator[Commit]:
        with translated(self.location):
            for entry in self._fresh().ancestry(branch=BRANCH):
                if entry.id not in passed:
                    passed.add(entry.id)
                    metadata = dict(entry.metadata or {})
                    yield Commit(entry.id, entry.written_at, entry.message, metadata)

    def _fresh(self) -> ic.Repository:
        # Another process may have expired snapshots; a handle remembers the parents they had.
        storage = self._repository.storage
        return ic.Repository.open(storage, config=configuration(self.location, storage))

    def begin(self) -> Transaction:
        """Return the newest state, to fork from for writers in other processes.

        Nothing is locked: forks are merged into a later `commit`, wherever the tip is by then.
        """
        with translated(self.location):
            session = self._repository.writable_session(BRANCH)
            store = GuardedStore(session.store, self.location)
            return Transaction(str(session.snapshot_id), store, session, self.location)

    def commit[T](
        self,
        change: Callable[[Store], T],
        message: str,
        metadata: Callable[[T], Mapping[str, Any]] | None = None,
        forks: Callable[[Store], Sequence[Fork]] | None = None,
    ) -> tuple[str, T]:
        """Run `change` on the newest state and make what it wrote visible, durably.

        Parameters
        ----------
        change
            Writes to the store it is given. It may run several times, each time on a newer
            state; what an abandoned run wrote is never seen. An error it raises leaves the
            archive as it was.
        message
            For the history.
        metadata
            Makes the commit's metadata from the result of `change`.
        forks
            Returns the forks to merge before `change` runs, given the newest state; it may
            raise if what they wrote does not fit to that.

        Returns
        -------
        tuple
            The new snapshot's id (the old one if nothing was written) and `change`'s result.

        Raises
        ------
        ConflictError
            If other writers were faster every time.
        StorageError
            If the storage fails; nothing of the change is visible.
        """
        with take_turn(self._claims) as turn:
            for attempt in range(_ATTEMPTS):
                if turn is not None:
                    turn.wait(attempt)
                snapshot, result = self._attempt(change, message, metadata, forks)
                if snapshot is not None:
                    return snapshot, result
                self.retries += 1
                _log.warning(
                    "%s: %s: another writer was faster, attempt %d of %d failed",
                    self.location, message, attempt + 1, _ATTEMPTS,
                )  # fmt: skip
                time.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 6)))  # noqa: S311
        msg = f"{self.location}: {_ATTEMPTS} attempts to commit {message!r} met faster writers"
        raise ConflictError(msg)

    def _attempt[T](
        self,
        change: Callable[[Store], T],
        message: str,
        metadata: Callable[[T], Mapping[str, Any]] | None,
        forks: Callable[[Store], Sequence[Fork]] | None,
    ) -> tuple[str | None, T]:
        """Run a change on the newest state; the id is None if another writer was faster."""
        with self._exclusive(), translated(self.location):
            session = self._repository.writable_session(BRANCH)
            store = GuardedStore(session.store, self.location)
            if self._fence is not None:
                self._fence(store)
            if forks is not None:
                session.merge(*(fork.session for fork in forks(store)))
            result = change(store)
            if not session.has_uncommitted_changes:
                return str(session.snapshot_id), result
            attached = dict(metadata(result)) if metadata else {}
            snapshot = self._publish(session, message, attached)
        if snapshot is not None:
            _log.info("%s: %s: snapshot %s", self.location, message, snapshot)
        return snapshot, result

    def expire(self, older_than: datetime) -> int:
        """Take snapshots written before a moment out of the history; return how many.

        The newest snapshot always stays. Nothing is deleted yet, see `collect_garbage`; whoever
        reads an expired snapshot goes on reading it.

        Raises
        ------
        StorageError
            If the storage fails; the history is as it was.
        """
        with self._exclusive(), translated(self.location):
            self._check_fence()
            expired = despite_claims(lambda: self._repository.expire_snapshots(older_than))
            root = local_root(self.location)
            if expired and root is not None:
                sync_filesystem(root)
            return len(expired)

    def collect_garbage(self, older_than: datetime, *, alone: bool = False) -> Garbage:
        """Delete objects written before a moment that no snapshot of the history needs.

        Objects of a change that is being written belong to no snapshot yet: `older_than` has to
        lie before the start of every change and every read that is still going on.

        Parameters
        ----------
        older_than
            The moment, with a timezone.
        alone
            Keep commits to a local folder waiting until it is done.

        Raises
        ------
        StorageError
            If the storage fails; running it again deletes the rest.
        """
        with self._exclusive() if alone else nullcontext(), translated(self.location):
            self._check_fence()
            done = despite_claims(
                lambda: self._repository.garbage_collect(
                    older_than, max_decoded_manifest_mem_bytes=_GARBAGE_MEMORY
                )
            )
        snapshots, others = int(done.snapshots_deleted), int(done.manifests_deleted)
        others += int(done.transaction_logs_deleted) + int(done.attributes_deleted)
        return Garbage(snapshots, int(done.chunks_deleted), others, int(done.bytes_deleted))

    def _check_fence(self) -> None:
        if self._fence is not None:
            self._fence(self.snapshot().store)

    def _publish(self, session: ic.Session, message: str, metadata: dict[str, Any]) -> str | None:
        root = local_root(self.location)
        if root is None:
            try:
                return str(session.commit(message, metadata))
            except ic.ConflictError:
                return None
        tip = session.snapshot_id
        snapshot = str(session.flush(message, metadata=metadata))
        sync_filesystem(root)
        self._repository.reset_branch(BRANCH, snapshot, from_snapshot_id=tip)
        ref = root / "refs" / f"branch.{BRANCH}"
        sync_file(ref / "ref.json")
        sync_file(ref)
        # xarray names cached Dask arrays after the folder's modification time.
        os.utime(root)
        return snapshot

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        root = local_root(self.location)
        lock: AbstractContextManager[Any] = nullcontext() if root is None else commit_lock(root)
        # The thread lock comes first: flock does not exclude threads that share a handle's process
        # fairly, and in-memory archives have no other lock.
        with self._thread_lock, lock:
            yield
