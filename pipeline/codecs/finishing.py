"""How decoded numbers become a column's values, in the kernel where it can do so."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.frame import BlockHeader
from pipeline.codecs.lanes import Mapping
from pipeline.codecs.series import Finish
from pipeline.codecs.transforms import Decimal, Dictionary, Identity, Ordered, Transform

__all__ = ["finish_for"]

_MOST: Final = 2.0**50
"""Decimals below this, scaled, are safe from the kernel's limit of 2**51."""


def finish_for(transform: Transform, header: BlockHeader) -> Finish:
    """Return what turns the numbers of a block into its values.

    Parameters
    ----------
    transform : Transform
    header : BlockHeader
        Names the dtype, and the largest values, on which the way depends.
    """
    dtype = header.dtype
    mapping = _mapping(transform, header)
    view = _as_float32 if dtype == np.float32 else partial(_as_dtype, dtype=dtype)
    return Finish(partial(transform.inverse, dtype=dtype), mapping, view)


def _as_dtype(bits: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    return bits.view(dtype)


def _as_float32(bits: NDArray[np.int64]) -> NDArray[np.float32]:
    return bits.view(np.float64).astype(np.float32)


def _mapping(transform: Transform, header: BlockHeader) -> Mapping | None:
    """Return what a kernel has to do, None if the transform must do it."""
    dtype = header.dtype
    if isinstance(transform, Decimal):
        power = float(10**transform.exponent)
        if not _largest(header) * power < _MOST:
            return None
        return Mapping(2 if transform.single or dtype == np.float32 else 1, power)
    if dtype.itemsize != 8:
        return None
    if isinstance(transform, Identity):
        return Mapping(0)
    if isinstance(transform, Ordered):
        return Mapping(3)
    if isinstance(transform, Dictionary):
        values = transform.base.inverse(transform.entries, dtype)
        return Mapping(4, 1.0, values.view(np.int64))
    return None


def _largest(header: BlockHeader) -> float:
    """Return the largest magnitude of the values, infinite if it is not known."""
    bounds = header.statistics.min, header.statistics.max
    return max(float("inf") if bound is None else abs(float(bound)) for bound in bounds)
