"""Multiples of a factor, and how far each float is from its multiple.

``Multiples`` (id 7) is for float64 that were computed from whole numbers in several steps, most
of them: its rounding errors stand in the numbers themselves, so that no row needs a correction
but those that were not computed like the others. Its parameters are

==========  ===========================================================================
factor      float64, little-endian, finite and not zero
bits        ``b``, 1 byte, 2 to 24
exceptions  LEB128: how many rows are farther from their multiple; and their values,
            float64, little-endian
==========  ===========================================================================

A number is ``k * 2**b + c`` with ``c`` below ``2**b``. The value's image
(`pipeline.codecs.transforms`) is ``c - (2**(b - 1) - 1)`` more, modulo 2**64, than that of the
float64 nearest to ``k`` times the factor, rounded once; but if ``c`` is ``2**b - 1``, the value
is the next exception. These are as random as they are few, and not worth an entropy stage: its
loop took as long for them as for all other rows.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.arithmetic import OVER, TIMES, Arithmetic
from pipeline.codecs.cursor import Cursor, varint
from pipeline.codecs.images import Numbers, image, require_float
from pipeline.errors import CorruptBlockError

__all__ = ["Multiples", "as_multiples"]

_LEAST_BITS, _MOST_BITS = 2, 24
_EXCEPTION_BITS: Final = 160.0
"""What an exception may cost: its row takes as long as ten others, because nobody guesses it."""

_MOST_EXCEPTIONS: Final = 4  # one row in
_WIDEST: Final = 1 << 50
"""Numbers up to here suit every predictor."""


@dataclass(frozen=True, eq=False)
class Multiples:
    """Floats near multiples of a factor.

    Attributes
    ----------
    factor : float
    bits : int
        Of the distance from the multiple.
    exceptions : ndarray of uint8, shape (8 * count,)
        The values that are farther away, as they stand in the payload.
    """

    factor: float
    bits: int
    exceptions: NDArray[np.uint8]
    id: ClassVar[int] = 7
    name: ClassVar[str] = "multiples"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:
        """Read factor, bits and exceptions, or raise `CorruptBlockError`."""
        require_float(cls.name, dtype)
        (factor,) = struct.unpack("<d", cursor.take(8))
        bits, count = cursor.byte(), cursor.varint(rows)
        possible = dtype.itemsize == 8 and math.isfinite(factor) and factor != 0.0
        if not possible or not _LEAST_BITS <= bits <= _MOST_BITS:
            raise CorruptBlockError(f"has multiples of {factor} with {bits} bits in {dtype}")
        return cls(factor, bits, np.frombuffer(cursor.take(8 * count), np.uint8))

    def write(self) -> bytes:
        """Return factor, bits and exceptions as they stand in the payload."""
        head = struct.pack("<dB", self.factor, self.bits) + varint(self.count)
        return head + self.exceptions.tobytes()

    @property
    def count(self) -> int:
        """How many exceptions there are."""
        return self.exceptions.size // 8

    def __str__(self) -> str:
        """Name the factor, the bits and the number of exceptions; they may be thousands."""
        told = f"{self.factor:.17g}, {self.bits} bits, {self.count} exceptions"
        return f"Multiples({told})"

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the values of all rows, in the place of `numbers`.

        Raises
        ------
        CorruptBlockError
            If other than the exceptions there are are marked.
        """
        images = numbers.view(np.int64)
        found = kernel("block_arithmetic", "from_multiples")(
            images, self.factor, self.bits, self.exceptions
        )
        if found != self.count:
            raise CorruptBlockError(f"marks other exceptions than the {self.count} it lists")
        return images.view(dtype)


def as_multiples(
    values: NDArray[Any], transform: Arithmetic, numbers: NDArray[np.int64]
) -> tuple[Multiples, NDArray[np.int64]] | None:
    """Return multiples, and the numbers for them, that bring all values back; None if none do.

    Parameters
    ----------
    values : ndarray of float64, shape (rows,)
    transform : Arithmetic
        What brings most of the values nearly back.
    numbers : ndarray of int64, shape (rows,)
        From which it does.
    """
    if any(step.kind not in (TIMES, OVER) for step in transform.steps):
        return None
    factor = float(transform.inverse(np.ones(1, np.uint64), np.dtype(np.float64))[0])
    if not math.isfinite(factor) or factor == 0.0:
        return None
    apart = image(values) - image(numbers * factor)
    bits = _bits(apart)
    half = (1 << (bits - 1)) - 1
    near = (apart >= -half) & (apart <= half)
    far = values[~near].astype("<f8", copy=False)
    largest = max(abs(int(numbers.min())), abs(int(numbers.max())))
    if _MOST_EXCEPTIONS * far.size > apart.size or largest << bits >= _WIDEST:
        return None
    whole = (numbers << bits) + np.where(near, apart + half, 2 * half + 1)
    return Multiples(factor, bits, far.view(np.uint8)), whole


def _bits(apart: NDArray[np.int64]) -> int:
    """Return for how many bits distances take least, together with the exceptions."""
    ascending = np.sort(np.where(apart < 0, ~apart, apart - (apart > 0)))
    ways = range(_LEAST_BITS, _MOST_BITS + 1)
    far = apart.size - np.searchsorted(ascending, [(1 << (bits - 1)) - 1 for bits in ways])
    return ways[int(np.argmin(apart.size * np.array(ways) + _EXCEPTION_BITS * far))]
