"""The loop that writes a bit stream of the stage bins, from its end to its beginning.

States are coded against the order in which they are decoded; writing the whole stream backwards
lets each row's bits go straight to their place, and each group's head before its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_table import spread
from pipeline.codecs.kernels.bits import bit_length, fold
from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["write_lanes"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SIX = np.uint64(6)
_SIXTY_THREE = np.uint64(63)
_WORD = np.uint64(64)
_FLAG = np.int64(1)
_KIND = np.int64(3)
_STATE_BITS = np.int64(4)
_LENGTH = np.int64(7)
_BINS = np.int64(8)
_MAX_STEP_ORDER = np.int64(40)
_PARTS = np.int64(16)
_STATE = np.int64(1)


@part
def _before(
    words: NDArray[np.uint64], at: np.uint64, bits: np.uint64, width: np.int64
) -> np.uint64:
    """Put `width` bits before position `at`, where only zeros are; return where they begin."""
    at -= np.uint64(width)
    word = at >> _SIX
    shift = at & _SIXTY_THREE
    words[word] |= bits << shift
    words[word + _ONE] |= (bits >> _ONE) >> (_SIXTY_THREE - shift)
    return at


@part
def _gamma_before(
    words: NDArray[np.uint64], at: np.uint64, number: np.uint64, low: np.int64
) -> np.uint64:
    """Put a number as Exp-Golomb code of order `low` before position `at`."""
    at = _before(words, at, number & ((_ONE << np.uint64(low)) - _ONE), low)
    high = (number >> np.uint64(low)) + _ONE
    zeros = bit_length(high) - _FLAG
    at = _before(words, at, high ^ (_ONE << np.uint64(zeros)), zeros)
    return _before(words, at, _ONE, _FLAG) - np.uint64(zeros)


@part
def _number_before(words: NDArray[np.uint64], at: np.uint64, number: np.int64) -> np.uint64:
    """Put a signed number before position `at`: seven bits of length, then zigzagged bits."""
    folded = fold(number)
    length = bit_length(folded)
    at = _before(words, at, folded, length)
    return _before(words, at, np.uint64(length), _LENGTH)


@part
def _plan(
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    slots: NDArray[np.int64],
    plans: NDArray[np.int64],
) -> None:
    """Lay the table out for encoding: `slots` for each context and state, and `plans` (., 4).

    Of each context and bin a plan holds ``w``: ``(state + w) >> 16`` is how many bits of a state,
    which counts from ``2**bits``, are written; ``f``: what is left of the state, plus ``f``, is
    the slot of the state before; the base; and the plain bits.
    """
    bits = sizes[0]
    bins = sizes[2]
    size = _STATE << bits
    states = np.empty(size, np.uint8)
    places = np.empty(bins, np.int64)
    for context in range(sizes[1]):
        spread(frequencies[context], bins, np.uint64(bits), states)
        seen = context * size
        for i in range(bins):
            frequency = frequencies[context, i]
            most = bits + _FLAG - bit_length(np.uint64(frequency - 1)) if frequency else _FLAG
            plan = context * bins + i
            plans[plan, 0] = (most << _PARTS) - (frequency << most)
            plans[plan, 1] = seen - frequency
            plans[plan, 2] = bases[i]
            plans[plan, 3] = extras[i]
            places[i] = seen
            seen += frequency
        for u in range(size):
            of = np.uint64(states[u])
            slots[places[of]] = size + u
            places[of] += 1


@loop
def write_lanes(
    residuals: NDArray[np.int64],
    tokens: NDArray[np.uint8],
    contexts: NDArray[np.uint8],
    lane: int,
    predictor: int,
    begins: NDArray[np.int64],
    low: int,
    low_bits: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    bases: NDArray[np.int64],
    within: NDArray[np.int64],
    extras: NDArray[np.int64],
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
    frequencies: NDArray[np.int64],
    words: NDArray[np.uint64],
    groups: NDArray[np.int64],
) -> np.uint64:
    """Write table, groups and low bits; return the bit of `words` where they begin.

    Parameters
    ----------
    residuals, tokens, contexts
        Of every row; no residuals if no bin has plain bits.
    lane, predictor
        Rows of a lane, and the id of what predicted them.
    begins
        Where the predictor of every lane begins, shape (lanes, 2).
    low, low_bits
        Bits that stand apart, and these of every row.
    sizes
        Bits of a state, contexts and bins.
    bases, within
        What the table says where bins begin, and from where the residuals in them count.
    extras, kinds, moves, frequencies
        As in `pipeline.codecs.kernels.bins_table`.
    words
        Zeros; all is written before the last two.
    groups
        Receives the bits that each group takes.
    """
    at = np.uint64((words.size - 2) << 6)
    for i in range(low_bits.size - 1, -1, -1):
        at = _before(words, at, low_bits[i], low)
    bits = sizes[0]
    size = _STATE << bits
    slots = np.empty(sizes[1] << bits, np.int64)
    plans = np.empty((sizes[1] * sizes[2], 4), np.int64)
    _plan(sizes, within, extras, frequencies, slots, plans)
    states = np.empty(4, np.int64)
    for group in range(groups.size - 1, -1, -1):
        end = at
        start = group * 4 * lane
        total = min(4 * lane, tokens.size - start)
        for k in range(4):
            states[k] = size
        part_of = residuals[start : start + total]
        bins_of = tokens[start : start + total]
        seen = contexts[start : start + total]
        if residuals.size:
            at = _write_rows(
                part_of, bins_of, seen, lane, sizes[2], slots, plans, states, words, at
            )
        else:
            at = _write_plain_rows(
                part_of, bins_of, seen, lane, sizes[2], slots, plans, states, words, at
            )
        for k in range(3, -1, -1):
            if k * lane < total:
                of = 4 * group + k
                if predictor == 2:
                    at = _number_before(words, at, begins[of, 1])
                if predictor > 0:
                    before = begins[of - 1, 0] if k else np.int64(0)
                    at = _number_before(words, at, begins[of, 0] - before)
                at = _before(words, at, np.uint64(states[k] - size), bits)
        groups[group] = end - at
    return _write_table(sizes, bases, extras, kinds, moves, frequencies, words, at)


@part
def _code(
    residuals: NDArray[np.int64],
    at: np.uint64,
    token: np.uint8,
    context: np.uint8,
    bins: np.uint64,
    state: np.int64,
    slots: NDArray[np.int64],
    plans: NDArray[np.int64],
) -> tuple[np.uint64, np.uint64, np.int64]:
    """Return the bits of a row, how many they are, and the state before it."""
    plan = np.uint64(context) * bins + np.uint64(token)
    width = (state + plans[plan, 0]) >> _PARTS
    code = np.uint64(state & ((_STATE << width) - _STATE))
    code |= np.uint64(residuals[at] - plans[plan, 2]) << np.uint64(width)
    before = slots[np.uint64((state >> width) + plans[plan, 1])]
    return code, np.uint64(width + plans[plan, 3]), before


@part
def _plain_code(
    _residuals: NDArray[np.int64],
    _at: np.uint64,
    token: np.uint8,
    context: np.uint8,
    bins: np.uint64,
    state: np.int64,
    slots: NDArray[np.int64],
    plans: NDArray[np.int64],
) -> tuple[np.uint64, np.uint64, np.int64]:
    """Do what `_code` does where no bin has plain bits."""
    plan = np.uint64(context) * bins + np.uint64(token)
    width = (state + plans[plan, 0]) >> _PARTS
    code = np.uint64(state & ((_STATE << width) - _STATE))
    before = slots[np.uint64((state >> width) + plans[plan, 1])]
    return code, np.uint64(width), before


@part
def _fill(
    words: NDArray[np.uint64],
    at: np.uint64,
    word: np.uint64,
    filled: np.uint64,
    code: np.uint64,
    width: np.uint64,
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Put a code before position `at`; return where it begins, its word and what is in that.

    The word that is being filled stays in a register; it is stored every time, never loaded,
    because a load would have to wait for the store before it.
    """
    at -= width
    shift = at & _SIXTY_THREE
    above = (code >> _ONE) >> (_SIXTY_THREE - shift)
    crossed = at >> _SIX != word
    words[word] = filled | (above if crossed else _ZERO)
    filled = (_ZERO if crossed else filled) | (code << shift)
    return at, at >> _SIX, filled


def _make_rows(code_of: Callable[..., Any]) -> Callable[..., Any]:
    """Return a loop that writes rows whose bits are those of `code_of`."""

    @part
    def write_rows(
        residuals: NDArray[np.int64],
        tokens: NDArray[np.uint8],
        contexts: NDArray[np.uint8],
        lane: int,
        bins: np.int64,
        slots: NDArray[np.int64],
        plans: NDArray[np.int64],
        states: NDArray[np.int64],
        words: NDArray[np.uint64],
        at: np.uint64,
    ) -> np.uint64:
        """Write the rows of a group before position `at`, and leave the lanes' states.

        Rows that not all lanes have come first. Then the bits of four rows mostly fit a word, and are
        put in place together.
        """
        width = np.uint64(bins)
        every = max(0, tokens.size - 3 * lane)
        for row in range(min(lane, tokens.size) - 1, every - 1, -1):
            for k in range(3, -1, -1):
                i = np.uint64(k * lane + row)
                if i < np.uint64(tokens.size):
                    code, size, states[k] = code_of(
                        residuals, i, tokens[i], contexts[i], width, states[k], slots, plans
                    )
                    at = _before(words, at, code, np.int64(size))
        s0 = states[0]
        s1 = states[1]
        s2 = states[2]
        s3 = states[3]
        word = at >> _SIX
        filled = words[word]
        second = np.uint64(lane)
        third = second + second
        fourth = third + second
        for row in range(every - 1, -1, -1):
            i = np.uint64(row)
            c0, w0, s0 = code_of(residuals, i, tokens[i], contexts[i], width, s0, slots, plans)
            i = np.uint64(row) + second
            c1, w1, s1 = code_of(residuals, i, tokens[i], contexts[i], width, s1, slots, plans)
            i = np.uint64(row) + third
            c2, w2, s2 = code_of(residuals, i, tokens[i], contexts[i], width, s2, slots, plans)
            i = np.uint64(row) + fourth
            c3, w3, s3 = code_of(residuals, i, tokens[i], contexts[i], width, s3, slots, plans)
            if w0 + w1 + w2 + w3 < _WORD:
                code = c0 | (c1 << w0) | ((c2 | (c3 << w2)) << (w0 + w1))
                at, word, filled = _fill(words, at, word, filled, code, w0 + w1 + w2 + w3)
            else:
                at, word, filled = _fill(words, at, word, filled, c3, w3)
                at, word, filled = _fill(words, at, word, filled, c2, w2)
                at, word, filled = _fill(words, at, word, filled, c1, w1)
                at, word, filled = _fill(words, at, word, filled, c0, w0)
        words[word] = filled
        states[0] = s0
        states[1] = s1
        states[2] = s2
        states[3] = s3
        return at

    return write_rows


_write_rows = _make_rows(_code)
_write_plain_rows = _make_rows(_plain_code)


@part
def _write_table(
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
    contexts = sizes[1]
    bins = sizes[2]
    none = np.int64(0)
    for context in range(contexts - 1, -1, -1):
        for i in range(bins - 2, -1, -1):
            frequency = np.uint64(frequencies[context, i])
            length = bit_length(frequency)
            if length > 0:
                below = length - _FLAG
                at = _before(words, at, frequency ^ (_ONE << np.uint64(below)), below)
            before = bit_length(np.uint64(frequencies[context, i - 1])) if i else none
            at = _gamma_before(words, at, fold(length - before), none)
    if contexts > 1:
        at = _moves_before(words, at, bins, contexts, kinds, moves)
    for i in range(bins - 1, -1, -1):
        step = bases[i + 1] - bases[i] - 1 if i + 1 < bins else none
        order = extras[i] if extras[i] < _MAX_STEP_ORDER else _MAX_STEP_ORDER
        at = _gamma_before(words, at, np.uint64(step), order)
        before = extras[i - 1] if i else none
        at = _gamma_before(words, at, fold(extras[i] - before), none)
    at = _number_before(words, at, bases[0])
    at = _before(words, at, np.uint64(bins - 1), _BINS)
    at = _before(words, at, np.uint64(contexts - 1), _KIND)
    return _before(words, at, np.uint64(sizes[0]), _STATE_BITS)


@part
def _moves_before(
    words: NDArray[np.uint64],
    at: np.uint64,
    bins: np.int64,
    contexts: np.int64,
    kinds: NDArray[np.int64],
    moves: NDArray[np.int64],
) -> np.uint64:
    """Put the bins' kinds and, unless a kind simply is the next context, the moves before `at`."""
    most = np.int64(0)
    for i in range(bins):
        if kinds[i] > most:
            most = kinds[i]
    listed = False
    for context in range(contexts):
        for kind in range(most + 1):
            listed = listed or moves[context, kind] != kind
    if listed:
        for context in range(contexts - 1, -1, -1):
            for kind in range(most, -1, -1):
                at = _before(words, at, np.uint64(moves[context, kind]), _KIND)
    at = _before(words, at, _ONE if listed else _ZERO, _FLAG)
    for i in range(bins - 1, -1, -1):
        at = _before(words, at, np.uint64(kinds[i]), _KIND)
    return at
