"""Held writes as one batch for the archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from pipeline.archive.positions import merge_positions
from pipeline.ingest.log import LogEntry
from pipeline.ingest.plain_rows import PlainRows
from pipeline.model.arrow_arrays import flat
from pipeline.model.batches import RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.channels import Schema
from pipeline.schema.row_documents import row_documents
from pipeline.schema.validation import validate

__all__ = ["Joined", "join", "rejected", "table_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """What one commit puts into the archive.

    Parameters
    ----------
    batch
        The rows, in the order in which they were written.
    rejects
        Rows for quarantine.
    tags, positions
        Of all writes; the later ones count.
    """

    batch: RecordBatch
    rejects: list[Rejects]
    tags: dict[str, dict[str, str]]
    positions: dict[str, Any]


def join(entries: Sequence[LogEntry], schema: Schema) -> Joined:
    """Return the rows of writes, and what came along, as one.

    Parameters
    ----------
    entries
        In order; at least one.
    schema
        The fleet's schema now. Rows that were written under another are checked against it.

    Raises
    ------
    SchemaError
        If the schema has lost a channel that rows have.
    """
    tables = _tables([entry.held for entry in entries])
    table = tables[0] if len(tables) == 1 else _together(tables)
    batch, misfits = validate(table, schema, earliest=GRID_START, latest=GRID_STOP)
    told = [entry.note for entry in entries if entry.note]
    tags: dict[str, dict[str, str]] = {}
    for note in told:
        for device, values in note.tags.items():
            tags.setdefault(device, {}).update(values)
    rejects = [note.rejects for note in told if len(note.rejects)]
    if len(misfits):
        rejects.append(misfits)
    return Joined(batch, rejects, tags, merge_positions(note.positions for note in told))


def table_of(parts: Iterable[pa.RecordBatch | PlainRows]) -> pa.Table:
    """Return the rows of writes, at least one, as one table of contiguous columns.

    Texts are plain ones, in whatever form they are held.
    """
    return _together(_tables(list(parts)))


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    plain = [_with_plain_texts(table) for table in tables]
    return pa.concat_tables(plain, promote_options="default").combine_chunks()


def _with_plain_texts(table: pa.Table) -> pa.Table:
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            texts = flat(table.column(at)).dictionary_decode()
            table = table.set_column(at, field.name, texts)
    return table


def _tables(parts: Sequence[pa.RecordBatch | PlainRows]) -> list[pa.Table]:
    """Return one table for all neighbours that are alike."""
    # Contiguous first: validating 10,000 chunks as they are took five times as long.
    return [table for _, some in groupby(parts, _form_of) for table in _of_one_form(list(some))]


def _form_of(part: pa.RecordBatch | PlainRows) -> object:
    return part.form if isinstance(part, PlainRows) else None


def _of_one_form(parts: list[Any]) -> list[pa.Table]:
    first = parts[0]
    if isinstance(first, PlainRows):
        return [first.form.table(parts)]
    if all(part.schema is first.schema or part.schema.equals(first.schema) for part in parts):
        parts = [pa.concat_batches(parts)]
    return [pa.Table.from_batches([part]) for part in parts]


def rejected(entry: LogEntry, reason: str) -> Rejects:
    """Return all rows of a write for quarantine."""
    records = row_documents(pa.Table.from_batches([entry.rows]))
    return Rejects(records, (reason,) * len(records))
