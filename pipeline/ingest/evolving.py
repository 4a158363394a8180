"""What a stream knows of its fleet's schema besides the channels, and how it gets new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.row_versions import Tags, split_by_version
from pipeline.archive.unknown_columns import widened
from pipeline.errors import SchemaError
from pipeline.model.rejects import Rejects
from pipeline.schema.changes import AddChannel

__all__ = ["Evolving", "FleetEvolving", "Versions"]

Versions = Sequence[tuple[int, pa.Table]]
"""Rows of each version of the schema, oldest first."""


class Evolving(Protocol):
    """The schema that a stream writes, and the versions that rows may have."""

    @property
    def meta(self) -> FleetMeta:
        """The fleet's definition, at the version of which rows are that do not tell theirs."""
        ...

    def at_version(self, number: int) -> FleetMeta:
        """Return the fleet's definition at a version of its schema.

        Raises
        ------
        NotFoundError
            If there is no such version.
        """
        ...

    def split(self, table: pa.Table, tags: Tags, source: str) -> tuple[Versions, Rejects]:
        """Return the rows of each version, and those of none."""
        ...

    def widen(self, table: pa.Table, source: str) -> None:
        """Make channels of the columns of a batch that are none; `meta` has them then.

        Raises
        ------
        SchemaError
            If a column has a type that no channel has, the fleet's policies do not allow it, or
            the schema has changed otherwise since the stream was opened.
        ConflictError
            If other writers change the schema again and again.
        """
        ...


class FleetEvolving:
    """The schema of a fleet.

    Parameters
    ----------
    store
        The fleet.
    meta
        Its definition, at the version of the schema that the stream writes.
    """

    def __init__(self, store: FleetStore, meta: FleetMeta) -> None:
        self._store = store
        self._meta = meta

    @property
    def meta(self) -> FleetMeta:
        """The fleet's definition, at the version of which rows are that do not tell theirs.

        Its policies are those that the fleet had when the stream was opened.
        """
        return self._meta

    def at_version(self, number: int) -> FleetMeta:
        """Return the fleet's definition at a version of its schema.

        Raises
        ------
        NotFoundError
            If there is no such version.
        """
        if number in self._meta.history.numbers:
            return self._meta.at_version(number)
        return self._store.view().meta.at_version(number)

    def split(self, table: pa.Table, tags: Tags, source: str) -> tuple[Versions, Rejects]:
        """Return the rows of each version, and those of none."""
        view = self._store.view()
        return split_by_version(table, view, tags, source, self._meta.schema.version)

    def widen(self, table: pa.Table, source: str) -> None:
        """Make channels of the columns of a batch that are none; `meta` has them then.

        Raises
        ------
        SchemaError
            If a column has a type that no channel has, the fleet's policies do not allow it, or
            the schema has changed otherwise since the stream was opened.
        ConflictError
            If other writers change the schema again and again.
        """
        self._check_follows(self._store.view().meta)
        meta = widened(self._store, table, source).meta
        self._check_follows(meta)
        self._meta = meta

    def _check_follows(self, newest: FleetMeta) -> None:
        """Refuse to go on as another version whose rows may mean something else."""
        written = self._meta.schema.version
        for version in newest.history:
            other = [one for one in version.changes if not isinstance(one, AddChannel)]
            if version.number > written and other:
                msg = (
                    f"fleet {self._store.name!r}: rows of this stream have version {written} of the "
                    f"schema, to which {version} has made other changes than to add channels; open "
                    "the stream again to add columns to that version"
                )
                raise SchemaError(msg)
