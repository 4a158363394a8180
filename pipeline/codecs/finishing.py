"""How decoded numbers become a column's values, in the kernel where it can do so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.lanes import NUMBERS, Mapping
from pipeline.codecs.transforms import Decimal, Dictionary, Identity, Ordered, Transform

__all__ = ["Finish"]


class Finish:
    """What becomes of numbers once they are decoded.

    Parameters
    ----------
    transform : Transform
    dtype : numpy.dtype
        Of the column.

    Attributes
    ----------
    mapping : Mapping or None
        What a kernel can do on its way; None if the transform has to do all.
    """

    __slots__ = ("_dtype", "_transform", "mapping")

    def __init__(self, transform: Transform, dtype: np.dtype[Any]) -> None:
        self._transform = transform
        self._dtype = dtype
        self.mapping = _mapping(transform, dtype)

    def values(self, numbers: NDArray[np.uint64]) -> NDArray[Any]:
        """Return the values that numbers, modulo 2**64, stand for."""
        return self._transform.inverse(numbers, self._dtype)

    def view(self, bits: NDArray[np.int64]) -> NDArray[Any]:
        """Return the values whose bits, as float64 or whole number, `mapping` has left."""
        if self._dtype.itemsize == 8:
            return bits.view(self._dtype)
        if self._dtype.kind == "f":
            return bits.view(np.float64).astype(np.float32)
        return bits.astype(self._dtype)


def _mapping(transform: Transform, dtype: np.dtype[Any]) -> Mapping | None:
    if isinstance(transform, Decimal):
        single = transform.single or dtype.itemsize == 4
        return Mapping(2 if single else 1, float(10**transform.exponent))
    if isinstance(transform, Identity) and dtype.kind in "iu":
        return NUMBERS
    if dtype.itemsize == 8 and isinstance(transform, Ordered):
        return Mapping(3)
    if dtype.itemsize == 8 and isinstance(transform, Dictionary):
        values = transform.base.inverse(transform.entries, dtype)
        return Mapping(4, 1.0, values.view(np.int64))
    return None
