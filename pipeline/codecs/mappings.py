"""From values to whole numbers: the encoder's half of `pipeline.codecs.transforms`.

A mapping either gives every row a number, with the rows listed that the number does not bring
back bit for bit, or says that it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.images import from_image, image
from pipeline.codecs.transforms import (
    Arithmetic,
    Decimal,
    Dictionary,
    Identity,
    MendedDictionary,
    Ordered,
    Significant,
    Transform,
)

__all__ = [
    "MAX_ENTRIES",
    "MAX_EXPONENT",
    "Mapped",
    "Mapping",
    "find_exponents",
    "map_arithmetic",
    "map_decimal",
    "map_dictionary",
    "map_image",
    "map_significant",
]

MAX_ENTRIES: Final = 16384
"""Most entries of a dictionary; with more, finding them costs more than a block's other stages."""

MAX_EXPONENT: Final = 17
"""Most digits after the point that are looked for."""

_POWERS: Final = np.array([float(10**e) for e in range(MAX_EXPONENT + 1)])
_NONE: Final = np.empty(0, np.int64)
_CLOSE: Final = {4: 2.0**-21, 8: 2.0**-50}  # relative; a few rounding errors
_CLEAR: Final = {4: 2.0**16, 8: 2.0**44}  # from where any float is close to a whole number
_NEAR: Final = 2.0**-12  # a misfit this near (relative) has a number of its own

type Mapping = Callable[[NDArray[Any]], Mapped | None]


@dataclass(frozen=True)
class Mapped:
    """A column as whole numbers.

    Attributes
    ----------
    transform : Transform
        Brings the values back.
    numbers : ndarray of int64 or uint64, shape (rows,)
    misfits : ndarray of int64
        Rows, ascending, whose number brings back another value.
    """

    transform: Transform
    numbers: NDArray[Any]
    misfits: NDArray[np.int64]


def map_image(values: NDArray[Any]) -> Mapped:
    """Map values to their images; fits any column."""
    transform: Transform = Ordered() if values.dtype.kind == "f" else Identity()
    return Mapped(transform, image(values), _NONE)


def map_decimal(values: NDArray[Any], exponent: int, single: bool, most: float) -> Mapped | None:
    """Map floats to whole numbers of ``10**-exponent``.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (rows,)
    exponent : int
        0 to 22.
    single : bool
        Round to float32 before comparing (float64 columns).
    most : float
        Largest share of misfits.

    Returns
    -------
    Mapped or None
        None when more than that do not fit.
    """
    wide = values.astype(np.float64, copy=False)
    numbers, misfits = np.empty(values.size, np.int64), np.empty(int(values.size * most), np.int64)
    rounds = single or values.dtype.itemsize == 4
    count = kernel("block_values", "to_decimals")(
        wide, wide.view(np.int64), float(10**exponent), rounds, _NEAR, numbers, misfits
    )
    if count < 0:
        return None
    return Mapped(Decimal(exponent, single), numbers, misfits[:count].copy())


def _hold(numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    """Give `rows`, ascending, the number before them, or the first number after them."""
    following = np.flatnonzero(rows != np.arange(rows.size))
    leading = int(following[0]) if following.size else rows.size
    numbers[:leading] = numbers[min(leading, numbers.size - 1)]
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of runs, each behind a number
    before = np.maximum(rows[starts] - 1, 0)
    numbers[rows] = np.repeat(numbers[before], np.diff(starts, append=rows.size))


def map_arithmetic(values: NDArray[Any], transform: Arithmetic, most: float) -> Mapped | None:
    """Map floats to the numbers that they were computed from.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (rows,)
    transform : Arithmetic
    most : float
        Largest share of misfits, as for `map_decimal`.
    """
    return _settle(values, transform, transform.forward(values), most)


def map_significant(values: NDArray[Any], transform: Significant, most: float) -> Mapped | None:
    """Map floats to their places among those with so many digits; see `map_arithmetic`."""
    return _settle(values, transform, transform.forward(values), most)


def _settle(
    values: NDArray[Any], transform: Transform, numbers: NDArray[np.int64], most: float
) -> Mapped | None:
    """List the rows that `numbers` do not bring back; those far off get a neighbour's number."""
    restored = transform.inverse(numbers.view(np.uint64), values.dtype)
    bits = f"u{values.dtype.itemsize}"
    misfits = np.flatnonzero(restored.view(bits) != values.view(bits))
    if misfits.size > values.size * most:
        return None
    with np.errstate(all="ignore"):
        wanted = values[misfits]
        near = np.abs(restored[misfits] - wanted) <= np.abs(wanted) * _NEAR
        far = misfits[~(near & np.isfinite(wanted))]
    if far.size:
        _hold(numbers, far)
    return Mapped(transform, numbers, misfits)


def map_dictionary(
    values: NDArray[Any], most: int = MAX_ENTRIES, map_entries: Mapping | None = None
) -> Mapped | None:
    """Map values to their positions among the distinct ones; None if they outnumber `most`.

    Parameters
    ----------
    values : ndarray, shape (rows,)
    most : int
        Most entries, at least one.
    map_entries : callable, optional
        Maps the entries, ascending, to numbers; without it they are mapped to their images.
    """
    images = image(values)
    slots = np.full(1 << (2 * most - 1).bit_length(), -1, np.int32)
    distinct, codes = np.empty(most, np.uint64), np.empty(values.size, np.uint64)
    count = kernel("block_values", "find_distinct")(images.view(np.uint64), slots, distinct, codes)
    if count < 0:
        return None
    entries = distinct[:count].view(images.dtype)
    order = np.argsort(entries)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    ascending = from_image(entries[order].view(np.uint64), values.dtype)
    base = (map_entries and map_entries(ascending)) or map_image(ascending)
    numbers, transform = base.numbers.view(np.uint64), base.transform
    found = (
        MendedDictionary(transform, numbers, ascending)
        if base.misfits.size
        else Dictionary(transform, numbers)
    )
    return Mapped(found, rank.take(codes.view(np.int64)), _NONE)


def find_exponents(values: NDArray[Any], single: bool, near: bool = False) -> NDArray[np.int64]:
    """Find how many digits after the point each value needs.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (rows,)
    single : bool
        As for `map_decimal`.
    near : bool, optional
        Values may be off by a few rounding errors.

    Returns
    -------
    ndarray of int64, shape (rows,)
        ``MAX_EXPONENT + 1`` where the value is no decimal.
    """
    exponents = np.empty(values.size, np.int64)
    wide = values.astype(np.float64, copy=False)
    rounds = single or values.dtype.itemsize == 4
    size = values.dtype.itemsize
    tolerance, limit = (_CLOSE[size], _CLEAR[size]) if near else (0.0, 2.0**53)
    kernel("block_values", "find_exponents")(wide, _POWERS, rounds, tolerance, limit, exponents)
    return exponents
