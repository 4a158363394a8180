"""Loops over column values: decimals hidden in floats, and distinct values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["find_distinct", "find_exponents", "to_decimals"]

_EXACT = 9007199254740992.0
"""2**53: every whole number up to here is exact in float64."""


@loop
def find_exponents(
    values: NDArray[np.float64],
    powers: NDArray[np.float64],
    single: bool,
    tolerance: float,
    limit: float,
    exponents: NDArray[np.int64],
) -> None:
    """Write, per value, the smallest exponent at which it is a decimal.

    That is the smallest `e` with ``k / 10**e == value``, but for a relative `tolerance`, for a
    whole `k` below `limit`, or the number of `powers` where there is none. With `single` the
    quotient is rounded to float32 before it is compared.
    """
    for i in range(values.size):
        value = values[i]
        exponents[i] = powers.size
        for e in range(powers.size):
            scaled = value * powers[e]
            if not abs(scaled) < limit:
                break
            back = np.rint(scaled) / powers[e]
            if single:
                back = np.float64(np.float32(back))
            if abs(back - value) <= tolerance * abs(value):
                exponents[i] = e
                break


@loop
def to_decimals(
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
    power: float,
    single: bool,
    tolerance: float,
    decimals: NDArray[np.int64],
    misfits: NDArray[np.int64],
) -> int:
    """Write ``rint(value * power)`` and list the rows that do not come back bit for bit.

    A misfit within `tolerance` (relative) keeps its own decimal, which leaves its correction
    few bits; any other holds the last decimal before it, or else the first one after it.
    Returns the number of misfits, or -1 when they outnumber `misfits`.
    """
    count = 0
    leading = 0
    held = np.int64(0)
    for i in range(values.size):
        value = values[i]
        scaled = value * power
        fits = found = False
        if abs(scaled) < _EXACT:
            whole = np.rint(scaled)
            back = whole / power
            if single:
                back = np.float64(np.float32(back))
            fits = back == value and (whole != 0.0 or bits[i] == 0)
            found = fits or abs(back - value) <= abs(value) * tolerance
            if found:
                held = np.int64(whole)
        decimals[i] = held
        if not fits:
            if count == misfits.size:
                return -1
            misfits[count] = i
            count += 1
            if not found and leading == i:
                leading += 1
    if leading < values.size:
        decimals[:leading] = decimals[leading]
    return count


@loop
def find_distinct(
    numbers: NDArray[np.uint64],
    slots: NDArray[np.int32],
    distinct: NDArray[np.uint64],
    codes: NDArray[np.uint64],
) -> int:
    """Write every row's place among the distinct values, in order of appearance.

    `slots` is an open-addressing hash table of a power-of-two size, filled with -1. Returns
    the number of distinct values, or -1 when they outnumber `distinct`.
    """
    mask = np.uint64(slots.size - 1)
    one = np.uint64(1)
    count = 0
    for i in range(numbers.size):
        number = numbers[i]
        slot = ((number * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) & mask
        code = slots[slot]
        while code >= 0 and distinct[code] != number:
            slot = (slot + one) & mask
            code = slots[slot]
        if code < 0:
            if count == distinct.size:
                return -1
            code = count
            slots[slot] = count
            distinct[count] = number
            count += 1
        codes[i] = code
    return count
