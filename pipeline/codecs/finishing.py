"""How decoded numbers become a column's values, in the kernel where it can do so."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import OVER, TIMES, Arithmetic, Decimal, Step
from pipeline.codecs.lanes import NUMBERS, Mapping, division
from pipeline.codecs.transforms import (
    Dictionary,
    Identity,
    MendedDictionary,
    Multiples,
    Ordered,
    Transform,
)

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
    dtype : numpy.dtype
    pointwise : bool
        A number's value does not depend on the rows before it.
    """

    __slots__ = ("_transform", "dtype", "mapping", "pointwise")

    def __init__(self, transform: Transform, dtype: np.dtype[Any]) -> None:
        self._transform = transform
        self.dtype = dtype
        self.mapping = _mapping(transform, dtype)
        self.pointwise = not isinstance(transform, Multiples)

    def values(self, numbers: NDArray[np.uint64]) -> NDArray[Any]:
        """Return the values that numbers, modulo 2**64, stand for, perhaps in their place."""
        if isinstance(self._transform, Arithmetic):
            return self._transform.inverse(numbers, self.dtype, in_place=True)
        with np.errstate(all="ignore"):  # what was stored may overflow, or be a signalling NaN
            return self._transform.inverse(numbers, self.dtype)


def _mapping(transform: Transform, dtype: np.dtype[Any]) -> Mapping | None:
    if isinstance(transform, Decimal):
        # a narrow column is rounded as it is written
        single = transform.single and dtype.itemsize == 8
        return division(float(10**transform.exponent), single)
    if isinstance(transform, Identity) and dtype.kind in "iu":
        return NUMBERS
    if isinstance(transform, Arithmetic) and len(transform.steps) == 1:
        return _arithmetic(transform.steps[0])
    if dtype.itemsize == 8 and isinstance(transform, Ordered):
        return Mapping(3)
    if isinstance(transform, Dictionary):
        with np.errstate(all="ignore"):
            return _dictionary(transform.base.inverse(transform.entries, dtype))
    if isinstance(transform, MendedDictionary):
        with np.errstate(all="ignore"):
            return _dictionary(transform.distinct)
    return None


def _arithmetic(step: Step) -> Mapping | None:
    if step.kind == OVER:
        return division(step.parameter, False)
    return Mapping(5, step.parameter) if step.kind == TIMES else None


def _dictionary(values: NDArray[Any]) -> Mapping | None:
    """Return the look-up, unless values would not pass through a wider type unharmed."""
    if values.dtype.itemsize == 8:
        return Mapping(4, lookup=values.view(np.int64))
    if values.dtype.kind != "f":
        return Mapping(4, lookup=values.astype(np.int64))
    if np.isnan(values).any():
        return None
    return Mapping(4, lookup=values.astype(np.float64).view(np.int64))
