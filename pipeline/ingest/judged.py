"""What a stream's limits for late and future rows do to a batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.ingest.entries import Note
from pipeline.ingest.timeliness import Verdict
from pipeline.model.rejects import Rejects
from pipeline.schema.row_documents import row_documents

__all__ = ["apart", "applied"]


def applied(
    verdict: Verdict, rows: pa.RecordBatch, note: Note, source: str
) -> tuple[pa.RecordBatch, Note]:
    """Return the rows that are stored, under the times to store, and the note with the others."""
    at = sorted(verdict.rejected)
    if at:
        aside = row_documents(pa.Table.from_batches([rows.take(pa.array(at, pa.int64()))]))
        rejects = Rejects(aside, tuple(verdict.rejected[row] for row in at), source)
        note = replace(note, rejects=Rejects.concat([note.rejects, rejects], source))
    if verdict.time is not None:
        rows = rows.set_column(1, rows.schema.field(1), pa.array(verdict.time, rows.schema[1].type))
    keep = np.ones(rows.num_rows, np.bool_)
    keep[at] = False
    return (rows.filter(pa.array(keep)) if at else rows), note


def apart(rows: pa.RecordBatch, message: bytes) -> pa.RecordBatch:
    """Return rows in memory of their own if they are a small part of something large."""
    if rows.get_total_buffer_size() <= 2 * len(message):
        return rows
    return pa.ipc.read_record_batch(message, rows.schema)
