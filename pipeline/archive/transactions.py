"""Atomic commits, history and time travel; the only module that knows Icechunk.

A transaction runs a function on a writable Zarr store that starts at the archive's newest
snapshot, and makes all it wrote visible at once or not at all. On a local folder a transaction
holds the folder's lock, so it always starts at the tip, and its bytes are on the disk before
the branch moves. On object stores a commit is conditional on the tip; when another writer was
faster, the function runs again on the new tip.

Icechunk's format 1 is used: after 1,000 small commits and garbage collection an archive of
format 1 held 0.1 MB of metadata where format 2 kept 91 MB, and commits took 8 ms against 13 ms.
"""

from __future__ import annotations

import logging
import os
import pickle  # what a fork is sent with anyway
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import icechunk as ic
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from pipeline.archive.durability import commit_lock, sync_file, sync_filesystem
from pipeline.archive.locations import Location
from pipeline.archive.turns import take_turn
from pipeline.errors import (
    AlreadyExistsError,
    ArchiveError,
    ConflictError,
    CorruptBlockError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)

__all__ = ["Commit", "Fork", "Garbage", "Repository", "Snapshot", "Transaction"]

_log = logging.getLogger(__name__)

_BRANCH: Final = "main"
_CLAIM: Final = "claim"
_FORMAT: Final = 1
_ATTEMPTS: Final = 30
_GARBAGE_MEMORY: Final = 256 << 20
_MEMORY: dict[str, Repository] = {}
# Extent of one manifest along the window axis. Fewer windows make commits cheaper, but their
# number is fixed work: 82,000 extents of hours cost 70 ms a commit, 3,500 cost 4 ms.
_MANIFEST_SPLIT: Final = {"window": 32, "hour_window": 768}


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


class _GuardedStore(WrapperStore[Store]):
    """A store whose failures are errors of this package, with the archive named."""

    def __init__(self, store: Store, location: Location) -> None:
        super().__init__(store)
        self._location = location

    def _with_store(self, store: Store) -> _GuardedStore:
        return _GuardedStore(store, self._location)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        with _translated(self._location, key):
            try:
                return await super().get(key, prototype, byte_range)
            except ic.InvalidInputError:
                if not isinstance(byte_range, RangeByteRequest):
                    raise
            # A range beyond the end of a short value is refused rather than cut.
            whole = await super().get(key, prototype)
            return None if whole is None else whole[byte_range.start : byte_range.end]

    async def getsize(self, key: str) -> int:
        # The base class would fetch the whole value.
        with _translated(self._location, key):
            return await self._store.getsize(key)

    async def set(self, key: str, value: Buffer) -> None:
        with _translated(self._location, key):
            await super().set(key, value)

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        with _translated(self._location, prefix):
            async for key in super().list_prefix(prefix):
                yield key


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """A part of a transaction's writes that can be made in another process.

    A fork travels: it is pickled to the process that writes chunks through it, and back. What it
    wrote is seen by nobody until it is merged into a commit, and is left to garbage collection
    if it never is.

    Parameters
    ----------
    session
        The storage library's own.
    location
        Of the archive, for messages.
    """

    session: ic.ForkSession
    location: Location

    @property
    def store(self) -> Store:
        """Where to write."""
        return _GuardedStore(self.session.store, self.location)

    @classmethod
    def join(cls, forks: Sequence[Fork]) -> Fork:
        """Return one fork that holds what all of `forks`, at least one, wrote; they stay as they are.

        Chunks have to be disjoint: of two that were written to one place, the later is kept.
        """
        first = forks[0]
        with _translated(first.location):
            session: ic.ForkSession = pickle.loads(pickle.dumps(first.session))  # noqa: S301
            session.merge(*(fork.session for fork in forks[1:]))
        return cls(session, first.location)


@dataclass(frozen=True, slots=True, eq=False)
class Transaction:
    """The newest state as writers in other processes start from it.

    Parameters
    ----------
    base
        Id of the snapshot.
    store
        To read from.
    session
        The storage library's own.
    location
        Of the archive.
    """

    base: str
    store: Store
    session: ic.Session
    location: Location

    def fork(self) -> Fork:
        """Return a new fork, for one writer."""
        with _translated(self.location):
            return Fork(self.session.fork(), self.location)


def _despite_claims[T](work: Callable[[], T]) -> T:
    """Do what goes through all branches again if a claim is taken down in its midst."""
    for _ in range(_ATTEMPTS):
        try:
            return work()
        except ic.IcechunkError as error:
            if f"`{_CLAIM}`" not in str(error):
                raise
            time.sleep(random.uniform(0, 0.2))  # noqa: S311
    return work()


class _Claims:
    """Claims of writers as a branch of their own: making one fails if there is one."""

    def __init__(self, repository: ic.Repository) -> None:
        self._repository = repository

    def put(self) -> bool:
        with suppress(ic.IcechunkError):
            self._repository.create_branch(_CLAIM, self._repository.lookup_branch(_BRANCH))
            return True
        return False

    def seen(self) -> str | None:
        with suppress(ic.IcechunkError):
            return str(self._repository.lookup_branch(_CLAIM))
        return None

    def take_down(self) -> None:
        with suppress(ic.IcechunkError):
            self._repository.delete_branch(_CLAIM)


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
        self._claims = _Claims(repository) if location.scheme not in ("file", "memory") else None

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
        root = _local_root(location)
        if root is not None:
            _make_root(root)
        with _translated(location):
            storage = _storage(location, dict(options or {}))
            if not ic.Repository.exists(storage):
                repository = ic.Repository.create(storage, config=_config(), spec_version=_FORMAT)
            else:
                repository = ic.Repository.open(storage, config=_config())
                if len(list(islice(repository.ancestry(branch=_BRANCH), 2))) > 1:
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
        root = _local_root(location)
        if root is not None and not root.is_dir():
            raise NotFoundError(missing)
        with _translated(location):
            storage = _storage(location, dict(options or {}))
            if not ic.Repository.exists(storage):
                raise NotFoundError(missing)
            return cls(location, ic.Repository.open(storage, config=_config()))

    def tip(self) -> str:
        """Return the id of the newest snapshot."""
        with _translated(self.location):
            return str(self._repository.lookup_branch(_BRANCH))

    def snapshot(self, at: str | datetime | None = None) -> Snapshot:
        """Return the newest snapshot, the one with an id, or the newest at a time.

        Raises
        ------
        NotFoundError
            If there is no such snapshot.
        """
        with _translated(self.location):
            if isinstance(at, str):
                session = self._repository.readonly_session(snapshot_id=at)
            elif at is None:
                session = self._repository.readonly_session(_BRANCH)
            else:
                moment = at if at.tzinfo else at.replace(tzinfo=UTC)
                session = self._fresh().readonly_session(_BRANCH, as_of=moment)
            return Snapshot(session.snapshot_id, _GuardedStore(session.store, self.location))

    def history(self) -> Iterator[Commit]:
        """Yield the commits, newest first, back to the oldest that was not expired."""
        passed: set[str] = set()
        try:
            yield from self._ancestry(passed)
        except NotFoundError:  # expired under way
            yield from self._ancestry(passed)

    def _ancestry(self, passed: set[str]) -> Iterator[Commit]:
        with _translated(self.location):
            for entry in self._fresh().ancestry(branch=_BRANCH):
                if entry.id not in passed:
                    passed.add(entry.id)
                    metadata = dict(entry.metadata or {})
                    yield Commit(entry.id, entry.written_at, entry.message, metadata)

    def _fresh(self) -> ic.Repository:
        # Another process may have expired snapshots; a handle remembers the parents they had.
        return ic.Repository.open(self._repository.storage, config=_config())

    def begin(self) -> Transaction:
        """Return the newest state, to fork from for writers in other processes.

        Nothing is locked: forks are merged into a later `commit`, wherever the tip is by then.
        """
        with _translated(self.location):
            session = self._repository.writable_session(_BRANCH)
            store = _GuardedStore(session.store, self.location)
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
        with self._exclusive(), _translated(self.location):
            session = self._repository.writable_session(_BRANCH)
            store = _GuardedStore(session.store, self.location)
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
        with self._exclusive(), _translated(self.location):
            expired = _despite_claims(lambda: self._repository.expire_snapshots(older_than))
            root = _local_root(self.location)
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
        with self._exclusive() if alone else nullcontext(), _translated(self.location):
            done = _despite_claims(
                lambda: self._repository.garbage_collect(
                    older_than, max_decoded_manifest_mem_bytes=_GARBAGE_MEMORY
                )
            )
        snapshots, others = int(done.snapshots_deleted), int(done.manifests_deleted)
        others += int(done.transaction_logs_deleted) + int(done.attributes_deleted)
        return Garbage(snapshots, int(done.chunks_deleted), others, int(done.bytes_deleted))

    def _publish(self, session: ic.Session, message: str, metadata: dict[str, Any]) -> str | None:
        root = _local_root(self.location)
        if root is None:
            try:
                return str(session.commit(message, metadata))
            except ic.ConflictError:
                return None
        tip = session.snapshot_id
        snapshot = str(session.flush(message, metadata=metadata))
        sync_filesystem(root)
        self._repository.reset_branch(_BRANCH, snapshot, from_snapshot_id=tip)
        ref = root / "refs" / f"branch.{_BRANCH}"
        sync_file(ref / "ref.json")
        sync_file(ref)
        # xarray names cached Dask arrays after the folder's modification time.
        os.utime(root)
        return snapshot

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        root = _local_root(self.location)
        lock: AbstractContextManager[Any] = nullcontext() if root is None else commit_lock(root)
        # The thread lock comes first: flock does not exclude threads that share a handle's process
        # fairly, and in-memory archives have no other lock.
        with self._thread_lock, lock:
            yield


def _local_root(location: Location) -> Path | None:
    return Path(location.path) if location.scheme == "file" else None


def _make_root(root: Path) -> None:
    if (root / "refs").is_dir():
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        msg = f"{root}: not an empty folder; name a new or an empty one"
        raise AlreadyExistsError(msg)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{root}: cannot be created: {error.strerror}"
        raise StorageError(msg) from error


@cache
def _hush() -> None:
    # It warns that local folders are not safe for concurrent commits: here they are, by our lock.
    if "ICECHUNK_LOG" not in os.environ:
        ic.set_logs_filter("error")


def _storage(location: Location, options: dict[str, Any]) -> ic.Storage:
    _hush()
    if location.scheme == "file":
        return ic.local_filesystem_storage(location.path)
    if location.scheme == "memory":
        return ic.in_memory_storage()
    if not any(key in options for key in _CREDENTIALS):
        options["from_env"] = True
    try:
        if location.scheme == "s3":
            return ic.s3_storage(bucket=location.bucket, prefix=location.path, **options)
        if location.scheme == "gs":
            return ic.gcs_storage(bucket=location.bucket, prefix=location.path, **options)
        return ic.azure_storage(container=location.bucket, prefix=location.path, **options)
    except TypeError as error:
        msg = f"{location}: storage options do not fit: {error}"
        raise InvalidInputError(msg) from error


_CREDENTIALS: Final = (
    "access_key_id",
    "access_key",
    "anonymous",
    "application_credentials",
    "bearer_token",
    "from_env",
    "get_credentials",
    "sas_token",
    "service_account_file",
    "service_account_key",
)


def _config() -> ic.RepositoryConfig:
    config = ic.RepositoryConfig.default()
    splits: dict[Any, int] = {
        ic.ManifestSplitDimCondition.DimensionName(name): extent
        for name, extent in _MANIFEST_SPLIT.items()
    }
    # What a handle remembers. Manifests hold small chunks themselves, and every commit makes a new
    # one: by the library's own bounds a writer held 4 GB after 8,000 commits.
    config.caching = ic.CachingConfig(
        num_snapshot_nodes=5_000, num_chunk_refs=500_000, num_transaction_changes=10_000
    )
    config.manifest = ic.ManifestConfig(
        # Preloading manifests made the first write of a fresh session up to 430 ms slower.
        preload=ic.ManifestPreloadConfig(max_total_refs=0),
        splitting=ic.ManifestSplittingConfig.from_dict(
            {ic.ManifestSplitCondition.AnyArray(): splits}
        ),
    )
    return config


@contextmanager
def _translated(location: Location, key: str = "") -> Iterator[None]:
    try:
        yield
    except ArchiveError:
        raise
    except ic.IcechunkError as error:
        raise _translate(location, key, error) from error


def _translate(location: Location, key: str, error: ic.IcechunkError) -> ArchiveError:
    # The first line is the cause; the rest is the library's own trace.
    reason = str(error).strip().splitlines()[0]
    message = f"{location}: {key}: {reason}" if key else f"{location}: {reason}"
    if key and error.kind == "object-not-found":
        return CorruptBlockError(f"{message}; the file that held it is gone")
    if isinstance(error, ic.NotFoundError) or error.kind == "object-not-found":
        return NotFoundError(message)
    if isinstance(error, ic.InvalidInputError):
        return NotFoundError(f"{message} (is this a snapshot id from history()?)")
    if isinstance(error, ic.ConflictError):
        return ConflictError(message)
    return StorageError(message)
