"""How many readings can lie below a number, if least, greatest, mean and variance are known.

The bounds are the best that these four numbers allow, Cantelli's inequality on one side and a
parabola through both ends on the other, widened by what rounding may have done to the moments.
The share in between is that of a simple distribution with the same four numbers.

References
----------
Cantelli: "Sui confini della probabilità", Atti del Congresso Internazionale dei Matematici, 1928.
Karlin, Studden: "Tchebycheff Systems: With Applications in Analysis and Statistics", 1966.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.parts import Parts

__all__ = ["Moments"]

_WIDEST: Final = 1e140
_NARROWEST: Final = 1e-140
"""Ranges whose squares neither overflow nor lose digits."""

_ENORMOUS: Final = 1e300
_MEAN_SLACK: Final = 32 * float(np.finfo(np.float64).eps)
_VARIANCE_SLACK: Final = 1e-10
_COUNT_SLACK: Final = 1e-9
"""What rounding may do to a mean (of the greatest size), a variance and a count."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Ranges, means and variances of parts; every array has shape (parts,).

    Parameters
    ----------
    count
        ``int64``: readings.
    low, high
        ``float64``: least and greatest reading, finite.
    mean, variance
        ``float64``, NaN where they are not known.
    """

    count: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(cls, parts: Parts) -> Moments:
        """Return what the states of parts tell."""
        states = parts.states
        with np.errstate(invalid="ignore", over="ignore"):
            width = parts.high - parts.low
            known = np.isfinite(states.m2) & np.isfinite(states.total)
            known &= (width <= _WIDEST) & (width >= _NARROWEST)
            mean = np.where(known, states.total / states.count, np.nan)
            variance = np.where(known, states.m2 / states.count, np.nan)
        mean = np.clip(mean, parts.low, parts.high)
        return cls(states.count, parts.low, parts.high, mean, variance)

    def mirrored(self) -> Moments:
        """Return the moments of the same readings with the opposite sign."""
        return Moments(self.count, -self.high, -self.low, -self.mean, self.variance)

    def tails(self) -> Tails:
        """Return how many readings may lie below any number."""
        return Tails.of(self)

    def model(self) -> Model:
        """Return a distribution of each part with these numbers."""
        return Model.of(self)


@dataclass(frozen=True, slots=True, eq=False)
class Tails:
    """What `most_below` needs of each part, computed once; arrays of shape (parts,)."""

    count: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    centre: NDArray[np.float64]
    variance: NDArray[np.float64]
    reach: NDArray[np.float64]
    constant: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments) -> Tails:
        """Return the tails of parts, in which rounding has been allowed for."""
        low, high, mean = moments.low, moments.high, moments.mean
        with np.errstate(invalid="ignore", over="ignore"):
            slack = _MEAN_SLACK * np.maximum(np.abs(low), np.abs(high))
            more = moments.variance * (1 + _VARIANCE_SLACK) + slack * slack
            less = moments.variance * (1 - _VARIANCE_SLACK) - slack * slack
            reach, width = mean - low, high - low
            constant = (less + reach * mean - slack * (reach + width)) / width
        return cls(
            moments.count.astype(np.float64), low, high, mean - slack, more, reach / width, constant
        )

    def most_below(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many readings lie at or below a number at most.

        Parameters
        ----------
        numbers
            ``float64``, shape (parts,): a number for each part.

        Returns
        -------
        ndarray
            Whole ``float64``, shape (parts,).
        """
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            left = self.centre - numbers
            cantelli = self.variance / (self.variance + left * left)
            parabola = 1 - (self.constant - self.reach * numbers) / (self.high - numbers)
            # fmin passes over NaN: what is not known bounds nothing.
            share = np.fmin(np.fmin(np.where(left > 0, cantelli, 1.0), parabola), 1.0)
        share = np.where(numbers >= self.high, 1.0, np.maximum(share, 0.0))
        most: NDArray[np.float64] = np.floor(self.count * share + _COUNT_SLACK)
        return np.where(numbers < self.low, 0.0, most)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Two slopes that meet at the mean, and steps at both ends; arrays of shape (parts,).

    Readings are spread evenly from the least to the mean and from there to the greatest, which
    fixes the variance. If theirs is smaller both slopes are drawn in towards the mean, and if it is
    larger some lie at the ends.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    foot: NDArray[np.float64]
    below: NDArray[np.float64]
    above: NDArray[np.float64]
    rise: NDArray[np.float64]
    climb: NDArray[np.float64]
    at_low: NDArray[np.float64]
    at_high: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Moments) -> Model:
        """Return the model of parts; without moments, that of even spread."""
        # Infinite ends make no slope; between finite numbers very large ones do as well.
        low, high = (np.clip(end, -_ENORMOUS, _ENORMOUS) for end in (moments.low, moments.high))
        mean = np.where(np.isnan(moments.mean), low / 2 + high / 2, moments.mean)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            spread = (mean - low) * ((high - mean) / 3)
            ratio = np.nan_to_num(moments.variance / spread, nan=1.0, posinf=1.0)
            below = np.nan_to_num((high - mean) / (high - low), nan=0.5)
            ends = np.clip((ratio - 1) / 2, 0, 1)
            drawn = np.sqrt(np.minimum(ratio, 1))
            rise = (1 - ends) * below / ((mean - low) * drawn)
            climb = (1 - ends) * (1 - below) / ((high - mean) * drawn)
        return cls(
            low,
            high,
            mean,
            mean - drawn * (mean - low),
            (1 - ends) * below,
            (1 - ends) * (1 - below),
            np.nan_to_num(rise, nan=0.0, posinf=0.0),
            np.nan_to_num(climb, nan=0.0, posinf=0.0),
            ends * below,
            ends * (1 - below),
        )

    def share_below(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return about which share of the readings lies at or below a number, 0 to 1."""
        with np.errstate(over="ignore"):
            share = np.clip((numbers - self.foot) * self.rise, 0, self.below)
            share += np.clip((numbers - self.mean) * self.climb, 0, self.above)
        share += self.at_low
        share[numbers < self.low] = 0.0
        share[numbers >= self.high] = 1.0
        return np.nan_to_num(share, nan=0.5)
