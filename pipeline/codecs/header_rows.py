"""Columns whose rows follow from the header: all equal, or first value and step.

With CONSTANT the header holds one value, with the flag RAW by its own bytes, else as a number
(LEB128): zigzagged ``k`` of the decimal ``k / 10**e``, behind ``e``, 1 byte, for a float; a
signed number zigzagged; others themselves. With SCALE, for whole numbers only, the step from row
to row follows, zigzagged.
"""

from __future__ import annotations

from pipeline.codecs.header import DTYPES, BlockStatistics
from pipeline.codecs.header_flags import CONSTANT, RAW, SCALE
from pipeline.codecs.header_numbers import (
    FLOATS,
    HIGHEST,
    LOWEST,
    SIGNED,
    VALUE,
    decimals,
    fold,
    leb,
    quotients,
    read_exponent,
    take_number,
    unfold,
)
from pipeline.codecs.header_sums import equal_sums
from pipeline.errors import CorruptBlockError

__all__ = [
    "LINEAR",
    "constant_statistics",
    "linear_statistics",
    "read_constant",
    "read_linear",
    "read_steps",
    "write_constant",
    "write_linear",
]

LINEAR = CONSTANT | SCALE
"""The flags of a column whose rows are a first value and steps."""


def write_constant(code: int, bits: int) -> tuple[int, bytes]:
    """Return flags and bytes of one value.

    Parameters
    ----------
    code : int
        Of the column's dtype.
    bits : int
        The bits of the value, as an unsigned number.
    """
    raw = bits.to_bytes(VALUE[code].size, "little")
    found = decimals(code, VALUE[code].unpack(raw))
    if found is not None:
        exponent, (number,) = found
        short = leb(fold(number) if code in SIGNED or code in FLOATS else number)
        short = bytes((exponent,)) + short if code in FLOATS else short
        if len(short) < len(raw):
            return CONSTANT, short
    return CONSTANT | RAW, raw


def read_constant(code: int, flags: int, data: bytes, at: int) -> tuple[float, int, int]:
    """Read what `write_constant` wrote; return the value, its bits and the place behind it.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If there is no such value.
    """
    layout = VALUE[code]
    if flags & RAW:
        (value,) = layout.unpack_from(data, at)
        at += layout.size
        return _checked(code, value), int.from_bytes(data[at - layout.size : at], "little"), at
    exponent = 0
    if code in FLOATS:
        exponent, at = read_exponent(data, at)
    value, at = take_number(data, at)
    value = unfold(value) if code in SIGNED or code in FLOATS else value
    if code in FLOATS:
        (value,) = quotients((value,), exponent)
    raw = layout.pack(_checked(code, value))
    (value,) = layout.unpack(raw)
    return value, int.from_bytes(raw, "little"), at


def _checked(code: int, value: float) -> float:
    if code not in FLOATS and not LOWEST[code] <= value <= HIGHEST[code]:
        raise CorruptBlockError(f"has rows of {value}, which is no {DTYPES[code]}")
    return value


def constant_statistics(value: float, rows: int) -> BlockStatistics:
    """Return the statistics of `rows` equal values; NaN counts as missing."""
    if value != value:
        return BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    total, m2 = equal_sums(value, rows)
    return BlockStatistics(rows, 0, value, value, total, m2, value, value)


def write_linear(code: int, first: int, step: int) -> tuple[int, bytes]:
    """Return flags and bytes of a first value and a step, not 0, of less than 64 bits."""
    bits = first & ((1 << 8 * VALUE[code].size) - 1)
    flags, value = write_constant(code, bits)
    return flags | LINEAR, value + leb(fold(step))


def read_linear(
    code: int, flags: int, rows: int, data: bytes, at: int
) -> tuple[BlockStatistics, int, int]:
    """Read what `write_linear` wrote; return the statistics, the step and the place behind it.

    Raises
    ------
    IndexError, struct.error
        If `data` ends too early.
    CorruptBlockError
        If a row would leave the dtype, or there are not enough rows for a step.
    """
    first, step, at = read_steps(code, flags, rows, data, at)
    return linear_statistics(first, step, rows), step, at


def read_steps(code: int, flags: int, rows: int, data: bytes, at: int) -> tuple[int, int, int]:
    """Read what `write_linear` wrote; return the first row, the step and the place behind it.

    Raises
    ------
    IndexError, struct.error, CorruptBlockError
        As `read_linear`.
    """
    if DTYPES[code].kind == "b" or rows < 2:
        raise CorruptBlockError(f"has {rows} rows of {DTYPES[code]} with steps: impossible")
    first, _, at = read_constant(code, flags, data, at)
    step, at = take_number(data, at)
    step = unfold(step)
    if not step:
        raise CorruptBlockError("has steps of 0: impossible")
    _checked(code, first + (rows - 1) * step)
    return int(first), step, at


def linear_statistics(first: int, step: int, rows: int) -> BlockStatistics:
    """Return the statistics of the rows ``first + i * step``, sums rounded once."""
    last = first + (rows - 1) * step
    total = float(rows * first + step * (rows * (rows - 1) // 2))
    m2 = step * step * rows * (rows * rows - 1) / 12
    return BlockStatistics(rows, 0, min(first, last), max(first, last), total, m2, first, last)
