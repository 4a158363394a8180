"""Casts between number types that tell which values would not survive.

The archive never stores another number than the one it was given: what a dtype cannot hold is
reported row by row, so that the row can go to quarantine with a reason.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["cast_exactly", "explain_cast"]

_POWERS: Final = tuple(10.0**exponent for exponent in range(1, 7))
_SIX_DIGITS: Final = 999_999.0
_SLICE: Final = 16_384  # stays in the cache between the passes


def cast_exactly(values: NDArray[Any], dtype: str) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Cast `values` and mark those that `dtype` cannot hold.

    Parameters
    ----------
    values
        Bool, integer or float, shape (rows,).
    dtype
        A numeric channel dtype, or ``"bool"``.

    Returns
    -------
    cast
        Shape (rows,), of `dtype`; `values` itself if it has that dtype already. Means nothing
        where `bad` is True.
    bad
        Bool, shape (rows,), True where the value is out of range, not whole (for integers), not
        0 or 1 (for bool) or would be rounded; None if there is none such.

    Notes
    -----
    A double for a ``float32`` channel is taken if it is a float32 exactly, or if it is a decimal
    number that float32 represents to its printed precision: 21.3 is, because the float32 next
    to it prints as 21.3; 21.34567891 is not. Infinity and NaN are values like any other.
    """
    target = np.dtype(dtype)
    if values.dtype == target:
        return values, None
    if target.kind == "b":
        bad = (values != 0) & (values != 1)
    elif target.kind in "iu":
        bad = _not_whole(values, target) if values.dtype.kind == "f" else _outside(values, target)
    else:
        return _to_float(values, target)
    safe = np.where(bad, 0, values) if bad.any() else values
    return safe.astype(target), _none_if_clear(bad)


def _none_if_clear(bad: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return bad if bad.any() else None


def _outside(values: NDArray[Any], target: np.dtype[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "b":
        return np.zeros(len(values), bool)
    info = np.iinfo(target)
    return np.asarray((values < info.min) | (values > info.max))


def _not_whole(values: NDArray[Any], target: np.dtype[Any]) -> NDArray[np.bool_]:
    info = np.iinfo(target)
    doubles = values.astype(np.float64)
    above = 2.0 ** (info.bits - (target.kind == "i"))  # the first double beyond the range
    inside = (doubles >= float(info.min)) & (doubles < above)
    return np.asarray(~(inside & (np.trunc(doubles) == doubles)))


def _to_float(
    values: NDArray[Any], target: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    if values.dtype.kind == "b" or (values.dtype.kind == "f" and values.dtype < target):
        return values.astype(target), None
    with np.errstate(over="ignore"):
        cast = values.astype(target)
    if values.dtype.kind in "iu":
        return cast, _none_if_clear(_rounded_integers(values, cast))
    bad = np.zeros(len(values), bool)
    for start in range(0, len(values), _SLICE):
        piece = slice(start, start + _SLICE)
        bad[piece] = _rounded_floats(values[piece], cast[piece])
    return cast, _none_if_clear(bad)


def _rounded_floats(values: NDArray[Any], cast: NDArray[Any]) -> NDArray[np.bool_]:
    bad = np.asarray((cast != values) & (values == values))
    rows = np.flatnonzero(bad)
    bad[rows] = ~_same_decimal(values[rows], cast[rows])
    return bad


def _rounded_integers(values: NDArray[Any], cast: NDArray[Any]) -> NDArray[np.bool_]:
    exact = 2 ** (np.finfo(cast.dtype).nmant + 1)  # every integer up to here is a float
    bad = values > exact
    if values.dtype.kind == "i":
        bad |= values < -exact
    rows = np.flatnonzero(bad)
    bad[rows] = [int(a) != int(b) for a, b in zip(values[rows], cast[rows], strict=True)]
    return np.asarray(bad)


def _same_decimal(doubles: NDArray[Any], floats: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell whether each double is the decimal number that its float32 prints as.

    Decimals of at most six digits always survive float32, and are found by arithmetic (20 ns a
    value); only the rest is printed and read again (130 ns).
    """
    same = np.zeros(len(doubles), bool)
    rows = np.flatnonzero(np.isfinite(floats))
    for power in _POWERS:
        left = doubles[rows]
        scaled = np.rint(left * power)
        short = (np.abs(scaled) <= _SIX_DIGITS) & (scaled / power == left)
        same[rows[short]] = True
        rows = rows[~short]
        if not len(rows):
            return same
    printed = pc.cast(pc.cast(pa.array(floats[rows]), pa.string()), pa.float64())
    same[rows] = np.asarray(printed) == doubles[rows]
    return same


def explain_cast(value: float | Decimal, dtype: str) -> str:
    """Return why `dtype` does not hold `value`, in words that follow the channel's name."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return f"takes true, false, 0 or 1, not {value}"
    if kind == "f":
        if abs(float(value)) > float(np.finfo(np.dtype(dtype)).max):
            return f"takes {dtype}, and {value} is beyond it"
        wider = "float64" if dtype == "float32" else "int64"
        return f"would change {value} to fit {dtype}; declare the channel {wider} to keep it"
    if not math.isfinite(value) or value != math.trunc(value):
        return f"takes whole numbers ({dtype}), not {value}"
    info = np.iinfo(dtype)
    return f"takes {dtype}, from {info.min} to {info.max}, and {value} is outside"
