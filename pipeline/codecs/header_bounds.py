"""Smallest, largest, first and last value in a block's header.

With the flag RAW they are their own bytes, little-endian. Else they are numbers (LEB128, signed
ones zigzagged first):

- a float column begins with ``e``, 1 byte from 0 to 10; every value is the decimal ``k / 10**e``,
  rounded to float32 if the column is, and the ``k`` are what follows;
- with SCALE, for whole numbers only, the scale comes first, as the number ``16 * m + z`` for
  ``m * 10**z``, and all distances are counted in it;
- the smallest value, with ALIGNED counted in the scale, too;
- the distance from the smallest value to the largest;
- to the first and to the last, unless that of the largest is 0, or ASCENDING tells that the
  first is the smallest and the last is the largest.
"""

from __future__ import annotations

import struct
from typing import Final

from pipeline.codecs.header import DTYPES, LETTERS
from pipeline.codecs.header_flags import ALIGNED, ASCENDING, RAW, SCALE
from pipeline.codecs.header_numbers import (
    FLOATS,
    HIGHEST,
    LOWEST,
    SIGNED,
    decimals,
    fold,
    put_number,
    quotients,
    read_exponent,
    take_number,
    unfold,
)
from pipeline.errors import CorruptBlockError

__all__ = ["Bounds", "read_bounds", "write_bounds"]

type Bounds = tuple[float, float, float, float]
"""Smallest, largest, first and last value."""

_VALUES: Final = {code: struct.Struct(f"<4{letter}") for code, letter in LETTERS.items()}
_FLOAT32: Final = next(code for code in FLOATS if DTYPES[code].itemsize == 4)
_ZEROS: Final = 15
_WIDEST: Final = 1 << 60  # a scale from here on might not fit into 64 bits with its zeros' count


def write_bounds(code: int, values: Bounds, scale: int) -> tuple[int, int, int, bytearray]:
    """Return flags, exponent, scale and bytes.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    values : tuple of int or float, length 4
    scale : int
        At least 1; what is returned is 1 if the values are not whole multiples of it apart, or
        nothing is gained by it.
    """
    found = decimals(code, values)
    if found is not None:
        exponent, (low, high, first, last) = found
        flags, out = 0, bytearray()
        if code in FLOATS:
            out.append(exponent)
            scale = 1
        elif scale > 1:
            flags, scale = _put_scale(out, scale, (low, high, first, last))
        signed = code in SIGNED or code in FLOATS
        start = low // scale if flags & ALIGNED else low
        put_number(out, fold(start) if signed else start)
        put_number(out, (high - low) // scale)
        if first == low and last == high > low:
            flags |= ASCENDING
        elif high != low:
            put_number(out, (first - low) // scale)
            put_number(out, (last - low) // scale)
        if len(out) <= _VALUES[code].size:
            return flags, exponent, scale, out
    return RAW, 0, 1, bytearray(_VALUES[code].pack(*values))


def _put_scale(out: bytearray, scale: int, values: tuple[int, int, int, int]) -> tuple[int, int]:
    """Append the scale if it fits; return flags, and the scale to count in."""
    low, high, first, last = values
    unfit = (high - low) % scale or (first - low) % scale or (last - low) % scale
    if unfit or high == low or scale >= _WIDEST:
        return 0, 1
    factor, zeros = scale, 0
    while zeros < _ZEROS and factor % 10 == 0:
        factor //= 10
        zeros += 1
    put_number(out, factor << 4 | zeros)
    return (SCALE if low % scale else SCALE | ALIGNED), scale


def read_bounds(code: int, flags: int, data: bytes, at: int) -> tuple[Bounds, int, int, int]:
    """Read what `write_bounds` wrote; return the values, exponent, scale and the place behind.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If the values cannot be.
    """
    exponent, scale = 0, 1
    if flags & RAW:
        values = _VALUES[code].unpack_from(data, at)
        at += _VALUES[code].size
    elif code in FLOATS:
        exponent, at = read_exponent(data, at)
        numbers, at = _read_numbers(True, flags, 1, data, at)
        values = quotients(numbers, exponent, code == _FLOAT32)
    else:
        if flags & SCALE:
            scale, at = _read_scale(data, at)
        values, at = _read_numbers(code in SIGNED, flags, scale, data, at)
    low, high, first, last = values
    if not (
        low <= first <= high
        and low <= last <= high
        and LOWEST.get(code, low) <= low
        and high <= HIGHEST.get(code, high)
    ):
        raise CorruptBlockError(
            f"says {first} and {last} lie within {low} and {high} of {DTYPES[code]}: impossible"
        )
    return values, exponent, scale, at


def _read_numbers(
    signed: bool, flags: int, scale: int, data: bytes, at: int
) -> tuple[tuple[int, int, int, int], int]:
    low, at = take_number(data, at)
    span, at = take_number(data, at)
    low = unfold(low) if signed else low
    low = low * scale if flags & ALIGNED else low
    high = low + span * scale
    if flags & ASCENDING:
        return (low, high, low, high), at
    first = last = 0
    if span:
        first, at = take_number(data, at)
        last, at = take_number(data, at)
    return (low, high, low + first * scale, low + last * scale), at


def _read_scale(data: bytes, at: int) -> tuple[int, int]:
    number, at = take_number(data, at)
    scale = (number >> 4) * 10 ** (number & _ZEROS)
    if not 1 < scale < _WIDEST:
        raise CorruptBlockError(f"counts distances in a scale of {scale}: impossible")
    return scale, at
