"""Loops over whole numbers: divisors and differences.

Everything is `uint64` and wraps modulo 2**64 on purpose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["common_divisor", "exact_quotients", "residuals"]


@loop
def common_divisor(
    numbers: NDArray[np.uint64], offset: np.uint64, start: np.uint64, every: int
) -> np.uint64:
    """Greatest common divisor of `start` and of distances from `offset`; stops early at one.

    Looked at is one number in `every`.
    """
    zero = np.uint64(0)
    one = np.uint64(1)
    divisor = start
    for i in range(0, numbers.size, every):
        rest = numbers[i] - offset
        while rest != zero:
            divisor, rest = rest, divisor % rest
        if divisor == one:
            break
    return divisor


@loop
def exact_quotients(
    numbers: NDArray[np.uint64],
    offset: np.uint64,
    inverse: np.uint64,
    right: np.uint64,
    left: np.uint64,
    limit: np.uint64,
    quotients: NDArray[np.uint64],
) -> int:
    """Divide distances from `offset` by multiplication; return the first row that is not a multiple, or the length.

    The divisor is ``odd * 2**right``; `inverse` is that odd part's inverse modulo 2**64,
    `left` is ``(64 - right) % 64`` and `limit` is ``(2**64 - 1) // divisor``. A product rotated
    by `right` is at most `limit` exactly for multiples (Hacker's Delight, section 10-17).
    One multiplication a row, against some 25 cycles for a division.
    """
    for i in range(numbers.size):
        product = (numbers[i] - offset) * inverse
        quotient = (product >> right) | (product << left) if right else product
        if quotient > limit:
            return i
        quotients[i] = quotient
    return int(numbers.size)


@loop
def residuals(
    numbers: NDArray[np.uint64], order: int, step: np.uint64, out: NDArray[np.uint64]
) -> None:
    """Write zigzagged differences of `order` 1 (less `step`) or 2; ``numbers.size - order``."""
    one = np.uint64(1)
    top = np.uint64(63)
    zero = np.uint64(0)
    if order == 1:
        for i in range(out.size):
            left = numbers[i + 1] - numbers[i] - step
            out[i] = (left << one) ^ (zero - (left >> top))
    else:
        for i in range(out.size):
            left = (numbers[i + 2] - numbers[i + 1]) - (numbers[i + 1] - numbers[i])
            out[i] = (left << one) ^ (zero - (left >> top))
