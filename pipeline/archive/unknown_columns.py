"""Columns of a batch that are no channel of the fleet: what its policy makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.archive.evolving_fleet import evolve_fleet
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.older_rows import SCHEMA_CONFLICT
from pipeline.errors import ConflictError, InvalidInputError
from pipeline.model.rejects import Rejects
from pipeline.schema.aliases import current_name
from pipeline.schema.changes import AddChannel
from pipeline.schema.channels import RESERVED_NAMES, Schema
from pipeline.schema.policies import UNKNOWN
from pipeline.schema.row_documents import row_documents

__all__ = [
    "Known",
    "accepted",
    "additions",
    "known_rows",
    "policy_of",
    "unknown_names",
    "widened",
    "with_current_names",
]

_ATTEMPTS: Final = 8
"""How often columns are tried to be added while other writers change the schema."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is left of a batch without its unknown columns.

    Parameters
    ----------
    table
        Rows with the fleet's channels only.
    rejects
        Rows that have a value in another column, whole.
    ignored
        Values that were left out.
    """

    table: pa.Table
    rejects: Rejects = field(default_factory=Rejects)
    ignored: int = 0


def policy_of(asked: str | None, fleets: str) -> str:
    """Return what becomes of unknown columns: what was asked for, or else the fleet's policy.

    Raises
    ------
    InvalidInputError
        If that is nothing known.
    """
    policy = fleets if asked is None else asked
    policy = "reject" if policy == "error" else policy
    if policy not in UNKNOWN:
        msg = f"unknown={asked!r}; use one of {', '.join(map(repr, UNKNOWN))}"
        raise InvalidInputError(msg)
    return policy


def accepted(
    store: FleetStore, table: pa.Table, version: int | None, asked: str | None, source: str
) -> tuple[FleetView, Known]:
    """Return the newest view, and rows that have channels of it only, or of an older version.

    Parameters
    ----------
    store
        The fleet.
    table
        The batch.
    version
        Of the schema that the rows have; None for the newest.
    asked
        What to do about unknown columns, where it is not what the fleet's policy says.
    source
        Where the rows came from.

    Raises
    ------
    SchemaError, InvalidInputError, ConflictError
        As for `pipeline.Fleet.append`. Columns that the policy refuses are left to the validation.
    """
    view = store.view()
    meta = view.at_version(version).meta
    policy = policy_of(asked, meta.policies.unknown)
    table = with_current_names(table, meta.schema, meta.aliases)
    names = unknown_names(table, meta.schema)
    if not names or policy == "reject" or (policy == "add" and not meta.is_latest):
        return view, Known(table)  # validation names those that are too many
    if policy == "add":
        view = widened(store, table, source)
        names = unknown_names(table, view.meta.schema)
        if not names:
            return view, Known(table)
    return view, known_rows(table, names, policy, source)


def widened(store: FleetStore, table: pa.Table, source: str) -> FleetView:
    """Make channels of the columns of a batch that are none, and return the fleet's newest view.

    Parameters
    ----------
    store
        The fleet.
    table
        The batch, with the names that channels have now.
    source
        Where the rows came from, for the comment of the version.

    Raises
    ------
    SchemaError
        If a column has a type that no channel has, or the fleet's policies do not allow it.
    ConflictError
        If other writers change the schema again and again.
    """
    failures, view = 0, store.view()
    while added := additions(table, unknown_names(table, view.meta.schema)):
        try:
            comment = f"columns of a batch{f' from {source}' if source else ''}"
            evolve_fleet(store, added, time=datetime.now(UTC), comment=comment)
        except ConflictError:
            failures += 1
            if failures == _ATTEMPTS:
                raise
        view = store.view()
    return view


def with_current_names(table: pa.Table, schema: Schema, aliases: Mapping[str, str]) -> pa.Table:
    """Return a table with the names that channels have now, where a column has an older one."""
    names = [
        name if name in schema else current_name(aliases, name, stacklevel=3)
        for name in table.column_names
    ]
    return table if names == table.column_names else table.rename_columns(names)


def unknown_names(table: pa.Table, schema: Schema) -> list[str]:
    """Return the names of the columns that are no channel."""
    return [
        name for name in table.column_names if name not in schema and name not in RESERVED_NAMES
    ]


def additions(table: pa.Table, names: Sequence[str]) -> list[AddChannel]:
    """Return the changes that make channels of columns; those without a value are none.

    Raises
    ------
    SchemaError
        If a column has a type that no channel has.
    """
    some = [name for name in names if not pa.types.is_null(table.schema.field(name).type)]
    if not some:
        return []
    return [AddChannel(channel) for channel in Schema.from_arrow(table.select(some).schema)]


def known_rows(table: pa.Table, names: Sequence[str], policy: str, source: str) -> Known:
    """Return a batch without unknown columns.

    Parameters
    ----------
    table
        The batch.
    names
        Its unknown columns.
    policy
        ``"quarantine"`` sets rows aside that have a value there; anything else counts the values.
    source
        Where the rows came from, for the rejects.
    """
    kept = table.select([name for name in table.column_names if name not in names])
    has_value = {name: np.asarray(table[name].is_valid()) for name in names}
    if policy != "quarantine":
        return Known(kept, ignored=int(sum(np.count_nonzero(one) for one in has_value.values())))
    aside = np.logical_or.reduce(list(has_value.values()))
    if not aside.any():
        return Known(kept)
    rows = np.flatnonzero(aside)
    records = row_documents(table.take(pa.array(rows)))
    reasons = tuple(
        f"{SCHEMA_CONFLICT}: {next(name for name in names if has_value[name][row])!r} is no channel"
        for row in rows.tolist()
    )
    return Known(kept.filter(pa.array(~aside)), Rejects(records, reasons, source))
