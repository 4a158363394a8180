"""What a stream makes of a batch before it has a number: rows of its schema, and what does not fit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.archive.fleet_meta import FleetMeta
from pipeline.archive.older_rows import converted_batch
from pipeline.archive.row_versions import Tags
from pipeline.archive.unknown_columns import (
    Known,
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
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate

__all__ = ["Reception"]


class Reception:
    """Takes batches, and goes on in another version of the schema if it has to.

    Parameters
    ----------
    evolving
        The fleet's schema.
    switch
        Called with the next intake; has to put it in the place of `intake`.

    Attributes
    ----------
    intake : Intake
        Of the version that rows are written in now.
    """

    def __init__(self, evolving: Evolving, switch: Callable[[Intake], None]) -> None:
        self.intake = Intake(evolving.meta.schema)
        # Arrow lets go of the interpreter in every call: writers that all were in the midst of one
        # switched threads a dozen times a write, which took longer than their work.
        self._entrance = threading.Lock()
        self._evolving = evolving
        self._switch = switch

    def take(
        self,
        data: Any,
        *,
        time_format: TimeFormat | None = None,
        unknown: str | None = None,
        source: str = "",
        schema_version: int | None = None,
        tags: Tags | None = None,
    ) -> Taken:
        """Check a batch. May be called from any number of threads.

        Parameters
        ----------
        data, time_format, unknown, source, schema_version, tags
            As for `pipeline.Fleet.append`.

        Raises
        ------
        SchemaError, InvalidInputError, ConflictError, NotFoundError
            As for `pipeline.Fleet.append`.
        """
        meta = self._evolving.meta
        policy = policy_of(unknown, meta.policies.unknown)
        told = schema_version is None and meta.policies.rows_tell
        intake = self.intake
        is_written = not told and (schema_version or meta.schema.version) == intake.schema.version
        if is_written:
            taken = intake.plain(data)
            if taken is not None:
                return taken
        with self._entrance:
            taken = intake.columns(data) if is_written else None
            if taken is not None:
                return taken
            meta = self._evolving.meta
            table, strange = to_table(data), Rejects()
            parts = [(schema_version or meta.schema.version, table)]
            if told:
                found, strange = self._evolving.split(table, tags or {}, source)
                parts = list(found)
            self._reach(max(number for number, _ in parts))
            # First those whose columns may become channels: the others are converted to what is then.
            parts.sort(key=lambda one: one[0] != meta.schema.version)
            taken_parts = [
                self._taken(part, number, time_format, policy, source) for number, part in parts
            ]
            return self._joined(taken_parts, strange)

    def _reach(self, version: int) -> None:
        """Write a newer version from now on, if rows have it."""
        if version > self.intake.schema.version:
            schema = self._evolving.at_version(version).schema
            self._switch(Intake(schema, self.intake.devices))

    def _taken(
        self,
        table: pa.Table,
        version: int,
        time_format: TimeFormat | None,
        policy: str,
        source: str,
    ) -> Taken:
        """Return checked rows of one version, in the version that is written."""
        meta = self._evolving.at_version(version)
        table = with_current_names(table, meta.schema, meta.aliases)
        names = unknown_names(table, meta.schema)
        known = Known(table)
        if names and policy == "add" and version == self._evolving.meta.schema.version:
            self._evolving.widen(table, source)
            meta = self._evolving.meta
            self._reach(meta.schema.version)
            names = unknown_names(table, meta.schema)
        elif policy == "add":
            policy = "reject"
        if names and policy != "reject":
            known = known_rows(table, names, policy, source)
        if meta.schema.version == self.intake.schema.version:
            taken = self.intake.checked(known.table, time_format, source)
        else:
            taken = self._converted(known.table, meta, time_format, source)
        aside = Rejects.concat([known.rejects, taken.rejects])
        return replace(taken, rejects=aside, ignored=known.ignored)

    def _converted(
        self, table: pa.Table, meta: FleetMeta, time_format: TimeFormat | None, source: str
    ) -> Taken:
        """Return checked rows of an older version in the one that is written."""
        batch, misfits = validate(
            table,
            meta.schema,
            earliest=GRID_START,
            latest=GRID_STOP,
            time_format=time_format,
            source=source,
        )
        written = self.intake.schema.version
        history = self._evolving.at_version(written).history
        made, unfit = converted_batch(history, batch, meta.schema.version, written)
        return self.intake.taken(made, Rejects.concat([misfits, unfit]))

    def _joined(self, parts: list[Taken], strange: Rejects) -> Taken:
        if len(parts) == 1 and not len(strange):
            return parts[0]
        rows = pa.concat_batches([one.rows for one in parts])
        aside = Rejects.concat([strange, *(one.rejects for one in parts)])
        return replace(self.intake.of_rows(rows, aside), ignored=sum(one.ignored for one in parts))
