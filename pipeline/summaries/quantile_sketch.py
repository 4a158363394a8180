"""Quantiles of any number of readings within a stated relative error, from a few counts.

Readings are counted in buckets whose bounds grow geometrically, so that the middle of a bucket
is within a factor ``1 +- alpha`` of everything in it. Sketches of the same accuracy merge by adding
counts, in any order, with the same result as if all readings had been counted at once.

References
----------
Masson, Rim, Lee: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
Guarantees", PVLDB 12(12), 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.summaries.geometric_counts import GeometricCounts

__all__ = ["QuantileSketch"]

_SMALLEST: Final = float(np.finfo(np.float64).smallest_normal)
_LARGEST: Final = float(np.finfo(np.float64).max)
_SLACK: Final = 1e-6
"""Buckets are this part narrower than `alpha` allows, for the rounding of logarithms."""


@dataclass(frozen=True, slots=True, eq=False)
class QuantileSketch:
    """Counts of readings in geometric buckets.

    Parameters
    ----------
    alpha
        Relative error of quantiles, 1e-5 to 0.5.
    max_buckets
        Most buckets kept for each sign, at least 2. When there are more, those nearest to zero are
        counted as one: quantiles that fall there lose the guarantee, the others keep it
        (`guaranteed_from`).
    positive, negative
        Counts of readings by size, without zeros and infinities.
    zeros
        Readings nearer to zero than 2.3e-308, the smallest normal double.
    low_infinities, high_infinities
        Readings that are infinite.
    min, max
        Exact; NaN without readings.
    """

    alpha: float = 0.01
    max_buckets: int = 2048
    positive: GeometricCounts = field(default_factory=GeometricCounts)
    negative: GeometricCounts = field(default_factory=GeometricCounts)
    zeros: int = 0
    low_infinities: int = 0
    high_infinities: int = 0
    min: float = math.nan
    max: float = math.nan

    def __post_init__(self) -> None:
        if not 1e-5 <= self.alpha <= 0.5:
            msg = f"alpha={self.alpha} is not between 1e-5 and 0.5"
            raise InvalidInputError(msg)
        if self.max_buckets < 2:
            msg = f"max_buckets={self.max_buckets}; keep at least 2"
            raise InvalidInputError(msg)

    @property
    def count(self) -> int:
        """Number of readings."""
        finite = self.zeros + self.positive.total + self.negative.total
        return finite + self.low_infinities + self.high_infinities

    @property
    def guaranteed_from(self) -> float:
        """The least distance from zero at which quantiles are within `alpha`; 0 if all are."""
        stores = [s for s in (self.positive, self.negative) if s.collapsed]
        return max((self._upper(s.first) for s in stores), default=0.0)

    def insert(self, values: NDArray[Any]) -> QuantileSketch:
        """Return the sketch with more readings.

        Parameters
        ----------
        values
            Numbers of any shape; NaN is no reading. 64-bit integers are taken as the nearest
            double.
        """
        numbers = np.asarray(values).astype(np.float64, copy=False).ravel()
        numbers = numbers[~np.isnan(numbers)]
        if len(numbers) == 0:
            return self
        sizes = np.abs(numbers)
        countable = (sizes >= _SMALLEST) & (sizes <= _LARGEST)
        keys = self._keys(sizes[countable])
        above = numbers[countable] > 0
        return replace(
            self,
            positive=self.positive.with_keys(keys[above], self.max_buckets),
            negative=self.negative.with_keys(keys[~above], self.max_buckets),
            zeros=self.zeros + int(np.count_nonzero(sizes < _SMALLEST)),
            low_infinities=self.low_infinities + int(np.count_nonzero(numbers == -np.inf)),
            high_infinities=self.high_infinities + int(np.count_nonzero(numbers == np.inf)),
            min=_least(self.min, float(numbers.min())),
            max=_greatest(self.max, float(numbers.max())),
        )

    def merge(self, other: QuantileSketch) -> QuantileSketch:
        """Return the sketch of the readings of both.

        Raises
        ------
        InvalidInputError
            If the sketches differ in accuracy or size.
        """
        if (self.alpha, self.max_buckets) != (other.alpha, other.max_buckets):
            msg = (
                f"a sketch of alpha={self.alpha}, max_buckets={self.max_buckets} does not merge with "
                f"one of alpha={other.alpha}, max_buckets={other.max_buckets}"
            )
            raise InvalidInputError(msg)
        return replace(
            self,
            positive=self.positive.merge(other.positive, self.max_buckets),
            negative=self.negative.merge(other.negative, self.max_buckets),
            zeros=self.zeros + other.zeros,
            low_infinities=self.low_infinities + other.low_infinities,
            high_infinities=self.high_infinities + other.high_infinities,
            min=_least(self.min, other.min),
            max=_greatest(self.max, other.max),
        )

    def quantile(self, q: float) -> float:
        """Return about the reading of rank ``floor(q * (count - 1))``, counted from 0.

        It is within ``alpha`` times that reading if its distance from zero is at least
        `guaranteed_from`, and always between `min` and `max`. NaN without readings.

        Raises
        ------
        InvalidInputError
            If `q` is not between 0 and 1.
        """
        if self.count == 0:
            return math.nan
        middle = self._at(math.floor(self._rank(q)))[2]
        return min(max(middle, self.min), self.max)

    def bounds(self, q: float) -> tuple[float, float]:
        """Return what the exact quantile lies between, also one that is interpolated.

        The bounds hold for readings in collapsed buckets too. NaN without readings.

        Raises
        ------
        InvalidInputError
            If `q` is not between 0 and 1.
        """
        if self.count == 0:
            return math.nan, math.nan
        rank = self._rank(q)
        low = self._at(math.floor(rank))[0]
        high = self._at(math.ceil(rank))[1]
        return max(low, self.min), min(high, self.max)

    def buckets(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return the buckets that hold readings, from the lowest to the highest.

        Returns
        -------
        tuple of ndarray
            Least and greatest number of each (``float64``), which all of its readings lie between,
            and how many there are (``int64``).
        """
        low, high, count = (np.concatenate(arrays) for arrays in zip(*self._signs(), strict=True))
        kept = count > 0
        ends = (np.clip(end[kept], self.min, self.max) for end in (low, high))
        return *ends, count[kept]

    def _signs(self) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """Return bounds and counts of the buckets below, at and above zero."""
        below, above = self._ranges(self.negative), self._ranges(self.positive)
        negative = -below[1][::-1], -below[0][::-1], self.negative.counts[::-1]
        infinity = np.array([math.inf])
        return [
            (-infinity, -infinity, np.array([self.low_infinities])),
            negative,
            (np.array([-_SMALLEST]), np.array([_SMALLEST]), np.array([self.zeros])),
            (*above, self.positive.counts),
            (infinity, infinity, np.array([self.high_infinities])),
        ]

    def _ranges(self, store: GeometricCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return between which distances from zero the readings of each bucket lie."""
        with np.errstate(over="ignore"):
            keys = store.first + np.arange(-1, len(store.counts))
            edges = np.exp(keys * math.log(self._ratio))
        low, high = edges[:-1] * (1 - _SLACK * self.alpha), edges[1:] * (1 + _SLACK * self.alpha)
        if store.collapsed:
            low[0] = 0.0
        return low, high

    def _rank(self, q: float) -> float:
        if not 0 <= q <= 1:
            msg = f"quantile {q!r} is not between 0 and 1"
            raise InvalidInputError(msg)
        return q * (self.count - 1)

    def _at(self, rank: int) -> tuple[float, float, float]:
        """Return bounds and the middle of the bucket that holds a rank."""
        if rank < self.low_infinities:
            return -math.inf, -math.inf, -math.inf
        rank -= self.low_infinities
        if rank < self.negative.total:
            # From the largest distance to the smallest.
            key, merged = self.negative.key_of(self.negative.total - 1 - rank)
            low, high, middle = self._bucket(key, merged=merged)
            return -high, -low, -middle
        rank -= self.negative.total
        if rank < self.zeros:
            return -_SMALLEST, _SMALLEST, 0.0
        rank -= self.zeros
        if rank < self.positive.total:
            key, merged = self.positive.key_of(rank)
            return self._bucket(key, merged=merged)
        return math.inf, math.inf, math.inf

    def _bucket(self, key: int, *, merged: bool) -> tuple[float, float, float]:
        low, high = self._upper(key - 1), self._upper(key)
        # Keys are rounded logarithms: the bounds allow for that, as the slack of alpha does.
        widened = 0.0 if merged else low * (1 - _SLACK * self.alpha)
        middle = min(2 * (low / (1 + self._ratio)) * self._ratio, _LARGEST)
        return widened, high * (1 + _SLACK * self.alpha), middle

    @property
    def _ratio(self) -> float:
        narrow = self.alpha * (1 - _SLACK)
        return (1 + narrow) / (1 - narrow)

    def _keys(self, sizes: NDArray[np.float64]) -> NDArray[np.int64]:
        keys: NDArray[np.int64] = np.ceil(np.log(sizes) / math.log(self._ratio)).astype(np.int64)
        return keys

    def _upper(self, key: int) -> float:
        exponent = key * math.log(self._ratio)
        return math.exp(exponent) if exponent < math.log(_LARGEST) else math.inf


def _least(one: float, two: float) -> float:
    """Return the lesser of two numbers, of which NaN is none; -0.0 becomes 0.0.

    Which of two zeros came first would otherwise show in the bytes.
    """
    return float(np.fmin(one, two)) + 0.0


def _greatest(one: float, two: float) -> float:
    """Return the greater of two numbers, like `_least`."""
    return float(np.fmax(one, two)) + 0.0
