"""Loops that write a bit stream of the stage bins, from its end to its beginning.

States are coded against the order in which they are decoded; writing the whole stream backwards
lets each row's bits go straight to their place, and each group's head before its rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_table import bit_length, spread
from pipeline.codecs.kernels.block_loop import loop

__all__ = ["write_groups", "write_low", "write_table"]

_ONE = np.uint64(1)
_SIX = np.uint64(6)
_SIXTY_THREE = np.uint64(63)


@loop
def _put(words: NDArray[np.uint64], at: np.uint64, bits: np.uint64) -> None:
    """Put `bits` at position `at`, where only zeros are, into one word or two."""
    word = at >> _SIX
    shift = at & _SIXTY_THREE
    words[word] |= bits << shift
    words[word + _ONE] |= (bits >> _ONE) >> (_SIXTY_THREE - shift)


@loop
def _before(words: NDArray[np.uint64], at: np.uint64, bits: np.uint64, width: int) -> np.uint64:
    """Put `width` bits before position `at`; return where they begin."""
    at -= np.uint64(width)
    _put(words, at, bits)
    return at


@loop
def _gamma_before(
    words: NDArray[np.uint64], at: np.uint64, number: np.uint64, low: int
) -> np.uint64:
    """Put a number as Exp-Golomb code of order `low` before position `at`."""
    at = _before(words, at, number & ((_ONE << np.uint64(low)) - _ONE), low)
    high = (number >> np.uint64(low)) + _ONE
    zeros = bit_length(high) - 1
    at = _before(words, at, high ^ (_ONE << np.uint64(zeros)), zeros)
    at = _before(words, at, _ONE, 1)
    return at - np.uint64(zeros)


@loop
def _number_before(words: NDArray[np.uint64], at: np.uint64, number: np.int64) -> np.uint64:
    """Put a signed number before position `at`: seven bits of length, then zigzagged bits."""
    folded = np.uint64((number << np.int64(1)) ^ (number >> np.int64(63)))
    length = bit_length(folded)
    at = _before(words, at, folded, length)
    return _before(words, at, np.uint64(length), 7)


@loop
def write_low(
    bits: NDArray[np.uint64], low: int, words: NDArray[np.uint64], at: np.uint64
) -> np.uint64:
    """Put `low` bits of every row before position `at`; return where the first begins."""
    for i in range(bits.size - 1, -1, -1):
        at = _before(words, at, bits[i], low)
    return at


@loop
def _coding_tables(
    frequencies: NDArray[np.int64],
    bins: int,
    bits: int,
    slots: NDArray[np.int64],
    widths: NDArray[np.int64],
    firsts: NDArray[np.int64],
) -> None:
    """Lay one context out for encoding.

    ``(state + widths[bin]) >> 16`` is how many bits of a state, which counts from ``2**bits``,
    are written; what is left of it, plus ``firsts[bin]``, is the slot of the state before.
    """
    size = 1 << bits
    states = np.empty(size, np.int64)
    spread(frequencies, bins, bits, states)
    seen = 0
    places = np.empty(bins, np.int64)
    for i in range(bins):
        frequency = frequencies[i]
        places[i] = seen
        firsts[i] = seen - frequency
        if frequency:
            most = bits + 1 - bit_length(np.uint64(frequency - 1))
            widths[i] = (np.int64(most) << 16) - (frequency << np.int64(most))
        seen += frequency
    for u in range(size):
        i = states[u]
        slots[places[i]] = size + u
        places[i] += 1


@loop
def write_groups(
    residuals: NDArray[np.int64],
    tokens: NDArray[np.uint8],
    contexts: NDArray[np.uint8],
    lane: int,
    predictor: int,
    begins: NDArray[np.int64],
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    words: NDArray[np.uint64],
    at: np.uint64,
    groups: NDArray[np.int64],
) -> np.uint64:
    """Write all groups before position `at`, the last one first; return where the first begins.

    `sizes` holds bits of a state, contexts and bins; `begins` (lanes, 2) where the predictor of
    every lane begins; `groups` receives the bits that each group takes.
    """
    bits = np.int64(sizes[0])
    bins = np.int64(sizes[2])
    size = 1 << bits
    slots = np.empty((sizes[1], size), np.int64)
    widths = np.zeros((sizes[1], bins), np.int64)
    firsts = np.zeros((sizes[1], bins), np.int64)
    for context in range(sizes[1]):
        _coding_tables(
            frequencies[context], bins, bits, slots[context], widths[context], firsts[context]
        )
    rows = residuals.size
    states = np.empty(4, np.int64)
    for group in range(groups.size - 1, -1, -1):
        end = at
        start = group * 4 * lane
        total = min(4 * lane, rows - start)
        states[:] = size
        common = max(0, total - 3 * lane)
        for row in range(min(lane, total) - 1, common - 1, -1):
            for k in range(3, -1, -1):
                i = k * lane + row
                if i < total:
                    states[k], code, taken = _code(
                        states[k], residuals[start + i], np.uint64(tokens[start + i]),
                        np.uint64(contexts[start + i]), bases, extras, slots, widths, firsts,
                    )  # fmt: skip
                    at -= taken
                    _put(words, at, code)
        at = _write_common(
            residuals[start : start + total], tokens[start : start + total],
            contexts[start : start + total], lane, common, bases, extras, slots, widths, firsts, states, words, at,
        )  # fmt: skip
        at = _write_begins(words, at, states, bits, predictor, begins, 4 * group, lane, total)
        groups[group] = np.int64(end - at)
    return at


@loop
def _code(
    state: np.int64,
    residual: np.int64,
    token: np.uint64,
    context: np.uint64,
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    slots: NDArray[np.int64],
    widths: NDArray[np.int64],
    firsts: NDArray[np.int64],
) -> tuple[np.int64, np.uint64, np.uint64]:
    """Return the state before a row, the row's bits, and how many they are."""
    width = (state + widths[context, token]) >> np.int64(16)
    code = np.uint64(state & ((np.int64(1) << width) - np.int64(1)))
    code |= np.uint64(residual - bases[token]) << np.uint64(width)
    before = slots[context, np.uint64((state >> width) + firsts[context, token])]
    return before, code, np.uint64(width + extras[token])


@loop
def _write_common(
    residuals: NDArray[np.int64],
    tokens: NDArray[np.uint8],
    contexts: NDArray[np.uint8],
    lane: int,
    common: int,
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    slots: NDArray[np.int64],
    widths: NDArray[np.int64],
    firsts: NDArray[np.int64],
    states: NDArray[np.int64],
    words: NDArray[np.uint64],
    at: np.uint64,
) -> np.uint64:
    """Write the rows that all four lanes of a group have, and leave their states.

    The word that is being filled stays in a register; it is stored at every row, never loaded,
    because a load would have to wait for the store before it.
    """
    zero = np.uint64(0)
    word = at >> _SIX
    filled = words[word]
    for row in range(common - 1, -1, -1):
        for k in range(3, -1, -1):
            i = np.uint64(k * lane + row)
            states[k], code, taken = _code(
                states[k], residuals[i], np.uint64(tokens[i]), np.uint64(contexts[i]),
                bases, extras, slots, widths, firsts,
            )  # fmt: skip
            at -= taken
            shift = at & _SIXTY_THREE
            above = (code >> _ONE) >> (_SIXTY_THREE - shift)
            crossed = at >> _SIX != word
            words[word] = filled | (above if crossed else zero)
            filled = (zero if crossed else filled) | (code << shift)
            word = at >> _SIX
    words[word] = filled
    return at


@loop
def _write_begins(
    words: NDArray[np.uint64],
    at: np.uint64,
    states: NDArray[np.int64],
    bits: int,
    predictor: int,
    begins: NDArray[np.int64],
    first: int,
    lane: int,
    total: int,
) -> np.uint64:
    """Put state and begin of every lane that has rows before position `at`."""
    for k in range(3, -1, -1):
        if k * lane < total:
            if predictor == 2:
                at = _number_before(words, at, begins[first + k, 1])
            if predictor > 0:
                before = begins[first + k - 1, 0] if k else np.int64(0)
                at = _number_before(words, at, begins[first + k, 0] - before)
            at = _before(words, at, np.uint64(states[k] - (1 << bits)), bits)
    return at


@loop
def write_table(
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    words: NDArray[np.uint64],
    at: np.uint64,
) -> np.uint64:
    """Put a table before position `at`; return where it begins."""
    bits = np.int64(sizes[0])
    contexts = np.int64(sizes[1])
    bins = np.int64(sizes[2])
    for context in range(contexts - 1, -1, -1):
        for i in range(bins - 2, -1, -1):
            frequency = np.uint64(frequencies[context, i])
            length = bit_length(frequency)
            if length > 0:
                top = _ONE << np.uint64(length - 1)
                at = _before(words, at, frequency ^ top, length - 1)
            before = bit_length(np.uint64(frequencies[context, i - 1])) if i else 0
            at = _gamma_before(words, at, _fold(length - before), 0)
    if contexts > 1:
        at = _moves_before(words, at, bins, contexts, kinds, moves)
    for i in range(bins - 1, -1, -1):
        step = bases[i + 1] - bases[i] - 1 if i + 1 < bins else np.int64(0)
        at = _gamma_before(words, at, np.uint64(step), np.int64(min(extras[i], 40)))
        before = np.int64(extras[i - 1]) if i else 0
        at = _gamma_before(words, at, _fold(np.int64(extras[i]) - before), 0)
    at = _number_before(words, at, bases[0])
    at = _before(words, at, np.uint64(bins - 1), 8)
    at = _before(words, at, np.uint64(contexts - 1), 3)
    return _before(words, at, np.uint64(bits), 4)


@loop
def _moves_before(
    words: NDArray[np.uint64],
    at: np.uint64,
    bins: Any,
    contexts: Any,
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
) -> np.uint64:
    """Put the bins' kinds and, unless a kind simply is the next context, the moves before `at`."""
    most = np.max(kinds[:bins])
    listed = False
    for context in range(contexts):
        for kind in range(most + 1):
            listed = listed or moves[context, kind] != kind
    if listed:
        for context in range(contexts - 1, -1, -1):
            for kind in range(most, -1, -1):
                at = _before(words, at, np.uint64(moves[context, kind]), 3)
    at = _before(words, at, _ONE if listed else np.uint64(0), 1)
    for i in range(bins - 1, -1, -1):
        at = _before(words, at, np.uint64(kinds[i]), 3)
    return at


@loop
def _fold(number: int) -> np.uint64:
    """Zigzag a small number."""
    return np.uint64(2 * number if number >= 0 else -2 * number - 1)
