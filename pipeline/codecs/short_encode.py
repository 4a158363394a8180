"""A few numbers as a stream: looking for what suits them takes longer than it can save."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from pipeline.codecs.cursor import signed_varint, varint
from pipeline.codecs.entropy import CODES, CONSTANT, ENTROPY, VARINTS
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.series import LIST
from pipeline.codecs.streams import EncodedStream

__all__ = ["encode_short"]

_WIDTHS: Final = (1, 2, 4, *range(8, 65, 8))
_MOST_DIFFERENCED: Final = 1 << 62


def encode_short(multiples: list[int], offset: int, scale: int) -> EncodedStream:
    """Return few numbers as a list or as a plain stream, whichever is shorter.

    Parameters
    ----------
    multiples : list of int
        At least one, not negative; the smallest is 0.
    offset, scale : int
        ``number = multiple * scale + offset``.
    """
    listed = b"".join([signed_varint(multiple * scale + offset) for multiple in multiples])
    predictor, residuals = _predicted(multiples)
    head = signed_varint(offset) + varint(scale) + predictor.write()
    if min(residuals) == max(residuals):
        plain = EncodedStream(predictor.order, CONSTANT, head + varint(residuals[0]))
    else:
        stage, width, size = _layout(residuals)
        if len(head) + size > len(listed):
            return EncodedStream(0, LIST, listed)
        body = ENTROPY[stage].encode(np.array(residuals, np.uint64), width)
        plain = EncodedStream(predictor.order, stage, head + body)
    return plain if len(plain.body) < len(listed) else EncodedStream(0, LIST, listed)


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
    varints = 2 + sum([max(1, -(-length // 7)) for length in lengths])
    codes = 3 + -(-width * len(residuals) // 8)
    if width > 8:
        planes = [
            {residual >> shift & 255 for residual in residuals} for shift in range(0, width, 8)
        ]
        codes = 2 + sum([2 if len(plane) == 1 else 1 + len(residuals) for plane in planes])
    return (VARINTS, 0, varints) if varints < codes else (CODES, width, codes)
