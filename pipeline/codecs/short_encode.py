"""A few numbers as a stream: looking for what suits them takes longer than it can save."""

from __future__ import annotations

from itertools import pairwise
from math import gcd
from typing import Final

import numpy as np

from pipeline.codecs.cursor import signed_varint, varint
from pipeline.codecs.entropy import CODES, CONSTANT, ENTROPY, VARINTS
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.series import LIST
from pipeline.codecs.streams import EncodedStream

__all__ = ["encode_short", "scale_of"]

_WIDTHS: Final = (1, 2, 4, *range(8, 65, 8))
_MOST_DIFFERENCED: Final = 1 << 62


def scale_of(numbers: list[int]) -> tuple[int, int]:
    """Return the smallest of `numbers`, and the divisor of their distances from it, or 1."""
    least = min(numbers)
    return least, gcd(*[number - least for number in numbers]) or 1


def encode_short(numbers: list[int]) -> EncodedStream:
    """Return few numbers as a list or as a plain stream, whichever is shorter.

    Parameters
    ----------
    numbers : list of int
        At least one; below 2**64, or signed and of 64 bits.
    """
    offset, scale = scale_of(numbers)
    predictor, residuals = _predicted([(number - offset) // scale for number in numbers])
    listed = sum([_bytes(2 * number if number >= 0 else -2 * number - 1) for number in numbers])
    head = signed_varint(offset) + varint(scale) + predictor.write()
    if min(residuals) == max(residuals):
        stage, width, size = CONSTANT, 0, _bytes(residuals[0])
    else:
        stage, width, size = _layout(residuals)
    if len(head) + size >= listed:
        return EncodedStream(0, LIST, b"".join(map(signed_varint, numbers)))
    body = ENTROPY[stage].encode(np.array(residuals, np.uint64), width)
    return EncodedStream(predictor.order, stage, head + body)


def _bytes(number: int) -> int:
    """Return the bytes of a number as LEB128."""
    return (number.bit_length() + 6) // 7 or 1


def _predicted(multiples: list[int]) -> tuple[Predictor, list[int]]:
    """Return differences if they span much less than the numbers do, else these themselves."""
    steps = [after - before for before, after in pairwise(multiples)]
    largest = max(multiples)
    if not steps or largest >= _MOST_DIFFERENCED or 2 * (max(steps) - min(steps)) >= largest:
        return Predictor(0), multiples
    usual = sorted(steps)[len(steps) // 2]
    away = [step - usual for step in steps]
    return Predictor(1, multiples[0], usual), [2 * n if n >= 0 else -2 * n - 1 for n in away]


def _layout(residuals: list[int]) -> tuple[int, int, int]:
    """Return the shorter of varints and codes, the codes' width, and about the bytes it takes."""
    lengths = [residual.bit_length() for residual in residuals]
    width = next(width for width in _WIDTHS if width >= max(lengths))
    varints = 2 + sum(map(_bytes, residuals))
    codes = 3 + -(-width * len(residuals) // 8)
    if width > 8:
        planes = [
            {residual >> shift & 255 for residual in residuals} for shift in range(0, width, 8)
        ]
        codes = 2 + sum([2 if len(plane) == 1 else 1 + len(residuals) for plane in planes])
    return (VARINTS, 0, varints) if varints < codes else (CODES, width, codes)
