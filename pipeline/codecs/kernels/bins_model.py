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

_NEAR_STATES = 2048
_FAR_STATE_COST = 0.4
"""Of each state from so many on: they do not stay in the nearest cache, and every row is slower."""

_NO_SCHEME: Any = np.int64(-1)
_LOOK: Any = np.int64(-2)
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
def _sample_counts(tokens: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the bins in runs from all over the rows."""
    counts = np.zeros(256, np.int64)
    rows = tokens.size
    runs = _RUNS if rows > _RUNS * _RUN else 1
    run = _RUN if runs > 1 else rows
    step = (rows - run) // (runs - 1) if runs > 1 else 0
    for k in range(runs):
        for i in range(k * step, k * step + run):
            counts[tokens[i]] += 1
    return counts


@part
def _count_pairs(
    tokens: NDArray[np.uint8],
    hot: int,
    pairs: NDArray[np.int32],
    streaks: NDArray[np.int32],
) -> int:
    """Count runs of tokens by the token before, and by how the hottest came before them.

    `streaks` are those of the schemes 6 and 7. Returns how many tokens were counted: all but the
    first of each run.
    """
    rows = tokens.size
    runs = _RUNS if rows > _RUNS * _RUN else 1
    run = _RUN if runs > 1 else rows
    step = (rows - run) // (runs - 1) if runs > 1 else 0
    most = np.uint64(7)
    one = np.uint64(1)
    for k in range(runs):
        before = np.uint64(tokens[k * step])
        history = np.uint64(0)
        streak = np.uint64(0)
        for i in range(np.uint64(k * step + 1), np.uint64(k * step + run)):
            token = np.uint64(tokens[i])
            pairs[before, token] += 1
            cold = np.uint64(before != np.uint64(hot))
            history = ((history << one) | cold) & most
            streak = np.uint64(0) if cold else min(most, streak + one)
            streaks[0, history, token] += 1
            streaks[1, streak, token] += 1
            before = token
    return runs * (run - 1)


@part
def _choose_contexts(
    tokens: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
) -> None:
    """Settle the scheme: the one that `sizes` name, or the one that suits runs of the rows best.

    All but two schemes look at the bin before, so that pairs of bins, counted once, tell of them.
    """
    bins = sizes[2]
    known = sizes[3]
    counts = _sample_counts(tokens)
    look = known == _LOOK and sizes[1] > 1
    pairs = np.zeros((bins, bins), np.int32)
    streaks = np.zeros((2, 8, 256), np.int32)
    seen = np.zeros((8, 256), np.int64)
    kept = np.inf
    scale = 1.0
    if look:
        hot = 0
        for i in range(bins):
            if counts[i] > counts[hot]:
                hot = i
        scale = tokens.size / max(1, _count_pairs(tokens, hot, pairs, streaks))
        kept = _LEARNT * _entropy(counts[:bins]) * scale
    proposed = np.zeros(256, np.int64)
    proposed_moves = np.zeros((8, 8), np.int64)
    chosen = _NO_SCHEME
    sizes[1] = sizes[1] if look else 8
    most = np.int64(1)
    for scheme in range(_SCHEMES):
        if not look and scheme != known:
            continue
        contexts = _propose(scheme, counts[:bins], proposed, proposed_moves)
        if contexts > sizes[1] or (scheme == 5 and contexts < 3):
            continue
        bits = 0.0
        if look:
            bits = _context_bits(scheme, contexts, proposed, pairs, streaks, scale, seen)
        if bits < kept:
            kept = bits
            chosen = np.int64(scheme)
            most = np.int64(contexts)
            for i in range(256):
                kinds[i] = proposed[i]
            for i in range(64):
                moves[i >> 3, i & 7] = proposed_moves[i >> 3, i & 7]
    sizes[1] = most
    sizes[3] = chosen


@part
def _context_bits(
    scheme: int,
    contexts: int,
    kinds: NDArray[np.int64],
    pairs: NDArray[np.int32],
    streaks: NDArray[np.int32],
    scale: float,
    seen: NDArray[np.int64],
) -> float:
    """Return the bits that all rows take in the contexts of a scheme, `scale` for a sampled bit."""
    bins = pairs.shape[0]
    for context in range(contexts):
        for i in range(bins):
            seen[context, i] = streaks[scheme - 6, context, i] if scheme > 5 else 0
    if scheme < 6:
        for before in range(bins):
            for i in range(bins):
                seen[kinds[before], i] += pairs[before, i]
    bits = 0.0
    used = 0
    for context in range(contexts):
        bits += _entropy(seen[context, :bins])
        for i in range(bins):
            used += 1 if seen[context, i] else 0
    # Rare pairs of a sample promise more than they keep: each costs its place in the table
    # and half a bit for every doubling of what it was learnt from.
    return bits * scale + (used - bins) * (_TABLE_BITS + 2.0) + 3.0 * bins


@part
def _count_bins(
    tokens: NDArray[np.uint8],
    lane: int,
    most: np.int64,
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    counts: NDArray[np.int64],
    contexts: NDArray[np.uint8],
) -> None:
    """Count every bin in every one of the `most` contexts, and write those of the rows.

    Lanes begin in context 0. Four lanes take turns, each with its own counts: one alone waits for
    every context it looks up, and for every count that comes twice in a row.
    """
    after = np.zeros(2048, np.uint8)
    for i in range(2048):
        after[i] = moves[i >> 8, kinds[i & 255]] if i >> 8 < most else 0
    seen = np.zeros((4, 2048), np.int32)
    states = np.zeros(4, np.uint64)
    eight = np.uint64(8)
    if most == 1:
        for place in range(np.uint64(tokens.size)):
            contexts[place] = 0
            seen[place & np.uint64(3), tokens[place]] += 1
    for start in range(0, tokens.size if most > 1 else 0, 4 * lane):
        for k in range(4):
            states[k] = np.uint64(0)
        for row in range(min(lane, tokens.size - start)):
            for k in range(4):
                at = np.uint64(start + k * lane + row)
                if at >= np.uint64(tokens.size):
                    break
                contexts[at] = states[k]
                pair = (states[k] << eight) | np.uint64(tokens[at])
                seen[k, pair] += 1
                states[k] = after[pair]
    for k in range(4):
        for i in range(2048):
            counts[i >> 8, i & 255] += seen[k, i]


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
        Most bits of a state, most contexts (both replaced by those chosen), bins, the scheme of
        contexts (-1 for none, -2 to look for one, replaced by the one chosen), and the bits of a
        state if they are known, else 0.
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
    _choose_contexts(tokens, sizes, kinds, moves)
    _count_bins(tokens, lane, sizes[1], kinds, moves, counts, contexts)
    needed = bit_length(np.uint64(bins - 1)) + np.int64(1)
    settled = sizes[4] >= needed and sizes[4] <= sizes[0]
    bits = sizes[4] if settled else sizes[0]
    chosen = bits
    least = np.inf
    while True:
        cost = 0.0
        for context in range(sizes[1]):
            cost += _normalise(counts[context], bins, bits, frequencies[context])
        if settled:
            break
        states = sizes[1] << bits
        time = _STATE_COST * states + _FAR_STATE_COST * max(0, states - _NEAR_STATES)
        worse = cost + time >= least
        if not worse:
            least = cost + time
            chosen = bits
        bits -= 1
        settled = worse or bits < _LEAST_BITS or bits < needed
        if settled:
            bits = chosen
    sizes[0] = chosen
    cost += 4.0 * bins
    for context in range(sizes[1]):
        for i in range(bins):
            cost += counts[context, i] * extras[i]
    return cost
