"""Times of documents, written in whatever way, to microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.connectors.payloads.rules import PayloadTime
from pipeline.connectors.payloads.values import Reasons, Values, cleaned, read_texts, written
from pipeline.model.arrow_arrays import is_text, null_mask
from pipeline.model.time_columns import parse_times

__all__ = ["read_times"]

_UTC = pa.timestamp("us", tz="UTC")


def read_times(
    fields: Mapping[str, Values],
    rule: PayloadTime,
    received: NDArray[np.int64] | None,
    *,
    digits: bool,
) -> tuple[pa.Array, Reasons]:
    """Read the times of records.

    Parameters
    ----------
    fields
        Columns by name, shape (records,), at least those of the rule.
    rule
        How the times are written.
    received
        ``int64`` microseconds since 1970-01-01 UTC, shape (records,): the times of records
        that have none; None if those are bad, as the rule says.
    digits
        Whether numbers are decimals that somebody wrote down, as in JSON, and so are taken
        digit by digit like those of a file. A binary double goes to the nearest microsecond.

    Returns
    -------
    time
        ``timestamp[us, tz=UTC]``, shape (records,).
    reasons
        Why, for records without a time that can be read, by row.
    """
    array, why = _column(fields, rule, digits=digits)
    missing = null_mask(array)
    parsed = parse_times(array, rule.format())
    reasons = parsed.reasons | {row: f"time {words}" for row, words in why.items()}
    time = parsed.time
    if missing is not None and received is not None:
        missing[list(why)] = False
        time = np.where(missing, received, time)
        reasons = {row: words for row, words in reasons.items() if not missing[row]}
    return pa.array(time.astype(np.int64, copy=False)).cast(_UTC), reasons


def _column(
    fields: Mapping[str, Values], rule: PayloadTime, *, digits: bool
) -> tuple[pa.Array, Reasons]:
    if len(rule.columns) == 1:
        values = fields[rule.columns[0]]
        if isinstance(values, pa.Array):
            return (cleaned(values) if is_text(values.type) else values), {}
        return _array(values, is_number=rule.unit in ("s", "ms", "us", "ns"), digits=digits)
    columns: list[pa.Array] = []
    reasons: Reasons = {}
    for name in rule.columns:
        texts, why = read_texts(fields[name])
        columns.append(texts.cast(pa.string()))
        reasons |= why
    return pc.binary_join_element_wise(*columns, " "), reasons


def _array(values: Sequence[Any], *, is_number: bool, digits: bool) -> tuple[pa.Array, Reasons]:
    kinds = set(map(type, values)) - {NoneType}
    try:
        if kinds == {int} and is_number:
            return pa.array(values, pa.int64()), {}
        if kinds == {float} and is_number:
            if not digits:
                return pa.array(values, pa.float64()), {}
            texts = [None if value is None else _digits(value) for value in values]
            return pa.array(texts, pa.string()), {}
        if kinds == {datetime} and (kind := _clock(values)) is not None:
            return pa.array(values, kind), {}
    except OverflowError:
        pass  # an integer beyond 64 bits: its text tells
    return written(values)


def _digits(value: float) -> str:
    """Return the shortest decimal that is this double, without an exponent."""
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def _clock(values: Sequence[datetime | None]) -> pa.DataType | None:
    """Return the type of datetimes that all name their offset or all do not."""
    zoned = {value.tzinfo is not None for value in values if value is not None}
    if len(zoned) > 1:
        return None
    return _UTC if zoned.pop() else pa.timestamp("us")
