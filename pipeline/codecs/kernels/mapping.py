"""How loops turn decoded numbers into values on their way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import part
from pipeline.codecs.kernels.division import quotient

__all__ = ["map_tile"]

_SHORTEST, _LONGEST = 1.0, 2.0**45
_SIGN = np.int64(63)
_ALL_BUT_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)


@part
def map_tile(
    tile: NDArray[np.uint64],
    rows: np.uint64,
    mapping: int,
    power: float,
    lookup: NDArray[np.int64],
    at: np.uint64,
    numbers: NDArray[np.int64],
    floats: NDArray[np.float64],
) -> bool:
    """Write the values of the first `rows` numbers of `tile`, from row `at` on.

    Parameters
    ----------
    tile
        Numbers, int64 by their bits.
    mapping, power, lookup
        0: values are the numbers; 1: floats ``number / power``; 2: these rounded through
        float32; 3: floats with the numbers as their ordered bits; 4: the bits that `lookup` has
        for a number; 5: floats ``number * power``.
    numbers, floats
        Receive the values: the same memory twice.

    Returns
    -------
    bool
        False if `lookup` has no such entry.
    """
    if mapping == 4:
        beyond = np.uint64(lookup.size)
        for i in range(rows):
            if tile[i] >= beyond:
                return False
            numbers[at + i] = lookup[tile[i]]
    elif mapping == 3:
        for i in range(rows):
            number = np.int64(tile[i])
            numbers[at + i] = number ^ ((number >> _SIGN) & _ALL_BUT_SIGN)
    elif mapping == 5:
        for i in range(rows):
            floats[at + i] = np.float64(np.int64(tile[i])) * power
    elif mapping == 1 or mapping == 2:
        if _SHORTEST <= power < _LONGEST and np.rint(power) == power:
            inverse = 1.0 / power
            for i in range(rows):
                floats[at + i] = quotient(np.float64(np.int64(tile[i])), power, inverse)
        else:
            for i in range(rows):
                floats[at + i] = np.float64(np.int64(tile[i])) / power
        if mapping == 2:
            for i in range(at, at + rows):
                floats[i] = np.float64(np.float32(floats[i]))
    else:
        for i in range(rows):
            numbers[at + i] = np.int64(tile[i])
    return True
