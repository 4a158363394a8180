"""A fleet as users meet it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.api.fleet_questions import FleetQuestions
from pipeline.api.fleet_stream import FleetStream
from pipeline.api.fleet_upkeep import FleetUpkeep
from pipeline.archive.appending import AppendResult
from pipeline.archive.quarantine import read_quarantine
from pipeline.errors import InvalidInputError
from pipeline.model.tables import to_table
from pipeline.model.timestamps import TimeFormat
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate

__all__ = ["Fleet"]


class Fleet(FleetQuestions, FleetStream, FleetUpkeep):
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
        unknown: str = "error",
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
            What to do about columns the schema does not have: ``"error"`` or ``"ignore"``.

        Raises
        ------
        SchemaError
            If columns are unknown or of an impossible type; nothing is stored.
        DuplicateRowsError
            If the fleet refuses duplicates and there are some; nothing is stored.
        """
        self._writable()
        if unknown not in ("error", "ignore"):
            msg = f"unknown={unknown!r}; use 'error' or 'ignore'"
            raise InvalidInputError(msg)
        view = self._view()
        batch, rejects = validate(
            to_table(data),
            view.meta.schema,
            earliest=GRID_START,
            latest=GRID_STOP,
            time_format=time_format,
            source=source,
            unknown="error" if unknown == "error" else "ignore",
        )
        return self._store.append(batch, rejects, tags=tags, positions=positions, view=view)

    def set_tags(self, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Set tag values of devices, registering those that are new."""
        self._writable()
        self._store.append_prepared((), {}, lambda _: [], [], tags=tags)

    def quarantine(self) -> pa.Table:
        """Return the rows that could not be stored, with received time, reason and source."""
        view = self._view()
        return read_quarantine(view.store, self.name, view.state.quarantined)
