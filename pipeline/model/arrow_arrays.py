"""NumPy views of Arrow arrays, without a copy wherever the layout allows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["flat", "is_text", "null_mask", "plain_texts", "raw_values", "value_texts"]


def flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return `values` as one contiguous array; a single chunk is handed on as it is."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    if values.num_chunks == 1:
        return values.chunk(0)
    return pa.concat_arrays(values.unify_dictionaries().chunks or [pa.array([], values.type)])


def is_text(kind: pa.DataType) -> bool:
    """Tell whether `kind` is a type of texts, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def plain_texts(array: pa.Array) -> pa.Array:
    """Return an array of texts, dictionaries or numbers as plain ``string`` or ``large_string``."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return array
    if pa.types.is_dictionary(array.type):
        return plain_texts(array.dictionary_decode())
    return array.cast(pa.large_string())


def raw_values(array: pa.Array) -> NDArray[Any]:
    """Return the stored values of a primitive array.

    Parameters
    ----------
    array
        Integers, floats, bools, or timestamps, dates and durations (given as their integers).

    Returns
    -------
    ndarray
        Shape (rows,), a read-only view of the Arrow buffer except for bools. What stands at
        null rows carries no meaning.
    """
    if pa.types.is_boolean(array.type):
        return np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
    kind = array.type
    if pa.types.is_temporal(kind):
        dtype = np.dtype(f"int{kind.bit_width}")
    else:
        dtype = np.dtype(kind.to_pandas_dtype())
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def null_mask(array: pa.Array) -> NDArray[np.bool_] | None:
    """Return a bool array, shape (rows,), True at null rows; None if there is none."""
    entries = array.dictionary if pa.types.is_dictionary(array.type) else None
    if array.null_count == 0 and (entries is None or entries.null_count == 0):
        return None
    mask = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    return mask if mask.any() else None


def value_texts(array: pa.Array) -> list[str]:
    """Return every value as a text that loses nothing, for reasons and rejected rows.

    Times are written to their own unit, with ``Z`` when the type carries a timezone; floats by
    ``repr``; bytes in hex. Null becomes ``"null"``.
    """
    kind = array.type
    if pa.types.is_timestamp(kind):
        stamps = raw_values(array).view(f"M8[{kind.unit}]")
        zone = "Z" if kind.tz else ""
        texts = [f"{text}{zone}" for text in np.datetime_as_string(stamps)]
    else:
        texts = [_text(value) for value in array.to_pylist()]
    return [text if ok else "null" for text, ok in zip(texts, array.is_valid(), strict=True)]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str) else str(value)
