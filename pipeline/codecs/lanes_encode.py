"""The encoder's half of `pipeline.codecs.lanes`: numbers to a laned stream.

What it decides (predictor, lanes, bins, contexts, outliers) only has an effect on size and speed;
the decoder is told all of it, so decisions may improve without touching the format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import signed_varint, varint
from pipeline.codecs.lanes import (
    LANES,
    MAX_STATE_BITS,
    MOST_GROUPS,
    MOST_OUTLIERS,
    MOST_PLANES,
    PAIRS,
    PLANES,
    LanePredictor,
)
from pipeline.codecs.lanes_apart import Apart, look_apart, pair_up, tokens_apart
from pipeline.codecs.streams import lengths_of

__all__ = ["LOOK", "Known", "Modelled", "model_lanes"]

BINS_OF_ROWS, BINS_OF_NUMBERS, BINS_OF_PAIRS = range(3)
"""Layouts: what suits the residuals; a bin for each number, low bits apart; for each pair of it."""


class Known(NamedTuple):
    """What is known of numbers from others like them.

    Attributes
    ----------
    layout : int
        Of the bins; -1 if any may be best.
    scheme : int
        Of contexts, -1 for none, -2 to look for one.
    state_bits : int
        0 if any may be best.
    """

    layout: int = -1
    scheme: int = -2
    state_bits: int = 0

    def of(self, layout: int) -> Known:
        """Return what is known of bins of a layout."""
        return self if layout == self.layout else LOOK


LOOK: Final = Known()
"""Nothing is known."""

_TABLED: Final = 1 << 16
"""Residuals that span less are counted one by one; wider ones are judged by a sorted sample."""

_FEW: Final = 2048
_MANY: Final = 8192
_FAR: Final = 64
_ROWS_PER_OUTLIER: Final = 64
_LOW_FROM: Final = 21
_HIGH_BITS: Final = 16
_BASE_BITS: Final = 37
_WIDE_BITS: Final = 16
"""Low bits that always stand apart where numbers need all 64: the rest is a signed number."""
_BIN_BITS: Final = 12.0
_STATES: Final = 64
_FEW_STATES: Final = 8
_STATE_ROWS: Final = 16
_OFTEN: Final = 32
"""Few distinct residuals, and up to `_STATES` if the rarest comes this often, have a bin each:
contexts tell states apart that come equally often, and bins without plain bits are decoded
faster."""
_PAIRS_MAY_COST: Final = 1.02
_FEW_PAIRS: Final = 64
"""Tables of more bins in several contexts take as long to lay out as they save in the stream."""
_LEAST_IN_PLANES: Final = 4096
_LINE: Final = 16
"""Steps of four lanes whose low bits fill words of 64 bits, as many as there are low bits."""
_EACH_MAY_COST: Final = 1.016
"""Times what takes least that a layout may, because it is faster to decode."""
_OUTLIER_BITS: Final = 32.0
_ROW_BITS: Final = 11.0
_LEAST_SPLIT: Final = 1024
"""Fewer rows than this stand in one lane: four states would cost more than they save in time."""
_PADDING: Final = 2
_TABLE_WORDS: Final = 2048
_NO_ROWS: Final = np.empty(0, np.int64)
_NO_BITS: Final = np.empty(0, np.uint64)
_HEAD_BITS: Final = 4 * 40
"""What the head of a group takes, at most half a percent of it."""


@dataclass(frozen=True)
class _Residuals:
    """What a predictor leaves, its outliers pulled out.

    Attributes
    ----------
    values : ndarray of int64, shape (rows,)
    smallest, largest : int
    begins : ndarray of int64, shape (lanes, 2)
    lane : int
    outlier_rows, outliers : ndarray of int64
    sample : ndarray of int64 or None
        Some of the residuals, sorted, where they span too much to be counted.
    """

    values: NDArray[np.int64]
    smallest: int
    largest: int
    begins: NDArray[np.int64]
    lane: int
    outlier_rows: NDArray[np.int64]
    outliers: NDArray[np.int64]
    sample: NDArray[np.int64] | None


@dataclass(frozen=True)
class _Model:
    """How often bins come in which context, and what that makes of the rows.

    Attributes
    ----------
    tokens, contexts : ndarray of uint8, shape (rows,) or, of pairs, (rows / 2,)
    table : tuple of ndarray of int64
        Sizes (`pipeline.codecs.kernels.bins_model`), bases, extras, kinds, moves and frequencies
        (`pipeline.codecs.kernels.bins_table`).
    bits : float
        What table and rows will take.
    pair_bits, smallest : int
        0, or bits of a residual in a pair; what they are counted from.
    planes : int
        Low bits of every residual that lie in planes.
    dropped : ndarray of int64 or None
        Rows whose residual has no bin.
    layout : int
    """

    tokens: NDArray[np.uint8]
    contexts: NDArray[np.uint8]
    table: tuple[NDArray[np.int64], ...]
    bits: float
    pair_bits: int = 0
    smallest: int = 0
    planes: int = 0
    dropped: NDArray[np.int64] | None = None
    layout: int = BINS_OF_ROWS

    @property
    def plain(self) -> bool:
        """Whether no bin has plain bits."""
        return not self.table[2].any()


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
    _residuals: _Residuals
    _low: int
    _low_bits: NDArray[np.uint64]
    _model: _Model
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
    rest = _predict(numbers, predictor, _lane_rows(rows, bits))
    if low:  # what is kept apart is whole: its row's low bits are not added to it
        below = low_bits[rest.outlier_rows].view(np.int64)
        rest = replace(rest, outliers=(rest.outliers << low) | below)
    more = _low_bits(rest)
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
        model = _shortest(rest, contexts, known, MOST_PLANES - low)
        bits = model.bits + rows * low
        rest = _with_dropped(rest, model.dropped, whole)
        model, low, low_bits = replace(model, planes=model.planes + low), 0, _NO_BITS
    else:
        model = _single(rest, rest.smallest, rest.largest, contexts, known)
        bits = model.bits + rows * low
    bits += _outlier_bits(rest.outliers) + 40.0 * rest.begins.shape[0]
    return Modelled(predictor, bits, rest, low, low_bits, model, whole)


def _outlier_bits(outliers: NDArray[np.int64]) -> float:
    """Return what outliers take: some bits for each one's row, and LEB128 of it."""
    lengths = np.log2(2.0 * np.abs(outliers.astype(np.float64)) + 2.0)
    return float((_ROW_BITS + 8.0 * np.ceil(lengths / 7.0)).sum())


def _in_planes(rest: _Residuals) -> bool:
    """Tell whether low bits may lie in planes: four lanes have to be long enough."""
    return rest.values.size >= _LEAST_IN_PLANES and rest.lane % 2 == 0


def _shortest(rest: _Residuals, contexts: int, known: Known, most: int) -> _Model:
    """Return the bins that take least, or a little more if they are faster to decode.

    They set at most `most` bits apart.
    """
    if known.layout == BINS_OF_ROWS:
        return _single(rest, rest.smallest, rest.largest, contexts, known)
    apart = look_apart(rest.values, rest.smallest, rest.largest, most)
    pairs = each = None
    if known.layout != BINS_OF_NUMBERS:
        pairs = _pairs(rest, contexts, apart, known)
        if pairs is not None and known.layout == BINS_OF_PAIRS:
            return pairs
    if apart.low >= 0:
        each = _each(rest, apart, known)
        if known.layout == BINS_OF_NUMBERS:
            return each
    best = _single(rest, rest.smallest, rest.largest, contexts, known)
    if pairs is not None and pairs.bits < _PAIRS_MAY_COST * best.bits:
        return pairs
    return each if each is not None and each.bits < _EACH_MAY_COST * best.bits else best


def _with_dropped(
    rest: _Residuals, dropped: NDArray[np.int64] | None, whole: NDArray[np.int64]
) -> _Residuals:
    """Return the residuals with more outliers, whole ones; those there were stay what they are."""
    if dropped is None or not dropped.size:
        return rest
    more = np.setdiff1d(dropped, rest.outlier_rows)
    rows = np.concatenate((rest.outlier_rows, more))
    outliers = np.concatenate((rest.outliers, whole[more]))
    order = np.argsort(rows)
    return replace(rest, outlier_rows=rows[order], outliers=outliers[order])


def _each(rest: _Residuals, apart: Apart, known: Known) -> _Model:
    """Return a bin for every number that is left without the low bits set apart."""
    tokens, numbers = tokens_apart(rest.values, apart)
    bases, extras = np.zeros(256, np.int64), np.zeros(256, np.int64)
    bases[: numbers.size] = numbers
    model = _model(tokens, rest.lane, numbers.size, bases, extras, 1, known.of(BINS_OF_NUMBERS))
    bits = model.bits + apart.low * rest.values.size
    return replace(model, layout=BINS_OF_NUMBERS, planes=apart.low, bits=bits)


def _single(rest: _Residuals, smallest: int, largest: int, contexts: int, known: Known) -> _Model:
    """Return a bin for every residual."""
    values, counts, scale = _count(rest.values, smallest, largest)
    bases, extras = np.zeros(256, np.int64), np.zeros(256, np.int64)
    rows, span = rest.values.size, largest - smallest
    few = values.size <= _FEW_STATES and rows >= _STATE_ROWS * values.size
    if few or (values.size <= _STATES and counts.min() >= _OFTEN):
        bins = values.size
        bases[:bins] = values
    else:
        bin_bits = _BIN_BITS + 0.5 * span.bit_length()
        most = min(255, 1 << (_state_bits(rows) - 1))
        bins = kernel("bins_plan", "plan_bins")(
            values, counts, scale, bin_bits, most, bases, extras
        )
    tokens = scratch.empty(rows, np.uint8)
    kernel("bins_plan", "assign_bins")(
        rest.values, np.int64(smallest), np.int64(span), bins, bases, extras, scale == 1.0, tokens
    )
    return _model(tokens, rest.lane, bins, bases, extras, contexts, known.of(BINS_OF_ROWS))


def _pairs(rest: _Residuals, contexts: int, apart: Apart, known: Known) -> _Model | None:
    """Return a bin for every two residuals, if few pairs come: half as much work to decode."""
    pairs = pair_up(rest.values, apart)
    if pairs is None or rest.outliers.size + pairs.dropped.size > MOST_OUTLIERS:
        return None
    bases = np.zeros(256, np.int64)
    bases[: pairs.bases.size] = pairs.bases
    extras = np.zeros(256, np.int64)
    known = known.of(BINS_OF_PAIRS)
    contexts = contexts if pairs.bases.size <= _FEW_PAIRS else 1
    model = _model(pairs.tokens, rest.lane // 2, pairs.bases.size, bases, extras, contexts, known)
    bits = model.bits + pairs.low * rest.values.size + _OUTLIER_BITS * pairs.dropped.size
    return replace(
        model, bits=bits, pair_bits=pairs.bits, smallest=pairs.smallest, planes=pairs.low,
        dropped=pairs.dropped, layout=BINS_OF_PAIRS,
    )  # fmt: skip


def _model(
    tokens: NDArray[np.uint8],
    lane: int,
    bins: int,
    bases: NDArray[np.int64],
    extras: NDArray[np.int64],
    contexts: int,
    known: Known,
) -> _Model:
    counts, frequencies = np.zeros((2, 8, 256), np.int64)
    kinds, moves = np.zeros(256, np.int64), np.zeros((8, 8), np.int64)
    seen = scratch.empty(tokens.size, np.uint8)
    # Every bin needs a state, however few the rows are.
    width = max(_state_bits(tokens.size), (bins - 1).bit_length() + 1) if bins > 1 else 0
    sizes = np.array([width, contexts if bins > 1 else 1, bins, *known[1:]], np.int64)
    bits = kernel("bins_model", "model_bins")(
        tokens, lane, sizes, extras, counts, frequencies, kinds, moves, seen
    )
    bits += _gap_bits(bases[:bins], extras[:bins])
    return _Model(tokens, seen, (sizes, bases, extras, kinds, moves, frequencies), bits)


def _gap_bits(bases: NDArray[np.int64], extras: NDArray[np.int64]) -> float:
    """Return what gaps between bins take in a table, beyond the bit of those that touch."""
    gaps = ((bases[1:] - bases[:-1] - 1) >> extras[:-1]).astype(np.float64)
    return float(2.0 * np.floor(np.log2(gaps + 1.0)).sum())


def _lane_rows(rows: int, bits: float) -> int:
    """Return the rows of a lane: one lane, four, or so many groups that heads cost little."""
    if rows < _LEAST_SPLIT:
        return rows
    groups = int(max(1, min(rows // 16384, rows * bits / (200 * _HEAD_BITS), MOST_GROUPS)))
    lane = -(-rows // (LANES * groups))
    return lane + lane % 2


def _state_bits(rows: int) -> int:
    return 4 + min(7, max(1, rows.bit_length() - 9))


def _predict(numbers: NDArray[np.int64], predictor: LanePredictor, lane: int) -> _Residuals:
    values = scratch.empty(numbers.size, np.int64)
    begins = np.zeros((-(-numbers.size // lane), 2), np.int64)
    extremes = np.empty(2, np.int64)
    kernel("lanes", "predict")(
        numbers, lane, predictor.id, predictor.shift, np.int64(predictor.period),
        values, begins, extremes,
    )  # fmt: skip
    smallest, largest = extremes.tolist()
    if largest - smallest < _TABLED:
        return _Residuals(values, smallest, largest, begins, lane, _NO_ROWS, _NO_ROWS, None)
    return _pull_outliers(values, smallest, largest, begins, lane)


def _pull_outliers(
    values: NDArray[np.int64], smallest: int, largest: int, begins: NDArray[np.int64], lane: int
) -> _Residuals:
    """Set residuals apart that are few and so far off that bins would have to stretch."""
    few = np.sort(values[:: max(1, values.size // _FEW)])
    cut = max(1, few.size // 512)
    low, high = int(few[cut if few.size > 16 else 0]), int(few[-1 - cut if few.size > 16 else -1])
    margin = high - low + 1
    low, high = max(smallest, low - margin), min(largest, high + margin)
    count, rows, outliers = 0, _NO_ROWS, _NO_ROWS
    if largest - smallest > _FAR * (high - low + 1):
        most = min(MOST_OUTLIERS, max(2, values.size // _ROWS_PER_OUTLIER))
        rows, outliers = np.empty(most, np.int64), np.empty(most, np.int64)
        count = kernel("lanes", "pull_outliers")(
            values, np.int64(low), np.int64(high), few[few.size // 2], rows, outliers
        )
    if count <= 0:
        return _Residuals(values, smallest, largest, begins, lane, _NO_ROWS, _NO_ROWS, few)
    smallest, largest = int(values.min()), int(values.max())
    return _Residuals(
        values, smallest, largest, begins, lane, rows[:count].copy(), outliers[:count].copy(), few
    )


def _low_bits(rest: _Residuals) -> int:
    """Return how many low bits are mere noise, which no bin could shorten.

    Residuals that are far from zero, however close together, give up the bits that the base of
    a bin cannot hold: steps of an hour in nanoseconds are.
    """
    length = (rest.largest - rest.smallest).bit_length()
    farthest = max(abs(rest.smallest), abs(rest.largest)).bit_length()
    least = max(0, length - _BASE_BITS, farthest - _BASE_BITS - 1)
    if rest.sample is None or length <= _LOW_FROM:
        return least
    distinct = 1 + np.count_nonzero(rest.sample[1:] != rest.sample[:-1])
    return max(least, length - _HIGH_BITS) if distinct > 0.98 * rest.sample.size else least


def _count(
    values: NDArray[np.int64], smallest: int, largest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Return distinct residuals, ascending, their counts, and rows per row counted."""
    span = largest - smallest
    if span < _TABLED:
        distinct = np.empty((2, min(values.size, span + 1)), np.int64)
        found = kernel("bins_plan", "count_values")(
            values, np.int64(smallest), np.zeros(span + 1, np.int32), distinct[0], distinct[1]
        )
        return distinct[0, :found], distinct[1, :found], 1.0
    few = np.append(values[:: max(1, values.size // _MANY)], (smallest, largest))
    few.sort()
    edges = np.flatnonzero(np.append(True, few[1:] != few[:-1]))
    return few[edges], lengths_of(edges, few.size), values.size / few.size
