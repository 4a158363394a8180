"""Arithmetic transforms: floats that were computed from whole numbers, and how.

``Arithmetic`` (id 4) lists the operations that lead from a number to its value. The number, an
int64, becomes the nearest float64 and goes through at most `MAX_STEPS` steps; the result is
rounded to the column's dtype. The payload holds the number of steps (1 byte) and for each its
kind (1 byte) and its parameter:

====  ===========  ========================================================================
kind  name         parameter, and what it makes of the float64 ``x``
====  ===========  ========================================================================
1     times        float64, little-endian, finite and not zero: ``x * parameter``
2     over         float64, likewise: ``x / parameter``
3     plus         float64, likewise: ``x + parameter``
4     decimals     ``e``, 1 byte, 0 to 22: ``rint(x * 10**e) / 10**e``
5     significant  ``s``, 1 byte, 1 to 17: decimals with ``e = s - 1 - d``, where ``10**d`` is
                   the largest power of ten that is not above ``abs(x)``; with ``e`` from -22
                   to -1 it is ``rint(x / 10**-e) * 10**-e``; other ``e`` leave ``x`` alone
6     single       none: ``x`` rounded to float32 and back
====  ===========  ========================================================================

Every operation is IEEE 754 binary64 and rounds to nearest, ties to even; ``rint`` likewise.
None may be fused with another. Powers of ten are the float64 nearest to them. Infinities, NaN
and zeros follow the standard, so any number has a value.

So an average of three readings printed with two decimals is ``over 3, decimals 2``; counts of a
converter times its resolution are ``times``; a latitude in radians that was typed in degrees,
minutes and seconds is ``over 3600, times pi, over 180``; degrees Celsius turned into kelvins are
``over 10, plus 273.15``.

References
----------
IEEE Standard for Floating-Point Arithmetic, IEEE 754-2019, sections 4.3 and 5.4.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.images import Numbers, require_float
from pipeline.errors import CorruptBlockError

__all__ = [
    "DECIMALS",
    "MAX_STEPS",
    "OVER",
    "PLUS",
    "POWERS",
    "SIGNIFICANT",
    "SINGLE",
    "TENS",
    "TIMES",
    "Arithmetic",
    "Decimal",
    "Step",
]

TIMES, OVER, PLUS, DECIMALS, SIGNIFICANT, SINGLE = 1, 2, 3, 4, 5, 6

MAX_STEPS: Final = 6
"""Most steps of an `Arithmetic`."""

POWERS: Final = np.array([float(10**e) for e in range(23)])
"""Powers of ten that float64 holds exactly."""

TENS: Final = np.array([float(f"1e{d}") for d in range(-30, 41)])
"""The float64 nearest to ``10**d``, from ``d`` = -30 to 40."""

_NAMES: Final = {1: "times", 2: "over", 3: "plus", 4: "decimals", 5: "significant", 6: "single"}
_SURE: Final = 2.0**75
_ODDEST: Final = 1 << 49
_DIGITS: Final = {DECIMALS: range(23), SIGNIFICANT: range(1, 18)}


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
        require_float(cls.name, dtype)
        return cls.checked(cursor.byte(), cursor.byte())

    @classmethod
    def checked(cls, exponent: int, single: int) -> Self:
        """Return the transform of exponent and flag, or raise `CorruptBlockError`."""
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
class Step:
    """One operation.

    Attributes
    ----------
    kind : int
        One of the kinds in the table above.
    parameter : float
        0 where the kind has none.
    """

    kind: int
    parameter: float = 0.0

    def __str__(self) -> str:
        """Name the operation."""
        return _NAMES[self.kind] + (f" {self.parameter:.17g}" if self.kind != SINGLE else "")

    @classmethod
    def read(cls, cursor: Cursor) -> Self:
        """Read kind and parameter, or raise `CorruptBlockError`."""
        kind, parameter = cursor.byte(), 0.0
        if kind in _DIGITS:
            parameter = cursor.byte()
        elif kind in (TIMES, OVER, PLUS):
            (parameter,) = struct.unpack("<d", cursor.take(8))
        wrong = parameter not in _DIGITS[kind] if kind in _DIGITS else not math.isfinite(parameter)
        if kind not in _NAMES or wrong or (kind in (TIMES, OVER, PLUS) and parameter == 0.0):
            raise CorruptBlockError(f"has a step of kind {kind} with {parameter}")
        return cls(kind, parameter)

    def write(self) -> bytes:
        """Return kind and parameter as they stand in the payload."""
        if self.kind in _DIGITS:
            return bytes((self.kind, int(self.parameter)))
        if self.kind == SINGLE:
            return bytes((SINGLE,))
        return struct.pack("<Bd", self.kind, self.parameter)


@dataclass(frozen=True)
class Arithmetic:
    """Floats computed from whole numbers.

    Attributes
    ----------
    steps : tuple of Step
        Operations, in the order in which the number goes through them.
    """

    steps: tuple[Step, ...]
    id: ClassVar[int] = 4
    name: ClassVar[str] = "arithmetic"

    @classmethod
    def read(cls, cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> Self:  # noqa: ARG003
        """Read the steps, or raise `CorruptBlockError`."""
        require_float(cls.name, dtype)
        count = cursor.byte()
        if count > MAX_STEPS:
            raise CorruptBlockError(f"has {count} steps of arithmetic, more than {MAX_STEPS}")
        return cls(tuple(Step.read(cursor) for _ in range(count)))

    def write(self) -> bytes:
        """Return the steps as they stand in the payload."""
        return bytes((len(self.steps),)) + b"".join(step.write() for step in self.steps)

    def __str__(self) -> str:
        """List the steps."""
        return f"Arithmetic({', '.join(str(step) for step in self.steps)})"

    def inverse(
        self, numbers: Numbers, dtype: np.dtype[Any], *, in_place: bool = False
    ) -> NDArray[Any]:
        """Return what the steps make of `numbers`, rounded to `dtype`, perhaps in their place."""
        values = numbers.view(np.float64) if in_place else np.empty(numbers.size)
        kernel("block_arithmetic", "from_arithmetic")(
            numbers.view(np.int64), *self._columns(), self._inverses(), TENS, POWERS, values
        )
        with np.errstate(all="ignore"):
            return values.astype(dtype, copy=False)

    def forward(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the numbers nearest to those that `values` were computed from."""
        numbers = np.empty(values.size, np.int64)
        wide = values.astype(np.float64, copy=False)
        kernel("block_arithmetic", "to_arithmetic")(wide, *self._columns(), numbers)
        return numbers

    def fit(
        self,
        values: NDArray[Any],
        tolerance: float,
        misfits: NDArray[np.int64],
        state: NDArray[np.int64],
    ) -> NDArray[np.int64] | None:
        """Return the numbers of `values`, and mark the misfits, unless they are too many.

        Parameters are those of `pipeline.codecs.kernels.block_values.mark_misfits`.
        """
        numbers, wide = scratch.empty(values.size, np.int64), values.astype(np.float64, copy=False)
        fits = kernel("block_arithmetic", "fit_arithmetic")(
            wide, wide.view(np.int64), *self._columns(), self._inverses(), TENS, POWERS,
            values.dtype.itemsize == 4, tolerance, numbers, misfits, state,
        )  # fmt: skip
        return numbers if fits else None

    def _columns(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return kinds and parameters of the steps, as kernels take them."""
        kinds = np.array([step.kind for step in self.steps], np.int64)
        return kinds, np.array([step.parameter for step in self.steps], np.float64)

    def _inverses(self) -> NDArray[np.float64]:
        """Return inverses of what whole numbers are divided by, each with what it lacks."""
        pairs = np.zeros((len(self.steps), 2))
        for at, step in enumerate(self.steps):
            if step.kind == DECIMALS:
                pairs[at] = _inverse(float(POWERS[int(step.parameter)]))
            elif step.kind == OVER and at == 0:
                pairs[at] = _inverse(step.parameter)
        return pairs.reshape(-1)


@lru_cache(maxsize=256)
def _inverse(power: float) -> tuple[float, float]:
    """Return the inverse of `power` rounded down, and the rest, 0 and 0 if they are no use.

    They are as good as those of `pipeline.codecs.pointwise.division`, but neither is negative, so
    that infinities and negative zeros come out as divided, too.
    """
    if not 1.0 <= power < _SURE or power != int(power):
        return 0.0, 0.0
    odd = int(power) >> ((int(power) & -int(power)).bit_length() - 1)
    if odd == 1 or odd >= _ODDEST:  # without a rest, infinity times it would not be a number
        return 0.0, 0.0
    inverse = 1.0 / power
    if Fraction(inverse) * int(power) > 1:
        inverse = math.nextafter(inverse, 0.0)
    return inverse, float(Fraction(1, int(power)) - Fraction(inverse))
