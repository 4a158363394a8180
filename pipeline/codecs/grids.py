"""Which arithmetic a float column came from, found out from some hundreds of its values.

Searches say no quickly: every candidate is dropped at the first values that contradict it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.arithmetic import (
    DECIMALS,
    OVER,
    PLUS,
    POWERS,
    SINGLE,
    TENS,
    TIMES,
    Arithmetic,
    Step,
)

__all__ = ["count_misfits", "find_computed", "find_fraction", "find_scale", "printed_digits"]

_MOST_MISFITS: Final = 0.08
_MOST_FAR: Final = 0.15
_MISFIT_BITS: Final = 20.0
_FAR_BITS: Final = 50.0
_ULP_BITS: Final = 4.0
_MOST_WAYS: Final = 3
_GAIN: Final = 1.2  # a grid must be coarser than the decimals by this factor
_FEW: Final = 64
_CLOSE: Final = {4: 2.0**-21, 8: 2.0**-50}  # relative; a few rounding errors
_LIMITS: Final = {4: 2.0**21, 8: 2.0**44}  # larger numbers would fit any float
_EPSILON: Final = {4: 2.0**-24, 8: 2.0**-53}

_PARTS: Final = (1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 18, 21, 24, 27, 28, 32, 33, 36, 45,
                 48, 64, 96, 128)  # fmt: skip
_DIVISORS: Final = np.array(sorted({float(part * 10**e) for part in _PARTS for e in range(8)}))
_PROPER: Final = np.array([one for one in _DIVISORS.tolist() if str(one).strip("0.") != "1"])
"""Averages of some samples, binary fractions, and minutes, each also in tenths and hundredths."""

_PARTS_OF_UNITS: Final = np.array(
    sorted({float(part * 10**e) for e in range(7) for part in (1, 36)})[:-1]
)
"""Tenths and hundredths of a unit, and seconds of an angle."""

_CONVERSIONS: Final = (
    (),
    (Step(TIMES, math.pi), Step(OVER, 180.0)),
    (Step(TIMES, math.pi / 180.0),),
    (Step(PLUS, 273.15),),
    (Step(PLUS, -273.15),),
    (Step(PLUS, -32.0), Step(OVER, 1.8)),
    (Step(PLUS, -32.0), Step(TIMES, 5.0), Step(OVER, 9.0)),
    (Step(TIMES, 1.8), Step(PLUS, 32.0)),
    (Step(TIMES, 9.0), Step(OVER, 5.0), Step(PLUS, 32.0)),
    (Step(TIMES, 3.6),),
    (Step(OVER, 3.6),),
    (Step(TIMES, 0.514444),),
    (Step(TIMES, 0.44704),),
    (Step(TIMES, 1.609344),),
    (Step(TIMES, 0.3048),),
    (Step(TIMES, 9.80665),),
    (Step(TIMES, 6.894757),),
    (Step(TIMES, 33.8639),),
    (Step(TIMES, 1.33322),),
)
"""Degrees to radians, Celsius, kelvins and Fahrenheit, speeds, lengths, pressures."""

type Floats = NDArray[np.float64]


def printed_digits(few: Floats, exponents: NDArray[np.int64], limit: int) -> tuple[int, int, float]:
    """Tell how a few values were printed.

    Parameters
    ----------
    few : ndarray of float64, shape (values,)
    exponents : ndarray of int64, shape (values,)
        From `pipeline.codecs.mappings.find_exponents`.
    limit : int
        Values with more digits after the point are left out.

    Returns
    -------
    widest, deepest : int
        Significant digits, and digits after the point, that all but one value in fifty need.
    spare : float
        Mean number of the digits after the point that are beyond the significant ones.
    """
    digits = np.empty(3)
    wide = few.astype(np.float64, copy=False)
    kernel("block_values", "printed_digits")(wide, exponents, limit, TENS, digits)
    widest, deepest, spare = digits.tolist()
    return int(widest), int(deepest), spare


def _decades(few: Floats) -> NDArray[np.int64]:
    """Return the exponent of the largest power of ten that is not above each size."""
    return np.searchsorted(TENS, np.abs(few), side="right") - 31


def find_fraction(
    few: NDArray[Any], digits: tuple[int, int] | None, single: bool, decimal: bool
) -> Arithmetic | None:
    """Find a divisor that makes fractions of whole numbers of `few`, bit for bit.

    Parameters
    ----------
    few : ndarray of float32 or float64, shape (values,)
    digits : tuple of int, or None
        `DECIMALS` or `SIGNIFICANT`, and the digits to which the fractions were rounded.
    single : bool
        The values passed through float32.
    decimal : bool
        They are decimals, for which powers of ten are nothing new.
    """
    few = np.ascontiguousarray(few[:: max(1, few.size // _FEW)])
    rounds = single or few.dtype.itemsize == 4
    limit = _LIMITS[4 if rounds else 8]
    steps: tuple[Step, ...] = ()
    divisors = _PROPER if decimal else _DIVISORS
    if digits is None:
        powers = np.zeros(few.size)
    elif digits[0] == DECIMALS:
        powers = np.full(few.size, POWERS[digits[1]])
        divisors = divisors[: int(np.searchsorted(divisors, POWERS[digits[1]] / _GAIN))]
    else:
        powers = POWERS.take(np.clip(digits[1] - 1 - _decades(few), 0, 22))
        limit = float(POWERS[digits[1] - 1])
    if digits is not None:
        steps = (Step(digits[0], float(digits[1])),)
    if single:
        steps += (Step(SINGLE),)
    wide = few.astype(np.float64, copy=False)
    best = kernel("block_grids", "best_divisor")(
        wide, powers, divisors, rounds, limit, int(_MOST_MISFITS * few.size), _MISFIT_BITS
    )
    return Arithmetic((Step(OVER, float(divisors[best])), *steps)) if best >= 0 else None


def _count(
    ways: Floats, powers: Floats, divisors: Floats, single: bool, tolerance: float,
    limit: float, most: float,
) -> NDArray[np.int64]:  # fmt: skip
    misfits = np.empty((ways.shape[0], divisors.size), np.int64)
    allowed = int(most * ways.shape[1])
    kernel("block_grids", "grid_misfits")(
        ways, powers, divisors, single, tolerance, limit, allowed, misfits
    )
    return misfits


def find_computed(few: NDArray[Any]) -> Arithmetic | None:
    """Find the unit conversion that leads from decimals to `few`, but for rounding errors."""
    few = np.ascontiguousarray(few[:: max(1, few.size // _FEW)])
    wide, tolerance = few.astype(np.float64, copy=False), _CLOSE[few.dtype.itemsize]
    ways = np.stack([_undo(steps, wide) for steps in _CONVERSIONS])
    none, limit = np.zeros(few.size), 0.01 / tolerance
    far = _count(ways, none, _PARTS_OF_UNITS, False, tolerance, limit, _MOST_FAR)
    fits = np.argwhere(far <= _MOST_FAR * few.size)
    best: tuple[float, Arithmetic | None] = (np.inf, None)
    for way, at in fits[np.argsort(_PARTS_OF_UNITS[fits[:, 1]], kind="stable")][:_MOST_WAYS]:
        divisor = float(_PARTS_OF_UNITS[at])
        found = Arithmetic((Step(OVER, divisor), *_CONVERSIONS[way]))
        off = count_misfits(found, few) - int(far[way, at])
        bits = np.log2(divisor) + (_FAR_BITS * int(far[way, at]) + _ULP_BITS * off) / few.size
        best = min(best, (float(bits), found), key=lambda one: one[0])
    return best[1]


def _undo(steps: tuple[Step, ...], values: Floats) -> Floats:
    """Take a few values back through `steps`."""
    for step in reversed(steps):
        if step.kind == PLUS:
            values = values - step.parameter
        else:
            values = values / step.parameter if step.kind == TIMES else values * step.parameter
    return values


def find_scale(few: NDArray[Any], more: NDArray[Any], single: bool) -> Arithmetic | None:
    """Find a number whose multiples a column's values mostly are.

    Parameters
    ----------
    few, more : ndarray of float32 or float64, shape (values,)
        Some of them, the former finite, ascending and distinct.
    single : bool
        They passed through float32.

    Notes
    -----
    The estimate is off by a rounding error of the values. Near it, a number of few digits, one
    that float32 holds, and neighbours in float64 are tried; the one with the fewest misfits
    is taken.
    """
    ascending = few.astype(np.float64)
    if ascending.size < 3:
        return None
    epsilon = _EPSILON[4 if single else few.dtype.itemsize]
    largest = float(np.abs(ascending[[0, -1]]).max())
    distances = np.sort(np.diff(ascending))
    step = float(kernel("block_grids", "estimate_scale")(ascending, distances, largest * epsilon))
    if not step or largest / step > _LIMITS[4 if epsilon > 2.0**-30 else 8]:
        return None
    multiple = largest / max(1.0, float(np.rint(largest / step)))
    tail = (Step(SINGLE),) if single else ()
    scales = np.array(_near(multiple, epsilon))
    misfits = np.empty(scales.size, np.int64)
    rounds = single or few.dtype.itemsize == 4
    kernel("block_grids", "scale_misfits")(
        more.astype(np.float64, copy=False), scales, rounds, misfits
    )
    best = int(np.argmin(misfits))
    way = Arithmetic((Step(TIMES, float(scales[best])), *tail))
    return way if misfits[best] <= more.size // 2 else None


def _near(scale: float, epsilon: float) -> list[float]:
    digits = range(1, 16) if epsilon < 2.0**-30 else range(1, 8)
    short = (float(f"{scale:.{count}g}") for count in digits)
    printed = next((one for one in short if abs(one - scale) <= 4 * epsilon * scale), scale)
    middle = np.float32(scale) if epsilon > 2.0**-30 else np.float64(scale)
    above, below = np.nextafter(middle, np.inf), np.nextafter(middle, 0)
    more = [np.nextafter(above, np.inf), np.nextafter(below, 0)]
    return [printed, *(float(one) for one in (np.float32(scale), middle, above, below, *more))]


def count_misfits(way: Arithmetic, few: NDArray[Any]) -> int:
    """Count the values that do not come back bit for bit."""
    back = way.inverse(way.forward(few).view(np.uint64), few.dtype)
    return int(np.count_nonzero(back != few))
