"""What a kernel makes of each number on its way, without a pass of its own."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUMBERS", "Mapping", "division"]

_NO_LOOKUP: Final = np.zeros(1, np.int64)
_SURE: Final = 2.0**75


class Mapping(NamedTuple):
    """How a kernel turns numbers into the bits of values on its way.

    Attributes
    ----------
    kind : int
        See `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    power : float
        What decimals are divided by.
    inverse, rest : float
        Its inverse, and what that lacks; both 0 where they would not make the same quotients.
    lookup : ndarray of int64
        Bits of the values that numbers stand for.
    """

    kind: int = 0
    power: float = 1.0
    inverse: float = 0.0
    rest: float = 0.0
    lookup: NDArray[np.int64] = _NO_LOOKUP


NUMBERS: Final = Mapping()
"""Numbers are the values."""


@lru_cache(maxsize=256)
def division(power: float, single: bool) -> Mapping:
    """Return the mapping that divides by `power`, and with `single` rounds through float32.

    ``number * inverse + number * rest``, rounded once, is off by less than 2**-105 of itself
    before it is rounded, and ``number / power`` is no nearer to a tie of float64 than
    ``2**-54 / odd`` of itself, where power is ``odd`` times a power of two: so for
    ``odd < 2**51`` both are rounded to the same. Numbers are whole and below 2**64, and powers
    below 2**75, so nothing on the way is too small for all of its bits. The inverse is 0 for
    other powers: these have to be divided by.

    References
    ----------
    Brisebarre, Muller, Raina: Accelerating correctly rounded floating-point division when the
    divisor is known in advance, IEEE Transactions on Computers 53 (2004).
    """
    kind = 2 if single else 1
    if not 1.0 <= power < _SURE or power != int(power):
        return Mapping(kind, power)
    odd = int(power) >> ((int(power) & -int(power)).bit_length() - 1)
    if odd >= 1 << 51:
        return Mapping(kind, power)
    inverse = 1.0 / power
    return Mapping(kind, power, inverse, float(Fraction(1, int(power)) - Fraction(inverse)))
