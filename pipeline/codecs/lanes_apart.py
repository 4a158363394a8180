"""How many low bits of residuals are set apart, so that what is left has a bin for every number.

Such bins have no plain bits, which makes them faster to decode, and the fastest are those that
two rows share. Bits low enough are noise: setting them apart costs a hundredth or nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.lanes import MAX_PAIR, MOST_PLANES

__all__ = ["Apart", "Pairs", "look_apart", "pair_up", "tokens_apart"]

_MOST_BINS: Final = 250
_BIN_BITS: Final = 13.0
"""What a bin takes in a table."""
_MAY_COST: Final = 1.03
"""Times what bins would take that suit the residuals exactly."""
_PIECE_COST: Final = 0.004
"""Share of a stream that may be spent to save a piece: it takes a twelfth of the time to decode."""
_COUNTED_BITS: Final = 12
_PAIR_BITS: Final = 6
_MOST_PAIRS: Final = 250
_LIKELY_PAIRS: Final = 3.2
"""Entropy of a number from which on two of them make more pairs than there are bins."""
_ROWS_PER_DROPPED: Final = 256


@dataclass(frozen=True)
class Apart:
    """Residuals counted without some of their low bits.

    Attributes
    ----------
    low : int
        Bits that are set apart where each number has a bin; -1 if that would cost too much.
    pair_low : int
        Bits that are set apart where pairs have one.
    first, most : int
        Bits that the numbers counted lack; most that may be set apart.
    smallest : int
        First number counted.
    counts : ndarray of int64
        How often each comes.
    """

    low: int
    pair_low: int
    first: int
    most: int
    smallest: int
    counts: NDArray[np.int64]


def look_apart(residuals: NDArray[np.int64], smallest: int, largest: int, below: int) -> Apart:
    """Look how many low bits may be set apart.

    Parameters
    ----------
    residuals : ndarray of int64, shape (rows,)
    smallest, largest : int
        Of the residuals.
    below : int
        Low bits that have been set apart before.
    """
    first = max(0, (largest - smallest).bit_length() - _COUNTED_BITS)
    begin = smallest >> first
    counts = np.zeros((largest >> first) - begin + 1, np.int64)
    kernel("bins_apart", "count_high")(residuals, first, np.int64(begin), counts)
    low, pair_low, best, least = -1, -1, math.inf, math.inf
    soonest = soonest_pairs = math.inf
    most = MOST_PLANES - below
    for bits in range(first, min(first + _COUNTED_BITS, most) + 1):
        entropy, bins = _entropy(_merged(counts, begin, bits - first))
        if bits == first:
            least = (entropy + bits) * residuals.size
        cost = (entropy + bits) * residuals.size + _BIN_BITS * bins
        time = (1.0 + _PIECE_COST * _pieces(below + bits)) * cost
        if bins <= _MOST_BINS and time < soonest:
            low, best, soonest = bits, cost, time
        if entropy <= _LIKELY_PAIRS and time < soonest_pairs:
            pair_low, soonest_pairs = bits, time
        if entropy < 2.0:
            break
    if best > _MAY_COST * least + 32 * _BIN_BITS:
        low = -1
    return Apart(low, pair_low, first, most, begin, counts)


def _pieces(low: int) -> int:
    """Return of how many pieces so many low bits are (`pipeline.codecs.kernels.bins_planes`)."""
    return low // 16 + (low % 16).bit_count()


def _merged(counts: NDArray[np.int64], begin: int, bits: int) -> NDArray[np.int64]:
    """Return the counts of numbers without so many more low bits."""
    if bits == 0:
        return counts
    ahead = begin & ((1 << bits) - 1)
    size = -(-(ahead + counts.size) >> bits) << bits
    padded = np.zeros(size, np.int64)
    padded[ahead : ahead + counts.size] = counts
    return padded.reshape(-1, 1 << bits).sum(axis=1)


def _entropy(counts: NDArray[np.int64]) -> tuple[float, int]:
    """Return the bits per row of numbers that come so often, and how many come at all."""
    there = counts[counts > 0]
    total = int(there.sum())
    return math.log2(total) - float(there @ np.log2(there)) / total, there.size


def tokens_apart(
    residuals: NDArray[np.int64], apart: Apart
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bin of every residual without its low bits, and the numbers of the bins."""
    counts = _merged(apart.counts, apart.smallest, apart.low - apart.first)
    begin = apart.smallest >> (apart.low - apart.first)
    there = np.flatnonzero(counts)
    lookup = np.zeros(counts.size, np.uint8)
    lookup[there] = np.arange(there.size)
    tokens = np.empty(residuals.size, np.uint8)
    kernel("bins_apart", "assign_high")(residuals, apart.low, np.int64(begin), lookup, tokens)
    return tokens, there + begin


@dataclass(frozen=True)
class Pairs:
    """Residuals two by two, without some of their low bits.

    Attributes
    ----------
    low : int
        Bits set apart.
    smallest : int
        What the numbers in a pair are counted from.
    bits : int
        Bits of a number.
    tokens : ndarray of uint8, shape ((rows + 1) // 2,)
    bases : ndarray of int64
        The pair of each bin.
    dropped : ndarray of int64
        Rows whose pair has no bin.
    """

    low: int
    smallest: int
    bits: int
    tokens: NDArray[np.uint8]
    bases: NDArray[np.int64]
    dropped: NDArray[np.int64]


def pair_up(residuals: NDArray[np.int64], apart: Apart) -> Pairs | None:
    """Return the residuals in pairs, if few enough of them come often.

    If there are too many, they are tried once more with a bit less.
    """
    if apart.pair_low < 0:
        return None
    rows = residuals.size
    if rows % 2:
        residuals = np.append(residuals, residuals[-1])
    for low in range(apart.pair_low, min(apart.pair_low + 1, apart.most) + 1):
        pairs = _pairs_apart(residuals, apart, low)
        if pairs is not None:
            return replace(pairs, dropped=pairs.dropped[pairs.dropped < rows])
    return None


def _pairs_apart(residuals: NDArray[np.int64], apart: Apart, low: int) -> Pairs | None:
    """Return residuals, an even number of them, in pairs without so many low bits."""
    counts = _merged(apart.counts, apart.smallest, low - apart.first)
    begin = apart.smallest >> (low - apart.first)
    bits = min(_PAIR_BITS, max(1, (counts.size - 1).bit_length()))
    if counts.size > 1 << bits:  # the numbers around the most usual one
        skipped = int(np.argmax(counts)) - (1 << bits - 1)
        begin += max(0, min(skipped, counts.size - (1 << bits)))
    if max(abs(begin), abs(begin + (1 << bits))) >= MAX_PAIR:
        return None
    bases, tokens = np.zeros(256, np.int64), np.empty(residuals.size // 2, np.uint8)
    dropped = np.empty(max(1, residuals.size // (2 * _ROWS_PER_DROPPED)), np.int64)
    found = kernel("bins_apart", "assign_high_pairs")(
        residuals, low, np.int64(begin), bits, _MOST_PAIRS, bases, tokens, dropped
    )
    bins, rare = found % 256, found // 256
    if not bins:  # too many pairs have none, or all of a few
        return None
    dropped_rows = np.sort(np.concatenate((2 * dropped[:rare], 2 * dropped[:rare] + 1)))
    return Pairs(low, begin, bits, tokens, bases[:bins], dropped_rows)
