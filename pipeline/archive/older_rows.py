"""Rows of an older version of the schema on their way into a newer one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column, RecordBatch
from pipeline.model.rejects import Rejects
from pipeline.schema.conversions import Conversion, conversions
from pipeline.schema.row_documents import arrow_table, row_documents
from pipeline.schema.steps import Marks, joined_marks
from pipeline.schema.versions import SchemaHistory

__all__ = ["SCHEMA_CONFLICT", "converted_batch"]

SCHEMA_CONFLICT = "schema conflict"
"""How the reason begins of rows that do not fit a version of the schema."""


def converted_batch(
    history: SchemaHistory, batch: RecordBatch, source: int, target: int
) -> tuple[RecordBatch, Rejects]:
    """Return the rows of a batch in another version, and those that do not fit it.

    Parameters
    ----------
    history
        All versions.
    batch
        Rows whose columns are the channels of version `source`.
    source, target
        Numbers of versions.

    Returns
    -------
    tuple
        The rows that fit, with the channels of version `target`; and the others, whole as they
        were given, with the first channel that they do not fit.

    Raises
    ------
    NotFoundError
        If there is no such version, or a function is not registered.
    """
    names = history[source].arrays
    stored = {names[name]: _as_stored(column) for name, column in batch.columns.items()}
    columns: dict[str, Column] = {}
    reasons: dict[int, str] = {}
    for name, conversion in conversions(history, source, target).items():
        found = conversion.evaluate(stored, len(batch))
        columns[name] = _as_given(found.column, conversion.channel.dtype)
        bad: Marks = joined_marks(found.refused, found.dropped)
        if bad is not None:
            for row in np.flatnonzero(bad).tolist():
                reasons.setdefault(row, _reason(conversion, stored, row))
    made = RecordBatch(batch.devices, batch.device_index, batch.time, columns)
    if not reasons:
        return made, Rejects()
    rows = sorted(reasons)
    kept = np.ones(len(batch), np.bool_)
    kept[rows] = False
    records = row_documents(arrow_table(batch.take(np.array(rows))))
    return made.take(kept), Rejects(records, tuple(reasons[row] for row in rows))


def _reason(conversion: Conversion, stored: dict[str, Column], row: int) -> str:
    values = [_shown(stored[name], row) for name in conversion.arrays]
    return (
        f"{SCHEMA_CONFLICT}: channel {conversion.channel.name!r} takes {conversion.channel.dtype} in "
        f"version {conversion.target}, and {', '.join(values)} of version {conversion.source} does not fit"
    )


def _shown(column: Column, row: int) -> str:
    value = column.values[row].item()
    return repr(column.categories[value]) if column.categories else str(value)


def _as_stored(column: Column) -> Column:
    if column.values.dtype == np.bool_:
        return Column(column.values.astype(np.int8), column.valid)
    return column


def _as_given(column: Column, dtype: str) -> Column:
    if dtype == "bool":
        return Column(_truth(column.values), column.valid)
    return column


def _truth(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    return np.asarray(values == 1)
