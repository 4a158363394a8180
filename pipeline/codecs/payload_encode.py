"""The encoder's half of `pipeline.codecs.payload`: from a column to sections."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.choose import estimate_bits
from pipeline.codecs.choose_transform import recall_transform
from pipeline.codecs.cursor import signed_varint, sized, varint
from pipeline.codecs.entropy import BIT_PLANES, ENTROPY, RAW
from pipeline.codecs.header import BlockStatistics
from pipeline.codecs.images import image
from pipeline.codecs.mappings import Mapped
from pipeline.codecs.memory import Memory, parts_of
from pipeline.codecs.multiples import as_multiples
from pipeline.codecs.payload import ABSENT, CORRECTIONS, DROPPED, MISSING, REPEATED, VALUES
from pipeline.codecs.pieces import PIECES, write_pieces
from pipeline.codecs.plain_encode import PlainStream, encode_plain
from pipeline.codecs.predictors import Predictor
from pipeline.codecs.recipes import Recipe
from pipeline.codecs.scaling import Scaled, scale_down
from pipeline.codecs.sections import write_corrections, write_mask
from pipeline.codecs.series import INHERITED, LIST
from pipeline.codecs.series_encode import Series, encode_series, repeat_series
from pipeline.codecs.statistics import Pieces
from pipeline.codecs.streams import encode_stream
from pipeline.codecs.transforms import Arithmetic, Dictionary, Identity
from pipeline.model.dtypes import fill_value

__all__ = ["Payload", "encode_payload"]

_FEW_GAPS: Final = 32
"""Rows per row without a value from which on these are held in the stream: taking them out of
it and putting them back costs more time than they do."""

_MANY_MISFITS: Final = 8
"""Rows per row that arithmetic does not bring back from which on multiples are tried."""

_MANY_ENTRIES: Final = 1024
_MUCH: Final = 1.125

_SHORT: Final = 512  # bytes that a few more would still make longer
_PIECES_SHARE: Final = 100
"""Bytes of the payload per byte that statistics of its pieces may take."""


@dataclass(frozen=True)
class Payload:
    """Encoded rows.

    Attributes
    ----------
    stages : tuple of int
        Ids of transform, predictor and entropy stage.
    body : bytes
    scale : int
        Whole numbers: all values are multiples of it above the smallest.
    series : int
        Bytes of the series, with which `body` ends.
    head : int
        Bytes of offset and scale, with which the series begins; 0 if no header can tell them.
    """

    stages: tuple[int, int, int]
    body: bytes
    scale: int = 1
    series: int = 0
    head: int = 0

    def without_head(self) -> Payload:
        """Return the payload that leaves offset and scale to the header."""
        transform, predictor, entropy = self.stages
        at = len(self.body) - self.series
        body = self.body[:at] + self.body[at + self.head :]
        return Payload((transform, predictor, entropy | INHERITED), body, self.scale)


def encode_payload(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    statistics: BlockStatistics,
    pieces: Pieces,
    recipe: Recipe,
    memory: Memory | None,
) -> Payload:
    """Encode a column, whatever its values.

    Parameters
    ----------
    values : ndarray, shape (rows,), at least one row
    valid : ndarray of bool, shape (rows,), or None
        At least one True.
    statistics, pieces : BlockStatistics, Pieces
        Of the same rows.
    recipe : Recipe
        What may be tried.
    memory : Memory or None
        Of the column.
    """
    gaps, held = b"", values
    if valid is not None:
        id, held = _without(values, valid, MISSING, ABSENT)
        with parts_of(memory, "gaps"):
            gaps = _section(id, write_mask(~valid))
    payload = None
    if recipe.stage != RAW:
        payload = _encode_values(held, statistics, recipe, memory)
    if payload is None or len(payload.body) > held.nbytes:
        payload = _encode_raw(held)
    body = gaps + payload.body
    told = None
    if payload.stages[2] != RAW:  # what cannot be compressed must not grow
        told = write_pieces(values, valid, len(body) // _PIECES_SHARE, pieces)
    return replace(payload, body=body if told is None else _section(PIECES, told) + body)


def _section(id: int, body: bytes) -> bytes:
    return bytes((id,)) + sized(body)


def _without(
    values: NDArray[Any], keep: NDArray[np.bool_], held: int, left_out: int
) -> tuple[int, NDArray[Any]]:
    """Return the column with other rows than those kept held or left out, and that section's id."""
    others = keep.size - int(np.count_nonzero(keep))
    if _FEW_GAPS * others < keep.size:
        return held, _hold(values, keep)
    bits, kept = f"u{values.dtype.itemsize}", keep.size - others
    picked = scratch.empty(kept + 1, bits)
    kernel("block_rows", "pick")(values.view(bits), _owned(keep), picked)
    return left_out, picked[:kept].view(values.dtype)


def _hold(values: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """Replace rows that are not kept by the kept row before them (or the first one)."""
    bits = f"u{values.dtype.itemsize}"
    held = scratch.empty(values.size, bits)
    kernel("block_rows", "hold")(values.view(bits), _owned(keep), held)
    return held.view(values.dtype)


def _owned(keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return an array of the one layout that kernels are compiled for."""
    return keep if keep.flags.carray else keep.copy()


def _encode_values(
    values: NDArray[Any], statistics: BlockStatistics, recipe: Recipe, memory: Memory | None
) -> Payload:
    body = b""
    repeated = _repeated_rows(values, statistics)
    if repeated is not None:
        row = int(np.argmax(repeated))
        one = _value_bytes(values[row : row + 1])
        id, values = _without(values, ~repeated, REPEATED, DROPPED)
        with parts_of(memory, "repeated"):
            body = _section(id, one + write_mask(repeated))
    if not values.size:
        return Payload((0, 0, 0), body + bytes((VALUES,)))
    mapped, series = _mapped_series(values, recipe, memory)
    stream = series.stream
    if mapped.misfits.size:
        rows = mapped.misfits
        numbers = mapped.numbers[rows].view(np.uint64)
        restored = mapped.transform.inverse(numbers, values.dtype)
        with parts_of(memory, "corrections"):
            corrections = write_corrections(values[rows], restored, rows, values.size)
        body += _section(CORRECTIONS, corrections)
    stages = (mapped.transform.id, stream.predictor, stream.entropy)
    with parts_of(memory, "transform"):
        body += bytes((VALUES,)) + mapped.transform.write() + stream.body
    if mapped.transform.id != Identity.id or repeated is not None:
        return Payload(stages, body)
    head = 0
    if stream.entropy != LIST and series.offset == statistics.min and len(body) < _SHORT:
        head = len(signed_varint(series.offset) + varint(series.scale))
    return Payload(stages, body, series.scale, len(stream.body), head)


def _mapped_series(
    values: NDArray[Any], recipe: Recipe, memory: Memory | None
) -> tuple[Mapped, Series]:
    """Return values as numbers, and their series.

    What suited the block before is taken for both, or both are looked for anew: another series
    is a sign that another transform suits, too.
    """
    quick = not recipe.computed
    before = memory.transform if memory is not None else None
    mapped, plan = recall_transform(values, estimate_bits, before, quick=quick)
    mapped = _without_corrections(mapped, values)
    series = None
    if memory is not None and before is not None and plan.mapping is before.mapping:
        series = repeat_series(mapped.numbers, mapped.bounds, recipe, memory)
        if series is None and plan.left < before.left:
            mapped, plan = recall_transform(values, estimate_bits, quick=quick)
            mapped = _without_corrections(mapped, values)
    if memory is not None:
        memory.transform = plan
    series = series or encode_series(mapped.numbers, mapped.bounds, recipe, memory)
    return _without_dictionary(mapped, series, values)


def _without_dictionary(
    mapped: Mapped, series: Series, values: NDArray[Any]
) -> tuple[Mapped, Series]:
    """Return whole numbers as themselves where looking them up would not save much.

    Numbers in as many planes take an eighth more bytes at most, and two thirds of the time: a
    look-up takes as long as a predictor, and reading thousands of entries does once more.
    """
    transform, stream = mapped.transform, series.stream
    if not isinstance(transform, Dictionary) or not isinstance(stream, PlainStream):
        return mapped, series
    whole = values.dtype.kind in "iu" and isinstance(transform.base, Identity)
    if not whole or stream.entropy != BIT_PLANES or transform.entries.size < _MANY_ENTRIES:
        return mapped, series
    numbers = image(values)
    scaled = scale_down(numbers)
    if int(scaled.multiples.max()).bit_length() > stream.width:
        return mapped, series
    most = _MUCH * (len(stream.body) + len(transform.write()))
    for order in range(stream.predictor + 1):
        own = encode_plain(scaled, order, stream.entropy)
        if len(own.body) <= most:
            itself = Mapped(Identity(), numbers, mapped.misfits)
            return itself, Series(own, scaled.offset, scaled.scale)
    return mapped, series


def _without_corrections(mapped: Mapped, values: NDArray[Any]) -> Mapped:
    """Return the column as multiples where arithmetic would have to be corrected in many rows."""
    transform, few = mapped.transform, _MANY_MISFITS * mapped.misfits.size < values.size
    if few or not isinstance(transform, Arithmetic) or values.dtype.itemsize != 8:
        return mapped
    found = as_multiples(values, transform, mapped.numbers)
    return mapped if found is None else Mapped(*found, mapped.misfits[:0])


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
