"""Loops over column values: decimals hidden in floats, and distinct values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = [
    "find_distinct",
    "find_exponents",
    "mark_misfits",
    "mark_tile",
    "pick_distinct",
    "place_codes",
    "printed_digits",
    "rank_numbers",
    "settle_leading",
    "sort_places",
    "to_decimals",
]

_EXACT = 9007199254740992.0
"""2**53: every whole number up to here is exact in float64."""

_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS
_TILE = 512
_ROUND = 6755399441055744.0
_ROUND_BITS = 0x4338000000000000
_HALF = 1 << 51


@loop
def find_exponents(
    values: NDArray[np.float64],
    powers: NDArray[np.float64],
    single: bool,
    tolerance: float,
    limit: float,
    exponents: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Write, per value, the smallest exponent at which it is a decimal, and count them.

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
        counts[exponents[i]] += 1


@loop
def to_decimals(
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
    power: float,
    single: bool,
    tolerance: float,
    decimals: NDArray[np.int64],
    misfits: NDArray[np.int64],
    state: NDArray[np.int64],
) -> bool:
    """Write ``rint(value * power)`` and mark the rows that do not come back bit for bit.

    The rest is as in `mark_misfits`. Adding 3 * 2**51 rounds to a whole number that then stands
    in the low bits of the sum: unlike a conversion, that is a vector instruction, and the tiles
    take a third of the time.
    """
    sums, back = np.empty(_TILE), np.empty(_TILE)
    sum_bits = sums.view(np.int64)
    for start in range(0, values.size, _TILE):
        size = min(_TILE, values.size - start)
        column = values[start : start + size]
        for i in range(size):
            sums[i] = column[i] * power + _ROUND
        least = most = np.int64(0)
        for i in range(size):
            whole = sum_bits[i] - _ROUND_BITS
            decimals[start + i] = whole
            least = min(least, whole)
            most = max(most, whole)
        for i in range(size):
            back[i] = (sums[i] - _ROUND) / power
        if least < -_HALF or most >= _HALF:
            _convert(column, power, decimals[start : start + size], back)
        if single:
            for i in range(size):
                back[i] = np.float64(np.float32(back[i]))
        if not mark_tile(column, bits, back, start, tolerance, decimals, misfits, state):
            return False
    settle_leading(decimals, state)
    return True


@part
def _convert(
    values: NDArray[np.float64],
    power: float,
    decimals: NDArray[np.int64],
    back: NDArray[np.float64],
) -> None:
    """Redo the rows of a tile that are too large for a sum, or no numbers at all."""
    for i in range(values.size):
        if -_HALF <= decimals[i] < _HALF:
            continue
        scaled = values[i] * power
        whole = np.rint(scaled) if abs(scaled) < _EXACT else 0.0
        decimals[i] = np.int64(whole)
        back[i] = whole / power


@part
def mark_tile(
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
    back: NDArray[np.float64],
    start: int,
    tolerance: float,
    numbers: NDArray[np.int64],
    misfits: NDArray[np.int64],
    state: NDArray[np.int64],
) -> bool:
    """Mark the misfits of a tile whose first row is `start`; see `mark_misfits`."""
    back_bits = back.view(np.int64)
    wanted = bits[start : start + values.size]
    off = np.int64(0)
    for i in range(values.size):
        off |= back_bits[i] ^ wanted[i]
    if off:
        for i in range(values.size):
            if back_bits[i] == wanted[i]:
                continue
            if state[0] == misfits.size:
                return False
            misfits[state[0]] = start + i
            state[0] += 1
            size = abs(values[i])
            if size < np.inf and abs(back[i] - values[i]) <= size * tolerance:
                continue
            if state[1] == start + i:
                state[1] += 1
            else:
                numbers[start + i] = numbers[start + i - 1]
    least, most = state[2], state[3]
    for i in range(max(start, state[1]), start + values.size):
        least = min(least, numbers[i])
        most = max(most, numbers[i])
    state[2], state[3] = least, most
    return True


@part
def settle_leading(numbers: NDArray[np.int64], state: NDArray[np.int64]) -> None:
    """Give the leading rows without a number of their own the first number after them."""
    leading = state[1]
    if leading < numbers.size:
        numbers[:leading] = numbers[leading]
    else:
        numbers[:] = 0
        state[2] = state[3] = 0


@loop
def mark_misfits(
    values: NDArray[np.float64],
    bits: NDArray[np.int64],
    restored: NDArray[np.float64],
    tolerance: float,
    numbers: NDArray[np.int64],
    misfits: NDArray[np.int64],
    state: NDArray[np.int64],
) -> bool:
    """List the rows whose value was not restored bit for bit; False if they outnumber `misfits`.

    A misfit within `tolerance` (relative) keeps its own number, which leaves its correction
    few bits; any other gets the number before it, or else the first one after it. `state`
    starts as 0, 0, the largest and the smallest int64, and ends as the number of misfits, of
    leading rows without a number of their own, and the smallest and the largest number.
    """
    for start in range(0, values.size, _TILE):
        column = values[start : start + _TILE]
        back = restored[start : start + _TILE]
        if not mark_tile(column, bits, back, start, tolerance, numbers, misfits, state):
            return False
    settle_leading(numbers, state)
    return True


@loop
def printed_digits(
    values: NDArray[np.float64],
    exponents: NDArray[np.int64],
    limit: int,
    tens: NDArray[np.float64],
    digits: NDArray[np.float64],
) -> None:
    """Write how many significant digits and digits after the point all but one in 50 values need.

    Looked at are values with `exponents` up to `limit`. The third entry is the mean number of
    digits that so many after the point give a value beyond the significant ones; with no value
    the first is 0. `tens` are the powers of ten from ``10**-30``.
    """
    widths, points = np.zeros(128, np.int64), np.zeros(128, np.int64)
    leading = np.empty(values.size, np.int64)
    count = 0
    for i in range(values.size):
        if exponents[i] > limit:
            continue
        size = abs(values[i])
        low, high = 0, tens.size
        while low < high:
            middle = (low + high) // 2
            if tens[middle] <= size:
                low = middle + 1
            else:
                high = middle
        leading[count] = low - 30 if size else -exponents[i]
        points[exponents[i]] += 1
        widths[max(0, min(127, exponents[i] + leading[count]))] += 1
        count += 1
    widest, deepest = _common_most(widths, count), min(22, _common_most(points, count))
    spare = 0
    for i in range(count):
        spare += max(0, deepest - (widest - leading[i]))
    digits[0], digits[1], digits[2] = widest, deepest, spare / max(1, count)


@part
def _common_most(counts: NDArray[np.int64], total: int) -> int:
    """Return a number that all but one in fifty of some do not exceed."""
    beyond = (total - 1) * 49 // 50
    at = 0
    while at < counts.size - 1 and counts[at] <= beyond:
        beyond -= counts[at]
        at += 1
    return at


@loop
def pick_distinct(values: NDArray[np.float64], distinct: NDArray[np.float64]) -> int:
    """Write finite values until there are enough distinct ones; return their number.

    Values are taken from all over the column, in steps of the golden section.
    """
    count, at = 0, 0
    stride = max(1, int(values.size * 0.618))
    while stride > 1 and _common_factor(stride, values.size) > 1:
        stride -= 1
    for _ in range(values.size):
        value = values[at]
        at = (at + stride) % values.size
        new = abs(value) < np.inf
        for j in range(count):
            new = new and distinct[j] != value
        if new:
            distinct[count] = value
            count += 1
            if count == distinct.size:
                break
    return count


@part
def _common_factor(left: int, right: int) -> int:
    while right:
        left, right = right, left % right
    return left


@loop
def place_codes(ranks: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    """Replace every code by its rank."""
    for i in range(codes.size):
        codes[i] = ranks[codes[i]]


@loop
def sort_places(keys: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Write the places of distinct `keys` in ascending order, sorted digit by digit.

    Half as long as `numpy.argsort` takes for thousands of keys, and less where they are close.
    """
    rows = np.uint64(keys.size)
    least = keys[0]
    most = keys[0]
    for i in range(rows):
        order[i] = i
        least = min(least, keys[i])
        most = max(most, keys[i])
    span = np.uint64(most - least)
    sorted_so_far = np.empty(keys.size, np.int64)
    counts = np.empty(_DIGITS + 1, np.int64)
    shift = np.uint64(0)
    while shift < np.uint64(64) and span >> shift:
        for digit in range(counts.size):
            counts[digit] = 0
        for i in range(rows):
            digit_of = (np.uint64(keys[i] - least) >> shift) & np.uint64(_DIGITS - 1)
            counts[digit_of + np.uint64(1)] += 1
        for digit in range(1, counts.size):
            counts[digit] += counts[digit - 1]
        for i in range(rows):
            sorted_so_far[i] = order[i]
        for i in range(rows):
            place = np.uint64(sorted_so_far[i])
            digit_of = (np.uint64(keys[place] - least) >> shift) & np.uint64(_DIGITS - 1)
            order[np.uint64(counts[digit_of])] = place
            counts[digit_of] += 1
        shift += np.uint64(_DIGIT_BITS)


@loop
def rank_numbers(
    numbers: NDArray[np.int64],
    low: np.int64,
    ranks: NDArray[np.int32],
    entries: NDArray[np.int64],
    codes: NDArray[np.int64],
) -> int:
    """Write the distinct numbers, ascending, and every row's place among them.

    `ranks` has an entry for every number from `low` on. Returns how many distinct numbers there
    are, or -1 if they outnumber `entries`.
    """
    for i in range(ranks.size):
        ranks[i] = 0
    for i in range(numbers.size):
        ranks[np.uint64(numbers[i] - low)] = 1
    count = 0
    for i in range(ranks.size):
        if ranks[i]:
            if count == entries.size:
                return -1
            entries[count] = low + i
            ranks[i] = count
            count += 1
    for i in range(numbers.size):
        codes[i] = ranks[np.uint64(numbers[i] - low)]
    return count


@loop
def find_distinct(
    numbers: NDArray[np.uint64],
    slots: NDArray[np.int32],
    distinct: NDArray[np.uint64],
    codes: NDArray[np.int64],
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
