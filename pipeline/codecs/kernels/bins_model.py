"""Loops that model how often bins come, in the context of the bin before, and write the model."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["model_bins"]

_RUN = 1024
_RUNS = 8
_TABLE_BITS = 9.0
"""What one frequency takes in the table, on average over real columns."""


@loop
def _classify(kind: int, counts: NDArray[np.int64], classes: NDArray[np.int64]) -> int:
    """Write the context that each bin sets under a candidate scheme; return their number."""
    bins = counts.size
    hot = np.argmax(counts)
    second = -1
    for i in range(bins):
        if i != hot and (second < 0 or counts[i] > counts[second]):
            second = i
    if kind == 0:
        for i in range(bins):
            classes[i] = 0 if i == hot else 1
        return 2
    if kind == 1:
        for i in range(bins):
            classes[i] = 1 if i == hot else 0 if i < hot else 2
        return 3
    if kind == 2:
        for i in range(bins):
            near = 2 if i < hot else 3
            classes[i] = 0 if i == hot else 1 if i == second else near
        return 4
    contexts = 4 if kind == 3 else 8
    total = 0
    for i in range(bins):
        total += counts[i]
    seen = 0
    for i in range(bins):
        middle = 2 * seen + counts[i]
        classes[i] = min(contexts - 1, middle * contexts // (2 * total))
        seen += counts[i]
    return contexts


@loop
def _entropy(counts: NDArray[np.int64]) -> float:
    """Return the bits that symbols with these counts take."""
    total = 0
    bits = 0.0
    for i in range(counts.size):
        if counts[i] > 0:
            total += counts[i]
            bits -= counts[i] * math.log2(float(counts[i]))
    return bits + total * math.log2(float(total)) if total else 0.0


@loop
def _choose_contexts(
    tokens: NDArray[np.uint8], bins: int, most: int, classes: NDArray[np.int64]
) -> int:
    """Choose the context that every bin sets for the row after it; return how many there are.

    Schemes are judged on runs from all over the rows: the hottest bin against the others, below
    and above it, the two hottest, and bands of equal weight.
    """
    rows = tokens.size
    runs = _RUNS if rows > _RUNS * _RUN else 1
    run = _RUN if runs > 1 else rows
    step = (rows - run) // (runs - 1) if runs > 1 else 0
    counts = np.zeros(bins, np.int64)
    for k in range(runs):
        for i in range(k * step, k * step + run):
            counts[tokens[i]] += 1
    scale = rows / (runs * run)
    kept = 0.97 * _entropy(counts) * scale
    best = 1
    classes[:bins] = 0
    trial = np.zeros(bins, np.int64)
    for kind in range(5):
        contexts = _classify(kind, counts, trial)
        if contexts > most:
            continue
        pairs = np.zeros((contexts, bins), np.int64)
        for k in range(runs):
            context = 0
            for i in range(k * step, k * step + run):
                token = tokens[i]
                pairs[context, token] += 1
                context = trial[token]
        bits = 0.0
        used = 0
        for context in range(contexts):
            bits += _entropy(pairs[context])
            for i in range(bins):
                used += 1 if pairs[context, i] else 0
        # Rare pairs of a sample promise more than they keep: each costs its place in the table
        # and half a bit for every doubling of what it was learnt from.
        bits = bits * scale + (used - bins) * (_TABLE_BITS + 2.0)
        if bits < kept:
            kept = bits
            best = contexts
            classes[:bins] = trial
    return best


@loop
def _count_bins(
    tokens: NDArray[np.uint8],
    lane: int,
    classes: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Count every bin in every context; lanes begin in context 0. `counts` is all zeros."""
    rows = tokens.size
    for start in range(0, rows, lane):
        context = np.uint64(0)
        for i in range(start, min(start + lane, rows)):
            token = np.uint64(tokens[i])
            counts[context, token] += 1
            context = np.uint64(classes[token])


@loop
def _normalise(
    counts: NDArray[np.int64], contexts: int, bins: int, bits: int, frequencies: NDArray[np.int64]
) -> float:
    """Scale the counts of every context to ``2**bits`` states; return the bits of all rows.

    A bin that comes at all keeps a state. What rounding leaves over goes where it saves most.
    """
    size = 1 << bits
    cost = 0.0
    for context in range(contexts):
        total = 0
        for i in range(bins):
            total += counts[context, i]
        if total == 0:
            frequencies[context, bins - 1] = size
            continue
        given = 0
        for i in range(bins):
            count = counts[context, i]
            share = max(1, (2 * count * size + total) // (2 * total)) if count else 0
            frequencies[context, i] = share
            given += share
        while given != size:
            change = (size - given) // 8
            change += 0 if change > 0 else 1 if given < size else 0
            least = np.inf
            chosen = 0
            for i in range(bins):
                share = frequencies[context, i]
                if share + change > 0 and counts[context, i]:
                    loss = counts[context, i] * math.log2(share / (share + change))
                    if loss < least:
                        least = loss
                        chosen = i
            frequencies[context, chosen] += change
            given += change
        for i in range(bins):
            if counts[context, i]:
                cost += counts[context, i] * (bits - math.log2(float(frequencies[context, i])))
    return cost


@loop
def model_bins(
    tokens: NDArray[np.uint8],
    lane: int,
    sizes: NDArray[np.int64],
    extras: NDArray[np.int64],
    counts: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> float:
    """Choose contexts and the states of every bin in them; return the bits of table and rows.

    Parameters
    ----------
    tokens
        The bin of every row.
    lane
        Rows of a lane.
    sizes
        Bits of a state, most contexts (replaced by those chosen), bins.
    extras
        Plain bits of every bin.
    counts, frequencies, classes
        All zeros, shapes (8, 256), (8, 256) and (256,); receive how often a bin comes in a
        context, its states there, and the context that it sets.
    """
    bins = sizes[2]
    sizes[1] = _choose_contexts(tokens, bins, sizes[1], classes)
    _count_bins(tokens, lane, classes, counts)
    cost = _normalise(counts, sizes[1], bins, sizes[0], frequencies)
    for i in range(bins):
        for context in range(sizes[1]):
            cost += counts[context, i] * extras[i] + (_TABLE_BITS if counts[context, i] else 1.0)
        cost += 4.0
    return cost
