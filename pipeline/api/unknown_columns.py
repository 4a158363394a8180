"""Columns of a batch that are no channel of the fleet: what its policy makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.archive.older_rows import SCHEMA_CONFLICT
from pipeline.errors import InvalidInputError
from pipeline.model.rejects import Rejects
from pipeline.schema.aliases import current_name
from pipeline.schema.changes import AddChannel
from pipeline.schema.channels import RESERVED_NAMES, Schema
from pipeline.schema.policies import UNKNOWN
from pipeline.schema.row_documents import row_documents

__all__ = ["Known", "additions", "known_rows", "policy_of", "unknown_names", "with_current_names"]


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


def with_current_names(table: pa.Table, schema: Schema, aliases: dict[str, str]) -> pa.Table:
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
