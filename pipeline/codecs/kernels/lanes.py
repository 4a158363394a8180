"""Loops over lanes: the predictors of `pipeline.codecs.lanes`, and what they promise on a sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import bit_length
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["missed", "predict", "pull_outliers", "score_predictors"]


@part
def missed(late: np.int64, period: np.int64) -> np.int64:
    """Return how many periods, rounded, a row is late; none when it is early."""
    half = period >> np.int64(1)
    return (late + half) // period if late > half else np.int64(0)


@part
def _predict_lane(
    numbers: NDArray[np.int64],
    predictor: int,
    shift: int,
    period: np.int64,
    residuals: NDArray[np.int64],
    begin: NDArray[np.int64],
) -> None:
    """Write one lane's residuals, and where the decoder has to begin."""
    rows = np.uint64(numbers.size)
    one = np.uint64(1)
    two = np.uint64(2)
    if predictor == 0:
        for i in range(rows):
            residuals[i] = numbers[i]
    elif predictor == 1:
        for i in range(one, rows):
            residuals[i] = numbers[i] - numbers[i - one]
        residuals[0] = residuals[1] if rows > one else np.int64(0)
        begin[0] = numbers[0] - residuals[0]
    elif predictor == 2:
        for i in range(two, rows):
            before = numbers[i - one]
            residuals[i] = (numbers[i] - before) - (before - numbers[i - two])
        usual = residuals[2] if rows > two else np.int64(0)
        slope = (numbers[1] - numbers[0]) - usual if rows > one else np.int64(0)
        residuals[0] = usual
        if rows > one:
            residuals[1] = usual
        begin[0] = numbers[0] - slope
        begin[1] = slope - usual
    elif predictor == 3:
        value = (numbers[0] << np.int64(8)) + np.int64(128)
        begin[0] = numbers[0]
        for i in range(rows):
            residual = numbers[i] - (value >> np.int64(8))
            residuals[i] = residual
            value += residual << np.int64(shift)
    else:
        value = (numbers[0] << np.int64(10)) + np.int64(512)
        begin[0] = numbers[0]
        for i in range(rows):
            residual = numbers[i] - (value >> np.int64(10))
            residuals[i] = residual
            late = residual << np.int64(10)
            steps = missed(late, period)
            if steps:
                value += steps * period
                late -= steps * period
            value += period + (late >> np.int64(shift))


@loop
def predict(
    numbers: NDArray[np.int64],
    lane: int,
    predictor: int,
    shift: int,
    period: np.int64,
    residuals: NDArray[np.int64],
    begins: NDArray[np.int64],
    extremes: NDArray[np.int64],
) -> None:
    """Write the residuals of all lanes, ``begins`` (lanes, 2), and the extreme residuals."""
    for k in range(begins.shape[0]):
        start = k * lane
        stop = min(numbers.size, start + lane)
        part = residuals[start:stop]
        _predict_lane(numbers[start:stop], predictor, shift, period, part, begins[k])
    smallest = residuals[0]
    largest = residuals[0]
    for i in range(np.uint64(residuals.size)):
        residual = residuals[i]
        smallest = residual if residual < smallest else smallest
        largest = residual if residual > largest else largest
    extremes[0] = smallest
    extremes[1] = largest


@loop
def pull_outliers(
    residuals: NDArray[np.int64],
    smallest: np.int64,
    largest: np.int64,
    usual: np.int64,
    rows: NDArray[np.int64],
    values: NDArray[np.int64],
) -> int:
    """Replace residuals outside the bounds by the usual one and list them.

    Returns how many there are, or -1, with nothing replaced, when they outnumber `rows`.
    """
    found = 0
    for i in range(residuals.size):
        if residuals[i] < smallest or residuals[i] > largest:
            found += 1
    if found > rows.size:
        return -1
    found = 0
    for i in range(residuals.size):
        if residuals[i] < smallest or residuals[i] > largest:
            rows[found] = i
            values[found] = residuals[i]
            residuals[i] = usual
            found += 1
    return found


@loop
def score_predictors(
    runs: NDArray[np.int64],
    predictors: NDArray[np.int64],
    shifts: NDArray[np.int64],
    period: np.int64,
    estimates: NDArray[np.float64],
) -> None:
    """Estimate the bits a row takes under each candidate, on runs of shape (runs, rows).

    Small residuals are counted as symbols around the most usual range, large ones by their size
    and first bits; the first rows of a run are not judged.
    """
    residuals = np.empty(runs.shape[1], np.int64)
    begin = np.empty(2, np.int64)
    for candidate in range(predictors.size):
        counts = np.zeros(768, np.int64)
        extra = 0
        judged = 0
        usual = np.int64(0)
        for k in range(runs.shape[0]):
            _predict_lane(
                runs[k], predictors[candidate], shifts[candidate], period, residuals, begin
            )
            if k == 0:
                usual = residuals[residuals.size // 2]
            for i in range(min(3, residuals.size - 1), residuals.size):
                left = residuals[i] - usual
                folded = np.uint64((left << np.int64(1)) ^ (left >> np.int64(63)))
                judged += 1
                if folded < np.uint64(256):
                    counts[folded] += 1
                else:
                    length = bit_length(folded)
                    leading = (folded >> np.uint64(length - 4)) & np.uint64(7)
                    counts[256 + 8 * (length - 9) + np.int64(leading)] += 1
                    extra += length - 4
        bits = judged * math.log2(float(judged)) + extra
        for i in range(counts.size):
            if counts[i] > 0:
                bits += 3.0 - counts[i] * math.log2(float(counts[i]))
        estimates[candidate] = bits / judged
