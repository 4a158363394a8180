"""Significant (id 5): floats that were printed with a fixed number of significant digits.

A table that was written with ``%.6g`` has steps of a millionth at 0.5 and of a hundredth at
5,000. Counting in the finest step would give the large values digits that they never had, so
numbers count the printable values themselves, the way IEEE 754 bits count the floats:

=========  ===============================================================================
parameter  bytes
=========  ===============================================================================
digits     ``s``, 1 byte, 1 to 17
exponent   ``e``, 1 byte, 0 to 22: digits after the point of the smallest values
=========  ===============================================================================

With ``u = 10**(s - 1)`` and a number's distance from zero ``n``, the value is ``n / 10**e`` below
``10 * u``. From there every ``9 * u`` numbers (one power of ten) the step is ten times as long:
``n = 10 * u + 9 * u * (j - 1) + r`` with ``r < 9 * u`` and ``j`` at least 1 stands for
``(u + r) / 10**(e - j)``, or ``(u + r) * 10**(j - e)`` where that power is negative, both
operations of IEEE 754 binary64, rounding to nearest. The sign is that of the number, an int64.
Powers of ten end at 22; a number beyond stands for a quiet NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.images import Numbers, require_float
from pipeline.errors import CorruptBlockError

__all__ = ["Significant"]


@dataclass(frozen=True)
class Decades:
    """Tables of the powers of ten that a `Significant` spans.

    Attributes
    ----------
    starts : ndarray of uint64, shape (decades + 1,)
        First number of each, and of the one that does not exist.
    over, times : ndarray of float64, shape (decades,)
        Divisor and factor, one of which is 1.
    tops : ndarray of float64, shape (decades,)
        Smallest value above each.
    """

    starts: NDArray[np.uint64]
    over: NDArray[np.float64]
    times: NDArray[np.float64]
    tops: NDArray[np.float64]


@cache
def _decades(digits: int, exponent: int) -> Decades:
    unit = 10 ** (digits - 1)
    powers = range(exponent, -23, -1)
    starts = [unit, *(10 * unit + 9 * unit * j for j in range(len(powers)))]
    return Decades(
        np.array(starts, np.uint64),
        np.array([float(10 ** max(power, 0)) for power in powers]),
        np.array([float(10 ** max(-power, 0)) for power in powers]),
        np.array([float(f"1e{digits - power}") for power in powers]),
    )


@dataclass(frozen=True)
class Significant:
    """Floats that were printed with so many significant digits.

    Attributes
    ----------
    digits : int
        Significant digits, 1 to 17.
    exponent : int
        Digits after the point of the smallest values, 0 to 22.
    """

    digits: int
    exponent: int
    id: ClassVar[int] = 5
    name: ClassVar[str] = "significant"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:  # noqa: ARG003
        """Read digits and exponent, or raise `CorruptBlockError`."""
        require_float(cls.name, dtype)
        digits, exponent = cursor.byte(), cursor.byte()
        if not 1 <= digits <= 17 or exponent > 22:
            raise CorruptBlockError(f"has {digits} significant digits, {exponent} after the point")
        return cls(digits, exponent)

    def write(self) -> bytes:
        """Return digits and exponent."""
        return bytes((self.digits, self.exponent))

    def inverse(self, numbers: Numbers, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the printed values, rounded to `dtype`."""
        decades, values = _decades(self.digits, self.exponent), np.empty(numbers.size)
        kernel("block_significant", "from_significant")(
            numbers, decades.starts, decades.over, decades.times, values
        )
        with np.errstate(all="ignore"):
            return values.astype(dtype, copy=False)

    def forward(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the numbers nearest to `values`; 0 where there is none."""
        decades, numbers = (
            _decades(self.digits, self.exponent),
            scratch.empty(values.size, np.int64),
        )
        kernel("block_significant", "to_significant")(
            values.astype(np.float64, copy=False), decades.starts, decades.tops,
            decades.over, decades.times, numbers,
        )  # fmt: skip
        return numbers
