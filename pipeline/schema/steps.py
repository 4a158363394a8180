"""One step of a conversion: a cast, an affine map, other texts. Vectorised, and checked.

A step works on columns as they are stored: a bool is 0 or 1 in ``int8``, a category a code with
its texts. What the target cannot hold is marked, row by row; nothing is rounded further than what
was declared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.model.exact_casts import cast_exactly
from pipeline.schema.affine import IDENTITY, Affine

__all__ = ["Cast", "Converted", "Marks", "Scale", "Step", "joined_marks", "texts_of"]

Marks = NDArray[np.bool_] | None
Converted = tuple[Column, Marks]
"""A column, and the rows that have a value which did not fit; None if there is none."""


class Step(Protocol):
    """From one definition of a channel to the next."""

    @property
    def target(self) -> str:
        """Channel dtype of the result."""

    @property
    def error(self) -> str:
        """How far a value may be from what it was, in words; empty if not at all."""

    @property
    def misfits_missing(self) -> bool:
        """Whether readers find values that do not fit missing; else they are told."""

    @property
    def direction(self) -> int:
        """1 if greater values stay greater, -1 if they become less, 0 if neither is sure."""

    @property
    def moments(self) -> Affine | None:
        """What becomes of sums and squares; None if they cannot tell."""

    def apply(self, column: Column) -> Converted:
        """Convert a column."""

    def fits(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where every value from `low` to `high` is sure to fit."""

    def inverse(self) -> Step:
        """Return the step back."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Another dtype for numbers and bools.

    Parameters
    ----------
    source, target
        Channel dtypes.
    tolerance
        How far a value may be rounded, in the channel's units; None for not at all.
    misfits_missing
        Whether readers find values that do not fit missing.
    """

    source: str
    target: str
    tolerance: float | None = None
    misfits_missing: bool = False

    @property
    def error(self) -> str:
        """How far a value may be from what it was."""
        return "" if self.tolerance is None else f"rounded by at most {self.tolerance}"

    @property
    def direction(self) -> int:
        """Rounding never changes the order."""
        return 1

    @property
    def moments(self) -> Affine | None:
        """Sums stay, within the tolerance; but not where numbers become whole."""
        rounds = storage_dtype(self.source).kind == "f" and storage_dtype(self.target).kind != "f"
        return None if rounds else IDENTITY

    def apply(self, column: Column) -> Converted:
        """Convert a column."""
        values, valid = column.values, column.valid
        if self.tolerance is None:
            cast, bad = cast_exactly(values, self.target)
        else:
            cast, bad = self._rounded(values)
        if bad is not None and valid is not None:
            bad = bad & valid
        marks = bad if bad is not None and bad.any() else None
        return Column(cast.astype(storage_dtype(self.target), copy=False), valid), marks

    def fits(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where every value from `low` to `high` is sure to fit."""
        source, target = storage_dtype(self.source), storage_dtype(self.target)
        if self.target == "bool" or self.moments is None:
            return np.zeros(low.shape, np.bool_)
        if target.kind != "f":
            info = np.iinfo(target)  # type: ignore[type-var]
            inside: NDArray[np.bool_] = (low >= info.min) & (high <= info.max)
            return inside
        reach = np.maximum(np.abs(low.astype(np.float64)), np.abs(high.astype(np.float64)))
        if self.tolerance is None:
            if source.kind == "f":
                return np.full(low.shape, target.itemsize >= source.itemsize)
            return np.asarray(reach <= 2.0 ** (np.finfo(target).nmant + 1))  # type: ignore[type-var]
        limits = np.finfo(target)  # type: ignore[type-var]
        known = (reach * float(limits.eps) <= self.tolerance) & (reach <= float(limits.max))
        return np.asarray(known)

    def inverse(self) -> Cast:
        """Return the cast back."""
        return Cast(self.target, self.source, self.tolerance, self.misfits_missing)

    def _rounded(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        target, allowed = storage_dtype(self.target), self.tolerance or 0.0
        wide = values.astype(np.float64)
        if target.kind == "f":
            with np.errstate(over="ignore", invalid="ignore"):
                cast = values.astype(target)
                moved = np.abs(cast.astype(np.float64) - wide)
            return cast, np.asarray((moved > allowed) & (cast != wide))
        if values.dtype.kind != "f":
            cast, bad = cast_exactly(values, self.target)
            return cast, np.zeros(len(values), np.bool_) if bad is None else bad
        near = np.rint(wide)
        with np.errstate(invalid="ignore"):
            near = np.where(np.abs(near - wide) <= allowed, near, wide)
        cast, bad = cast_exactly(near, self.target)
        return cast, np.zeros(len(values), np.bool_) if bad is None else bad


@dataclass(frozen=True, slots=True)
class Scale:
    """Other units: an affine map.

    Parameters
    ----------
    target
        Channel dtype, which stays. Integers stay integers.
    affine
        The map.
    misfits_missing
        Whether readers find values that do not fit missing.
    """

    target: str
    affine: Affine
    misfits_missing: bool = False

    @property
    def error(self) -> str:
        """How far a value may be from what it was."""
        return f"rounding of {self.target}" if storage_dtype(self.target).kind == "f" else ""

    @property
    def direction(self) -> int:
        """Rounding never changes the order, a negative factor turns it."""
        return 1 if self.affine.factor > 0 else -1

    @property
    def moments(self) -> Affine | None:
        """What becomes of sums and squares."""
        return self.affine

    def apply(self, column: Column) -> Converted:
        """Convert a column."""
        values, valid = column.values, column.valid
        if values.dtype.kind != "f":
            whole, bad = self.affine.apply_whole(values, valid)
            return Column(whole, valid), bad
        with np.errstate(over="ignore"):
            mapped = self.affine.apply(values).astype(values.dtype)
        overflow = np.isinf(mapped) & np.isfinite(values)
        if valid is not None:
            overflow &= valid
        return Column(mapped, valid), overflow if overflow.any() else None

    def fits(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where every value from `low` to `high` is sure to fit."""
        dtype = storage_dtype(self.target)
        ends = [self.affine.apply(end) for end in (low, high)]
        if dtype.kind == "f":
            limit = float(np.finfo(dtype).max)  # type: ignore[type-var]
            return np.asarray((np.abs(ends[0]) <= limit) & (np.abs(ends[1]) <= limit))
        info = np.iinfo(dtype)  # type: ignore[type-var]
        # Doubles may be off by some units near the ends of 64 bits.
        room = 0 if dtype.itemsize < 8 else 4096
        inside = [(end >= info.min + room) & (end <= info.max - room) for end in ends]
        return np.asarray(inside[0] & inside[1] & (self.affine.divide in (1, -1)))

    def inverse(self) -> Scale:
        """Return the map back."""
        return Scale(self.target, self.affine.inverse, self.misfits_missing)


def joined_marks(one: Marks, two: Marks) -> Marks:
    """Return the rows that are marked in either."""
    if one is None or two is None:
        return two if one is None else one
    return one | two


def texts_of(column: Column) -> NDArray[np.object_]:
    """Return the texts of a category column; what stands at missing rows carries no meaning."""
    table = np.array([*(column.categories or ()), ""], dtype=object)
    codes = column.values if column.valid is None else np.where(column.valid, column.values, -1)
    found: NDArray[np.object_] = table[codes]
    return found
