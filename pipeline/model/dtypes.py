"""The types a channel may have, and how each is stored.

Floats and integers are stored in their own dtype. A bool is stored as ``int8`` and a category
as ``int32`` codes, because both need a place for "missing" that no real value can take. Which
rows are missing is recorded beside the values, inside each block; the fill value below is what
a reader that only knows plain Zarr sees at those rows.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.errors import SchemaError

__all__ = ["CHANNEL_DTYPES", "fill_value", "storage_dtype", "value_dtype"]

_NUMERIC: Final = (
    "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64",
    "float32", "float64",
)  # fmt: skip

CHANNEL_DTYPES: Final[tuple[str, ...]] = ("bool", *_NUMERIC, "category")
"""Names a channel's ``dtype`` may have."""


def storage_dtype(name: str) -> np.dtype[np.generic]:
    """Return the dtype of the Zarr array that holds a channel of dtype `name`.

    Raises
    ------
    SchemaError
        If `name` is not one of `CHANNEL_DTYPES`.
    """
    if name == "bool":
        return np.dtype("int8")
    if name == "category":
        return np.dtype("int32")
    if name in _NUMERIC:
        return np.dtype(name)
    msg = f"unknown channel dtype {name!r}; use one of {', '.join(CHANNEL_DTYPES)}"
    raise SchemaError(msg)


def value_dtype(name: str) -> np.dtype[np.generic]:
    """Return the dtype of a channel's values in memory (``bool`` for bool, codes for category)."""
    return np.dtype(bool) if name == "bool" else storage_dtype(name)


def fill_value(dtype: np.dtype[np.generic]) -> int | float:
    """Return what stands at missing rows of an array stored as `dtype`.

    NaN for floats, the smallest value of signed and the largest of unsigned integers. The
    stored forms of bool and category never reach their fill value; a numeric integer may, and
    is still told apart by the validity that its block carries.
    """
    if dtype.kind == "f":
        return float("nan")
    if dtype.kind == "b":
        return 0
    info = np.iinfo(dtype)  # type: ignore[type-var]
    return int(info.min if dtype.kind == "i" else info.max)
