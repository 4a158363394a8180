"""From values to whole numbers: the encoder's half of `pipeline.codecs.transforms`.

A mapping either gives every row a number, with the rows listed that the number does not bring
back bit for bit, or says that it does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.transforms import (
    Decimal,
    Dictionary,
    Identity,
    Ordered,
    Transform,
    from_image,
    image,
)

__all__ = [
    "MAX_ENTRIES",
    "MAX_EXPONENT",
    "Mapped",
    "count_exponents",
    "map_decimal",
    "map_dictionary",
    "map_image",
]

MAX_ENTRIES: Final = 4096
"""Most entries of a dictionary; more of them cost more than they save."""

MAX_EXPONENT: Final = 17
"""Most digits after the point that are looked for."""

_POWERS: Final = np.array([float(10**e) for e in range(MAX_EXPONENT + 1)])
_NONE: Final = np.empty(0, np.int64)
_ULPS: Final = {4: 2.0**-21, 8: 2.0**-50}  # a misfit this near (relative) is a rounding error


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
        wide, wide.view(np.int64), float(10**exponent), rounds,
        _ULPS[4 if rounds else 8], numbers, misfits,
    )  # fmt: skip
    if count < 0:
        return None
    if count:
        _hold_first(numbers, misfits[:count])
    return Mapped(Decimal(exponent, single), numbers, misfits[:count].copy())


def _hold_first(numbers: NDArray[np.int64], misfits: NDArray[np.int64]) -> None:
    """Give misfits that no number stands before the first number after them."""
    following = np.flatnonzero(misfits != np.arange(misfits.size))
    leading = int(following[0]) if following.size else misfits.size
    numbers[:leading] = numbers[min(leading, numbers.size - 1)]


def map_dictionary(values: NDArray[Any], most: int = MAX_ENTRIES) -> Mapped | None:
    """Map values to their positions among the distinct ones; None if they outnumber `most`."""
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
    base = _map_entries(from_image(entries[order].view(np.uint64), values.dtype))
    return Mapped(
        Dictionary(base.transform, base.numbers.view(np.uint64)),
        rank.take(codes.view(np.int64)),
        _NONE,
    )


def _map_entries(entries: NDArray[Any]) -> Mapped:
    """Map a dictionary's own entries: as decimals if all of them are."""
    if entries.dtype.kind == "f":
        needed = np.flatnonzero(count_exponents(entries, False))
        if needed[-1] <= MAX_EXPONENT:
            mapped = map_decimal(entries, int(needed[-1]), False, 0.0)
            if mapped is not None:
                return mapped
    return map_image(entries)


def count_exponents(values: NDArray[Any], single: bool) -> NDArray[np.int64]:
    """Count how many digits after the point the values need.

    Parameters
    ----------
    values : ndarray of float32 or float64
    single : bool
        As for `map_decimal`.

    Returns
    -------
    ndarray of int64, shape (MAX_EXPONENT + 2,)
        Entry ``e`` counts the values that need `e` digits, the last those that are no decimals.
    """
    counts = np.zeros(MAX_EXPONENT + 2, np.int64)
    wide = values.astype(np.float64, copy=False)
    kernel("block_values", "count_exponents")(
        wide, _POWERS, single or values.dtype.itemsize == 4, counts
    )
    return counts
