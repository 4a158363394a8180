"""Loops that read the tables of the stage bins from a bit stream and lay them out for decoding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import bit_length, fits, take, take_gamma, take_number
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = [
    "ENTRY_WORDS",
    "MOST_ENTRIES",
    "lay_out",
    "read_table",
    "spread",
]

_MAX_BINS = 255
_MAX_TABLE_BITS = 12
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)
_EIGHT = np.uint64(8)
MOST_ENTRIES = 8 << _MAX_TABLE_BITS
ENTRY_WORDS = MOST_ENTRIES + MOST_ENTRIES // 2
_STEPS = np.uint64(2 * MOST_ENTRIES)
_WIDTH_SHIFT = np.uint64(16)
_TAKEN_SHIFT = np.uint64(24)
_BIT_LESS = np.uint64((1 << 16) + (1 << 24))
"""A bit of a state, as a step counts it: among the next ones' bits and among all bits."""

_FARTHEST_STEP = np.uint64((1 << 40) - 1)
_MAX_STEP_ORDER = np.uint64(40)
_MAX_FOLDED = np.uint64(128)
_MAX_EXTRA = np.int64(50)
_LIMIT = np.int64(1 << 38)
_WRONG = ~np.uint64(0)


@part
def _signed(folded: np.uint64) -> np.int64:
    return np.int64((folded >> _ONE) ^ (_ZERO - (folded & _ONE)))


@loop
def read_table(
    words: NDArray[np.uint64],
    at: np.uint64,
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    frequencies: NDArray[np.int64],
) -> np.uint64:
    """Read a table and return the position behind it, or all ones if it is impossible.

    `sizes` receives the bits of a state, the number of contexts and of bins. `bases` (256) are
    the smallest residuals of the bins, `extras` the bits of the distance from it, `kinds` the
    kind of each bin and `moves` (8, 8) the context that follows a context and a kind, and
    `frequencies` (8, 256) the states of a bin in every context, which add up to all states.
    """
    bits = take(words, at, _FOUR)
    at += _FOUR
    contexts = np.int64(take(words, at, _THREE)) + 1
    at += _THREE
    bins = np.int64(take(words, at, _EIGHT)) + 1
    at += _EIGHT
    # The steps of `spread` meet every state of 1 and of 16 and more, but not of 2 or 8.
    if (bits > _ZERO and bits < _FOUR) or bits > _MAX_TABLE_BITS or bins > _MAX_BINS:
        return _WRONG
    sizes[0] = bits
    sizes[1] = contexts
    sizes[2] = bins
    base, at = take_number(words, at)
    extra = np.int64(0)
    for i in range(bins):
        folded, at = take_gamma(words, at, _ZERO)
        if folded > _MAX_FOLDED:
            return _WRONG
        extra += _signed(folded)
        if extra < 0 or extra > _MAX_EXTRA or base < -_LIMIT or base >= _LIMIT:
            return _WRONG
        bases[i] = base
        extras[i] = extra
        order = np.uint64(extra)
        if order > _MAX_STEP_ORDER:
            order = _MAX_STEP_ORDER
        step, at = take_gamma(words, at, order)
        base += np.int64(step & _FARTHEST_STEP) + 1
    most = np.uint64(0)
    for i in range(bins):
        kinds[i] = 0
        if contexts > 1:
            kind = take(words, at, _THREE)
            at += _THREE
            kinds[i] = kind
            if kind > most:
                most = kind
    at = _read_moves(words, at, contexts, np.int64(most) + 1, moves)
    for context in range(contexts):
        if at != _WRONG:
            at = _read_frequencies(words, at, bits, bins, frequencies[context])
    return at if at != _WRONG and fits(words, at) else _WRONG


@part
def _read_moves(
    words: NDArray[np.uint64],
    at: np.uint64,
    contexts: np.int64,
    kinds: np.int64,
    moves: NDArray[np.int64],
) -> np.uint64:
    """Read which context follows a context and a kind; the kind itself if they are not listed."""
    listed = False
    if contexts > 1:
        listed = take(words, at, _ONE) == _ONE
        at += _ONE
    for context in range(contexts):
        for kind in range(kinds):
            following = np.int64(kind)
            if listed:
                following = np.int64(take(words, at, _THREE))
                at += _THREE
            moves[context, kind] = following
            if following >= contexts:
                return _WRONG
    return at


@part
def _read_frequencies(
    words: NDArray[np.uint64],
    at: np.uint64,
    bits: np.uint64,
    bins: np.int64,
    frequencies: NDArray[np.int64],
) -> np.uint64:
    """Read how often the bins come in one context; the last takes what is left of all states."""
    left = np.int64(_ONE << bits)
    length = np.int64(0)
    for i in range(bins - 1):
        folded, at = take_gamma(words, at, _ZERO)
        if folded > _MAX_FOLDED:
            return _WRONG
        length += _signed(folded)
        if length < 0 or length > 13:
            return _WRONG
        frequency = np.int64(0)
        if length > 0:
            below = np.uint64(length - 1)
            frequency = np.int64(take(words, at, below) | (_ONE << below))
            at += below
        frequencies[i] = frequency
        left -= frequency
    frequencies[bins - 1] = left
    return at if left >= 0 else _WRONG


@part
def spread(
    frequencies: NDArray[np.int64], bins: np.int64, bits: np.uint64, states: NDArray[np.uint8]
) -> None:
    """Write the bin of every state: those of one bin are scattered evenly over the table."""
    mask = (_ONE << bits) - _ONE
    step = ((mask + _ONE) >> _ONE) + ((mask + _ONE) >> _THREE) + _THREE
    state = np.uint64(0)
    for i in range(bins):
        for _ in range(frequencies[i]):
            states[state] = i
            state = (state + step) & mask


@part
def lay_out(
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    entries: NDArray[np.uint64],
) -> np.uint64:
    """Write one entry a state and context; return the most bits that an entry takes.

    The first `MOST_ENTRIES` words of `entries` (`ENTRY_WORDS`) are the entries' bases. Behind
    them stand 32 bits for each: the lowest next entry (16), the bits that choose among the next
    ones (8) and all bits of a row (8). Fields of whole bytes cost a row's decoder a load but no
    shift, and only two shifts start in a cycle; a constant distance saves it a register.
    """
    bits = np.uint64(sizes[0])
    bins = sizes[2]
    size = _ONE << bits
    states = np.empty(size, np.uint8)
    steps = entries.view(np.uint32)
    # Of each bin: its next occurrence; the one from which on a bit less is read; its longest
    # state; what is the same in all its steps.
    plans = np.empty((bins, 4), np.uint64)
    most = np.uint64(0)
    at = np.uint64(0)
    for context in range(sizes[1]):
        spread(frequencies[context], bins, bits, states)
        for i in range(bins):
            frequency = np.uint64(frequencies[context, i])
            width = bits + _ONE - np.uint64(bit_length(frequency))
            taken = width + np.uint64(extras[i])
            plans[i, 0] = frequency
            plans[i, 1] = (size + size) >> width
            plans[i, 2] = width
            plans[i, 3] = (np.uint64(moves[context, kinds[i]]) << bits) - size
            plans[i, 3] += (width << _WIDTH_SHIFT) + (taken << _TAKEN_SHIFT)
            if frequency > _ZERO and taken > most:
                most = taken
        for u in range(size):
            of = np.uint64(states[u])
            occurrence = plans[of, 0]
            plans[of, 0] = occurrence + _ONE
            shorter = np.uint64(occurrence >= plans[of, 1])
            entries[at] = bases[of]
            steps[_STEPS + at] = (
                plans[of, 3] + (occurrence << (plans[of, 2] - shorter)) - shorter * _BIT_LESS
            )
            at += _ONE
    return most
