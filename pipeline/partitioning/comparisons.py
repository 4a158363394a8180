"""What users write of numbers: one, several, or comparisons such as ``">= 20 and < 30"``."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidInputError
from pipeline.partitioning.intervals import OPERATORS, Intervals

__all__ = ["equal_to", "parse_comparisons"]

_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,5})?|[+-]?inf(?:inity)?"
_COMPARISON: Final = re.compile(
    rf"\s*({'|'.join(OPERATORS)})\s*({_NUMBER})\s*", re.IGNORECASE | re.ASCII
)
_AND: Final = re.compile(r"\band\b", re.IGNORECASE)


def parse_comparisons(text: str, dtype: np.dtype[Any]) -> Intervals:
    """Return the values of a dtype that satisfy all comparisons of a text.

    Parameters
    ----------
    text
        Comparisons (`pipeline.partitioning.intervals.OPERATORS`) with numbers, joined by ``and``.
    dtype
        Any integer or float dtype.

    Raises
    ------
    InvalidInputError
        If the text is something else.

    Examples
    --------
    >>> parse_comparisons(">= 20 and < 30", np.dtype("int16")).bounds
    ((20, 29),)
    """
    parts = [_COMPARISON.fullmatch(part) for part in _AND.split(text)]
    found = [
        Intervals.comparing(part[1], Decimal(part[2]), dtype) for part in parts if part is not None
    ]
    if len(found) < len(parts):
        msg = f"{text!r} is no comparison; write '> 90' or '>= 20 and < 30' ({' '.join(OPERATORS)}), or give a number"
        raise InvalidInputError(msg)
    return reduce(Intervals.both, found)


def equal_to(value: Any, dtype: np.dtype[Any]) -> Intervals:
    """Return the values of a dtype that are equal to a number.

    Raises
    ------
    InvalidInputError
        If `value` is no number, or NaN, to which nothing is equal.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bool) or not isinstance(plain, int | float | Decimal):
        msg = f"{value!r} is no number"
        raise InvalidInputError(msg)
    if plain != plain:
        msg = "no value is equal to NaN; use None for rows without a value"
        raise InvalidInputError(msg)
    return Intervals.comparing("==", Decimal(plain), dtype)
