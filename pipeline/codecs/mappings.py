"""From values to whole numbers: the encoder's half of `pipeline.codecs.transforms`.

A mapping either gives every row a number, with the rows listed that the number does not bring
back bit for bit, or says that it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import as_signed
from pipeline.codecs.images import image
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
    "Distinct",
    "Mapped",
    "Mapping",
    "find_exponents",
    "list_distinct",
    "map_arithmetic",
    "map_decimal",
    "map_dictionary",
    "map_image",
    "map_significant",
    "pick_distinct",
]

MAX_ENTRIES: Final = 16384
"""Most entries of a dictionary; with more, finding them costs more than a block's other stages."""

MAX_EXPONENT: Final = 17
"""Most digits after the point that are looked for."""

_POWERS: Final = np.array([float(10**e) for e in range(MAX_EXPONENT + 1)])
_NONE: Final = np.empty(0, np.int64)
_START: Final = np.array([0, 0, (1 << 63) - 1, -(1 << 63)])
_CLOSE: Final = {4: 2.0**-21, 8: 2.0**-50}  # relative; a few rounding errors
_CLEAR: Final = {4: 2.0**16, 8: 2.0**44}  # from where any float is close to a whole number
_PICKED: Final = 64
_RANKED: Final = 1 << 17
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
    bounds : tuple of int, or None
        Smallest and largest number, where they are known.
    """

    transform: Transform
    numbers: NDArray[Any]
    misfits: NDArray[np.int64]
    bounds: tuple[int, int] | None = None

    def extent(self) -> tuple[int, int]:
        """Return the smallest and the largest number."""
        return self.bounds or (int(self.numbers.min()), int(self.numbers.max()))


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
    numbers = scratch.empty(values.size, np.int64)
    misfits, state = _outputs(values.size, most)
    fits = kernel("block_values", "to_decimals")(
        wide, wide.view(np.int64), float(10**exponent), single or values.dtype.itemsize == 4,
        _NEAR, numbers, misfits, state,
    )  # fmt: skip
    return _mapped(Decimal(exponent, single), numbers, misfits, state) if fits else None


def _outputs(rows: int, most: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return room for the misfits, and the state from which kernels start."""
    return scratch.empty(int(rows * most), np.int64), _START.copy()


def _mapped(
    transform: Transform,
    numbers: NDArray[np.int64],
    misfits: NDArray[np.int64],
    state: NDArray[np.int64],
) -> Mapped:
    count, _, low, high = state.tolist()
    return Mapped(transform, numbers, misfits[:count].copy() if count else _NONE, (low, high))


def map_arithmetic(values: NDArray[Any], transform: Arithmetic, most: float) -> Mapped | None:
    """Map floats to the numbers that they were computed from.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (rows,)
    transform : Arithmetic
    most : float
        Largest share of misfits, as for `map_decimal`.
    """
    misfits, state = _outputs(values.size, most)
    numbers = transform.fit(values, _NEAR, misfits, state)
    return None if numbers is None else _mapped(transform, numbers, misfits, state)


def map_significant(values: NDArray[Any], transform: Significant, most: float) -> Mapped | None:
    """Map floats to their places among those with so many digits; see `map_arithmetic`."""
    numbers = transform.forward(values)
    restored = transform.inverse(numbers.view(np.uint64), values.dtype)
    wide, back = (column.astype(np.float64, copy=False) for column in (values, restored))
    misfits, state = _outputs(values.size, most)
    fits = kernel("block_values", "mark_misfits")(
        wide, wide.view(np.int64), back, _NEAR, numbers, misfits, state
    )
    return _mapped(transform, numbers, misfits, state) if fits else None


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
        Maps the entries, ascending, to numbers; without it, or where it does not fit, they are
        mapped to their images.
    """
    first = getattr(map_entries, "keywords", {}).get("first")
    if isinstance(first, partial) or (first is map_image and values.dtype.kind != "f"):
        ranked = _rank(first(values), most)
        if ranked is not None:
            return ranked
    found = list_distinct(values, most)
    if found is None:
        return None
    entries = (map_entries and map_entries(found.entries)) or map_image(found.entries)
    return found.mapped(entries)


def _rank(mapped: Mapped | None, most: int) -> Mapped | None:
    """Return a dictionary of what its entries' own mapping made of a whole column.

    None if that does not bring back every row, or numbers are too far apart or too many. It takes
    a third of the time of looking every value up and sorting what was found.
    """
    if mapped is None or mapped.misfits.size:
        return None
    low, high = mapped.extent()
    if high - low >= _RANKED:
        return None
    numbers = mapped.numbers.view(np.int64)
    ranks, entries = scratch.empty(high - low + 1, np.int32), scratch.empty(most, np.int64)
    codes = scratch.empty(numbers.size, np.int64)
    count = kernel("block_values", "rank_numbers")(numbers, as_signed(low), ranks, entries, codes)
    if count < 0:
        return None
    found = Dictionary(mapped.transform, entries[:count].copy().view(np.uint64))
    return Mapped(found, codes, _NONE, (0, count - 1))


@dataclass(frozen=True)
class Distinct:
    """The distinct values of a column.

    Attributes
    ----------
    entries : ndarray, shape (entries,)
        Ascending by their images.
    places : ndarray of int64, shape (rows,)
        Each row's among them.
    """

    entries: NDArray[Any]
    places: NDArray[np.int64]

    def mapped(self, base: Mapped) -> Mapped:
        """Return the dictionary whose entries are mapped as `base`."""
        numbers, transform = base.numbers.view(np.uint64), base.transform
        found = (
            MendedDictionary(transform, numbers, self.entries)
            if base.misfits.size
            else Dictionary(transform, numbers)
        )
        return Mapped(found, self.places, _NONE, (0, self.entries.size - 1))


def list_distinct(values: NDArray[Any], most: int) -> Distinct | None:
    """List the distinct `values`, shape (rows,); None if they outnumber `most`."""
    words = values.view(f"u{values.dtype.itemsize}").astype(np.uint64, copy=False)
    slots = scratch.empty(1 << (2 * most - 1).bit_length(), np.int32)
    slots.fill(-1)
    distinct, codes = scratch.empty(most, np.uint64), scratch.empty(values.size, np.int64)
    count = kernel("block_values", "find_distinct")(words, slots, distinct, codes)
    if count < 0:
        return None
    entries = distinct[:count].astype(f"u{values.dtype.itemsize}").view(values.dtype)
    order, ranks = np.empty(count, np.int64), np.empty(count, np.int64)
    keys = image(entries).view(np.int64)
    if entries.dtype == np.uint64:
        keys = keys ^ _START[3]
    kernel("block_values", "sort_places")(keys, order)
    ranks[order] = np.arange(count)
    kernel("block_values", "place_codes")(ranks, codes)
    return Distinct(entries[order], codes)


def find_exponents(
    values: NDArray[Any], single: bool, near: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
    exponents : ndarray of int64, shape (rows,)
        ``MAX_EXPONENT + 1`` where the value is no decimal.
    counts : ndarray of int64, shape (MAX_EXPONENT + 2,)
        Values that need so many.
    """
    exponents, counts = np.empty(values.size, np.int64), np.zeros(MAX_EXPONENT + 2, np.int64)
    wide = values.astype(np.float64, copy=False)
    rounds = single or values.dtype.itemsize == 4
    size = values.dtype.itemsize
    tolerance, limit = (_CLOSE[size], _CLEAR[size]) if near else (0.0, 2.0**53)
    kernel("block_values", "find_exponents")(
        wide, _POWERS, rounds, tolerance, limit, exponents, counts
    )
    return exponents, counts


def pick_distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return some dozens of distinct finite `values`: what most rows repeat must not decide."""
    wide = values.astype(np.float64, copy=False)
    distinct = np.empty(_PICKED)
    count = kernel("block_values", "pick_distinct")(wide, distinct)
    return distinct[:count].astype(values.dtype, copy=False)
