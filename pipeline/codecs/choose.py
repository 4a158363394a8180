"""Which stages suit a column, judged from a few thousand of its rows.

The choice has no effect on what comes back, only on size and speed, so it may improve for ever
without touching the format. Transforms and predictors are ranked by the estimated entropy of
their residuals; layouts are then tried with Zstandard on the sample, because repeated patterns
do not show in an entropy. A column no longer than the sample is encoded by the trial itself.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.entropy import BIT_PLANES, CODES, CONSTANT, ENTROPY, VARINTS, is_constant
from pipeline.codecs.sampling import sample

__all__ = ["encode_residuals", "estimate_bits"]

_LOG: Final = logging.getLogger(__name__)

_RUN_ROWS: Final = 512
_ORDER_BITS: Final = np.array([0.0, 0.02, 0.04])  # the simpler predictor wins a tie
_WIDTHS: Final = (1, 2, 4, *range(8, 65, 8))
_NEAR: Final = 1.3
_VERY_NEAR: Final = 1.05  # a trial costs a short column a tenth of its time


def estimate_bits(numbers: NDArray[Any]) -> float:
    """Estimate the bits that a row of numbers will take.

    Parameters
    ----------
    numbers : ndarray of int64 or uint64, shape (runs, rows of a run)
        A sample of a column.
    """
    words, signed = numbers.view(np.uint64), numbers.dtype.kind == "i"
    return float(kernel("block_sample", "row_bits")(words, signed, _ORDER_BITS))


def encode_residuals(residuals: NDArray[np.uint64]) -> tuple[int, bytes]:
    """Choose an entropy stage for residuals, shape (rows,); return its id and its bytes."""
    if is_constant(residuals):
        return CONSTANT, ENTROPY[CONSTANT].encode(residuals, 0)
    few = sample(residuals).reshape(-1)
    tried = {
        (entropy, width): ENTROPY[entropy].encode(few, width) for entropy, width in _layouts(few)
    }
    (entropy, width), body = min(tried.items(), key=lambda item: len(item[1]))
    sizes = {ENTROPY[way[0]].name: len(found) for way, found in tried.items()}
    _LOG.debug("%d residuals: %s, width %d", few.size, sizes, width)
    if few.size == residuals.size:
        return entropy, body
    if entropy == BIT_PLANES:
        width = int(residuals.max()).bit_length()
    return entropy, ENTROPY[entropy].encode(residuals, width)


def _layouts(residuals: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Return the entropy stages and widths worth trying on a sample, best estimate first."""
    longest = int(residuals.max()).bit_length()
    ways = [*((CODES, width) for width in _WIDTHS), (BIT_PLANES, longest), (VARINTS, 0)]
    estimates = np.empty(len(ways))
    kernel("block_sample", "layout_bits")(residuals, estimates)
    near, tried = (_NEAR, 4) if residuals.size > _RUN_ROWS else (_VERY_NEAR, 2)
    ranked = sorted(
        (bits, way)
        for bits, way in zip(estimates.tolist(), ways, strict=True)
        if way[1] < longest + 8 and (way[0] != VARINTS or longest > 7)
    )
    return [way for bits, way in ranked[:tried] if bits <= near * ranked[0][0]]
