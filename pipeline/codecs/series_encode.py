"""The encoder's half of `pipeline.codecs.series`: which stages a series of numbers goes through.

Every series is offered to the stage bins. Few changes from row to row suggest runs, and repeating
patterns, which no predictor sees, are looked for in the bins with Zstandard: only then are the
plain streams tried, whose buffers are compressed with it.
"""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numcodecs import zstd
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.choose import encode_residuals
from pipeline.codecs.choose_predictor import Prediction, choose_predictor, sample_runs
from pipeline.codecs.cursor import WORD, signed_varint, sized, varint
from pipeline.codecs.lanes import DELTA, DELTA2, NONE, LanePredictor
from pipeline.codecs.lanes_encode import Modelled, model_lanes
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.series import BINS, RUNS
from pipeline.codecs.streams import EncodedStream, Scaled, encode_stream, scale_down

__all__ = ["encode_series"]

_LOG: Final = logging.getLogger(__name__)

_WIDEST: Final = 1 << 62
_FEW_RUNS: Final = 12
"""Rows per run from which runs are tried."""
_SHORT: Final = 32
_STATES: Final = 128
"""Numbers below this may be states: contexts often tell more of them than differences do."""
_FEW_STATES: Final = 4
_PATTERNED: Final = 0.93
_LEAST_PATTERN: Final = 1024


def encode_series(scaled: Scaled, nested: bool = False) -> EncodedStream:
    """Encode numbers with the stages that suit them.

    Parameters
    ----------
    scaled : Scaled
        At least one row.
    nested : bool
        Runs are not allowed.
    """
    numbers = scaled.multiples
    largest = int(numbers.max())
    if largest == 0 or largest >= _WIDEST:
        return _plain(scaled, 0)
    if numbers.size < _SHORT:
        return min((_plain(scaled, 0), _plain(scaled, 1)), key=lambda way: len(way.body))
    signed = numbers.view(np.int64)
    runs = sample_runs(signed)
    found = [] if nested else _runs(scaled, runs)
    prediction = choose_predictor(runs, largest)
    modelled = model_lanes(signed, prediction.predictor, prediction.bits)
    if prediction.predictor.id > 0 and largest < _STATES:
        plain = model_lanes(signed, LanePredictor(NONE), prediction.bits)
        modelled = min(plain, modelled, key=lambda way: way.bits)
    if found and 8 * len(found[0].body) < modelled.bits:
        return found[0]
    found.append(_lanes(scaled, modelled))
    if _patterned(modelled):
        found.append(_plain(scaled, _order(prediction)))
    _LOG.debug("%d rows: %s", numbers.size, [(way.entropy, len(way.body)) for way in found])
    return min(found, key=lambda way: len(way.body))


def _lanes(scaled: Scaled, modelled: Modelled) -> EncodedStream:
    head = signed_varint(scaled.offset) + varint(scaled.scale)
    return EncodedStream(modelled.predictor.id, BINS, head + modelled.write())


def _order(prediction: Prediction) -> int:
    """Return the plain predictor that is next to a laned one."""
    return min(prediction.predictor.id, DELTA2) if prediction.predictor.id <= DELTA2 else DELTA


def _plain(scaled: Scaled, order: int) -> EncodedStream:
    numbers = scaled.multiples
    steps = (numbers[1:] - numbers[:-1]).view(np.int64) if order == 1 else numbers[:0]
    few = np.sort(steps[:: max(1, steps.size // 512)])
    step = int(few[few.size // 2]) if few.size else 0
    predictor, residuals = Predictor.forward(order, step, numbers)
    return encode_stream(scaled, predictor, *encode_residuals(residuals))


def _runs(scaled: Scaled, sample: NDArray[np.int64]) -> list[EncodedStream]:
    """Return the series as runs, if there are few of them."""
    changes = np.count_nonzero(sample[:, 1:] != sample[:, :-1])
    if _FEW_RUNS * changes > sample.size:
        return []
    numbers = scaled.multiples
    starts = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    if _FEW_RUNS * starts.size > numbers.size:
        return []
    starts = np.concatenate(([0], starts))
    lengths = np.diff(starts, append=numbers.size) - 1
    values = (numbers[starts] * np.uint64(scaled.scale)) + np.uint64(scaled.offset & WORD)
    body = varint(starts.size) + _nested(values.view(np.int64)) + _nested(lengths)
    return [EncodedStream(0, RUNS, body)]


def _nested(numbers: NDArray[np.int64]) -> bytes:
    stream = encode_series(scale_down(numbers), nested=True)
    return bytes((stream.predictor, stream.entropy)) + sized(stream.body)


def _patterned(modelled: Modelled) -> bool:
    """Tell whether the bins repeat in a way that their frequencies do not explain."""
    tokens = modelled.tokens
    if tokens.size < _LEAST_PATTERN or modelled.bins <= _FEW_STATES:
        return True
    plain = float(kernel("block_sample", "byte_bits")(tokens))
    return bool(8 * len(zstd.compress(tokens, 1)) < _PATTERNED * plain)
