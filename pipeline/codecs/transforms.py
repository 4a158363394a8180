"""Transforms: a column's values as whole numbers that are easier to predict.

==  ===========  ========================================================================
id  name         parameters in the payload, and the value a number stands for
==  ===========  ========================================================================
0   identity     none; the value's own bits (so a whole number is itself, modulo its width)
1   ordered      none; floats: the bits as a signed number, with all but the sign flipped
                 when it is negative, so that numbers are in the order of the values
2   decimal      exponent ``e`` (1 byte, 0 to 22), single (1 byte, 0 or 1); floats:
                 ``k / 10**e`` in float64, rounded to float32 if single or the column is
3   dictionary   id and parameters of another transform (not 3, 6 or 7), number of entries
                 (LEB128), the entries as a nested stream (`pipeline.codecs.series`); the
                 number is a position among the entries
4   arithmetic   the operations that lead from ``k`` to a float
                 (`pipeline.codecs.arithmetic`)
5   significant  significant digits, and those after the point (`pipeline.codecs.significant`)
6   mended       as dictionary, then the length (LEB128) of corrections of the entries, and
                 the corrections (`pipeline.codecs.sections`)
7   multiples    a factor, and how far values are from its multiples
                 (`pipeline.codecs.multiples`)
==  ===========  ========================================================================

The *image* of a value is what identity (whole numbers) or ordered (floats) makes of it; a
transform need not fit every row, and corrections between images mend the others
(`pipeline.codecs.sections`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.arithmetic import Arithmetic, Decimal
from pipeline.codecs.cursor import Cursor, sized, varint
from pipeline.codecs.images import Numbers, from_image, image, require_float
from pipeline.codecs.multiples import Multiples
from pipeline.codecs.sections import apply_corrections, write_corrections
from pipeline.codecs.series import read_part
from pipeline.codecs.series_encode import write_part
from pipeline.codecs.significant import Significant
from pipeline.codecs.streams import write_nested
from pipeline.errors import CorruptBlockError

__all__ = [
    "NESTED",
    "TRANSFORMS",
    "Arithmetic",
    "Decimal",
    "Dictionary",
    "Identity",
    "MendedDictionary",
    "Multiples",
    "Ordered",
    "Significant",
    "Transform",
    "from_image",
    "image",
    "look_up",
    "mend_entries",
    "read_transform",
]


_FEW_ENTRIES: Final = 64


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
        require_float(cls.name, dtype)
        return cls()

    def write(self) -> bytes:
        """Return nothing."""
        return b""

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the floats whose images are `numbers`."""
        return from_image(numbers, dtype)


@dataclass(frozen=True)
class Dictionary:
    """Few distinct values, numbered in ascending order.

    Attributes
    ----------
    base : Transform
        Of the entries; no dictionary.
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
        return cls(*_read_entries(cursor, rows, dtype))

    def write(self) -> bytes:
        """Return the base, the number of entries and the entries."""
        head = bytes((self.base.id,)) + self.base.write() + varint(self.entries.size)
        return head + _write_entries(self.entries)

    def __str__(self) -> str:
        """Name the base and the number of entries; they may be thousands."""
        return f"Dictionary({self.base}, {self.entries.size} entries)"

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Look the values up, or raise `CorruptBlockError` where there is no such entry."""
        return look_up(self.base.inverse(self.entries, dtype), numbers)


@dataclass(frozen=True)
class MendedDictionary:
    """A dictionary whose base does not fit all entries.

    One negative zero or one infinity among decimals must not cost each of them their bits.

    Attributes
    ----------
    base : Transform
        Of most entries; no dictionary.
    entries : ndarray of uint64, shape (entries,)
        Numbers for `base`.
    distinct : ndarray, shape (entries,)
        The entries themselves.
    """

    base: Transform
    entries: Numbers
    distinct: NDArray[Any]
    id: ClassVar[int] = 6
    name: ClassVar[str] = "mended"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:
        """Read entries and corrections, or raise `CorruptBlockError`."""
        base, entries = _read_entries(cursor, rows, dtype)
        with np.errstate(all="ignore"):
            distinct = base.inverse(entries, dtype)
        mend_entries(cursor, distinct)
        return cls(base, entries, distinct)

    def write(self) -> bytes:
        """Return what a dictionary does, and the corrections."""
        restored = self.base.inverse(self.entries, self.distinct.dtype)
        rows = np.arange(self.distinct.size)
        corrections = write_corrections(self.distinct, restored, rows, rows.size)
        return Dictionary(self.base, self.entries).write() + sized(corrections)

    def __str__(self) -> str:
        """Name the base and the number of entries; they may be thousands."""
        return f"MendedDictionary({self.base}, {self.entries.size} entries)"

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Look the values up, or raise `CorruptBlockError` where there is no such entry."""
        return look_up(self.distinct, numbers)


NESTED: Final = frozenset((Dictionary.id, MendedDictionary.id, Multiples.id))
"""Transforms that the entries of a dictionary cannot have."""


def mend_entries(cursor: Cursor, distinct: NDArray[Any]) -> None:
    """Read the corrections of a dictionary's entries and apply them."""
    corrections = cursor.sized()
    apply_corrections(corrections, distinct)
    corrections.finish()


def look_up(distinct: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
    """Return the entries with these numbers, or raise `CorruptBlockError` if there are none."""
    if numbers.max() >= distinct.size:
        raise CorruptBlockError(f"refers to entry {numbers.max()} of {distinct.size}")
    return distinct.take(numbers.view(np.int64))


def _read_entries(cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> tuple[Transform, Numbers]:
    base = cursor.byte()
    if base in NESTED:
        raise CorruptBlockError(f"has a dictionary within a dictionary, or transform {base} there")
    inner = read_transform(base, cursor, rows, dtype)
    return inner, read_part(cursor, cursor.varint(rows))


_KINDS: Final = (
    Identity, Ordered, Decimal, Dictionary, Arithmetic, Significant, MendedDictionary, Multiples,
)  # fmt: skip
TRANSFORMS: Final[dict[int, type[Transform]]] = {kind.id: kind for kind in _KINDS}
"""Transforms by id."""


def _write_entries(entries: Numbers) -> bytes:
    """Return ascending entries; few are not worth a choice of stages."""
    numbers = entries.view(np.int64)
    if numbers.size < _FEW_ENTRIES:
        return write_nested(numbers, 1)
    return write_part(numbers, patterns=False)


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
