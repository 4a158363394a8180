"""What a stream makes of a batch before it has a number: rows of its schema, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.archive.unknown_columns import (
    known_rows,
    policy_of,
    unknown_names,
    with_current_names,
)
from pipeline.ingest.evolving import Evolving
from pipeline.ingest.intake import Intake, Taken
from pipeline.model.rejects import Rejects
from pipeline.model.tables import to_table
from pipeline.model.timestamps import TimeFormat
from pipeline.schema.channels import Schema

__all__ = ["Reception"]


class Reception:
    """Takes batches one at a time, and goes on in another version of the schema if it has to.

    Parameters
    ----------
    schema
        The version that rows are written in.
    evolving
        What becomes of columns that are no channel.
    switch
        Called with the next intake before it is used.

    Attributes
    ----------
    intake : Intake
        Of the version that rows are written in now.
    """

    def __init__(
        self, schema: Schema, evolving: Evolving, switch: Callable[[Intake], None]
    ) -> None:
        self.intake = Intake(schema)
        self._evolving = evolving
        self._switch = switch

    def take(
        self,
        data: Any,
        time_format: TimeFormat | None = None,
        unknown: str | None = None,
        source: str = "",
    ) -> Taken:
        """Check a batch.

        Parameters
        ----------
        data, time_format, unknown, source
            As for `pipeline.Fleet.append`.

        Raises
        ------
        SchemaError, InvalidInputError, ConflictError
            As for `pipeline.Fleet.append`.
        """
        policy = self._evolving.unknown if unknown is None else policy_of(unknown, "")
        return self.intake.plain(data) or self._checked(to_table(data), time_format, policy, source)

    def _checked(
        self, table: pa.Table, time_format: TimeFormat | None, policy: str, source: str
    ) -> Taken:
        schema = self.intake.schema
        table = with_current_names(table, schema, self._evolving.aliases)
        names = unknown_names(table, schema)
        if not names or policy == "reject":
            return self.intake.checked(table, time_format, source)
        if policy == "add":
            schema = self._evolving.widen(table, source)
            names = unknown_names(table, schema)
            if schema.version != self.intake.schema.version:
                following = Intake(schema)
                self._switch(following)
                self.intake = following
        known = known_rows(table, names, policy, source)
        taken = self.intake.checked(known.table, time_format, source)
        aside = Rejects.concat([known.rejects, taken.rejects])
        return replace(taken, rejects=aside, ignored=known.ignored)
