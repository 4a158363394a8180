"""A fleet as users meet it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.api.fleet_questions import FleetQuestions
from pipeline.api.fleet_schema import FleetSchema
from pipeline.api.fleet_stream import FleetStream
from pipeline.api.fleet_upkeep import FleetUpkeep
from pipeline.archive.appending import AppendResult
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.older_rows import converted_batch
from pipeline.archive.quarantine import read_quarantine
from pipeline.archive.row_versions import split_by_version
from pipeline.archive.unknown_columns import accepted
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.model.tables import to_table
from pipeline.model.timestamps import TimeFormat
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate

__all__ = ["Fleet"]


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """Checked rows of one version, what was set aside, and the view they were checked on."""

    view: FleetView
    version: int
    batch: RecordBatch
    rejects: tuple[Rejects, Rejects]
    ignored: int


class Fleet(FleetQuestions, FleetStream, FleetSchema, FleetUpkeep):
    """Devices that share a schema. Get one from `pipeline.Archive`.

    Wherever a method takes `devices`, `time` and `where`: devices are ids, one or several, None for
    all; time is ``(start, stop)``, half-open and UTC, of ISO 8601 texts, ``datetime``,
    ``numpy.datetime64`` or None for an open end; where is a mapping of tag names to a value, or to
    several of which a device has to have one, ``{"site": ["Bergen", "Oslo"]}``, with the empty
    text for devices without the tag. Where rows are read for the answer, it may name channels and
    conditions on their values, too (`pipeline.archive.where.Where`). What is asked for is what
    matches all of them. Unknown devices, tags and channels raise ``NotFoundError``.
    """

    def append(
        self,
        data: Any,
        *,
        time_format: TimeFormat | None = None,
        tags: Mapping[str, Mapping[str, str]] | None = None,
        positions: Mapping[str, Any] | None = None,
        source: str = "",
        unknown: str | None = None,
        schema_version: int | None = None,
    ) -> AppendResult:
        """Store rows in one commit: all of them or, on an error, none.

        Rows that cannot be stored as they are (no device, impossible time, a value outside the
        channel's dtype) go to the quarantine with the reason; the others are stored.

        Parameters
        ----------
        data
            Columns ``device``, ``time`` and channels: an Arrow table, pandas frame, xarray
            dataset, or mapping of arrays (see `pipeline.model.tables.to_table`).
        time_format
            How ``time`` is written, where its type does not tell (numbers always need it).
        tags
            Tag values to set, by device id.
        positions
            Positions of sources, made durable together with the rows.
        source
            Where the rows come from, for the quarantine.
        unknown
            What to do about columns the schema does not have: ``"reject"`` (or ``"error"``),
            ``"add"``, ``"quarantine"`` or ``"ignore"`` (see
            `pipeline.schema.policies.SchemaPolicies`); by default what the fleet's policy says.
            Channels are added in a commit of their own, before the rows.
        schema_version
            Version of the schema that the rows have; by default that of `at_version`, or what rows
            or devices tell if the fleet's policies name a column or tag, or else the newest. Rows of older ones are converted, and those that do not fit go to the
            quarantine; or stored as they are, if that is the fleet's policy.

        Raises
        ------
        SchemaError
            If columns are unknown or of an impossible type; nothing is stored.
        NotFoundError
            If there is no such version.
        DuplicateRowsError
            If the fleet refuses duplicates and there are some; nothing is stored.
        """
        self._writable()
        version = self._version if schema_version is None else schema_version
        table, aside, view = to_table(data), list[Rejects](), self._store.view()
        groups: Sequence[tuple[int | None, pa.Table]] = [(version, table)]
        policies = view.meta.policies
        if version is None and policies.rows_tell:
            found, strange = split_by_version(table, view, tags or {}, source)
            groups, aside = found, [strange]
        taken = [self._taken(part, number, unknown, source, time_format) for number, part in groups]
        aside += [rejects for one in taken for rejects in one.rejects]
        told: dict[str, Any] = {"tags": tags, "positions": positions, "view": taken[-1].view}
        if len(taken) == 1:
            result = self._store.append(taken[0].batch, aside, version=taken[0].version, **told)
        else:
            history = taken[-1].view.meta.history
            batches = []
            for one in taken:
                batch, unfit = converted_batch(history, one.batch, one.version, history.newest)
                batches.append(batch)
                aside.append(unfit)
            result = self._store.append_all(batches, aside, version=history.newest, **told)
        return replace(result, ignored=sum(one.ignored for one in taken))

    def _taken(
        self,
        table: pa.Table,
        version: int | None,
        unknown: str | None,
        source: str,
        time_format: TimeFormat | None,
    ) -> _Taken:
        """Return checked rows of one version."""
        view, known = accepted(self._store, table, version, unknown, source)
        schema = view.at_version(version).meta.schema
        batch, rejects = validate(
            known.table,
            schema,
            earliest=GRID_START,
            latest=GRID_STOP,
            time_format=time_format,
            source=source,
        )
        return _Taken(view, schema.version, batch, (known.rejects, rejects), known.ignored)

    def set_tags(self, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Set tag values of devices, registering those that are new."""
        self._writable()
        self._store.append_prepared((), {}, lambda _: [], [], tags=tags)

    def quarantine(self) -> pa.Table:
        """Return the rows that could not be stored, with received time, reason and source."""
        view = self._view()
        return read_quarantine(view.store, self.name, view.state.quarantined)
