"""Values of documents to texts, times and channels: whole columns by the types they hold.

A column whose values are of one type, as nearly all are, goes through Arrow at once. Any other
is written out as texts and read like a file of texts, which finds the rows that do not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.connectors.mapping import ChannelMapping, read_channel
from pipeline.model.arrow_arrays import null_mask
from pipeline.model.exact_casts import cast_exactly, explain_cast

__all__ = ["Reasons", "Values", "cleaned", "read_texts", "read_values", "written"]

type Values = Sequence[Any] | pa.Array
"""A column: Python values of a document, or an Arrow array of texts or times."""

Reasons = dict[int, str]

_NUMBERS: Final = frozenset({int, float})


def cleaned(texts: pa.Array) -> pa.Array:
    """Return texts without the blanks around them, as ``string``; null where nothing is left."""
    trimmed = pc.ascii_trim_whitespace(texts.cast(pa.string()))
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def written(values: Values) -> tuple[pa.Array, Reasons]:
    """Write values as texts.

    Parameters
    ----------
    values
        Shape (rows,); None is missing.

    Returns
    -------
    texts
        ``string``, shape (rows,), numbers by all their digits, without blanks around them; null
        where missing, empty or bad.
    reasons
        Why, for values that have no text (objects, arrays, bytes), by row; the words follow the
        name of what they should have been.
    """
    if isinstance(values, pa.Array):
        return cleaned(values), {}
    if set(map(type, values)) <= {str, NoneType}:
        return cleaned(pa.array(values, pa.string())), {}
    texts: list[str | None] = []
    reasons: Reasons = {}
    for row, value in enumerate(values):
        write = _WRITERS.get(type(value))
        texts.append(None if write is None else write(value))
        if write is None:
            reasons[row] = f"is {_kind(value)}, not a single value"
    return cleaned(pa.array(texts, pa.string())), reasons


_WRITERS: Final[dict[type, Callable[[Any], str | None]]] = {
    NoneType: lambda _: None,
    str: str,
    bool: lambda value: "true" if value else "false",
    int: str,
    float: repr,
    Decimal: lambda value: format(value, "f") if value.is_finite() else str(value),
    datetime: datetime.isoformat,
    date: date.isoformat,
    UUID: str,
}


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    return f"of type {type(value).__name__}"


def read_texts(values: Values) -> tuple[pa.Array, Reasons]:
    """Read values as texts of names, such as device ids; a dictionary is handed on as it is.

    Returns
    -------
    texts
        ``string``, or a dictionary of strings if `values` is one; shape (rows,).
    reasons
        As of `written`.
    """
    if isinstance(values, pa.Array) and pa.types.is_dictionary(values.type):
        return values, {}
    return written(values)


def read_values(values: Values, rule: ChannelMapping) -> tuple[pa.Array, Reasons]:
    """Read values as those of a channel.

    Parameters
    ----------
    values
        Shape (rows,); None is missing. Numbers and booleans, or texts of them.
    rule
        The channel.

    Returns
    -------
    array
        Of the channel's Arrow type, shape (rows,).
    reasons
        Why, for values that the channel does not take, by row; the words follow its name.
    """
    if isinstance(values, pa.Array):
        return read_channel(cleaned(values), rule)
    kinds = set(map(type, values)) - {NoneType}
    if not kinds:
        return pa.nulls(len(values), rule.arrow_type()), {}
    found = _read_alike(values, kinds, rule)
    if found is not None:
        return found
    texts, reasons = written(values)
    array, why = read_channel(texts, rule)
    return array, why | reasons


def _read_alike(
    values: Sequence[Any], kinds: set[type], rule: ChannelMapping
) -> tuple[pa.Array, Reasons] | None:
    """Read values that are all of the channel's own kind; None if they are not."""
    if rule.dtype == "category":
        plain = kinds == {str} and not rule.missing
        return (written(values)[0].dictionary_encode(), {}) if plain else None
    if rule.dtype == "bool":
        plain = kinds == {bool} and not rule.missing
        return (pa.array(values, pa.bool_()), {}) if plain else None
    if not kinds <= _NUMBERS or rule.base != 10:
        return None
    try:  # Arrow refuses integers that a double or 64 bits do not hold
        array = pa.array(values, pa.float64() if float in kinds else pa.int64())
    except (pa.ArrowInvalid, OverflowError):
        return None
    if rule.missing:
        array = _without(array, rule.missing)
    if rule.scale is not None:
        return read_channel(array.cast(pa.string()), rule)
    return _cast(array, rule)


def _without(array: pa.Array, missing: Sequence[str]) -> pa.Array:
    """Make null what equals one of some texts of numbers, however either is written."""
    numbers = [float(text) for text in missing if _is_number(text)]
    known = np.isin(array.cast(pa.float64(), safe=False).fill_null(0), numbers)
    return pc.if_else(pa.array(known), None, array)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cast(array: pa.Array, rule: ChannelMapping) -> tuple[pa.Array, Reasons]:
    kind = rule.arrow_type()
    if array.type == kind:
        return array, {}
    mask = null_mask(array)
    numbers = np.asarray(array if mask is None else array.fill_null(0))
    cast, bad = cast_exactly(numbers, rule.dtype)
    reasons = {}
    if bad is not None:
        rows = np.flatnonzero(bad)
        reasons = {int(row): explain_cast(numbers[row].item(), rule.dtype) for row in rows}
    return pa.array(cast, kind, mask=mask), reasons
