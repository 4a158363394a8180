"""Loops that find bins for residuals, and how often each comes after which.

A bin is a range of residuals: what is coded is the bin of a row, and plain bits for its place in
the bin. The bins are those that cost the fewest bits, found by dynamic programming over the
sorted residuals.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import bit_length
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["assign_bins", "count_values", "plan_bins"]

_SLICES = 128
_TAIL_SLICES = 1024
_MOST_SLICES = 700
_ONE = np.uint64(1)
_ENDLESS = np.int64(0x7FFFFFFFFFFFFFFF)


@loop
def count_values(
    residuals: NDArray[np.int64],
    smallest: np.int64,
    histogram: NDArray[np.int32],
    values: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Write the distinct residuals, ascending, and their counts; return their number.

    `histogram` has an entry for every residual from `smallest` on and is all zeros.
    """
    for i in range(residuals.size):
        histogram[np.uint64(residuals[i] - smallest)] += 1
    found = 0
    for i in range(histogram.size):
        if histogram[i]:
            values[found] = smallest + i
            counts[found] = histogram[i]
            found += 1
    return found


@part
def _cut(
    values: NDArray[np.int64],
    counts: NDArray[np.int64],
    total: int,
    lows: NDArray[np.int64],
    highs: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> int:
    """Cut distinct values into slices of about equal weight, thinner ones at both tails."""
    slices = 0
    weight = 0
    seen = 0
    start = 0
    tail = total // 64
    for i in range(values.size):
        inside = tail <= seen < total - tail
        target = max(1, total // (_SLICES if inside else _TAIL_SLICES))
        alone = counts[i] >= target or values.size <= _SLICES
        seen += counts[i]
        if alone and weight:
            lows[slices] = values[start]
            highs[slices] = values[i - 1]
            sizes[slices] = weight
            slices += 1
            weight = 0
        if weight == 0:
            start = i
        weight += counts[i]
        if alone or weight >= target:
            lows[slices] = values[start]
            highs[slices] = values[i]
            sizes[slices] = weight
            slices += 1
            weight = 0
    if weight:
        lows[slices] = values[start]
        highs[slices] = values[values.size - 1]
        sizes[slices] = weight
        slices += 1
    return slices


@loop
def plan_bins(
    values: NDArray[np.int64],
    counts: NDArray[np.int64],
    scale: float,
    bin_bits: float,
    most: int,
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
) -> int:
    """Choose the bins for distinct `values`, ascending, that come `counts` times.

    Parameters
    ----------
    values, counts
        Of all residuals, or of a sample.
    scale
        Rows of the block per row counted.
    bin_bits
        What one more bin costs.
    most
        Most bins; more of them are merged from the rarest on.
    bases, extras
        Receive each bin's smallest value, and the bits of the distance from it.

    Returns
    -------
    int
        Number of bins.
    """
    total = np.int64(0)
    for i in range(counts.size):
        total += counts[i]
    lows = np.empty(_MOST_SLICES, np.int64)
    highs = np.empty(_MOST_SLICES, np.int64)
    sizes = np.empty(_MOST_SLICES, np.int64)
    slices = _cut(values, counts, total, lows, highs, sizes)
    best = np.empty(slices + 1)
    came_from = np.empty(slices + 1, np.int64)
    while True:
        _partition(lows, highs, sizes, slices, total, bin_bits / scale, best, came_from)
        bins = 0
        at = slices
        while at > 0:
            bins += 1
            at = came_from[at]
        if bins <= most:
            break
        bin_bits = 2.0 * bin_bits + total * scale / 4096.0
    at = slices
    for i in range(bins - 1, -1, -1):
        begin = came_from[at]
        bases[i] = lows[begin]
        extras[i] = bit_length(np.uint64(highs[at - 1] - lows[begin]))
        at = begin
    return bins


@part
def _partition(
    lows: NDArray[np.int64],
    highs: NDArray[np.int64],
    sizes: NDArray[np.int64],
    slices: int,
    total: int,
    bin_bits: float,
    best: NDArray[np.float64],
    came_from: NDArray[np.int64],
) -> None:
    """Find the cheapest partition of the slices into bins."""
    all_bits = math.log2(float(total))
    best[0] = 0.0
    for stop in range(1, slices + 1):
        cheapest = np.inf
        begin = 0
        weight = 0
        for start in range(stop - 1, -1, -1):
            weight += sizes[start]
            extra = bit_length(np.uint64(highs[stop - 1] - lows[start]))
            if extra > 50 and start < stop - 1:
                break
            bits = weight * (all_bits - math.log2(float(weight)) + extra) + bin_bits
            if best[start] + bits < cheapest:
                cheapest = best[start] + bits
                begin = start
            # Longer bins only get dearer once their plain bits alone outweigh the best found.
            if weight * extra > 1.5 * (cheapest - best[start]) + 400.0:
                break
        best[stop] = cheapest
        came_from[stop] = begin


@part
def _look_up(
    bases: NDArray[np.int64],
    bins: int,
    origin: np.int64,
    shift: np.int64,
    tokens: NDArray[np.uint8],
) -> None:
    """Write the bin of the first residual of every cell of ``2**shift`` from `origin` on."""
    token = 0
    for i in range(tokens.size):
        while token + 1 < bins and bases[token + 1] - origin <= i << shift:
            token += 1
        tokens[i] = token


@loop
def assign_bins(
    residuals: NDArray[np.int64],
    smallest: np.int64,
    span: np.int64,
    bins: int,
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    exact: bool,
    tokens: NDArray[np.uint8],
) -> None:
    """Write every residual's bin; unless the bins are `exact`, widen them to hold all residuals."""
    shift = bit_length(np.uint64(span)) - 12
    if exact or shift < 0:
        shift = 0
    lookup = np.empty((span >> shift) + 1, np.uint8)
    _look_up(bases, bins, smallest, shift, lookup)
    if exact:
        for i in range(residuals.size):
            tokens[i] = lookup[np.uint64(residuals[i] - smallest)]
        return
    # A few residuals that are far off stretch the cells until one or two hold nearly all bins.
    crowded = np.int64(0)
    for i in range(lookup.size - 2):
        if lookup[i + 2] - lookup[i] > lookup[crowded + 2] - lookup[crowded]:
            crowded = np.int64(i)
    origin = smallest + (crowded << shift)
    narrow = shift - 11 if shift > 11 else np.int64(0)
    width = np.int64(2) << (shift - narrow)
    closer = np.empty(width, np.uint8)
    _look_up(bases, bins, origin, narrow, closer)
    farthest = np.zeros(256, np.int64)
    ends = np.empty(257, np.int64)
    for i in range(257):
        ends[i] = bases[i] if i < bins else _ENDLESS
    for i in range(residuals.size):
        residual = residuals[i]
        near = np.uint64(residual - origin) >> np.uint64(narrow)
        if near < np.uint64(width):
            bin = np.uint64(closer[near])
        else:
            bin = np.uint64(lookup[np.uint64((residual - smallest) >> shift)])
        while residual >= ends[bin + _ONE]:
            bin += _ONE
        tokens[i] = bin
        distance = residual - ends[bin]
        if distance > farthest[bin]:
            farthest[bin] = distance
    for i in range(bins):
        extras[i] = bit_length(np.uint64(farthest[i]))
