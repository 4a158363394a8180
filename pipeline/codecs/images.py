"""Images: the bits of a value as a whole number, in the order of the values where they are floats.

What every transform falls back on, and what corrections (`pipeline.codecs.sections`) mend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptBlockError

__all__ = ["Numbers", "from_image", "image", "require_float"]

type Numbers = NDArray[np.uint64]


def image(values: NDArray[Any]) -> NDArray[Any]:
    """Return the images of `values`: int64, or uint64 where the column is unsigned."""
    if values.dtype.kind == "f":
        return _flip(values.view(f"i{values.dtype.itemsize}")).astype(np.int64, copy=False)
    return values.astype(np.int64 if values.dtype.kind == "i" else np.uint64, copy=False)


def from_image(numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of `dtype` that have the images `numbers`, modulo their width."""
    bits = numbers.astype(f"u{dtype.itemsize}", copy=False)
    if dtype.kind == "f":
        return _flip(bits.view(f"i{dtype.itemsize}")).view(dtype)
    return bits.astype(dtype) if dtype.kind == "b" else bits.view(dtype)


def _flip(bits: NDArray[Any]) -> NDArray[Any]:
    """Flip all but the sign of negative numbers; its own inverse."""
    top = 8 * bits.dtype.itemsize - 1
    flipped: NDArray[Any] = bits ^ ((bits >> top) & ((1 << top) - 1))
    return flipped


def require_float(name: str, dtype: np.dtype[Any]) -> None:
    """Raise `CorruptBlockError` where the transform `name` stands before other than floats."""
    if dtype.kind != "f":
        raise CorruptBlockError(f"has the transform {name} on {dtype} values")
