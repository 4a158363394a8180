"""Whole blocks of the most usual kind, decoded with two calls of kernels.

The general way (`pipeline.codecs.payload`) reads a payload part by part, which takes about as
long as decoding the rows of a block does. Where nothing but values of the stage bins stand in it,
one kernel reads the head and one the rows; whatever they do not expect, and every error, is left
to the general way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.finishing import Finish
from pipeline.codecs.header import BlockHeader
from pipeline.codecs.lanes import HEAD, NUMBERS, Mapping
from pipeline.codecs.payload import VALUES
from pipeline.codecs.pieces import PIECES
from pipeline.codecs.transforms import Identity, read_transform

__all__ = ["decode_at_once"]


def decode_at_once(header: BlockHeader, payload: memoryview) -> NDArray[Any] | None:
    """Decode all rows of a block, or return None if that takes the general way.

    Parameters
    ----------
    header : BlockHeader
        Of a block whose entropy stage is bins.
    payload : memoryview
        Verified.
    """
    at = _values(payload)
    if not at:
        return None
    found = _mapping(header, payload, at)
    if found is None:
        return None
    mapping, at = found
    data = np.frombuffer(payload, np.uint8)
    data.flags.writeable = False  # one type of array to compile for
    head, odd, groups = np.empty(HEAD, np.int64), np.empty((2, 7), np.int64), np.empty(64, np.int64)
    read = kernel("bins_stream", "read_head")
    if not read(data, at, header.rows, header.predictor, head, odd, groups):
        return None
    odds, more, bits = head[9:12].tolist()
    words = np.zeros(bits // 64 + 3, np.uint64)
    words.view(np.uint8)[: bits // 8] = data[data.size - bits // 8 :]
    numbers = np.empty(header.rows, np.int64)
    good = kernel("bins_decode", "decode_lanes")(
        words, head, groups[:more], 0, odd[0, :odds], odd[1, :odds], *mapping,
        numbers, numbers.view(np.float64),
    )  # fmt: skip
    return Finish.bits_of(numbers, header.dtype) if good else None


def _values(payload: memoryview) -> int:
    """Return where the values begin if only pieces stand before them, else 0."""
    if len(payload) < 4:
        return 0
    if payload[0] == VALUES:
        return 1
    if payload[0] != PIECES:
        return 0
    size = payload[1]
    at = 2
    if size > 127:
        if payload[2] > 127:
            return 0
        size = (size & 127) | payload[2] << 7
        at = 3
    at += size
    return at + 1 if at < len(payload) and payload[at] == VALUES else 0


def _mapping(header: BlockHeader, payload: memoryview, at: int) -> tuple[Mapping, int] | None:
    """Return what the kernel makes of numbers, and where the stream begins."""
    if header.transform == Identity.id and header.dtype.kind in "iu":
        return NUMBERS, at
    cursor = Cursor(payload[at:])
    transform = read_transform(header.transform, cursor, header.rows, header.dtype)
    mapping = Finish(transform, header.dtype).mapping
    return None if mapping is None else (mapping, len(payload) - cursor.left)
