"""Loops over the fields of bit streams.

A bit stream is an array of `uint64` words, filled from their lowest bits on. Positions in it and
widths are `uint64` numbers of bits; callers keep positions in bounds by `fits`, and two words of
zeros behind the stream let every window be loaded whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.cpython.unsafe import numbers
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import part

__all__ = [
    "bit_length",
    "fits",
    "fold",
    "load",
    "take",
    "take_gamma",
    "take_number",
    "trailing_zeros",
    "window",
]

_ONE = np.uint64(1)
_SIX = np.uint64(6)
_SEVEN = np.uint64(7)
_HALF = np.uint64(32)
_SIXTY_THREE = np.uint64(63)
_SIXTY_FOUR = np.uint64(64)
_LONGEST = np.uint64(48)
_WRONG = ~np.uint64(0)
_SIGN = np.int64(63)
_FOLD = np.int64(1)


def _count_leading_zeros(number: np.uint64) -> np.uint64:
    return np.uint64(64 - int(number).bit_length())


def _count_trailing_zeros(number: np.uint64) -> np.uint64:
    return np.uint64((int(number) & -int(number)).bit_length() - 1 if number else 64)


_compiled = not config.DISABLE_JIT  # type: ignore[attr-defined]
trailing_zeros: Any = numbers.trailing_zeros if _compiled else _count_trailing_zeros
_leading_zeros: Any = numbers.leading_zeros if _compiled else _count_leading_zeros


@part
def bit_length(number: np.uint64) -> int:
    """Return the number of bits of `number` without leading zeros."""
    return np.int64(_SIXTY_FOUR - _leading_zeros(number))  # type: ignore[return-value]


@part
def fold(number: np.int64) -> np.uint64:
    """Zigzag a number: small ones of both signs become small ones."""
    return np.uint64((number << _FOLD) ^ (number >> _SIGN))


@part
def window(words: NDArray[np.uint64], at: np.uint64) -> np.uint64:
    """Return 64 bits from position `at` on; two words must be there."""
    word = at >> _SIX
    shift = at & _SIXTY_THREE
    return (words[word] >> shift) | ((words[word + _ONE] << _ONE) << (_SIXTY_THREE - shift))


def _window_at(memory: NDArray[Any], byte: np.uint64) -> np.uint64:
    place = int(byte)
    return np.uint64(int.from_bytes(memory.view(np.uint8)[place : place + 8].tobytes(), "little"))


@intrinsic
def _load_unaligned(_: Any, memory: Any, byte: Any) -> Any:
    """Load a little-endian word at any byte: one instruction where `window` takes eight."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        place = builder.gep(start, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(memory, byte), generate


load: Any = _load_unaligned if _compiled else _window_at
"""Returns the 64 bits at a byte of an array; eight bytes must be there, which nothing checks."""


@part
def fits(words: NDArray[np.uint64], at: np.uint64) -> bool:
    """Tell whether a window may be loaded at `at`."""
    return bool((at >> _SIX) + _ONE < np.uint64(words.size))


@part
def take(words: NDArray[np.uint64], at: np.uint64, width: np.uint64) -> np.uint64:
    """Return `width` bits (0 to 63) at `at`, zeros behind the end."""
    if (at >> _SIX) + _ONE >= np.uint64(words.size):
        return np.uint64(0)
    return window(words, at) & ((_ONE << width) - _ONE)


@part
def take_gamma(
    words: NDArray[np.uint64], at: np.uint64, low: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """Read a number of at most 48 bits as Exp-Golomb code of order `low`; return it and the end.

    Behind the end of the stream, and for codes that are longer, the number is all ones.
    """
    bits = window(words, at) if fits(words, at) else np.uint64(0)
    if bits == np.uint64(0):
        return _WRONG, at + _LONGEST
    zeros = np.uint64(trailing_zeros(bits))
    at += zeros + _ONE
    if zeros + low > _LONGEST:
        return _WRONG, at
    length = zeros + low
    if zeros + length < _SIXTY_THREE:  # nearly every number
        bits >>= zeros + _ONE
    else:
        bits = take(words, at, length)
    high = (bits & ((_ONE << zeros) - _ONE)) + (_ONE << zeros) - _ONE
    return (high << low) | ((bits >> zeros) & ((_ONE << low) - _ONE)), at + length


@part
def take_number(words: NDArray[np.uint64], at: np.uint64) -> tuple[np.int64, np.uint64]:
    """Read a signed number: seven bits of length, then its zigzagged bits; return it and the end.

    Of a length beyond 64 only 64 bits are read.
    """
    length = take(words, at, _SEVEN)
    at += _SEVEN
    folded = np.uint64(0)
    if length > _HALF:
        rest = length - _HALF if length < _SIXTY_FOUR else _HALF
        folded = take(words, at + _HALF, rest) << _HALF
        length = _HALF
        folded |= take(words, at, length)
        at += length + rest
    else:
        folded = take(words, at, length)
        at += length
    return np.int64((folded >> _ONE) ^ (np.uint64(0) - (folded & _ONE))), at
