"""Loops over decoded rows: where cells of an answer begin, and statistics of what lies in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part, wide_loop

__all__ = ["count_buckets", "count_rows", "find_cells", "summarise_runs"]

_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)


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


@part
def _reach(numbers: NDArray[Any], at: int, end: int, limit: Any) -> Any:
    """Return the first of ascending numbers from `at` up to `end` that is not below a limit.

    Steps double, since it is near: looking at every row took four times as long.
    """
    low, step = at, 1
    while low + step < end and numbers[low + step] < limit:
        low += step
        step <<= 1
    high = min(low + step, end)
    if low < end and numbers[low] >= limit:
        return low
    while high - low > 1:
        middle = (low + high) >> 1
        if numbers[middle] < limit:
            low = middle
        else:
            high = middle
    return high


@part
def _is_wanted(codes: NDArray[np.int64], low: Any, stop: Any, code: Any) -> bool:
    """Tell whether a code is among those from `low` up to `stop`."""
    high = stop
    while low < high:
        middle = (low + high) >> 1
        if codes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return bool(low < stop and codes[low] == code)


@loop
def find_cells(
    codes: NDArray[np.int32],
    times: NDArray[np.int64],
    ends: NDArray[np.int64],
    edges: NDArray[np.int64],
    wanted: NDArray[np.int64],
    asked: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    bins: NDArray[np.int64],
) -> Any:
    """Find runs of rows of one device and bin, and return how many there are.

    Parameters
    ----------
    codes, times
        Shape (rows,): device and time of each row, ascending in each part.
    ends
        Shape (parts,): where parts end that are in order; no run reaches from one to the next.
    edges
        Shape (bins + 1,), ascending, at least two.
    wanted
        Devices.
    asked
        Shape (4, parts): of each part, the half-open range of times whose rows count, inside the
        edges, and where the devices whose rows count begin and end among those wanted; there
        they ascend.
    starts, stops, bins
        Shape (rows,): of each run, the first row, the one behind the last, and the bin are
        written here.
    """
    found = np.int64(0)
    row = np.int64(0)
    for piece in range(ends.size):
        part_end = ends[piece]
        first_time, last_time = asked[0, piece], asked[1, piece]
        first_code, last_code = asked[2, piece], asked[3, piece]
        while row < part_end:
            code = codes[row]
            last = np.int64(_reach(codes, row, part_end, code + 1))
            if _is_wanted(wanted, first_code, last_code, code):
                at = np.int64(_reach(times, row, last, first_time))
                stop = np.int64(_reach(times, at, last, last_time))
                while at < stop:
                    here = np.int64(_bin_of(edges, times[at]))
                    next_row = np.int64(_reach(times, at, stop, edges[here + 1]))
                    next_row = max(next_row, at + 1)
                    starts[found], stops[found], bins[found] = at, next_row, here
                    found += 1
                    at = next_row
            row = max(last, row + 1)
    return found


@loop
def count_rows(
    chosen: NDArray[np.bool_],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count the rows of each run that are chosen."""
    for run in range(starts.size):
        count = np.int64(0)
        for i in range(np.uint64(starts[run]), np.uint64(stops[run])):
            count += np.int64(chosen[i])
        counts[run] = count


@loop
def count_buckets(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    edges: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """Count the rows of each run between edges.

    Parameters
    ----------
    values, valid, starts, stops
        As for `summarise_runs`.
    edges
        Shape (buckets + 1,), ascending and few: buckets are half-open, the last one closed.
    counts
        Shape (runs, buckets): what is found is added.
    """
    masked = valid.size > 0
    last = edges.size - 1
    for run in range(starts.size):
        for i in range(np.uint64(starts[run]), np.uint64(stops[run])):
            number = np.float64(values[i])
            if edges[0] <= number <= edges[last] and (not masked or valid[i]):
                bucket = 0
                while bucket < last - 1 and number >= edges[bucket + 1]:
                    bucket += 1
                counts[run, bucket] += 1


@part
def _count(values: NDArray[Any], valid: NDArray[np.bool_], begin: Any, end: Any) -> Any:
    """Return how many rows have a value."""
    count = np.int64(0)
    if valid.size:
        for i in range(begin, end):
            count += np.int64(valid[i] & (values[i] == values[i]))
    else:
        for i in range(begin, end):
            count += np.int64(values[i] == values[i])
    return count


@part
def _sum(values: NDArray[Any], begin: Any, end: Any, exact: NDArray[Any]) -> float:
    """Return the sum of rows that all have a value; write the smallest and the largest.

    Four sums do not wait for each other.
    """
    one = two = three = four = np.float64(0.0)
    low = high = values[begin]
    at = begin
    while at + _THREE < end:
        a, b, c, d = values[at], values[at + _ONE], values[at + _TWO], values[at + _THREE]
        one += np.float64(a)
        two += np.float64(b)
        three += np.float64(c)
        four += np.float64(d)
        low = min(low, a, b, c, d)
        high = max(high, a, b, c, d)
        at += _FOUR
    while at < end:
        value = values[at]
        one += np.float64(value)
        low = min(low, value)
        high = max(high, value)
        at += _ONE
    exact[0], exact[1] = low, high
    return (one + two) + (three + four)


@part
def _deviate(values: NDArray[Any], begin: Any, end: Any, mean: float) -> tuple[float, float]:
    """Return the sums of deviations from a mean, and of their squares; all rows have a value."""
    one = two = three = four = np.float64(0.0)
    first = second = third = fourth = np.float64(0.0)
    at = begin
    while at + _THREE < end:
        a = np.float64(values[at]) - mean
        b = np.float64(values[at + _ONE]) - mean
        c = np.float64(values[at + _TWO]) - mean
        d = np.float64(values[at + _THREE]) - mean
        one += a
        two += b
        three += c
        four += d
        first += a * a
        second += b * b
        third += c * c
        fourth += d * d
        at += _FOUR
    while at < end:
        a = np.float64(values[at]) - mean
        one += a
        first += a * a
        at += _ONE
    return (one + two) + (three + four), (first + second) + (third + fourth)


@part
def _add_up(values: NDArray[Any], begin: Any, end: Any) -> float:
    """Return what `_sum` does, of nothing else."""
    one = two = three = four = np.float64(0.0)
    at = begin
    while at + _THREE < end:
        one += np.float64(values[at])
        two += np.float64(values[at + _ONE])
        three += np.float64(values[at + _TWO])
        four += np.float64(values[at + _THREE])
        at += _FOUR
    while at < end:
        one += np.float64(values[at])
        at += _ONE
    return (one + two) + (three + four)


@part
def _drift(values: NDArray[Any], begin: Any, end: Any, mean: float) -> float:
    """Return the sum of deviations as `_deviate` does."""
    one = two = three = four = np.float64(0.0)
    at = begin
    while at + _THREE < end:
        one += np.float64(values[at]) - mean
        two += np.float64(values[at + _ONE]) - mean
        three += np.float64(values[at + _TWO]) - mean
        four += np.float64(values[at + _THREE]) - mean
        at += _FOUR
    while at < end:
        one += np.float64(values[at]) - mean
        at += _ONE
    return (one + two) + (three + four)


@part
def _gather(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    begin: Any,
    end: Any,
    there: NDArray[Any],
) -> Any:
    """Copy the rows that have a value, one after the other; return how many there are."""
    masked = valid.size > 0
    count = np.uint64(0)
    for i in range(begin, end):
        value = values[i]
        there[count] = value
        if value == value and (not masked or valid[i]):
            count += _ONE
    return count


@wide_loop
def summarise_runs(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    counts: NDArray[np.int64],
    exact: NDArray[Any],
    moments: NDArray[np.float64],
    sums_only: bool,
) -> None:
    """Summarise runs of rows, of which those without a value do not count.

    Sums are corrected by those of the deviations from a rough mean, so that rounding does not add up.

    Parameters
    ----------
    values
        Shape (rows,); a value that is not equal to itself is none.
    valid
        Shape (rows,), False where there is no value; shape (0,) if all rows have one.
    starts, stops
        Shape (runs,): the first row of each, and the one behind the last.
    counts
        Shape (runs,), written: rows with a value.
    exact
        Shape (runs, 4), of the dtype of the values, written where there is a value: the smallest,
        the largest, the first and the last.
    moments
        Shape (2, runs), written: the sum, and the sum of squares of deviations from the mean.
    sums_only
        Whether only counts and sums are wanted.
    """
    longest = np.int64(0)
    for run in range(starts.size):
        longest = max(longest, stops[run] - starts[run])
    some = np.empty(longest + 1, values.dtype)
    for run in range(starts.size):
        begin, end = np.uint64(starts[run]), np.uint64(stops[run])
        count = np.int64(_count(values, valid, begin, end))
        counts[run] = count
        moments[0, run] = moments[1, run] = 0.0
        if count == 0:
            continue
        gaps = count < stops[run] - starts[run]
        there = some if gaps else values
        if gaps:
            end = np.uint64(_gather(values, valid, begin, end, some))
            begin = np.uint64(0)
        square = np.float64(0.0)
        if sums_only:
            total = _add_up(there, begin, end)
            mean = total / count
            drift = _drift(there, begin, end, mean)
        else:
            total = _sum(there, begin, end, exact[run])
            mean = total / count
            drift, square = _deviate(there, begin, end, mean)
            exact[run, 2], exact[run, 3] = there[begin], there[end - _ONE]
        finite = mean - mean == 0.0  # an infinite reading makes the deviations NaN
        moments[0, run] = mean * count + drift if finite else total
        if not sums_only:
            spread = square - drift * drift / count
            moments[1, run] = max(spread, 0.0) if spread == spread else spread
