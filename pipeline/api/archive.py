"""The archive as users meet it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.api.fleet import Fleet
from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import CompactionResult
from pipeline.archive.compaction import compact as compact_fleet
from pipeline.archive.expiry import age
from pipeline.archive.fleet_meta import (
    Duplicates,
    FleetMeta,
    check_format,
    create_fleet,
    fleet_names,
    initialise,
    load_fleet,
)
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.layout import FleetLayout
from pipeline.archive.locations import Location
from pipeline.archive.maintaining import MaintenanceResult, maintain
from pipeline.archive.on_client import are_reached, merges_on, windows_on
from pipeline.archive.repairing import RepairResult, repair_fleet
from pipeline.archive.requests import moment
from pipeline.archive.retention import Retention
from pipeline.archive.stats import FleetStats, fleet_stats
from pipeline.archive.transactions import Commit, Repository
from pipeline.archive.verify_report import VerifyReport
from pipeline.archive.verifying_fleet import verify_history, verify_named
from pipeline.errors import InvalidInputError
from pipeline.partitioning.scheme import Partitioning
from pipeline.schema.channels import Schema
from pipeline.schema.versions import SchemaHistory

__all__ = ["Archive"]


class Archive:
    """A set of fleets in one transactional store, on a local folder, an object store or in memory.

    Make one with `create` or `open`.
    """

    def __init__(self, repository: Repository, at: str | datetime | None = None) -> None:
        self._repository = repository
        self._at = at

    @classmethod
    def create(
        cls, url: str | Path, *, storage_options: Mapping[str, Any] | None = None
    ) -> Archive:
        """Create an empty archive.

        Parameters
        ----------
        url
            A new or empty folder, ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or
            ``memory://name`` for one that lives as long as the process.
        storage_options
            For object stores: region, endpoint_url, credentials and so on, as Icechunk's storage
            functions name them. Without credentials those of the environment are used.

        Raises
        ------
        AlreadyExistsError
            If there is an archive already, or the folder is not empty.
        InvalidInputError
            If the URL or an option makes no sense.
        StorageError
            If the place cannot be written.
        """
        repository = Repository.create(Location.parse(url), storage_options)
        repository.commit(initialise, "create archive")
        return cls(repository)

    @classmethod
    def open(cls, url: str | Path, *, storage_options: Mapping[str, Any] | None = None) -> Archive:
        """Open an existing archive.

        Parameters
        ----------
        url, storage_options
            As for `create`.

        Raises
        ------
        NotFoundError
            If there is none.
        InvalidInputError
            If it is another kind of store, or of a newer format.
        """
        repository = Repository.open(Location.parse(url), storage_options)
        check_format(repository.snapshot().store)
        return cls(repository)

    @property
    def url(self) -> str:
        """Where the archive is."""
        return str(self._repository.location)

    @property
    def fleets(self) -> list[str]:
        """Names of the fleets."""
        return fleet_names(self._repository.snapshot(self._at).store)

    def create_fleet(
        self,
        name: str,
        schema: Schema,
        partitioning: Partitioning | None = None,
        *,
        duplicates: str | Duplicates = Duplicates.KEEP_LAST,
        retention: Mapping[str, Any] | Retention | None = None,
    ) -> Fleet:
        """Create an empty fleet.

        Parameters
        ----------
        name
            Letters, digits, ``_``, ``-`` and ``.``.
        schema
            What its devices measure.
        partitioning
            Windows and device blocks; days and 256 devices by default.
        duplicates
            What becomes of rows that repeat a device and time: ``"keep_last"``, ``"keep_first"``,
            ``"keep_all"`` or ``"error"``.
        retention
            How long rows and statistics are kept, such as ``{"raw": "90 days"}``; for ever by
            default. See `Fleet.set_retention`.

        Raises
        ------
        AlreadyExistsError
            If the fleet exists.
        InvalidInputError
            If the name or policy is not allowed, or the archive was opened at an old snapshot.
        """
        self._writable()
        layout = FleetLayout(name, partitioning or Partitioning())
        kept = retention if isinstance(retention, Retention) else _retention(retention or {})
        history = SchemaHistory.first(schema, time=datetime.now(UTC))
        policy = Duplicates.parse(duplicates)
        meta = FleetMeta(layout, schema, policy, retention=kept, history=history)
        self._repository.commit(lambda store: create_fleet(store, meta), f"create fleet {name}")
        return Fleet(FleetStore(self._repository, name))

    def fleet(self, name: str) -> Fleet:
        """Return an existing fleet.

        Raises
        ------
        NotFoundError
            If there is none of that name.
        """
        load_fleet(self._repository.snapshot(self._at).store, name)
        return Fleet(FleetStore(self._repository, name), self._at)

    __getitem__ = fleet

    def __contains__(self, name: object) -> bool:
        return name in self.fleets

    def history(self) -> Iterator[Commit]:
        """Yield the archive's commits, newest first."""
        return self._repository.history()

    def maintain(
        self,
        fleets: str | Sequence[str] | None = None,
        *,
        history: Any = "7 days",
        safety: Any = "1 day",
        compact: bool = True,
        alone: bool = False,
        client: Any = None,
    ) -> MaintenanceResult:
        """Apply retention, merge small blocks, and delete what old states alone need.

        Run it regularly, once a day say. It may be killed and run again, and others may read and
        write the archive meanwhile. A job file's ``maintenance`` step does the same on a cluster.

        Parameters
        ----------
        fleets
            Names of fleets to look at; all by default. Expiry concerns the whole archive.
        history
            How long states of the archive can be opened, see `at`; at least `safety` is kept.
        safety
            The longest time that any writer or reader may live: an hour or more. What is newer
            is never deleted.
        compact
            Whether to merge blocks, see `Fleet.compact`.
        alone
            Your word that nothing else uses the archive meanwhile. Then both ages may be
            ``"0 s"``, and what was deleted or replaced is gone at once.
        client
            A ``distributed.Client``, on whose workers to merge blocks; by default this process does.

        Raises
        ------
        NotFoundError
            If a fleet does not exist.
        InvalidInputError
            If an age is not allowed, or the archive was opened at an old snapshot.
        """
        self._writable()
        policy = CompactionPolicy()
        carry_out = merges_on(client) if are_reached(client, self._repository) else None

        def compact_one(store: FleetStore) -> CompactionResult:
            return compact_fleet(store, policy, _now(), carry_out=carry_out)

        return maintain(
            self._repository,
            self._names(fleets),
            _now,
            age(history),
            age(safety),
            alone=alone,
            compact=compact_one if compact else None,
        )

    def repair(
        self, fleets: str | Sequence[str] | None = None, *, dry_run: bool = False
    ) -> dict[str, RepairResult]:
        """Make index, statistics and counters anew from the blocks, and set damaged chunks aside.

        Every row whose device and time can be read stays; where the values of a channel cannot be
        read, the rows lack them. Damaged chunks go to `Fleet.damaged`, whole and with the reason.

        Parameters
        ----------
        fleets
            Names of fleets; all by default.
        dry_run
            Whether only to tell what would be done.

        Raises
        ------
        NotFoundError
            If a fleet does not exist.
        CorruptBlockError
            If a fleet's definition or its list of devices cannot be read.
        """
        self._writable()
        names = self._names(fleets)
        return {name: repair_fleet(self._repository, name, dry_run=dry_run) for name in names}

    def stats(self, fleets: str | Sequence[str] | None = None) -> dict[str, FleetStats]:
        """Return what fleets hold and what it takes, by window; all fleets by default.

        Raises
        ------
        NotFoundError
            If a fleet does not exist.
        """
        names = self._names(fleets)
        return {
            name: fleet_stats(FleetStore(self._repository, name).view(self._at)) for name in names
        }

    def verify(
        self, fleets: str | Sequence[str] | None = None, *, client: Any = None
    ) -> VerifyReport:
        """Read all that is stored and tell what is wrong with it.

        Every block is decoded, which checks its checksums, and compared with its index entry: rows,
        bytes, order, and the bounds of times and devices. Statistics are compared with the rows,
        counters with what they count, and chunks that no index entry names are found. Reads on all
        cores, one window at a time on each.

        Parameters
        ----------
        fleets
            Names of fleets; all by default.
        client
            A ``distributed.Client``, on whose workers to read instead. Archives in memory are read
            by this process alone.

        Raises
        ------
        NotFoundError
            If a fleet does not exist.
        """
        repository, snapshot = self._repository, self._repository.snapshot(self._at).id
        there = {"map_spans": windows_on(client)} if are_reached(client, repository) else {}
        found = {
            name: verify_named(repository, name, snapshot, **there) for name in self._names(fleets)
        }
        return VerifyReport(snapshot, found, verify_history(self._repository))

    def at(self, snapshot_or_time: Any) -> Archive:
        """Return the archive as it was, for reading.

        Parameters
        ----------
        snapshot_or_time
            A snapshot id from `history`, or a time (``datetime``, ISO 8601 text,
            ``numpy.datetime64``; naive times are UTC).

        Raises
        ------
        NotFoundError
            If there was no such snapshot.
        """
        at = moment(snapshot_or_time)
        self._repository.snapshot(at)
        return Archive(self._repository, at)

    def _names(self, fleets: str | Sequence[str] | None) -> list[str]:
        if fleets is None:
            return self.fleets
        return [fleets] if isinstance(fleets, str) else list(fleets)

    def _writable(self) -> None:
        if self._at is not None:
            msg = "this is the archive as of an old snapshot; open it without at() to write"
            raise InvalidInputError(msg)

    def __repr__(self) -> str:
        as_of = "" if self._at is None else f" as of {self._at}"
        return f"<Archive {self.url}{as_of}>"


def _now() -> datetime:
    return datetime.now(UTC)


def _retention(given: Mapping[str, Any]) -> Retention:
    unknown = sorted(set(given) - {"raw", "summaries"})
    if unknown:
        msg = f"retention has no {unknown[0]!r}; give 'raw' and 'summaries' as durations"
        raise InvalidInputError(msg)
    return Retention.parse(**given)
