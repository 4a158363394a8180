"""How many bits the Gorilla paper's schemes need, counted without packing them.

Floats go through the XOR scheme; integers, timestamps among them, through the one of deltas of
deltas. Where the paper is silent or fits only its own data, the model favours it: integers count
in units of the greatest common divisor of their differences, narrower floats have narrower
fields, and nothing is spent on a header.

References
----------
T. Pelkonen et al., "Gorilla: A Fast, Scalable, In-Memory Time Series Database", PVLDB 8 (2015),
section 4.1.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["delta_of_delta_bits", "gorilla_bits", "xor_bits"]

_MOST_LEADING: Final = 31
_LEADING_FIELD: Final = 5
# Up to which size a delta of deltas (from below, from above) costs how many bits, prefix included.
_CLASSES: Final = ((0, 0, 1), (-63, 64, 9), (-255, 256, 12), (-2047, 2048, 16))
_WORD_PREFIX: Final = 4


def gorilla_bits(values: NDArray[Any]) -> int:
    """Return the bits for a block.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Bool, integers, float32 or float64; at least one.
    """
    return xor_bits(values) if values.dtype.kind == "f" else delta_of_delta_bits(values)


def delta_of_delta_bits(values: NDArray[Any]) -> int:
    """Return the bits for integers: the first one whole, then a delta of deltas for each row.

    A delta of deltas beyond 12 bits takes 32, or 64 in a block where 32 are not enough.
    """
    numbers = values.astype(np.int64)
    deltas = np.diff(numbers)
    unit = int(np.gcd.reduce(np.abs(deltas))) if len(deltas) else 0
    steps = np.diff(deltas // unit if unit > 0 else deltas, prepend=np.int64(0))
    low, high = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
    word = 32 if low >= -(2**31) and high < 2**31 else 64
    bits = np.full(len(steps), _WORD_PREFIX + word)
    for least, most, cost in reversed(_CLASSES):
        bits[(steps >= least) & (steps <= most)] = cost
    return 8 * values.itemsize + int(bits.sum())


def xor_bits(values: NDArray[Any]) -> int:
    """Return the bits for floats: the first one whole, then the XOR of each with the one before.

    An XOR of zero takes one bit. Others take two, and their meaningful bits: all of the window
    of the last XOR that described its own, if they lie in it; else they describe a new window.
    """
    width = 8 * values.itemsize
    bits = values.view(f"u{values.itemsize}")
    xors = bits[1:] ^ bits[:-1]
    changes = xors[xors != 0].astype(np.uint64)
    total = width + len(xors)
    if not len(changes):
        return total
    leading = np.minimum(width - _bit_length(changes), _MOST_LEADING)
    trailing = _bit_length(changes & (~changes + np.uint64(1))) - 1
    new = _new_windows(leading, trailing)
    windows = (width - leading - trailing)[new]
    uses = np.diff(np.append(new, len(changes)))
    fields = _LEADING_FIELD + width.bit_length() - 1
    return total + len(changes) + int((windows * uses).sum()) + fields * len(new)


def _bit_length(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the place of the highest set bit, counted from one."""
    high, low = numbers >> np.uint64(32), numbers & np.uint64(0xFFFFFFFF)
    # Doubles hold 32 bits exactly, so their exponent tells.
    lengths = np.where(high > 0, np.frexp(high)[1] + 32, np.frexp(low)[1])
    return lengths.astype(np.int64)


def _new_windows(leading: NDArray[np.int64], trailing: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return at which changes a new window is described: where the last one is too small."""
    following = np.minimum(_next_smaller(leading), _next_smaller(trailing)).tolist()
    at, found = 0, []
    while at < len(following):
        found.append(at)
        at = following[at]
    return np.array(found, np.int64)


def _next_smaller(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each number the place of the next smaller one; the end if there is none."""
    places = np.full(len(numbers), len(numbers), np.int64)
    for level in np.unique(numbers):
        smaller = np.append(np.flatnonzero(numbers < level), len(numbers))
        here = np.flatnonzero(numbers == level)
        places[here] = smaller[np.searchsorted(smaller, here)]
    return places
