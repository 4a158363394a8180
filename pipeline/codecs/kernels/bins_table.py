"""Loops that read the tables of the stage bins from a bit stream and lay them out for decoding.

A bit stream is an array of `uint64` words, filled from their lowest bits on. Positions in it are
`uint64` numbers of bits; the callers keep them in bounds by `fits`, and two words of zeros behind
the stream let every window be loaded whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop

__all__ = [
    "MAX_BINS",
    "MAX_TABLE_BITS",
    "bit_length",
    "fits",
    "lay_out",
    "read_number",
    "read_table",
    "spread",
    "window",
]

MAX_BINS = 255
MAX_TABLE_BITS = 12
_ONE = np.uint64(1)
_SIX = np.uint64(6)
_SIXTY_THREE = np.uint64(63)
_BASE_SHIFT = np.uint64(25)
_NEXT_SHIFT = np.uint64(10)
_WIDTH_SHIFT = np.uint64(6)


@loop
def bit_length(number: np.uint64) -> int:
    """Return the number of bits of `number` without leading zeros."""
    length = 0
    for step in (32, 16, 8, 4, 2, 1):
        if number >> np.uint64(step):
            number >>= np.uint64(step)
            length += step
    return length + (1 if number else 0)


@loop
def window(words: NDArray[np.uint64], at: np.uint64) -> np.uint64:
    """Return 64 bits from position `at` on; two words must be there."""
    word = at >> _SIX
    shift = at & _SIXTY_THREE
    return (words[word] >> shift) | ((words[word + _ONE] << _ONE) << (_SIXTY_THREE - shift))


@loop
def fits(words: NDArray[np.uint64], at: np.uint64) -> bool:
    """Tell whether a window may be loaded at `at`."""
    return bool((at >> _SIX) + _ONE < np.uint64(words.size))


@loop
def _take(words: NDArray[np.uint64], at: np.uint64, width: Any) -> np.uint64:
    """Return `width` bits (0 to 63) at `at`, zeros behind the end."""
    if not fits(words, at):
        return np.uint64(0)
    return window(words, at) & ((_ONE << np.uint64(width)) - _ONE)


@loop
def _gamma(words: NDArray[np.uint64], at: np.uint64, low: Any) -> tuple[np.uint64, np.uint64]:
    """Read a number of at most 48 bits as Exp-Golomb code of order `low`; return it and the end.

    Behind the end of the stream, and for codes that are longer, the number is all ones.
    """
    zeros = 0
    while zeros < 48 and _take(words, at, 1) == np.uint64(0):
        zeros += 1
        at += _ONE
    if zeros + low > 48:
        return ~np.uint64(0), at
    high = _take(words, at + _ONE, zeros) | (_ONE << np.uint64(zeros))
    at += np.uint64(zeros + 1)
    number = ((high - _ONE) << np.uint64(low)) | _take(words, at, low)
    return number, at + np.uint64(low)


@loop
def read_number(words: NDArray[np.uint64], at: np.uint64) -> tuple[np.int64, np.uint64]:
    """Read a signed number: seven bits of length, then its zigzagged bits; return it and the end."""
    length = np.int64(_take(words, at, 7))
    at += np.uint64(7)
    half = 32 if length > 32 else length
    folded = _take(words, at, half)
    rest = 0 if length < 32 else 32 if length > 64 else length - 32
    folded |= _take(words, at + np.uint64(half), rest) << np.uint64(half & 63)
    number = (folded >> _ONE) ^ (np.uint64(0) - (folded & _ONE))
    return np.int64(number), at + np.uint64(half + rest)


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
    wrong = ~np.uint64(0)
    bits = np.int64(_take(words, at, 4))
    contexts = np.int64(_take(words, at + np.uint64(4), 3)) + 1
    bins = np.int64(_take(words, at + np.uint64(7), 8)) + 1
    at += np.uint64(15)
    if bits > MAX_TABLE_BITS or bins > MAX_BINS:
        return wrong
    sizes[0] = bits
    sizes[1] = contexts
    sizes[2] = bins
    base, at = read_number(words, at)
    extra = np.int64(0)
    limit = np.int64(1) << np.int64(38)
    for i in range(bins):
        folded, at = _gamma(words, at, 0)
        if folded > np.uint64(128):
            return wrong
        extra += np.int64((folded >> _ONE) ^ (np.uint64(0) - (folded & _ONE)))
        if extra < 0 or extra > 50 or base < -limit or base >= limit:
            return wrong
        bases[i] = base
        extras[i] = extra
        step, at = _gamma(words, at, min(extra, 40))
        base += np.int64(step & np.uint64((1 << 40) - 1)) + 1
    at = _read_moves(words, at, bins, contexts, kinds, moves)
    if at == wrong:
        return wrong
    for context in range(contexts):
        at = _read_frequencies(words, at, bits, bins, frequencies[context])
        if at == wrong:
            return wrong
    return at if fits(words, at) else wrong


@loop
def _read_moves(
    words: NDArray[np.uint64],
    at: np.uint64,
    bins: Any,
    contexts: Any,
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
) -> np.uint64:
    """Read what kind every bin is, and which context follows a context and a kind."""
    most = np.int64(0)
    for i in range(bins):
        kinds[i] = np.int64(_take(words, at, 3)) if contexts > 1 else np.int64(0)
        at += np.uint64(3 if contexts > 1 else 0)
        most = max(most, kinds[i])
    listed = contexts > 1 and _take(words, at, 1) == _ONE
    at += np.uint64(1 if contexts > 1 else 0)
    for context in range(contexts):
        for kind in range(most + 1):
            moves[context, kind] = np.int64(_take(words, at, 3)) if listed else kind
            at += np.uint64(3 if listed else 0)
            if moves[context, kind] >= contexts:
                return ~np.uint64(0)
    return at


@loop
def _read_frequencies(
    words: NDArray[np.uint64], at: np.uint64, bits: int, bins: int, frequencies: NDArray[np.int64]
) -> np.uint64:
    """Read how often the bins come in one context; the last takes what is left of all states."""
    left = np.int64(1) << np.int64(bits)
    length = np.int64(0)
    for i in range(bins - 1):
        folded, at = _gamma(words, at, 0)
        if folded > np.uint64(64):
            return ~np.uint64(0)
        length += np.int64((folded >> _ONE) ^ (np.uint64(0) - (folded & _ONE)))
        if length < 0 or length > 13:
            return ~np.uint64(0)
        frequency = np.int64(0)
        if length > 0:
            low = _take(words, at, length - 1)
            frequency = np.int64(low | (_ONE << np.uint64(length - 1)))
            at += np.uint64(length - 1)
        frequencies[i] = frequency
        left -= frequency
    frequencies[bins - 1] = left
    return at if left >= 0 else ~np.uint64(0)


@loop
def spread(frequencies: NDArray[np.int64], bins: int, bits: int, states: NDArray[np.int64]) -> None:
    """Write the bin of every state: those of one bin are scattered evenly over the table."""
    size = 1 << bits
    step = (size >> 1) + (size >> 3) + 3
    state = 0
    for i in range(bins):
        for _ in range(frequencies[i]):
            states[state] = i
            state = (state + step) & (size - 1)


@loop
def lay_out(
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    entries: NDArray[np.uint64],
) -> np.int64:
    """Write one entry a state and context; return the most bits that an entry takes.

    From its highest bits down an entry holds the base (39 bits, signed), the lowest next entry
    (15), the bits that choose among the next ones (4) and all bits of a row (6): a row is
    decoded with a single load.
    """
    bits = np.int64(sizes[0])
    bins = np.int64(sizes[2])
    size = 1 << bits
    states = np.empty(size, np.int64)
    following = np.empty(bins, np.int64)
    widths = np.empty(bins, np.int64)
    most = np.int64(0)
    for context in range(sizes[1]):
        spread(frequencies[context], bins, bits, states)
        for i in range(bins):
            following[i] = frequencies[context, i]
            widths[i] = bits + 1 - bit_length(np.uint64(following[i]))
            if following[i]:
                most = np.int64(max(most, widths[i] + extras[i]))
        for u in range(size):
            i = states[u]
            state = following[i]
            following[i] = state + 1
            if (state << widths[i]) >= size << 1:
                widths[i] -= 1
            successor = (moves[context, kinds[i]] << bits) + (state << widths[i]) - size
            entries[(context << bits) + u] = (
                (np.uint64(bases[i]) << _BASE_SHIFT)
                | (np.uint64(successor) << _NEXT_SHIFT)
                | (np.uint64(widths[i]) << _WIDTH_SHIFT)
                | np.uint64(widths[i] + extras[i])
            )
    return most
