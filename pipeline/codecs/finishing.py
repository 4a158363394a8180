"""How decoded numbers become a column's values, in the kernel where it can do so."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import OVER, TIMES, Arithmetic, Decimal, Step
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.images import Numbers
from pipeline.codecs.pointwise import NUMBERS, Mapping, division
from pipeline.codecs.series import Finish, read_part
from pipeline.codecs.transforms import (
    NESTED,
    Dictionary,
    Identity,
    MendedDictionary,
    Multiples,
    Ordered,
    Transform,
    look_up,
    mend_entries,
    read_transform,
)
from pipeline.errors import CorruptBlockError

__all__ = ["read_finish"]


def read_finish(id: int, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Finish:
    """Read a transform's parameters, as `pipeline.codecs.transforms.read_transform` does.

    Parameters
    ----------
    id : int
        Of the transform.
    cursor : Cursor
    rows : int
        Numbers of the stream; a dictionary has no more entries.
    dtype : numpy.dtype
        Of the column.

    Raises
    ------
    CorruptBlockError
        If the id is unknown, or the parameters are impossible.
    """
    if id == Decimal.id and dtype.kind == "f":
        return _decimal(cursor.byte(), cursor.byte(), dtype)
    if id == Identity.id:
        return _identity(dtype)
    if id in (Dictionary.id, MendedDictionary.id):
        return _read_dictionary(id, cursor, rows, dtype)
    return _finish(read_transform(id, cursor, rows, dtype), dtype)


@cache
def _decimal(exponent: int, single: int, dtype: np.dtype[Any]) -> Finish:
    return _finish(Decimal.checked(exponent, single), dtype)


@cache
def _identity(dtype: np.dtype[Any]) -> Finish:
    return _finish(Identity(), dtype)


def _read_dictionary(id: int, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Finish:
    base = cursor.byte()
    if base in NESTED:
        raise CorruptBlockError(f"has a dictionary within a dictionary, or transform {base} there")
    inner = read_finish(base, cursor, rows, dtype)
    distinct = read_part(cursor, cursor.varint(rows), inner)
    if id == MendedDictionary.id:
        mend_entries(cursor, distinct)
    return Finish(_dictionary(distinct), dtype, lambda numbers: look_up(distinct, numbers))


def _finish(transform: Transform, dtype: np.dtype[Any]) -> Finish:
    def values(numbers: Numbers) -> NDArray[Any]:
        if isinstance(transform, Arithmetic):
            return transform.inverse(numbers, dtype, in_place=True)
        with np.errstate(all="ignore"):  # what was stored may overflow, or be a signalling NaN
            return transform.inverse(numbers, dtype)

    mapping = _mapping(transform, dtype)
    return Finish(mapping, dtype, values, not isinstance(transform, Multiples))


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
