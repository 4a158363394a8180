"""Transforms: a column's values as whole numbers that are easier to predict.

==  ==========  =========================================================================
id  name        parameters in the payload, and the value a number stands for
==  ==========  =========================================================================
0   identity    none; the value's own bits (so a whole number is itself, modulo its width)
1   ordered     none; floats: the bits as a signed number, with all but the sign flipped
                when it is negative, so that numbers are in the order of the values
2   decimal     exponent ``e`` (1 byte, 0 to 22), single (1 byte, 0 or 1); floats:
                ``k / 10**e`` in float64, rounded to float32 if single or the column is
3   dictionary  id and parameters of one of the transforms above, number of entries
                (LEB128), the entries as a nested stream (`pipeline.codecs.streams`); the
                number is a position among the entries
==  ==========  =========================================================================

The *image* of a value is what identity (whole numbers) or ordered (floats) makes of it; a
transform need not fit every row, and corrections between images mend the others
(`pipeline.codecs.sections`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.cursor import Cursor, varint
from pipeline.codecs.streams import read_nested, write_nested
from pipeline.errors import CorruptBlockError

__all__ = [
    "TRANSFORMS",
    "Decimal",
    "Dictionary",
    "Identity",
    "Ordered",
    "Transform",
    "from_image",
    "image",
    "read_transform",
]

type Numbers = NDArray[np.uint64]


class Transform(Protocol):
    """What every transform can do; instances carry the transform's parameters."""

    id: ClassVar[int]
    name: ClassVar[str]

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:
        """Read the parameters, or raise `CorruptBlockError`."""
        ...

    def write(self) -> bytes:
        """Return the parameters as they stand in the payload."""
        ...

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the values, of `dtype`, that `numbers` stand for."""
        ...


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


@dataclass(frozen=True)
class Identity:
    """Every value is its own bits."""

    id: ClassVar[int] = 0
    name: ClassVar[str] = "identity"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:  # noqa: ARG003
        """Return the transform; it has no parameters."""
        return cls()

    def write(self) -> bytes:
        """Return nothing."""
        return b""

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return values with the bits `numbers`, modulo their width."""
        bits = numbers.astype(f"u{dtype.itemsize}", copy=False)
        return bits.astype(dtype) if dtype.kind == "b" else bits.view(dtype)


@dataclass(frozen=True)
class Ordered:
    """Floats in the order of their values."""

    id: ClassVar[int] = 1
    name: ClassVar[str] = "ordered"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:  # noqa: ARG003
        """Return the transform; it has no parameters."""
        _require_float(cls.name, dtype)
        return cls()

    def write(self) -> bytes:
        """Return nothing."""
        return b""

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the floats whose images are `numbers`."""
        return from_image(numbers, dtype)


@dataclass(frozen=True)
class Decimal:
    """Floats that were written with a fixed number of digits.

    Attributes
    ----------
    exponent : int
        Digits after the point, 0 to 22 (powers of ten up to there are exact).
    single : bool
        The values passed through float32 before the column was float64.
    """

    exponent: int
    single: bool
    id: ClassVar[int] = 2
    name: ClassVar[str] = "decimal"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:  # noqa: ARG003
        """Read exponent and flag, or raise `CorruptBlockError`."""
        _require_float(cls.name, dtype)
        exponent, single = cursor.byte(), cursor.byte()
        if exponent > 22 or single > 1:
            raise CorruptBlockError(f"has decimals of {exponent} digits, single {single}")
        return cls(exponent, bool(single))

    def write(self) -> bytes:
        """Return exponent and flag."""
        return bytes((self.exponent, self.single))

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return ``numbers / 10**exponent``, correctly rounded."""
        values = numbers.view(np.int64) / float(10**self.exponent)
        rounded = values.astype(np.float32) if self.single else values
        return rounded.astype(dtype, copy=False)


@dataclass(frozen=True)
class Dictionary:
    """Few distinct values, numbered in ascending order.

    Attributes
    ----------
    base : Identity or Ordered or Decimal
        Transform of the entries.
    entries : ndarray of uint64, shape (entries,)
        Numbers for `base`.
    """

    base: Transform
    entries: Numbers
    id: ClassVar[int] = 3
    name: ClassVar[str] = "dictionary"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:
        """Read the entries, at most one a row, or raise `CorruptBlockError`."""
        base = cursor.byte()
        if base == cls.id:
            raise CorruptBlockError("has a dictionary within a dictionary")
        inner = read_transform(base, cursor, rows, dtype)
        return cls(inner, read_nested(cursor, cursor.varint(rows)))

    def write(self) -> bytes:
        """Return the base, the number of entries and the entries."""
        head = bytes((self.base.id,)) + self.base.write() + varint(self.entries.size)
        return head + write_nested(self.entries.view(np.int64), 1)

    def __str__(self) -> str:
        """Name the base and the number of entries; they may be thousands."""
        return f"Dictionary({self.base}, {self.entries.size} entries)"

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Look the values up, or raise `CorruptBlockError` where there is no such entry."""
        if numbers.max() >= self.entries.size:
            raise CorruptBlockError(f"refers to entry {numbers.max()} of {self.entries.size}")
        return self.base.inverse(self.entries, dtype).take(numbers.view(np.int64))


def _require_float(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind != "f":
        raise CorruptBlockError(f"has the transform {name} on {dtype} values")


TRANSFORMS: Final[dict[int, type[Transform]]] = {
    kind.id: kind for kind in (Identity, Ordered, Decimal, Dictionary)
}
"""Transforms by id."""


def read_transform(id: int, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Transform:
    """Read the transform with `id` and its parameters.

    Raises
    ------
    CorruptBlockError
        If the id is unknown, or the parameters are impossible.
    """
    if id not in TRANSFORMS:
        raise CorruptBlockError(f"has unknown transform {id}")
    return TRANSFORMS[id].read(cursor, rows, dtype)
