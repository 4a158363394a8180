"""Sets of numbers as closed intervals between values that a dtype has.

A comparison such as ``> 90`` becomes the interval from the first value of the dtype above 90 to
its largest one, so that values are compared in their own dtype, without a cast, and exactly:
``int64`` beyond 2**53, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPERATORS", "Bound", "Intervals"]

type Bound = int | float

OPERATORS: Final = ("<=", ">=", "==", "!=", "<", ">")
"""What `Intervals.comparing` knows."""

_FEW: Final = 3  # so many intervals are compared one by one; more are searched


@dataclass(frozen=True, slots=True)
class Intervals:
    """Numbers between bounds, both of which belong to them.

    Parameters
    ----------
    bounds
        Least and greatest number of each interval: ascending, apart from each other, and values
        of the dtype that they are compared with.
    """

    bounds: tuple[tuple[Bound, Bound], ...] = ()

    @classmethod
    def comparing(cls, operator: str, number: Decimal, dtype: np.dtype[Any]) -> Intervals:
        """Return the values of a dtype that compare with a number in a given way.

        Parameters
        ----------
        operator
            One of `OPERATORS`.
        number
            Not NaN. Whole numbers are compared with it exactly; floats with the ``float64`` next
            to it, and ``float32`` as the ``float64`` that it is.
        dtype
            Any integer or float dtype.
        """
        below, equal, above = _neighbours(number, dtype)
        lowest, highest = _ends(dtype)
        parts: list[tuple[Bound, Bound]] = []
        if operator in ("<", "<=", "!=") and below is not None:
            parts.append((lowest, below))
        if operator in ("<=", ">=", "==") and equal is not None:
            parts.append((equal, equal))
        if operator in (">", ">=", "!=") and above is not None:
            parts.append((above, highest))
        return cls._joined(parts, dtype)

    @classmethod
    def union(cls, parts: Iterable[Intervals], dtype: np.dtype[Any]) -> Intervals:
        """Return the numbers that are in any of `parts`."""
        return cls._joined((bounds for part in parts for bounds in part.bounds), dtype)

    @classmethod
    def _joined(cls, bounds: Iterable[tuple[Bound, Bound]], dtype: np.dtype[Any]) -> Intervals:
        joined: list[tuple[Bound, Bound]] = []
        for low, high in sorted(bounds):
            if joined and low <= _after(joined[-1][1], dtype):
                joined[-1] = (joined[-1][0], max(joined[-1][1], high))
            else:
                joined.append((low, high))
        return cls(tuple(joined))

    def both(self, other: Intervals) -> Intervals:
        """Return the numbers that are in these and in the other ones."""
        shared = [
            (max(low, other_low), min(high, other_high))
            for low, high in self.bounds
            for other_low, other_high in other.bounds
        ]
        return Intervals(tuple((low, high) for low, high in shared if low <= high))

    def contain(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which values are in an interval; bool, their shape. No NaN is."""
        if len(self.bounds) > _FEW:
            return self.meet(values, values)
        found = np.zeros(values.shape, np.bool_)
        lowest, highest = _ends(values.dtype)
        for low, high in self.bounds:
            # Half of a comparison is saved where it says nothing: a pass over all rows.
            if high == highest and low != lowest:
                found |= values >= values.dtype.type(low)
            elif low == lowest:
                found |= values <= values.dtype.type(high)
            else:
                found |= (values >= values.dtype.type(low)) & (values <= values.dtype.type(high))
        return found

    def meet(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether some number between `low` and `high` is in an interval; bool, their shape."""
        lows, _, at, inside = self._search(low)
        return inside & (lows[at] <= high)

    def hold(self, low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
        """Return whether all numbers between `low` and `high` are in one interval; bool, their shape."""
        lows, highs, at, inside = self._search(low)
        return inside & (lows[at] <= low) & (high <= highs[at])

    def _search(
        self, low: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64], NDArray[np.bool_]]:
        """Return all bounds, and for each number the first interval that ends at it or later."""
        # One more, which no index reaches that counts.
        lows, highs = (np.array([*side, 0], low.dtype) for side in self._sides())
        at = np.searchsorted(highs[:-1], low)
        return lows, highs, at, at < len(self.bounds)

    def _sides(self) -> tuple[list[Bound], list[Bound]]:
        return [low for low, _ in self.bounds], [high for _, high in self.bounds]


def _ends(dtype: np.dtype[Any]) -> tuple[Bound, Bound]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _after(number: Bound, dtype: np.dtype[Any]) -> Bound:
    """Return the value that follows on a value of the dtype."""
    return number + 1 if dtype.kind in "iu" else float(_next(number, np.inf, dtype))


def _next(number: float, towards: float, dtype: np.dtype[Any]) -> Any:
    with np.errstate(over="ignore", under="ignore"):
        return np.nextafter(dtype.type(number), dtype.type(towards))


def _neighbours(
    number: Decimal, dtype: np.dtype[Any]
) -> tuple[Bound | None, Bound | None, Bound | None]:
    """Return the last value of a dtype below a number, its equal, and the first one above it."""
    return _whole(number, dtype) if dtype.kind in "iu" else _floats(float(number), dtype)


def _whole(
    number: Decimal, dtype: np.dtype[Any]
) -> tuple[Bound | None, Bound | None, Bound | None]:
    least, greatest = (int(end) for end in _ends(dtype))
    if number < least:
        return None, None, least
    if number > greatest:
        return greatest, None, None
    floor = int(number.to_integral_value(ROUND_FLOOR))
    ceiling = int(number.to_integral_value(ROUND_CEILING))
    if floor != ceiling:
        return floor, None, ceiling
    below, above = floor - 1, floor + 1
    return below if below >= least else None, floor, above if above <= greatest else None


def _floats(number: float, dtype: np.dtype[Any]) -> tuple[Bound | None, Bound | None, Bound | None]:
    with np.errstate(over="ignore", under="ignore"):
        nearest = float(dtype.type(number)) + 0.0  # no negative zero
    below = nearest if nearest < number else _beyond(nearest, -np.inf, dtype)
    above = nearest if nearest > number else _beyond(nearest, np.inf, dtype)
    return below, nearest if nearest == number else None, above


def _beyond(number: float, towards: float, dtype: np.dtype[Any]) -> float | None:
    return None if number == towards else float(_next(number, towards, dtype))
