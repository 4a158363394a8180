"""Loops that model how often bins come, in the context of the bin before, and write the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import bit_length
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["model_bins"]

_RUN = 1024
_RUNS = 8
_SCHEMES = 8
_TABLE_BITS = 9.0
"""What one frequency takes in a table of 2048 states, on average over real columns."""

_LEAST_BITS = 4
_USUAL_BITS = 11
_STATE_COST = 0.05
"""Bits of the stream that a state may cost: laying it out takes as long as decoding a row."""

_NO_SCHEME: Any = np.int64(-1)
_LEARNT = 0.97
"""Contexts have to save more than the rest of this."""


@part
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
    hot = 0
    total = np.int64(0)
    for i in range(bins):
        total += counts[i]
        if counts[i] > counts[hot]:
            hot = i
    second = 1 if hot == 0 else 0
    for i in range(bins):
        if i != hot and counts[i] > counts[second]:
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
    return 8 if scheme > 3 else 4 if scheme > 1 else 2 + scheme


@part
def _entropy(counts: NDArray[np.int64]) -> float:
    """Return the bits that symbols with these counts take."""
    total = 0
    bits = 0.0
    for i in range(counts.size):
        if counts[i] > 0:
            total += counts[i]
            bits -= counts[i] * math.log2(float(counts[i]))
    return bits + total * math.log2(float(total)) if total else 0.0


@part
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
    kept = _LEARNT * _entropy(counts) * scale
    best = 1
    chosen = _NO_SCHEME
    seen = np.empty((8, 256), np.int64)
    for scheme in range(_SCHEMES):
        contexts = _propose(scheme, counts, kinds, moves)
        if contexts > most or (scheme == 5 and contexts < 3):
            continue
        for context in range(contexts):
            for i in range(bins):
                seen[context, i] = 0
        for k in range(runs):
            context = 0
            for i in range(k * step, k * step + run):
                token = tokens[i]
                seen[context, token] += 1
                context = moves[context, kinds[token]]
        bits = 0.0
        used = 0
        for context in range(contexts):
            bits += _entropy(seen[context, :bins])
            for i in range(bins):
                used += 1 if seen[context, i] else 0
        # Rare pairs of a sample promise more than they keep: each costs its place in the table
        # and half a bit for every doubling of what it was learnt from.
        bits = bits * scale + (used - bins) * (_TABLE_BITS + 2.0) + 3.0 * bins
        if bits < kept:
            kept = bits
            best = contexts
            chosen = scheme
    if chosen >= 0:
        return _propose(chosen, counts, kinds, moves)
    for i in range(bins):
        kinds[i] = 0
    for context in range(8):
        for kind in range(8):
            moves[context, kind] = 0
    return best


@part
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


@part
def _normalise(
    counts: NDArray[np.int64],
    bins: np.int64,
    bits: np.int64,
    frequencies: NDArray[np.int64],
) -> float:
    """Scale the counts of a context to ``2**bits`` states; return the bits of rows and table.

    A bin that comes at all keeps a state. What rounding leaves over goes where it saves most.
    """
    size = 1 << bits
    total = np.int64(0)
    for i in range(bins):
        total += counts[i]
    given = np.int64(0)
    for i in range(bins):
        frequencies[i] = 0
        if counts[i]:
            share = (2 * counts[i] * size + total) // (2 * total)
            frequencies[i] = share if share else 1
            given += frequencies[i]
    if total == 0:
        frequencies[bins - 1] = size
        return float(bins)
    while given != size:
        change = (size - given) // 4
        if change == 0:
            change += 1
        elif change < 0:
            largest = np.int64(0)
            for i in range(bins):
                largest = max(largest, frequencies[i])
            change = max(change, -(largest >> 1))
        best = -np.inf
        chosen = 0
        for i in range(bins):
            share = frequencies[i]
            if share > 0 and share + change > 0:
                gain = change * counts[i] / (share + 0.5 * change)
                if gain > best:
                    best = gain
                    chosen = i
        frequencies[chosen] += change
        given += change
    cost = 0.0
    for i in range(bins):
        cost += 1.0
        if counts[i]:
            cost += counts[i] * (bits - math.log2(float(frequencies[i])))
            cost += _TABLE_BITS - 1.0 + (bits - _USUAL_BITS)
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
        Most bits of a state, most contexts (both replaced by those chosen), bins.
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
    chosen = sizes[0]
    least = np.inf
    bits = chosen
    while bits == chosen or (bits >= _LEAST_BITS and bits > bit_length(np.uint64(bins - 1))):
        cost = _STATE_COST * (sizes[1] << bits)
        for context in range(sizes[1]):
            cost += _normalise(counts[context], bins, bits, frequencies[context])
        if cost >= least:
            break
        least = cost
        chosen = bits
        bits -= 1
    sizes[0] = chosen
    cost = 4.0 * bins
    for context in range(sizes[1]):
        cost += _normalise(counts[context], bins, chosen, frequencies[context])
        for i in range(bins):
            cost += counts[context, i] * extras[i]
    return cost
