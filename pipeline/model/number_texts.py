"""Texts of numbers to values of a channel's dtype, digit by digit where a scale is declared.

A declared decimal scale shifts and multiplies the text's own digits, so ``"2358"`` with scale
0.01 is the double that ``"23.58"`` is, not the product of two doubles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.model.arrow_arrays import null_mask, plain_texts
from pipeline.model.exact_casts import cast_exactly, explain_cast

__all__ = ["NumberStyle", "parse_numbers"]

_NUMBER: Final = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,5})?$"
_SHORT_INTEGER: Final = r"^-?\d{1,18}$"
_SPECIAL: Final = r"^(?i)[+-]?(?:nan|inf|infinity)$"
_EXACT: Final = Context(prec=100)  # more digits than any product below can have
_BOOLS: Final = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class NumberStyle:
    """How numbers are written.

    Parameters
    ----------
    decimal
        The decimal mark, one character.
    base
        10, or 2, 8 or 16 for whole numbers such as ``0x20``.
    scale
        What the written number is multiplied with, exactly; None for 1.
    """

    decimal: str = "."
    base: int = 10
    scale: Decimal | None = None


_PLAIN: Final = NumberStyle()


def parse_numbers(
    texts: pa.Array, dtype: str, style: NumberStyle = _PLAIN
) -> tuple[NDArray[Any], dict[int, str]]:
    """Parse texts of numbers.

    Parameters
    ----------
    texts
        Any Arrow type of texts, shape (rows,); blanks around a number are allowed.
    dtype
        A numeric channel dtype, or ``"bool"`` (true, false, 1 and 0 in any case).
    style
        How the numbers are written.

    Returns
    -------
    values
        Shape (rows,), of `dtype`; means nothing at null and bad rows.
    reasons
        Why, for rows whose text is no number of `dtype`, by row number; the words follow the
        channel's name.
    """
    trimmed = pc.ascii_trim_whitespace(plain_texts(texts))
    if dtype == "bool" or style.base != 10:
        values, failed = _parse_distinct(trimmed, dtype, style)
    else:
        values, failed = _parse_decimals(_to_point(trimmed, style), dtype, style.scale)
    missing = null_mask(trimmed)
    if missing is not None:
        failed &= ~missing
    rows = np.flatnonzero(failed)
    words = trimmed.take(pa.array(rows)).to_pylist()
    return values, {int(r): _explain(w, dtype, style) for r, w in zip(rows, words, strict=True)}


def _to_point(texts: pa.Array, style: NumberStyle) -> pa.Array:
    if style.decimal == ".":
        return texts
    pointed = pc.match_substring(texts, ".")  # a point is no decimal mark here: spoil the text
    return pc.if_else(pointed, "x", pc.replace_substring(texts, style.decimal, "."))


def _parse_decimals(
    texts: pa.Array, dtype: str, scale: Decimal | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if np.dtype(dtype).kind in "iu":
        return _parse_integers(texts, dtype, scale)
    if scale is None and (doubles := _all_doubles(texts)) is not None:
        values, bad = cast_exactly(doubles, dtype)
        return values, np.zeros(len(texts), bool) if bad is None else bad
    if scale is not None:
        texts = _scaled_texts(texts, scale)
    number = _matches(texts, _NUMBER)
    special = ~number & _matches(texts, _SPECIAL)
    readable = pc.if_else(pa.array(number | special), pc.ascii_ltrim(texts, "+"), None)
    doubles = np.asarray(readable.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False))
    values, bad = cast_exactly(doubles, dtype)
    overflow = number & np.isinf(doubles)
    failed = ~(number | special) | overflow
    return values, failed if bad is None else failed | bad


def _all_doubles(texts: pa.Array) -> NDArray[np.float64] | None:
    """Return the doubles if every text is a finite one: one pass instead of four."""
    try:
        doubles = texts.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return None
    return doubles if np.isfinite(doubles).all() else None


def _parse_integers(
    texts: pa.Array, dtype: str, scale: Decimal | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Parse short integers at once; long ones, ``2e3``, ``21.0`` and scaled ones one by one."""
    short = _matches(texts, _SHORT_INTEGER) if scale is None else np.zeros(len(texts), bool)
    numbers = pc.if_else(pa.array(short), texts, None).cast(pa.int64()).fill_null(0)
    values, bad = cast_exactly(np.asarray(numbers), dtype)
    values = values.copy()
    failed = ~short if bad is None else ~short | bad
    info = np.iinfo(dtype)
    for row in np.flatnonzero(~short):
        exact = _decimal(texts[row].as_py())
        whole = None if exact is None else _times(exact, scale)
        if (
            whole is not None
            and whole == whole.to_integral_value()
            and info.min <= whole <= info.max
        ):
            values[row] = int(whole)
            failed[row] = False
    return values, failed


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None and re.match(_NUMBER, text, re.ASCII) else None


def _times(number: Decimal, scale: Decimal | None) -> Decimal:
    return number if scale is None else _EXACT.multiply(number, scale)


def _scaled_texts(texts: pa.Array, scale: Decimal) -> pa.Array:
    """Multiply plain decimals by `scale` on their digits; others one by one, as exactly."""
    plain = _matches(texts, r"^-?\d{1,9}$")
    sign, digits, exponent = scale.as_tuple()
    factor = int("".join(map(str, digits))) * (-1 if sign else 1)
    whole = pc.if_else(pa.array(plain), texts, None).cast(pa.int64())
    if abs(factor) >= 10**9 or not isinstance(exponent, int):
        plain[:] = False
    else:
        shifted = pc.multiply(whole, factor).cast(texts.type)
        suffix = pa.scalar(f"e{exponent}", texts.type)
        empty = pa.scalar("", texts.type)
        whole = pc.binary_join_element_wise(shifted, suffix, empty)
    rows = np.flatnonzero(~plain)
    one_by_one = [_scaled_text(texts[row].as_py(), scale) for row in rows]
    return pc.replace_with_mask(
        whole.cast(texts.type), pa.array(~plain), pa.array(one_by_one, texts.type)
    )


def _scaled_text(text: str | None, scale: Decimal) -> str | None:
    exact = _decimal(text)
    return text if exact is None else str(_times(exact, scale))


def _parse_distinct(
    texts: pa.Array, dtype: str, style: NumberStyle
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Parse each distinct text once: status words, flags and bools are few."""
    encoded = texts.dictionary_encode()
    parsed = [_one(text, dtype, style) for text in encoded.dictionary.to_pylist()]
    codes = np.asarray(encoded.indices.fill_null(len(parsed)))
    failed = np.array([value is None for value in [*parsed, None]])
    known = np.array([value or 0 for value in [*parsed, None]], np.dtype(dtype))
    return known[codes], failed[codes]


def _one(text: str, dtype: str, style: NumberStyle) -> int | float | None:
    if dtype == "bool":
        return _BOOLS.get(text.lower())
    try:
        number = _times(Decimal(int(text.replace("_", "?"), style.base)), style.scale)
    except ValueError:
        return None
    if np.dtype(dtype).kind == "f":
        values, bad = cast_exactly(np.array([float(number)]), dtype)
        return float(values[0]) if bad is None else None
    info = np.iinfo(dtype)
    whole = number == number.to_integral_value() and info.min <= number <= info.max
    return int(number) if whole else None


def _explain(text: str, dtype: str, style: NumberStyle) -> str:
    pointed = text if style.decimal == "." else text.replace(".", "x").replace(style.decimal, ".")
    exact = _decimal(pointed) if style.base == 10 else None
    if dtype == "bool" or exact is None:
        want = "true or false" if dtype == "bool" else f"a number ({dtype})"
        return f"takes {want}, and {text!r} is none"
    return explain_cast(_times(exact, style.scale), dtype)


def _matches(texts: pa.Array, expression: str) -> NDArray[np.bool_]:
    matched = pc.match_substring_regex(texts, expression).fill_null(False)
    return np.asarray(matched.to_numpy(zero_copy_only=False), dtype=bool)
