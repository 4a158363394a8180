"""The payload of a block: sections, the last of which holds the values.

A section is its id (1 byte), its length (LEB128) and its bytes. The values come last and have
no length: they reach to the end of the block. A block without rows has no payload.

==  ===========  =======================================================================
id  section      bytes
==  ===========  =======================================================================
1   values       the transform's parameters (`pipeline.codecs.transforms`), then the
                 numbers as a stream (`pipeline.codecs.streams`); the header names the
                 stages
2   missing      mask (`pipeline.codecs.sections`) of the rows without a value
3   repeated     mask of rows that hold one and the same value, behind that value: one
                 byte 0 for the dtype's fill value (quiet NaN without payload, smallest
                 signed, largest unsigned number), or 1 and the value's own bytes
4   corrections  what the transform does not bring back bit for bit
==  ===========  =======================================================================

Rows of sections 2 and 3 hold a neighbour's value in the stream, where it costs next to nothing.
Sections apply in the order 4, 3, 2. A new kind of section is a new id: below 128 if the rows
cannot be had without it, from 128 on if a decoder that does not know it may pass over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.choose import estimate_bits
from pipeline.codecs.choose_transform import choose_transform
from pipeline.codecs.cursor import Cursor, sized
from pipeline.codecs.entropy import ENTROPY, RAW
from pipeline.codecs.finishing import finish_for
from pipeline.codecs.frame import BlockHeader, BlockStatistics
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.recipes import Recipe
from pipeline.codecs.sections import apply_corrections, read_mask, write_corrections, write_mask
from pipeline.codecs.series import decode_series
from pipeline.codecs.series_encode import encode_series
from pipeline.codecs.streams import Scaled, encode_stream, scale_down
from pipeline.codecs.transforms import Identity, read_transform
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value

__all__ = [
    "MISSING",
    "SECTIONS",
    "VALUES",
    "Payload",
    "decode_payload",
    "encode_payload",
    "split_payload",
]

VALUES, MISSING, REPEATED, CORRECTIONS = 1, 2, 3, 4
SECTIONS: Final = {1: "values", 2: "missing", 3: "repeated", 4: "corrections"}
"""Names of the sections by id."""

_OPTIONAL: Final = 128


@dataclass(frozen=True)
class Payload:
    """Encoded rows, and the ids of the stages they went through."""

    stages: tuple[int, int, int]
    body: bytes


def encode_payload(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    statistics: BlockStatistics,
    recipe: Recipe,
) -> Payload:
    """Encode a column, whatever its values.

    Parameters
    ----------
    values : ndarray, shape (rows,)
    valid : ndarray of bool, shape (rows,), or None
    statistics : BlockStatistics
        Of the same rows.
    recipe : Recipe
        What may be tried.
    """
    if values.size == 0:
        return Payload((0, 0, 0), b"")
    missing = b""
    held = values
    if valid is not None and not valid.all():
        missing = _section(MISSING, write_mask(~valid))
        held = _hold(values, valid)
    payload = _encode_raw(held) if recipe.stage == RAW else _encode_values(held, statistics, recipe)
    if len(payload.body) > values.nbytes:
        payload = _encode_raw(held)
    return Payload(payload.stages, missing + payload.body)


def _section(id: int, body: bytes) -> bytes:
    return bytes((id,)) + sized(body)


def _hold(values: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """Replace rows that are not kept by the kept row before them (or the first one)."""
    kept = np.flatnonzero(keep)
    if kept.size == 0:
        return np.zeros_like(values)
    lengths = np.diff(kept, append=values.size)
    lengths[0] += kept[0]
    return np.repeat(values[kept], lengths)


def _encode_values(values: NDArray[Any], statistics: BlockStatistics, recipe: Recipe) -> Payload:
    body = b""
    repeated = _repeated_rows(values, statistics)
    if repeated is not None:
        row = int(np.argmax(repeated))
        body = _section(REPEATED, _value_bytes(values[row : row + 1]) + write_mask(repeated))
        values = _hold(values, ~repeated)
    mapped = choose_transform(values, estimate_bits)
    if mapped.misfits.size:
        restored = mapped.transform.inverse(mapped.numbers.view(np.uint64), values.dtype)
        body += _section(CORRECTIONS, write_corrections(values, restored))
    stream = encode_series(scale_down(mapped.numbers), recipe)
    stages = (mapped.transform.id, stream.predictor, stream.entropy)
    return Payload(stages, body + bytes((VALUES,)) + mapped.transform.write() + stream.body)


def _encode_raw(values: NDArray[Any]) -> Payload:
    bits = values.view(f"u{values.dtype.itemsize}").astype(np.uint64)
    residuals = ENTROPY[RAW].encode(bits, values.dtype.itemsize)
    stream = encode_stream(Scaled(bits, 0, 1), Predictor(0), RAW, residuals)
    return Payload((Identity.id, stream.predictor, stream.entropy), bytes((VALUES,)) + stream.body)


def _repeated_rows(values: NDArray[Any], statistics: BlockStatistics) -> NDArray[np.bool_] | None:
    """Return the rows of a value that stands for "nothing" and would spoil the prediction.

    Such are NaN, and in whole numbers the fill value, if the others are far from it.
    """
    if values.dtype.kind == "f":
        nan = np.isnan(values)
        if not nan.any():
            return None
        bits = values.view(f"u{values.dtype.itemsize}")
        return np.asarray(bits == bits[np.argmax(nan)])
    if values.dtype.kind == "b" or fill_value(values.dtype) not in (statistics.min, statistics.max):
        return None
    fill = values == fill_value(values.dtype)
    others = values[~fill]
    if others.size == 0:
        return None
    span = int(others.max()) - int(others.min())
    spoilt = int(values.max()) - int(values.min())
    return fill if 2 * span < spoilt else None


def _value_bytes(one: NDArray[Any]) -> bytes:
    raw = one.tobytes()
    fill = np.full(1, fill_value(one.dtype), one.dtype).tobytes()
    return b"\x00" if raw == fill else b"\x01" + raw


def split_payload(data: memoryview) -> dict[int, Cursor]:
    """Return the sections of a payload by id.

    Raises
    ------
    CorruptBlockError
        If a section is unknown, comes twice or is cut short, or the values are absent.
    """
    cursor, sections = Cursor(data), {}
    while True:
        id = cursor.byte()
        if (id not in SECTIONS and id < _OPTIONAL) or id in sections:
            raise CorruptBlockError(f"has section {id}, unknown or for the second time")
        sections[id] = Cursor(cursor.rest()) if id == VALUES else cursor.sized()
        if id == VALUES:
            return sections


def decode_payload(
    header: BlockHeader, data: memoryview
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Decode the rows of a block.

    Parameters
    ----------
    header : BlockHeader
    data : memoryview
        The verified payload.

    Returns
    -------
    values : ndarray, shape (rows,)
        Of the column's dtype; the fill value where missing.
    valid : ndarray of bool, shape (rows,), or None
        None when no row is missing.

    Raises
    ------
    CorruptBlockError
        If the payload cannot be what an encoder wrote.
    """
    dtype, rows = header.dtype, header.rows
    if rows == 0:
        Cursor(data).finish()
        return np.empty(0, dtype), None
    sections = split_payload(data)
    cursor = sections[VALUES]
    transform = read_transform(header.transform, cursor, rows, dtype)
    finish = finish_for(transform, header)
    values, _ = decode_series(header.predictor, header.entropy, cursor, rows, finish)
    if CORRECTIONS in sections:
        apply_corrections(sections[CORRECTIONS], values)
    if REPEATED in sections:
        repeated = _read_value(sections[REPEATED], dtype)
        values[read_mask(sections[REPEATED], rows)] = repeated
    valid = None
    if MISSING in sections:
        missing = read_mask(sections[MISSING], rows)
        values[missing] = fill_value(dtype)
        valid = ~missing
    for id in SECTIONS.keys() & sections.keys():
        sections[id].finish()
    return values, valid


def _read_value(cursor: Cursor, dtype: np.dtype[Any]) -> NDArray[Any]:
    flag = cursor.byte()
    if flag > 1:
        raise CorruptBlockError(f"has a repeated value of kind {flag}")
    if flag == 0:
        return np.full(1, fill_value(dtype), dtype)
    bits = np.frombuffer(cursor.take(dtype.itemsize), f"<u{dtype.itemsize}").astype(np.uint64)
    return Identity().inverse(bits, dtype)
