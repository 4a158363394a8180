"""Statistics of one block's values, as its header stores them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD
from pipeline.codecs.frame import BlockStatistics

__all__ = ["block_statistics"]


def block_statistics(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> BlockStatistics:
    """Count and summarise the rows of a column that have a value.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Of a dtype in `pipeline.codecs.frame.DTYPES`.
    valid : ndarray of bool, shape (rows,), or None
        False where a row has no value; None when every row has one.

    Returns
    -------
    BlockStatistics
        NaN counts as missing. Sums are pairwise, and the squared deviations are summed around
        the mean with its rounding corrected (two-pass), so that both hold 13 digits and more.
        Infinities are ordinary values.

    References
    ----------
    Chan, Golub, LeVeque: Algorithms for computing the sample variance, The American
    Statistician 37 (1983).
    """
    rows = values.size
    present = values if valid is None else values[valid]
    if values.dtype.kind == "f":
        present = _without_nan(present)
    elif values.dtype.kind == "b":
        present = present.view(np.uint8)
    if present.size == 0:
        return BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    smallest, largest = present.min(), present.max()
    moments = _float_moments if values.dtype.kind == "f" else _integer_moments
    with np.errstate(all="ignore"):
        total, m2 = moments(present, smallest.item(), largest.item())
    return BlockStatistics(
        present.size, rows - present.size, smallest.item(), largest.item(), total, m2,
        present[0].item(), present[-1].item(),
    )  # fmt: skip


def _without_nan(values: NDArray[Any]) -> NDArray[Any]:
    nan = np.isnan(values)
    return values[~nan] if nan.any() else values


def _float_moments(values: NDArray[Any], smallest: float, largest: float) -> tuple[float, float]:
    if smallest == largest:  # a rounded mean must not make a constant block vary
        return float(smallest * values.size), float(smallest - largest)
    total = float(values.sum(dtype=np.float64))
    return total, _squares(values, values.dtype.type(0), total / values.size)


def _integer_moments(values: NDArray[Any], smallest: int, largest: int) -> tuple[float, float]:
    """Sum whole numbers exactly, by their distances from the smallest."""
    words = values.astype(np.int64 if values.dtype.kind == "i" else np.uint64, copy=False)
    words = words.view(np.uint64)
    if (largest - smallest) * values.size <= WORD:  # sums wrap, but their difference does not
        above = (int(words.sum()) - smallest * values.size) & WORD
    else:
        distances = words - np.uint64(smallest & WORD)
        above = int((distances >> np.uint64(32)).sum()) << 32
        above += int((distances & np.uint64(0xFFFFFFFF)).sum())
    total = float(smallest * values.size + above)
    return total, _squares(words, np.uint64(smallest & WORD), above / values.size)


def _squares(values: NDArray[Any], origin: np.generic, mean: float) -> float:
    """Sum the squared deviations from `mean`, which is itself off by its rounding."""
    sums = np.zeros(2)
    kernel("block_statistics", "sum_deviations")(values, origin, mean, sums)
    return float(sums[1] - sums[0] * sums[0] / values.size)
