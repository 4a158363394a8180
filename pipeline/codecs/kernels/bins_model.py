"""Loops that model how often bins come, in the context of the bin before, and write the model."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = ["model_bins"]

_RUN = 1024
_RUNS = 8
_SCHEMES = 8
_TABLE_BITS = 9.0
"""What one frequency takes in the table, on average over real columns."""


@loop
def _propose(
    scheme: int, counts: NDArray[np.int64], kinds: NDArray[np.int64], moves: NDArray[np.int64]
) -> int:
    """Write the kinds of the bins and the moves of a scheme; return its number of contexts.

    The context of a row is, by scheme, 0: whether the bin before was the hottest; 1: or below
    or above it; 2: the hottest, the second, below, above; 3, 4: one of four or eight bands of
    equal weight; 5: the bin itself, if there are at most eight; 6: whether each of three rows
    before was hottest; 7: how many rows before were, up to seven.
    """
    bins = counts.size
    hot = np.argmax(counts)
    second = -1
    total = 0
    for i in range(bins):
        total += counts[i]
        if i != hot and (second < 0 or counts[i] > counts[second]):
            second = i
    seen = 0
    for i in range(bins):
        if scheme == 1:
            kinds[i] = 1 if i == hot else 0 if i < hot else 2
        elif scheme == 2:
            near = 2 if i < hot else 3
            kinds[i] = 0 if i == hot else 1 if i == second else near
        elif scheme == 3 or scheme == 4:
            bands = 4 if scheme == 3 else 8
            kinds[i] = min(bands - 1, (2 * seen + counts[i]) * bands // (2 * total))
        elif scheme == 5:
            kinds[i] = i & 7
        else:
            kinds[i] = 0 if i == hot else 1
        seen += counts[i]
    for context in range(8):
        for kind in range(8):
            moves[context, kind] = kind
        if scheme == 6:
            moves[context, 0] = (2 * context) & 7
            moves[context, 1] = (2 * context + 1) & 7
        elif scheme == 7:
            moves[context, 0] = min(7, context + 1)
            moves[context, 1] = 0
    if scheme == 5:
        return bins if bins <= 8 else 9
    if scheme > 5:
        return 8
    return (2, 3, 4, 4, 8)[scheme]


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
    tokens: NDArray[np.uint8],
    bins: int,
    most: int,
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
) -> int:
    """Choose the scheme of contexts by runs from all over the rows; return how many it has."""
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
    kinds[:bins] = 0
    moves[:] = 0
    trial = np.zeros(bins, np.int64)
    ways = np.zeros((8, 8), np.int64)
    for scheme in range(_SCHEMES):
        contexts = _propose(scheme, counts, trial, ways)
        if contexts > most or (scheme == 5 and contexts < 3):
            continue
        pairs = np.zeros((contexts, bins), np.int64)
        for k in range(runs):
            context = 0
            for i in range(k * step, k * step + run):
                token = tokens[i]
                pairs[context, token] += 1
                context = ways[context, trial[token]]
        bits = 0.0
        used = 0
        for context in range(contexts):
            bits += _entropy(pairs[context])
            for i in range(bins):
                used += 1 if pairs[context, i] else 0
        # Rare pairs of a sample promise more than they keep: each costs its place in the table
        # and half a bit for every doubling of what it was learnt from.
        bits = bits * scale + (used - bins) * (_TABLE_BITS + 2.0) + 3.0 * bins
        if bits < kept:
            kept = bits
            best = contexts
            kinds[:bins] = trial
            moves[:] = ways
    return best


@loop
def _count_bins(
    tokens: NDArray[np.uint8],
    lane: int,
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    counts: NDArray[np.int64],
    contexts: NDArray[np.uint8],
) -> None:
    """Count every bin in every context and write the rows' contexts; lanes begin in context 0."""
    rows = tokens.size
    after = np.zeros((8, 256), np.uint8)
    for context in range(8):
        for i in range(256):
            after[context, i] = moves[context, kinds[i]]
    for start in range(0, rows, lane):
        state = np.uint64(0)
        for i in range(start, min(start + lane, rows)):
            token = np.uint64(tokens[i])
            contexts[i] = state
            counts[state, token] += 1
            state = np.uint64(after[state, token])


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
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    contexts: NDArray[np.uint8],
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
    counts, frequencies
        All zeros, shape (8, 256); receive how often a bin comes in a context, and its states.
    kinds, moves
        All zeros, shapes (256,) and (8, 8); receive each bin's kind, and the context that
        follows a context and a kind.
    contexts
        Receives the context of every row.
    """
    bins = sizes[2]
    sizes[1] = _choose_contexts(tokens, bins, sizes[1], kinds, moves)
    _count_bins(tokens, lane, kinds, moves, counts, contexts)
    cost = _normalise(counts, sizes[1], bins, sizes[0], frequencies)
    for i in range(bins):
        for context in range(sizes[1]):
            cost += counts[context, i] * extras[i] + (_TABLE_BITS if counts[context, i] else 1.0)
        cost += 4.0
    return cost
