"""Arrow columns as a channel's values, with the rows that do not fit."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.model.arrow_arrays import is_text, null_mask, plain_texts, raw_values, value_texts
from pipeline.model.batches import Column
from pipeline.model.dtypes import value_dtype
from pipeline.model.exact_casts import cast_exactly, explain_cast
from pipeline.model.number_texts import parse_numbers
from pipeline.schema.channels import Channel

__all__ = ["drop_unused", "encode_texts", "missing_column", "read_channel"]


_GLIMPSE: Final = 61


def missing_column(channel: Channel, rows: int) -> Column:
    """Return a column of `rows` missing values."""
    categories = () if channel.dtype == "category" else None
    return Column(np.zeros(rows, value_dtype(channel.dtype)), np.zeros(rows, bool), categories)


def read_channel(array: pa.Array, channel: Channel) -> tuple[Column, dict[int, str]]:
    """Read `array` as values of `channel`.

    Returns
    -------
    column
        Shape (rows,); shares memory with `array` if that has the channel's own type.
    reasons
        Why, for the rows whose value the channel cannot hold, by row number. Their values in
        `column` mean nothing.
    """
    if pa.types.is_null(array.type):
        return missing_column(channel, len(array)), {}
    if channel.dtype == "category":
        column, reasons = _read_category(array, channel.categories)
    elif is_text(array.type) or pa.types.is_decimal(array.type):
        values, reasons = parse_numbers(array, channel.dtype)
        column = Column(values, _validity(array))
    elif _is_number(array.type):
        column, reasons = _read_numbers(array, channel.dtype)
    else:
        column = missing_column(channel, len(array))
        reasons = _all_refused(array, f"takes {channel.dtype}, not {array.type}")
    return column, {row: f"channel {channel.name!r} {why}" for row, why in reasons.items()}


def _is_number(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _validity(array: pa.Array) -> NDArray[np.bool_] | None:
    missing = null_mask(array)
    return None if missing is None else ~missing


def _read_numbers(array: pa.Array, dtype: str) -> tuple[Column, dict[int, str]]:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    valid = _validity(array)
    source = raw_values(array)
    values, bad = cast_exactly(source, dtype)
    if bad is None:
        return Column(values, valid), {}
    rows = np.flatnonzero(bad if valid is None else bad & valid)
    reasons = {int(row): explain_cast(source[row].item(), dtype) for row in rows}
    return Column(values, valid), reasons


def _read_category(
    array: pa.Array, allowed: tuple[str, ...] | None
) -> tuple[Column, dict[int, str]]:
    if not is_text(array.type):
        column = Column(np.zeros(len(array), np.int32), np.zeros(len(array), bool), ())
        return column, _all_refused(array, f"takes texts, not {array.type}")
    codes, texts, missing = encode_texts(array)
    column = Column(codes, None if missing is None else ~missing, texts)
    strange = {} if allowed is None else {text: None for text in texts if text not in allowed}
    if not strange or allowed is None:
        return column, {}
    bad = np.isin(codes, [texts.index(text) for text in strange])
    rows = np.flatnonzero(bad if missing is None else bad & ~missing).tolist()
    named = ", ".join(map(repr, allowed))
    return column, {row: f"takes {named}, not {texts[codes[row]]!r}" for row in rows}


def _all_refused(array: pa.Array, why: str) -> dict[int, str]:
    missing = null_mask(array)
    rows = np.arange(len(array)) if missing is None else np.flatnonzero(~missing)
    texts = value_texts(array.take(pa.array(rows)))
    return {int(row): f"{why} ({text})" for row, text in zip(rows, texts, strict=True)}


def encode_texts(
    array: pa.Array,
) -> tuple[NDArray[np.int32], tuple[str, ...], NDArray[np.bool_] | None]:
    """Return the codes of a column of texts, the texts they stand for, and the null rows.

    Returns
    -------
    codes
        ``int32``, shape (rows,), 0 at null rows; shares memory with `array` where it can.
    texts
        Distinct, in order of first appearance, or of the dictionary if there is one; only
        those that some row has.
    missing
        Bool, shape (rows,), True at null rows; None if there is none.
    """
    if not _is_sound_dictionary(array):
        array = plain_texts(array).dictionary_encode()
    missing = null_mask(array)
    indices = array.indices if missing is None else array.indices.fill_null(0)
    codes = raw_values(indices).astype(np.int32, copy=False)
    texts = tuple(array.dictionary.to_pylist())
    return *drop_unused(codes, texts, None if missing is None else ~missing), missing


def drop_unused(
    codes: NDArray[np.int32], texts: tuple[str, ...], valid: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return `codes` and `texts` without the texts that no valid row has, in their order."""
    used = np.zeros(len(texts), bool)
    # Most columns show all their texts in few of their rows; a look at every row costs 7 ns each.
    for step in (_GLIMPSE, 1):
        some = codes[::step]
        used[some if valid is None else some[valid[::step]]] = True
        if used.all():
            return codes, texts
    place = np.append(np.cumsum(used) - 1, 0).astype(np.int32)
    kept = tuple(text for text, is_used in zip(texts, used, strict=True) if is_used)
    return np.maximum(place[codes], 0), kept


def _is_sound_dictionary(array: pa.Array) -> bool:
    """Tell whether the codes of a dictionary array can be taken as they are."""
    if not pa.types.is_dictionary(array.type):
        return False
    entries = array.dictionary
    return entries.null_count == 0 and len(entries.unique()) == len(entries)
