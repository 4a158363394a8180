"""Loops over decoded rows: where cells of an answer begin, and statistics of what lies in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["find_cells", "summarise_runs"]


@part
def _bin_of(edges: NDArray[np.int64], time: Any) -> Any:
    """Return the last bin that begins at or before a time; 0 if none does."""
    low, high = 0, edges.size - 1
    while high - low > 1:
        middle = (low + high) >> 1
        if edges[middle] <= time:
            low = middle
        else:
            high = middle
    return low


@loop
def find_cells(
    codes: NDArray[np.int32],
    times: NDArray[np.int64],
    edges: NDArray[np.int64],
    starts: NDArray[np.int64],
    bins: NDArray[np.int64],
) -> Any:
    """Find runs of rows of one device and bin, and return how many there are.

    Parameters
    ----------
    codes, times
        Shape (rows,), at least one: device and time of each row.
    edges
        Shape (bins + 1,), ascending, at least two: they hold all times.
    starts, bins
        Shape (rows,): the first row of each run and its bin are written here.
    """
    found = np.int64(0)
    code, low, high, here = codes[0], edges[0], edges[0], np.int64(0)
    for i in range(times.size):
        time = times[i]
        if codes[i] != code or time < low or time >= high:
            code = codes[i]
            here = np.int64(_bin_of(edges, time))
            low, high = edges[here], edges[here + 1]
            starts[found] = i
            bins[found] = here
            found += 1
    return found


@loop
def summarise_runs(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    exact: NDArray[Any],
    moments: NDArray[np.float64],
) -> None:
    """Summarise consecutive runs of rows, of which those without a value do not count.

    Sums are corrected by those of the deviations from a rough mean, so that rounding does not add up.

    Parameters
    ----------
    values
        Shape (rows,); a value that is not equal to itself is none.
    valid
        Shape (rows,), False where there is no value; shape (0,) if all rows have one.
    starts
        Shape (runs,): the first row of each.
    counts
        Shape (runs,), written: rows with a value.
    exact
        Shape (4, runs), of the dtype of the values, written where there is a value: the smallest,
        the largest, the first and the last.
    moments
        Shape (2, runs), written: the sum, and the sum of squares of deviations from the mean.
    """
    masked = valid.size > 0
    for run in range(starts.size):
        begin = starts[run]
        end = starts[run + 1] if run + 1 < starts.size else values.size
        count, total = np.int64(0), np.float64(0.0)
        low = high = first = last = values[begin]
        for i in range(begin, end):
            value = values[i]
            if value == value and (not masked or valid[i]):
                if count == 0:
                    low = high = first = value
                low = min(low, value)
                high = max(high, value)
                last = value
                count += 1
                total += np.float64(value)
        counts[run] = count
        moments[0, run] = moments[1, run] = 0.0
        if count == 0:
            continue
        exact[0, run], exact[1, run] = low, high
        exact[2, run], exact[3, run] = first, last
        mean, drift, square = total / count, np.float64(0.0), np.float64(0.0)
        for i in range(begin, end):
            value = values[i]
            if value == value and (not masked or valid[i]):
                away = np.float64(value) - mean
                drift += away
                square += away * away
        finite = mean - mean == 0.0  # an infinite reading makes the deviations NaN
        moments[0, run] = mean * count + drift if finite else total
        spread = square - drift * drift / count
        moments[1, run] = max(spread, 0.0) if spread == spread else spread
