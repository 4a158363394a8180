"""What a stream knows of its fleet's schema besides the channels, and how it gets new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa

from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.unknown_columns import widened
from pipeline.errors import SchemaError
from pipeline.schema.changes import AddChannel
from pipeline.schema.channels import Schema

__all__ = ["Evolving", "FixedSchema", "FleetEvolving"]


class Evolving(Protocol):
    """What becomes of columns that a stream's schema does not have."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Names that channels have now, by earlier ones."""
        ...

    @property
    def unknown(self) -> str:
        """The policy, as of `pipeline.schema.policies.SchemaPolicies`."""
        ...

    def widen(self, table: pa.Table, source: str) -> Schema:
        """Make channels of the columns of a batch that are none, and return the schema then.

        Raises
        ------
        SchemaError
            If that cannot be, or the schema has changed otherwise meanwhile.
        ConflictError
            If other writers change the schema again and again.
        """
        ...


class FixedSchema:
    """A schema that never changes, and refuses other columns."""

    aliases: Mapping[str, str] = {}
    unknown = "reject"

    def widen(self, table: pa.Table, source: str) -> Schema:
        """Refuse."""
        msg = f"columns {table.column_names} of {source!r} cannot be added to this stream"
        raise SchemaError(msg)


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
    def aliases(self) -> Mapping[str, str]:
        """Names that channels have now, by earlier ones."""
        return self._meta.aliases

    @property
    def unknown(self) -> str:
        """The policy that the fleet had when the stream was opened."""
        return self._meta.policies.unknown

    def widen(self, table: pa.Table, source: str) -> Schema:
        """Make channels of the columns of a batch that are none, and return the schema then.

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
        return meta.schema

    def _check_follows(self, newest: FleetMeta) -> None:
        """Refuse to go on as another version whose rows may mean something else."""
        written = self._meta.schema.version
        for version in newest.history:
            other = [one for one in version.changes if not isinstance(one, AddChannel)]
            if version.number > written and other:
                msg = (
                    f"fleet {self._store.name!r}: this stream writes version {written} of the schema "
                    f"and cannot add columns to {version}; open it again to write that version"
                )
                raise SchemaError(msg)
