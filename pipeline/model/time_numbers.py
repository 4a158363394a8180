"""Numbers of seconds, milliseconds, microseconds or nanoseconds to microseconds."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.model.time_fields import TimeProblem

__all__ = ["scale_decimal_texts", "scale_floats", "scale_integers"]

_PER_UNIT: Final = {"s": 1_000_000, "ms": 1000, "us": 1}
_DECIMAL: Final = r"^(?P<sign>[+-]?)(?P<whole>\d{1,19})(?:\.(?P<part>\d*))?$"
_SHORT: Final = r"^-?\d{1,18}$"
_LIMIT: Final = 2**63 - 1


def scale_integers(
    values: NDArray[Any], unit: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Scale integers of `unit` to microseconds.

    Parameters
    ----------
    values
        Any integer dtype, shape (rows,).
    unit
        ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.

    Returns
    -------
    time
        ``int64``, shape (rows,): microseconds, rounded down; `values` itself where possible.
    below
        ``int64``, shape (rows,): nanoseconds lost below the microsecond.
    problem
        ``uint8``, shape (rows,): `TimeProblem.RANGE` where 64 bits do not hold the result.
    """
    problem = np.zeros(len(values), np.uint8)
    below = np.zeros(len(values), np.int64)
    if unit == "ns":
        time = values // 1000
        below = (values - time * 1000).astype(np.int64)
        return time.astype(np.int64), below, problem
    factor = _PER_UNIT[unit]
    limit = _LIMIT // factor - (factor > 1)  # leaves room for a fraction of the unit
    beyond = values > limit
    if values.dtype.kind == "i":
        beyond |= values < -limit
    problem[beyond] = TimeProblem.RANGE
    if factor == 1:
        return values.astype(np.int64, copy=False), below, problem
    safe = np.where(beyond, 0, values) if beyond.any() else values
    return safe.astype(np.int64) * factor, below, problem


def scale_floats(
    values: NDArray[Any], unit: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Scale floats of `unit` to microseconds, like `scale_integers`.

    Seconds and milliseconds go to the nearest microsecond, because a double holds no time of
    our century any finer; microseconds and nanoseconds are cut to what `below` tells.
    """
    doubles = values.astype(np.float64)
    factor = _PER_UNIT.get(unit, 1)
    finite = np.isfinite(doubles)
    with np.errstate(invalid="ignore", over="ignore"):
        beyond = finite & (np.abs(doubles) * factor >= 2.0**62)
    problem = np.where(finite, TimeProblem.NONE, TimeProblem.NOT_FINITE).astype(np.uint8)
    problem[beyond] = TimeProblem.RANGE
    safe = np.where(problem == TimeProblem.NONE, doubles, 0.0)
    floor = np.floor(safe)
    whole, part = floor.astype(np.int64), safe - floor
    if unit == "ns":
        time, below, _ = scale_integers(whole, unit)
        return time, np.maximum(below, part > 0), problem
    if unit == "us":
        return whole, np.ceil(part * 1000).astype(np.int64), problem
    time = whole * factor + np.rint(part * factor).astype(np.int64)
    return time, np.zeros(len(time), np.int64), problem


def scale_decimal_texts(
    texts: pa.Array, unit: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Scale decimal texts such as ``"1624227395.1366348"`` to microseconds, digit by digit.

    The results are those of `scale_integers`; a text that is no plain decimal number of at
    most 19 digits before the point is a `TimeProblem.FORMAT`. Nanoseconds of our time have 19.
    """
    if pc.all(pc.match_substring_regex(texts, _SHORT)).as_py() is not False:
        return scale_integers(np.asarray(texts.cast(pa.int64()).fill_null(0)), unit)
    found = pc.extract_regex(texts, _DECIMAL)
    missed = np.asarray(found.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    sign, whole, part = (column.fill_null("") for column in found.flatten())
    negative = np.asarray(pc.equal(sign, "-").to_numpy(zero_copy_only=False), dtype=bool)
    places = {"s": 6, "ms": 3, "us": 0, "ns": 0}[unit]
    whole, beyond = _within(whole)
    time, below, problem = scale_integers(_integers(whole), unit)
    time = time + _integers(pc.ascii_rpad(pc.utf8_slice_codeunits(part, 0, places), places, "0"))
    rest = pc.utf8_slice_codeunits(part, places, places + 3)
    if unit != "ns":
        below = _integers(pc.ascii_rpad(rest, 3, "0"))
    tail = pc.utf8_slice_codeunits(part, places + 3 if unit != "ns" else 0)
    finer = pc.match_substring_regex(tail, "[1-9]").to_numpy(zero_copy_only=False)
    below = np.maximum(below, np.asarray(finer, dtype=bool))
    time = np.where(negative, -time - (below > 0), time)
    problem[beyond] = TimeProblem.RANGE
    problem[missed] = TimeProblem.FORMAT
    return time, below, problem


def _within(digits: pa.Array) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return digits that 64 bits hold, and which texts have more; those become empty."""
    long = pc.equal(pc.binary_length(digits), 19)
    beyond = pc.and_(long, pc.greater(digits, str(_LIMIT)))
    mask = np.asarray(beyond.to_numpy(zero_copy_only=False), dtype=bool)
    return (pc.if_else(beyond, "", digits) if mask.any() else digits), mask


def _integers(texts: pa.Array) -> NDArray[np.int64]:
    filled = pc.if_else(pc.equal(texts, ""), "0", texts)
    return np.asarray(filled.cast(pa.int64()).to_numpy(zero_copy_only=False))
