"""The versions of a fleet's schema: looking at them, making the next one, reading as one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from pipeline.api.fleet_handle import FleetHandle
from pipeline.archive.evolving_fleet import evolve_fleet, save_policies
from pipeline.archive.migration import (
    MigrationOptions,
    MigrationResult,
    estimate,
    migrate,
    roll_back,
)
from pipeline.archive.on_client import are_reached, moves_on
from pipeline.archive.requests import TimeRange, selection_of
from pipeline.model.timestamps import from_microseconds, to_microseconds
from pipeline.schema.changes import Change
from pipeline.schema.compatibility import CompatibilityReport, compare
from pipeline.schema.evolving import evolve
from pipeline.schema.policies import SchemaPolicies
from pipeline.schema.versions import SchemaVersion

__all__ = ["FleetSchema"]


class FleetSchema(FleetHandle):
    """What is known of a fleet's schema, and how it changes."""

    @property
    def schemas(self) -> Sequence[SchemaVersion]:
        """Every version of the schema, oldest first."""
        return self._view().meta.history.versions

    def schema_at(self, time: Any) -> SchemaVersion:
        """Return the version of the schema that was the newest at a time.

        Parameters
        ----------
        time
            ISO 8601 text, ``datetime`` or ``numpy.datetime64``; UTC unless it has a timezone. Before
            the fleet was created, it is the first version.

        Raises
        ------
        InvalidInputError
            If it is no time.
        """
        return self._view().meta.history.at(from_microseconds(to_microseconds(time)))

    @property
    def schema_policies(self) -> SchemaPolicies:
        """What the fleet does about versions that differ, and about unknown channels."""
        return self._view().meta.policies

    def set_schema_policies(self, **policies: str) -> None:
        """Set some of the policies; the others stay.

        Parameters
        ----------
        **policies
            ``compatibility``, ``unknown``, ``older``, ``version_field`` and ``version_tag``, as `pipeline.schema.policies.SchemaPolicies`
            takes them.

        Raises
        ------
        InvalidInputError
            If one is unknown, or this is an old snapshot.
        """
        self._writable()
        known = self.schema_policies.to_json()
        save_policies(self._store, SchemaPolicies.from_json(known | policies))

    def evolve(
        self,
        *changes: Change,
        comment: str = "",
        author: str = "",
        version: int | None = None,
    ) -> SchemaVersion:
        """Make the next version of the schema, in one commit; no row is rewritten.

        Older rows are read in the new version from now on: channels they lack are missing, or have
        the default; values are converted. `at_version` shows all rows in an older version.

        Parameters
        ----------
        *changes
            Any of `pipeline.schema.changes`, applied in order.
        comment, author
            Why, and by whom.
        version
            The number that the version has to get. If there is one of that number already, made by
            the same changes, nothing happens: so a deployment may run twice.

        Raises
        ------
        SchemaError
            If the changes make no sense, are not compatible in the way the policy asks for, concern
            a channel that a rollup holds, or define an existing version otherwise.
        ConflictError
            If another writer made a version meanwhile; the message names both.
        MissingDependencyError
            If units are changed by name, and ``pint`` is not installed.
        InvalidInputError
            If this is an old snapshot.
        """
        self._writable()
        return evolve_fleet(
            self._store,
            changes,
            time=datetime.now(UTC),
            author=author,
            comment=comment,
            version=version,
        )

    def compatibility(self, *changes: Change) -> CompatibilityReport:
        """Return what changes would mean for readers; nothing is changed.

        Raises
        ------
        SchemaError
            If the changes make no sense.
        """
        history = self._view().meta.history
        return compare(evolve(history, changes), history.newest, history.newest + 1)

    def migrate(
        self,
        to: int | None = None,
        time: TimeRange = None,
        *,
        dry_run: bool = False,
        verify: bool = False,
        bytes_per_second: float | None = None,
        partitions_per_commit: int = 64,
        client: Any = None,
    ) -> MigrationResult:
        """Rewrite blocks of other versions in one version of the schema.

        Answers stay as they were. Each partition is as it was or converted, never both; appends may
        go on meanwhile. Killed at any moment, it goes on where it stopped when it is run again.
        Only arrays that differ between the versions are read and written.

        Parameters
        ----------
        to
            Number of the version; the newest by default.
        time
            Look only at windows that this range touches.
        dry_run
            Return what would be done, and about how long it would take; nothing is changed.
        verify
            Read every block once more, before and after, and compare.
        bytes_per_second
            Most raw bytes converted in a second, on average.
        partitions_per_commit
            How many partitions become visible at once, at most.
        client
            A ``distributed.Client``, on whose workers to convert blocks; by default the cores of this
            machine do. Archives in memory are converted by this process alone.

        Raises
        ------
        NotFoundError
            If there is no such version.
        SchemaError
            If a value does not fit the version; what was converted before stays.
        CorruptBlockError
            If a block is damaged; it stays as it is.
        ConflictError
            If other writers changed the same blocks again and again.
        InvalidInputError
            If this is an old snapshot.
        """
        self._writable()
        options = MigrationOptions(
            to,
            partitions=partitions_per_commit,
            bytes_per_second=bytes_per_second,
            verify=verify,
        )
        selection = selection_of(self._view().registry, None, time)
        if dry_run:
            return estimate(self._store, options, selection)
        reached = are_reached(client, self._store.repository)
        carry_out = moves_on(client) if reached else None
        return migrate(self._store, options, selection=selection, carry_out=carry_out)

    def roll_back_migration(self, snapshot: str) -> MigrationResult:
        """Make blocks that were converted since a snapshot what they were then, to the last bit.

        Rows that were added since stay.

        Parameters
        ----------
        snapshot
            `MigrationResult.before` of a migration, as long as that snapshot is not expired.

        Raises
        ------
        NotFoundError
            If there is no such snapshot any more.
        ConflictError
            If other writers changed the same blocks again and again.
        InvalidInputError
            If this is an old snapshot.
        """
        self._writable()
        return roll_back(self._store, snapshot)

    def at_version(self, number: int | None) -> Self:
        """Return the fleet as one version of its schema shows it, to read or write; None for the newest.

        Raises
        ------
        NotFoundError
            If there is no such version.
        """
        self._view().at_version(number)
        return type(self)(self._store, self._at, number)
