"""The loops behind a block's statistics: pieces of rows that stay in the fastest cache.

A value is taken as its *image*, an int64 in the order of the values. The order of every sum is
fixed, so that all machines agree on all bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["join", "squares", "summarise"]

_PIECE = 1024
_LANES = 64  # running sums side by side: 24 us for 65,536 rows, with 8 of them 57 us
_NARROW = 1 << 21  # squares of distances below this add up to less than 2**62 in 2**20 rows
_INFINITY = 0x7FF0000000000000
_HALF = 0xFFFFFFFF
_LIMB = 21  # three limbs hold a distance; 2**20 squares of one add up to less than 2**64
_LOW = (1 << _LIMB) - 1
_SPLIT = 4097.0  # cuts a float64 into 41 and 12 bits: exact when multiplied by a piece's rows


@part
def _bounds(words: NDArray[np.int64], fold: int, flip: int) -> tuple[Any, Any]:
    """Return the smallest and the largest image of at least one word."""
    low = high = (words[0] ^ ((words[0] >> 63) & fold)) ^ flip
    for i in range(words.size):
        image = (words[i] ^ ((words[i] >> 63) & fold)) ^ flip
        low = min(low, image)
        high = max(high, image)
    return low, high


@part
def _deviations(
    numbers: NDArray[np.float64], origin: float, lanes: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the sums of ``number - origin`` and of its square."""
    lanes[:] = 0.0
    sums, squares = lanes[0], lanes[1]
    whole = numbers.size // _LANES * _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            away = numbers[start + lane] - origin
            sums[lane] += away
            squares[lane] += away * away
    total = square = 0.0
    for lane in range(_LANES):
        total += sums[lane]
        square += squares[lane]
    for i in range(whole, numbers.size):
        away = numbers[i] - origin
        total += away
        square += away * away
    return total, square


@part
def _distances(
    words: NDArray[np.int64], flip: int, low: Any, narrow: bool, numbers: NDArray[np.float64]
) -> tuple[Any, Any, Any]:
    """Return sums of the distances from `low`, by upper and lower halves, and of their squares.

    Distances that are not narrow are not squared but written to `numbers`.
    """
    upper = lower = squares = np.int64(0)
    if narrow:
        for i in range(words.size):
            distance = (words[i] ^ flip) - low
            lower += distance
            squares += distance * distance
    else:
        for i in range(words.size):
            distance = (words[i] ^ flip) - low
            upper += (distance >> 32) & _HALF
            lower += distance & _HALF
            numbers[i] = np.float64(np.uint64(distance))
    return upper, lower, squares


@loop
def summarise(
    words: NDArray[np.int64],
    valid: NDArray[np.bool_],
    floats: bool,
    flip: int,
    scratch: NDArray[np.int64],
    lanes: NDArray[np.float64],
    whole: NDArray[np.int64],
    parts: NDArray[np.float64],
) -> bool:
    """Summarise every piece of a column by itself; return False, unfinished, if there is a NaN.

    `words` are the bits of float64 (if `floats`), or whole numbers whose image is
    ``word ^ flip``. `valid` is empty when every row counts. `scratch` has room for two pieces,
    `lanes` is of shape (2, 64).

    Column ``at`` of `whole` becomes count, smallest and largest image, and of whole numbers the
    sums of the upper and lower halves of the distances from the smallest, and of their squares
    if all are below 2**21. That of `parts` becomes an origin amid the values (of whole numbers:
    above the smallest), and the sums of the deviations from it and of their squares.
    """
    fold = np.int64(0x7FFFFFFFFFFFFFFF if floats else 0)
    for at in range(whole.shape[1]):
        part = words[at * _PIECE : (at + 1) * _PIECE]
        if valid.size:
            here = valid[at * _PIECE : (at + 1) * _PIECE]
            kept = np.uint64(0)  # a signed place would be checked for counting from the end
            for i in range(part.size):
                scratch[kept] = part[i]
                kept += np.uint64(here[i])
            part = scratch[:kept]
        rows = part.size
        if rows == 0:
            continue
        low, high = _bounds(part, fold, flip)
        if floats and (high > _INFINITY or low < ~_INFINITY):
            return False
        whole[0, at], whole[1, at], whole[2, at] = rows, low, high
        numbers = part.view(np.float64)
        origin, narrow = numbers[0], False
        if not floats:
            narrow = bool(np.uint64(high - low) < np.uint64(_NARROW))
            numbers = scratch[_PIECE : _PIECE + rows].view(np.float64)
            upper, lower, square = _distances(part, flip, low, narrow, numbers)
            whole[3, at], whole[4, at], whole[5, at] = upper, lower, square
            origin = (upper * 4294967296.0 + lower) / rows
            if narrow:
                parts[0, at], parts[2, at] = origin, (rows * square - lower * lower) / rows
        tries = 0 if narrow else 2
        while tries:
            total, squares = _deviations(numbers, origin, lanes)
            parts[0, at], parts[1, at], parts[2, at] = origin, total, squares
            tries -= 1
            if total * total > 16.0 * (rows * squares - total * total):  # origin is far off
                origin += total / rows
            else:
                tries = 0
    return True


@loop
def join(
    whole: NDArray[np.int64],
    parts: NDArray[np.float64],
    floats: bool,
    totals: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Put the pieces that `summarise` left together; none may be without a value.

    `totals` become count, smallest and largest image, and of whole numbers the sums of the
    halves of the distances from the smallest, and of their squares if all are below 2**21.
    `sums` become the sum (of whole numbers: of the distances), and the squared deviations.
    """
    low = high = whole[1, 0]
    for at in range(whole.shape[1]):
        low, high = min(low, whole[1, at]), max(high, whole[2, at])
    totals[1], totals[2] = low, high
    total = error = rough = 0.0
    for at in range(whole.shape[1]):
        rows, origin = whole[0, at], parts[0, at]
        totals[0] += rows
        if not floats:
            offset = whole[1, at] - low
            totals[3] += whole[3, at] + rows * ((offset >> 32) & _HALF)
            totals[4] += whole[4, at] + rows * (offset & _HALF)
            totals[5] += whole[5, at] + offset * (2 * whole[4, at] + rows * offset)
            origin += np.float64(np.uint64(offset))
            parts[0, at] = origin
        top = origin * _SPLIT - (origin * _SPLIT - origin)
        top = top if np.isfinite(top) else origin
        for summand in (rows * top, rows * (origin - top), parts[1, at]):
            more = total + summand
            kept = more - total
            error += (total - (more - kept)) + (summand - kept)
            total = more
        rough += rows * origin + parts[1, at]
    sums[0] = total + error if np.isfinite(total + error) else rough
    mean = sums[0] / totals[0]
    rest = 0.0
    for at in range(whole.shape[1]):
        rows, offset = whole[0, at], parts[0, at] - mean
        rest += parts[1, at] + rows * offset
        sums[1] += parts[2, at] + offset * (2.0 * parts[1, at] + rows * offset)
    sums[1] -= rest * rest / totals[0]


@loop
def squares(
    words: NDArray[np.int64],
    valid: NDArray[np.bool_],
    flip: int,
    low: int,
    sums: NDArray[np.int64],
) -> None:
    """Add up the products of the limbs of all distances from `low`, the smallest image.

    A distance is ``x + (y << 21) + (z << 42)``; `sums` become those of xx, xy, yy, xz, yz and
    zz, modulo 2**64. `valid` is empty when every row counts.
    """
    xx = xy = yy = xz = yz = zz = np.int64(0)
    for i in range(words.size):
        distance = (words[i] ^ flip) - low
        if valid.size:
            distance &= -np.int64(valid[i])
        x, y = distance & _LOW, (distance >> _LIMB) & _LOW
        z = (distance >> 2 * _LIMB) & (2 * _LOW + 1)
        xx += x * x
        xy += x * y
        yy += y * y
        xz += x * z
        yz += y * z
        zz += z * z
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = xx, xy, yy, xz, yz, zz
