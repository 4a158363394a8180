"""Which bins residuals are sorted into: one for a range, for each number, or for two rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.lanes import MOST_OUTLIERS
from pipeline.codecs.lanes_apart import Apart, look_apart, pair_up, tokens_apart
from pipeline.codecs.lanes_residuals import TABLED, Residuals
from pipeline.codecs.streams import lengths_of

__all__ = [
    "BINS_OF_NUMBERS",
    "BINS_OF_PAIRS",
    "BINS_OF_ROWS",
    "LOOK",
    "BinModel",
    "Known",
    "bins_of_rows",
    "shortest_bins",
]

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

_MANY: Final = 8192
_BIN_BITS: Final = 12.0
_STATES: Final = 64
_FEW_STATES: Final = 8
_STATE_ROWS: Final = 16
_OFTEN: Final = 32
"""Few distinct residuals, and up to `_STATES` if the rarest comes this often, have a bin each:
contexts tell states apart that come equally often, and bins without plain bits are decoded
faster."""
_PAIRS_MAY_COST: Final = 1.03
_FEW_PAIRS: Final = 64
"""Tables of more bins in several contexts take as long to lay out as they save in the stream."""
_EACH_MAY_COST: Final = 1.016
"""Times what takes least that a layout may, because it is faster to decode."""
_OUTLIER_BITS: Final = 32.0


@dataclass(frozen=True)
class BinModel:
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


def shortest_bins(rest: Residuals, contexts: int, known: Known, below: int) -> BinModel:
    """Return the bins that take least, or a little more if they are faster to decode.

    Of the residuals `below` low bits have been set apart before.
    """
    if known.layout == BINS_OF_ROWS:
        return bins_of_rows(rest, rest.smallest, rest.largest, contexts, known)
    apart = look_apart(rest.values, rest.smallest, rest.largest, below)
    pairs = each = None
    if known.layout != BINS_OF_NUMBERS:
        pairs = _pairs(rest, contexts, apart, known)
        if pairs is not None and known.layout == BINS_OF_PAIRS:
            return pairs
    if apart.low >= 0:
        each = _each(rest, apart, known)
        if known.layout == BINS_OF_NUMBERS:
            return each
    best = bins_of_rows(rest, rest.smallest, rest.largest, contexts, known)
    if pairs is not None and pairs.bits < _PAIRS_MAY_COST * best.bits:
        return pairs
    return each if each is not None and each.bits < _EACH_MAY_COST * best.bits else best


def _each(rest: Residuals, apart: Apart, known: Known) -> BinModel:
    """Return a bin for every number that is left without the low bits set apart."""
    tokens, numbers = tokens_apart(rest.values, apart)
    bases, extras = np.zeros(256, np.int64), np.zeros(256, np.int64)
    bases[: numbers.size] = numbers
    model = _model(tokens, rest.lane, numbers.size, bases, extras, 1, known.of(BINS_OF_NUMBERS))
    bits = model.bits + apart.low * rest.values.size
    return replace(model, layout=BINS_OF_NUMBERS, planes=apart.low, bits=bits)


def bins_of_rows(
    rest: Residuals, smallest: int, largest: int, contexts: int, known: Known
) -> BinModel:
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


def _pairs(rest: Residuals, contexts: int, apart: Apart, known: Known) -> BinModel | None:
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
) -> BinModel:
    counts, frequencies = np.zeros((2, 8, 256), np.int64)
    kinds, moves = np.zeros(256, np.int64), np.zeros((8, 8), np.int64)
    seen = scratch.empty(tokens.size, np.uint8)
    # every bin needs a state, or they are given out for ever
    width = max(_state_bits(tokens.size), (bins - 1).bit_length() + 1) if bins > 1 else 0
    sizes = np.array([width, contexts if bins > 1 else 1, bins, *known[1:]], np.int64)
    bits = kernel("bins_model", "model_bins")(
        tokens, lane, sizes, extras, counts, frequencies, kinds, moves, seen
    )
    bits += _gap_bits(bases[:bins], extras[:bins])
    return BinModel(tokens, seen, (sizes, bases, extras, kinds, moves, frequencies), bits)


def _gap_bits(bases: NDArray[np.int64], extras: NDArray[np.int64]) -> float:
    """Return what gaps between bins take in a table, beyond the bit of those that touch."""
    gaps = ((bases[1:] - bases[:-1] - 1) >> extras[:-1]).astype(np.float64)
    return float(2.0 * np.floor(np.log2(gaps + 1.0)).sum())


def _state_bits(rows: int) -> int:
    return 4 + min(7, max(1, rows.bit_length() - 9))


def _count(
    values: NDArray[np.int64], smallest: int, largest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], float]:
    """Return distinct residuals, ascending, their counts, and rows per row counted."""
    span = largest - smallest
    if span < TABLED:
        distinct = np.empty((2, min(values.size, span + 1)), np.int64)
        found = kernel("bins_plan", "count_values")(
            values, np.int64(smallest), np.zeros(span + 1, np.int32), distinct[0], distinct[1]
        )
        return distinct[0, :found], distinct[1, :found], 1.0
    few = np.append(values[:: max(1, values.size // _MANY)], (smallest, largest))
    few.sort()
    edges = np.flatnonzero(np.append(True, few[1:] != few[:-1]))
    return few[edges], lengths_of(edges, few.size), values.size / few.size
