"""Plain streams: a predictor of differences, and an entropy stage whose buffers are compressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.codecs.choose import encode_residuals
from pipeline.codecs.entropy import BIT_PLANES, CODES, ENTROPY, VARINTS, is_constant
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.scaling import Scaled
from pipeline.codecs.streams import EncodedStream, encode_stream

__all__ = ["PLAIN", "PlainStream", "encode_plain"]

PLAIN: Final = (CODES, BIT_PLANES, VARINTS)
"""Stages that end in bytes for Zstandard."""

_JUDGED: Final = 512


@dataclass(frozen=True)
class PlainStream(EncodedStream):
    """A plain stream; `width` is that of its codes."""

    width: int = 0


def encode_plain(
    scaled: Scaled, order: int, stage: int | None = None, width: int | None = None
) -> PlainStream:
    """Return numbers as a plain stream.

    Parameters
    ----------
    scaled : Scaled
    order : int
        Of the differences, 0 to 2; one less than there are rows if that is fewer.
    stage, width : int, optional
        The only entropy stage allowed, unless all residuals agree, and the bits of its codes; by
        default what suits a sample.
    """
    numbers = scaled.multiples
    order = min(order, numbers.size - 1)
    steps = (numbers[1:] - numbers[:-1]).view(np.int64) if order == 1 else numbers[:0]
    few = np.sort(steps[:: max(1, steps.size // _JUDGED)])
    step = int(few[few.size // 2]) if few.size else 0
    predictor, residuals = Predictor.forward(order, step, numbers)
    if stage is None or is_constant(residuals):
        stage, body = encode_residuals(residuals)
        width = body[0] if stage in (CODES, BIT_PLANES) else 0
    else:
        if width is None or stage == BIT_PLANES:
            width = int(residuals.max()).bit_length()
        body = ENTROPY[stage].encode(residuals, width)
    stream = encode_stream(scaled, predictor, stage, body)
    return PlainStream(stream.predictor, stream.entropy, stream.body, width)
