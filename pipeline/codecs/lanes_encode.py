"""The encoder's half of `pipeline.codecs.lanes`: numbers to a laned stream.

What it decides (predictor, lanes, bins, contexts, outliers) only has an effect on size and speed;
the decoder is told all of it, so decisions may improve without touching the format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import signed_varint, varint
from pipeline.codecs.lanes import (
    LANES,
    MAX_STATE_BITS,
    PAIRS,
    PLANES,
    LanePredictor,
)
from pipeline.codecs.lanes_bins import (
    LOOK,
    BinModel,
    Known,
    bins_of_rows,
    shortest_bins,
)
from pipeline.codecs.lanes_residuals import (
    Residuals,
    lane_rows,
    noise_bits,
    predict,
    with_dropped,
)

__all__ = ["Modelled", "model_lanes"]

_WIDE_BITS: Final = 16
"""Low bits that always stand apart where numbers need all 64: the rest is a signed number."""
_LEAST_IN_PLANES: Final = 4096
_LINE: Final = 16
"""Steps of four lanes whose low bits fill words of 64 bits, as many as there are low bits."""
_ROW_BITS: Final = 11.0
_PADDING: Final = 2
_TABLE_WORDS: Final = 2048
_NO_ROWS: Final = np.empty(0, np.int64)
_NO_BITS: Final = np.empty(0, np.uint64)


@dataclass(frozen=True)
class Modelled:
    """Rows with everything decided that a laned stream needs; its size is known but for bytes.

    Attributes
    ----------
    predictor : LanePredictor
    bits : float
        What the stream will take.
    """

    predictor: LanePredictor
    bits: float
    _residuals: Residuals
    _low: int
    _low_bits: NDArray[np.uint64]
    _model: BinModel
    _whole: NDArray[np.int64]

    @property
    def contexts(self) -> int:
        """How many contexts there are."""
        return int(self._model.table[0][1])

    @property
    def known(self) -> Known:
        """What others like these numbers should know."""
        sizes = self._model.table[0]
        return Known(self._model.layout, int(sizes[3]), int(sizes[0]))

    @property
    def tokens(self) -> NDArray[np.uint8]:
        """The bin of every row, or of every two rows."""
        return self._model.tokens

    def write(self) -> bytes:
        """Return the stream behind offset and scale."""
        rest, model = self._residuals, self._model
        step = 2 if model.pair_bits else 1
        sizes, bases, extras, *others = model.table
        groups = np.empty(-(-rest.values.size // (LANES * rest.lane)), np.int64)
        widest = int(extras.max()) + MAX_STATE_BITS + self._low
        capacity = rest.values.size * widest // 64 + 4 * rest.begins.shape[0] + _TABLE_WORDS
        words = scratch.empty(capacity, np.uint64)
        words.fill(0)
        start = int(kernel("bins_encode", "write_lanes")(
            _NO_ROWS if model.plain else rest.values, model.tokens, model.contexts,
            rest.lane // step, self.predictor.id, rest.begins, self._low, self._low_bits,
            sizes, bases, bases, extras, *others, words, groups,
        ))  # fmt: skip
        data = words.view(np.uint8)[start >> 3 : -8 * _PADDING]
        head = [self.predictor.write(), self._layout(start & 7)]
        head += [varint(rest.lane), _write_outliers(rest.outlier_rows, rest.outliers)]
        head.extend(varint(size) for size in groups[:-1].tolist())
        return b"".join((*head, data, self._planes()))

    def _layout(self, before: int) -> bytes:
        """Return what tells of low bits and pairs, and of so many bits before the stream."""
        model = self._model
        if not (model.pair_bits or model.planes):
            return varint(8 * self._low + before)
        told = varint(8 * PAIRS + before)
        if model.planes:
            told += varint(PLANES | model.pair_bits) + bytes((model.planes,))
        else:
            told += bytes((model.pair_bits,))
        return told + (signed_varint(model.smallest) if model.pair_bits else b"")

    def _planes(self) -> bytes:
        """Return the low bits that lie in planes."""
        low, rest = self._model.planes, self._residuals
        if not low:
            return b""
        groups, left = divmod(rest.values.size, LANES * rest.lane)
        lines = groups * -(-rest.lane // _LINE) + -(-min(rest.lane, left) // _LINE)
        words = np.zeros(lines * low, np.uint64)
        kernel("bins_apart", "pack_planes")(self._whole, low, rest.lane, words)
        return words.tobytes()


def _write_outliers(rows: NDArray[np.int64], residuals: NDArray[np.int64]) -> bytes:
    places = [0, *rows.tolist()]
    listed = [varint(rows.size)]
    for before, row, residual in zip(places, places[1:], residuals.tolist(), strict=False):
        listed.append(varint(row - before) + signed_varint(residual))
    return b"".join(listed)


def model_lanes(
    numbers: NDArray[np.int64],
    predictor: LanePredictor,
    bits: float,
    contexts: int = 8,
    *,
    wide: bool = False,
    known: Known = LOOK,
) -> Modelled:
    """Decide how to write `numbers` as a laned stream.

    Parameters
    ----------
    numbers : ndarray of int64, shape (rows,)
        Not negative; below 2**62 for differences, below 2**50 for smoothing and grid.
    predictor : LanePredictor
    bits : float
        Estimated bits per row, which decide how many groups there are.
    contexts : int
        Most contexts.
    wide : bool
        Some numbers take 64 bits, and are negative; only without a predictor.
    known : Known
        `Modelled.known` of numbers like these: saves looking for contexts and a table's size.
    """
    rows = numbers.size
    low, low_bits = 0, _NO_BITS
    if wide:
        low, low_bits = _WIDE_BITS, numbers.view(np.uint64) & np.uint64((1 << _WIDE_BITS) - 1)
        numbers = (numbers.view(np.uint64) >> np.uint64(_WIDE_BITS)).view(np.int64)
    rest = predict(numbers, predictor, lane_rows(rows, bits))
    if low:  # what is kept apart is whole: its row's low bits are not added to it
        below = low_bits[rest.outlier_rows].view(np.int64)
        rest = replace(rest, outliers=(rest.outliers << low) | below)
    more = noise_bits(rest)
    if more:
        noise = rest.values.view(np.uint64) & np.uint64((1 << more) - 1)
        low_bits = (noise << np.uint64(low)) | low_bits if low else noise
        low += more
        np.right_shift(rest.values, more, out=rest.values)
        rest = replace(rest, smallest=rest.smallest >> more, largest=rest.largest >> more)
    whole = rest.values
    if _in_planes(rest):
        if low:
            whole = (rest.values << low) | low_bits.view(np.int64)
        model = shortest_bins(rest, contexts, known, low)
        bits = model.bits + rows * low
        rest = with_dropped(rest, model.dropped, whole)
        model, low, low_bits = replace(model, planes=model.planes + low), 0, _NO_BITS
    else:
        model = bins_of_rows(rest, rest.smallest, rest.largest, contexts, known)
        bits = model.bits + rows * low
    bits += _outlier_bits(rest.outliers) + 40.0 * rest.begins.shape[0]
    return Modelled(predictor, bits, rest, low, low_bits, model, whole)


def _outlier_bits(outliers: NDArray[np.int64]) -> float:
    """Return what outliers take: some bits for each one's row, and LEB128 of it."""
    lengths = np.log2(2.0 * np.abs(outliers.astype(np.float64)) + 2.0)
    return float((_ROW_BITS + 8.0 * np.ceil(lengths / 7.0)).sum())


def _in_planes(rest: Residuals) -> bool:
    """Tell whether low bits may lie in planes: four lanes have to be long enough."""
    return rest.values.size >= _LEAST_IN_PLANES and rest.lane % 2 == 0
