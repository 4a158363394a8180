"""Streams: a series of whole numbers as bytes.

A stream takes numbers through three stages: an offset and scale shared by all of them, a
predictor (`pipeline.codecs.predictors`) and an entropy stage (`pipeline.codecs.entropy`). The
ids of the last two stand outside; a stream is then

=========  ===============================================================================
part       bytes
=========  ===============================================================================
offset     zigzag LEB128: the smallest number, as an int64
scale      LEB128: the greatest common divisor of all distances from the smallest
predictor  its parameters
entropy    its parameters and buffers, to the end
=========  ===============================================================================

Timestamps in microseconds that come once a minute become 0, 1, 2 … that way, and decimals that
move in steps of a quarter become whole numbers; neither costs the stages behind anything.

A *nested* stream stands inside another part of a block: one byte predictor id, one byte entropy
id, the length (LEB128) of the stream, and the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.cursor import Cursor, signed_varint, sized, varint
from pipeline.codecs.entropy import BIT_PLANES, CODES, CONSTANT, ENTROPY, RAW, VARINTS, is_constant
from pipeline.codecs.packed import NUMBER, unpack
from pipeline.codecs.pointwise import NUMBERS, Mapping
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.scaling import Scaled, scale_down
from pipeline.errors import CorruptBlockError

__all__ = [
    "EncodedStream",
    "decode_stream",
    "describe_stream",
    "encode_stream",
    "lengths_of",
    "write_nested",
]


@dataclass(frozen=True)
class EncodedStream:
    """A stream and the ids that must stand outside it."""

    predictor: int
    entropy: int
    body: bytes


def encode_stream(
    scaled: Scaled, predictor: Predictor, entropy: int, residuals: bytes
) -> EncodedStream:
    """Put a stream together from its scale, its predictor and its encoded residuals."""
    head = signed_varint(scaled.offset) + varint(scaled.scale) + predictor.write()
    return EncodedStream(predictor.order, entropy, head + residuals)


def decode_stream(
    predictor: int,
    entropy: int,
    cursor: Cursor,
    rows: int,
    mapping: Mapping = NUMBERS,
    dtype: np.dtype[Any] = NUMBER,
) -> NDArray[Any]:
    """Decode the rest of `cursor` as a stream of `rows` numbers.

    Returns
    -------
    ndarray of `dtype`, shape (rows,)
        What `mapping` makes of the numbers, modulo 2**64.

    Raises
    ------
    CorruptBlockError
        If an id is unknown, or the bytes do not hold exactly so many numbers.
    """
    if entropy not in ENTROPY:
        raise CorruptBlockError(f"has unknown entropy stage {entropy}")
    offset, scale = cursor.signed_varint(), cursor.varint()
    stage = Predictor.read(predictor, cursor, rows)
    packed = ENTROPY[entropy].read(cursor, rows - stage.order)
    cursor.finish()
    return unpack(packed, stage, rows, scale, offset, mapping, dtype)


def describe_stream(predictor: int, entropy: int, cursor: Cursor, rows: int) -> dict[str, Any]:
    """Tell the parameters of the stream in the rest of `cursor` without decoding it.

    Raises
    ------
    CorruptBlockError
        As `decode_stream`, as far as the parameters go.
    """
    if entropy not in ENTROPY:
        raise CorruptBlockError(f"has unknown entropy stage {entropy}")
    offset, scale = cursor.signed_varint(), cursor.varint()
    stage = Predictor.read(predictor, cursor, rows)
    told = {"offset": offset, "scale": scale, "predictor": str(stage)}
    told["entropy"] = ENTROPY[entropy].name
    if entropy in (RAW, CODES, BIT_PLANES):
        told["width"] = cursor.byte()
    return told


def lengths_of(starts: NDArray[np.int64], stop: int) -> NDArray[np.int64]:
    """Return how far each of `starts`, ascending, is from the next, and the last from `stop`."""
    lengths = np.empty(starts.size, np.int64)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1] = stop - starts[-1]
    return lengths


def write_nested(numbers: NDArray[Any], order: int) -> bytes:
    """Return a short list of `numbers` as a nested stream.

    Parameters
    ----------
    numbers : ndarray of int64 or uint64
        At least one.
    order : int
        Predictor id: 1 for an ascending list, 0 for any other.
    """
    scaled = scale_down(numbers)
    predictor, residuals = Predictor.forward(order, 0, scaled.multiples)
    entropy = CONSTANT if is_constant(residuals) else VARINTS
    body = ENTROPY[entropy].encode(residuals, 0)
    stream = encode_stream(scaled, predictor, entropy, body)
    return bytes((stream.predictor, stream.entropy)) + sized(stream.body)
