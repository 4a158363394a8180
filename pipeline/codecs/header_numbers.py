"""Numbers in a block's header: LEB128, decimals that are floats bit for bit, raw values."""

from __future__ import annotations

import struct
from math import copysign
from typing import Final

from pipeline.codecs.header import DTYPES, LETTERS
from pipeline.errors import CorruptBlockError

__all__ = [
    "DOUBLE",
    "FLOATS",
    "HIGHEST",
    "LOWEST",
    "SIGNED",
    "VALUE",
    "decimal",
    "decimals",
    "fold",
    "leb",
    "put_number",
    "quotients",
    "read_exponent",
    "same",
    "take_number",
    "unfold",
]

_EXPONENTS: Final = 11
_POWERS: Final = tuple(float(10**e) for e in range(_EXPONENTS))
_EXACT: Final = 9007199254740992.0  # 2**53: whole numbers up to here are exact in float64
_SINGLE: Final = struct.Struct("<f")

DOUBLE: Final = struct.Struct("<d")
"""A float64."""

VALUE: Final = {code: struct.Struct(f"<{letter}") for code, letter in LETTERS.items()}
"""A value's own bytes, by the code of its dtype."""

FLOATS: Final = frozenset(code for code, dtype in DTYPES.items() if dtype.kind == "f")
"""Codes of the dtypes of floats."""

SIGNED: Final = frozenset(code for code, dtype in DTYPES.items() if dtype.kind == "i")
"""Codes of the dtypes of signed whole numbers."""

LOWEST: Final = {
    code: -(1 << 8 * dtype.itemsize - 1) if code in SIGNED else 0
    for code, dtype in DTYPES.items()
    if code not in FLOATS
}
"""Smallest value of a dtype of whole numbers, or of bool, by its code."""

HIGHEST: Final = {
    code: 1 if dtype.kind == "b" else (1 << 8 * dtype.itemsize - (code in SIGNED)) - 1
    for code, dtype in DTYPES.items()
    if code not in FLOATS
}
"""Largest value of a dtype of whole numbers, or of bool, by its code."""

_FLOAT32: Final = next(code for code in FLOATS if DTYPES[code].itemsize == 4)


def put_number(out: bytearray, number: int) -> None:
    """Append `number`, at least 0, as LEB128."""
    while number > 127:
        out.append((number & 127) | 128)
        number >>= 7
    out.append(number)


def leb(number: int) -> bytes:
    """Return `number`, at least 0, as LEB128."""
    out = bytearray()
    put_number(out, number)
    return bytes(out)


def take_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and the place behind it.

    Raises
    ------
    IndexError
        If `data` ends before the number does.
    CorruptBlockError
        If it has more than 64 bits.
    """
    byte = data[at]
    at += 1
    if byte < 128:
        return byte, at
    number, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if number >> 64:
        raise CorruptBlockError("the header holds a number of more than 64 bits")
    return number, at


def fold(number: int) -> int:
    """Zigzag a signed number: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return number << 1 if number >= 0 else ~(number << 1)


def unfold(number: int) -> int:
    """Undo `fold`."""
    return (number >> 1) ^ -(number & 1)


def same(one: float, other: float) -> bool:
    """Whether two floats are equal and have the same sign; NaN equals nothing."""
    return one == other and copysign(1.0, one) == copysign(1.0, other)


def decimal(value: float, exponent: int, single: bool = False) -> int | None:
    """Return ``k`` of the decimal ``k / 10**exponent`` that `value` is bit for bit, or None."""
    scaled = value * _POWERS[exponent]
    if not -_EXACT < scaled < _EXACT:
        return None
    number = round(scaled)
    found = number / _POWERS[exponent]
    if single:
        (found,) = _SINGLE.unpack(_SINGLE.pack(found))
    return number if found == value and copysign(1.0, found) == copysign(1.0, value) else None


def decimals(code: int, values: tuple[float, ...]) -> tuple[int, list[int]] | None:
    """Return an exponent, and the whole numbers that stand for all `values`, or None.

    Parameters
    ----------
    code : int
        Of the values' dtype. Whole numbers stand for themselves, with exponent 0.
    values : tuple of int or float
    """
    if code not in FLOATS:
        return 0, list(values)  # type: ignore[arg-type]
    for exponent in range(_EXPONENTS):
        numbers = []
        for value in values:
            number = decimal(value, exponent, code == _FLOAT32)
            if number is None:
                break
            numbers.append(number)
        else:
            return exponent, numbers
    return None


def quotients(numbers: tuple[int, ...], exponent: int, single: bool = False) -> tuple[float, ...]:
    """Return ``number / 10**exponent`` of all `numbers`, rounded to float32 if `single`."""
    power = _POWERS[exponent]
    if single:
        return tuple(_SINGLE.unpack(_SINGLE.pack(number / power))[0] for number in numbers)
    return tuple([number / power for number in numbers])


def read_exponent(data: bytes, at: int) -> tuple[int, int]:
    """Return the exponent of decimals at `at`, and the place behind it.

    Raises
    ------
    IndexError
        If `data` ends before it.
    CorruptBlockError
        If there is no such exponent.
    """
    if data[at] >= _EXPONENTS:
        raise CorruptBlockError(f"the header has decimals of {data[at]} digits")
    return data[at], at + 1
