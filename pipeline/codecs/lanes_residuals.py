"""What predictors leave of numbers before bins take it, the rows of lanes, and outliers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.lanes import GROUP_ROWS, LANES, MOST_GROUPS, MOST_OUTLIERS, LanePredictor

__all__ = ["TABLED", "Residuals", "lane_rows", "noise_bits", "predict", "with_dropped"]

TABLED: Final = 1 << 16
"""Residuals that span less are counted one by one; wider ones are judged by a sorted sample."""
_FEW: Final = 2048
_FAR: Final = 64
_ROWS_PER_OUTLIER: Final = 64
_LOW_FROM: Final = 21
_HIGH_BITS: Final = 16
_BASE_BITS: Final = 37
_LEAST_SPLIT: Final = 1024
"""Fewer rows than this stand in one lane: four states would cost more than they save in time."""
_NO_ROWS: Final = np.empty(0, np.int64)
_HEAD_BITS: Final = 4 * 40
"""What the head of a group takes, at most half a percent of it."""


@dataclass(frozen=True)
class Residuals:
    """What a predictor leaves, its outliers pulled out.

    Attributes
    ----------
    values : ndarray of int64, shape (rows,)
    smallest, largest : int
    begins : ndarray of int64, shape (lanes, 2)
    lane : int
    outlier_rows, outliers : ndarray of int64
    sample : ndarray of int64 or None
        Some of the residuals, sorted, where they span too much to be counted.
    """

    values: NDArray[np.int64]
    smallest: int
    largest: int
    begins: NDArray[np.int64]
    lane: int
    outlier_rows: NDArray[np.int64]
    outliers: NDArray[np.int64]
    sample: NDArray[np.int64] | None


def lane_rows(rows: int, bits: float) -> int:
    """Return the rows of a lane: one lane, four, or so many groups that heads cost little."""
    if rows < _LEAST_SPLIT:
        return rows
    groups = int(max(1, min(rows // GROUP_ROWS, rows * bits / (200 * _HEAD_BITS), MOST_GROUPS)))
    lane = -(-rows // (LANES * groups))
    return lane + lane % 2


def predict(numbers: NDArray[np.int64], predictor: LanePredictor, lane: int) -> Residuals:
    """Return what a predictor leaves of numbers in lanes of so many rows, outliers apart."""
    values = scratch.empty(numbers.size, np.int64)
    begins = np.zeros((-(-numbers.size // lane), 2), np.int64)
    extremes = np.empty(2, np.int64)
    kernel("lanes", "predict")(
        numbers, lane, predictor.id, predictor.shift, np.int64(predictor.period),
        values, begins, extremes,
    )  # fmt: skip
    smallest, largest = extremes.tolist()
    if largest - smallest < TABLED:
        return Residuals(values, smallest, largest, begins, lane, _NO_ROWS, _NO_ROWS, None)
    return _pull_outliers(values, smallest, largest, begins, lane)


def _pull_outliers(
    values: NDArray[np.int64], smallest: int, largest: int, begins: NDArray[np.int64], lane: int
) -> Residuals:
    """Set residuals apart that are few and so far off that bins would have to stretch."""
    few = np.sort(values[:: max(1, values.size // _FEW)])
    cut = max(1, few.size // 512)
    low, high = int(few[cut if few.size > 16 else 0]), int(few[-1 - cut if few.size > 16 else -1])
    margin = high - low + 1
    low, high = max(smallest, low - margin), min(largest, high + margin)
    count, rows, outliers = 0, _NO_ROWS, _NO_ROWS
    if largest - smallest > _FAR * (high - low + 1):
        most = min(MOST_OUTLIERS, max(2, values.size // _ROWS_PER_OUTLIER))
        rows, outliers = np.empty(most, np.int64), np.empty(most, np.int64)
        count = kernel("lanes", "pull_outliers")(
            values, np.int64(low), np.int64(high), few[few.size // 2], rows, outliers
        )
    if count <= 0:
        return Residuals(values, smallest, largest, begins, lane, _NO_ROWS, _NO_ROWS, few)
    smallest, largest = int(values.min()), int(values.max())
    return Residuals(
        values, smallest, largest, begins, lane, rows[:count].copy(), outliers[:count].copy(), few
    )


def noise_bits(rest: Residuals) -> int:
    """Return how many low bits are mere noise, which no bin could shorten.

    Residuals that are far from zero, however close together, give up the bits that the base of
    a bin cannot hold: steps of an hour in nanoseconds are.
    """
    length = (rest.largest - rest.smallest).bit_length()
    farthest = max(abs(rest.smallest), abs(rest.largest)).bit_length()
    least = max(0, length - _BASE_BITS, farthest - _BASE_BITS - 1)
    if rest.sample is None or length <= _LOW_FROM:
        return least
    distinct = 1 + np.count_nonzero(rest.sample[1:] != rest.sample[:-1])
    return max(least, length - _HIGH_BITS) if distinct > 0.98 * rest.sample.size else least


def with_dropped(
    rest: Residuals, dropped: NDArray[np.int64] | None, whole: NDArray[np.int64]
) -> Residuals:
    """Return the residuals with more outliers, whole ones; those there were stay what they are."""
    if dropped is None or not dropped.size:
        return rest
    more = np.setdiff1d(dropped, rest.outlier_rows)
    rows = np.concatenate((rest.outlier_rows, more))
    outliers = np.concatenate((rest.outliers, whole[more]))
    order = np.argsort(rows)
    return replace(rest, outlier_rows=rows[order], outliers=outliers[order])
