"""Statistics of one block's values, as its header and its pieces store them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.frame import BlockStatistics

__all__ = ["PIECE_ROWS", "Pieces", "block_statistics", "summarise"]

PIECE_ROWS: Final = 1024
"""Rows of a piece; the last one of a block may have fewer."""

_TOP: Final = -(1 << 63)
_NARROW: Final = 1 << 21  # as in the kernel
_ALL: Final = np.empty(0, np.bool_)


@dataclass(frozen=True)
class Pieces:
    """What is known of every piece of `PIECE_ROWS` rows that has a value at all.

    Attributes
    ----------
    places : ndarray of int64, shape (used,)
        Numbers of the pieces that have a value, ascending.
    whole : ndarray of int64, shape (6, used)
        Count, image of the smallest and of the largest value (`summarise`); of whole numbers
        the sums of the upper and lower 32 bits of the distances from the smallest, and, if all
        are below 2**21, of their squares.
    parts : ndarray of float64, shape (3, used)
        An origin, and the sums of the deviations from it and of their squares.
    """

    places: NDArray[np.int64]
    whole: NDArray[np.int64]
    parts: NDArray[np.float64]


def block_statistics(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    found: tuple[Pieces, NDArray[np.bool_]] | None = None,
) -> BlockStatistics:
    """Count and summarise the rows of a column that have a value.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Of a dtype in `pipeline.codecs.frame.DTYPES`.
    valid : ndarray of bool, shape (rows,), or None
        False where a row has no value; None when every row has one.
    found : tuple, optional
        What `summarise` returned for them, if that is known.

    Returns
    -------
    BlockStatistics
        NaN counts as missing; infinities are ordinary values. Sum and squared deviations of
        whole numbers are exact before they are rounded to a float64 once. Floats are summed
        piece by piece around an origin amid the piece's values, which holds 13 digits and more.

    References
    ----------
    Chan, Golub, LeVeque: Algorithms for computing the sample variance, The American
    Statistician 37 (1983). Dekker: A floating-point technique for extending the available
    precision, Numerische Mathematik 18 (1971).
    """
    pieces, mask = found or summarise(values, valid)
    if pieces.places.size == 0:
        return BlockStatistics(0, values.size, None, None, 0.0, 0.0, None, None)
    first = last = 0
    if mask.size:
        first, last = int(np.argmax(mask)), int(np.argmax(mask[::-1]))
    words = values.view(np.uint8) if values.dtype.kind == "b" else values
    ends = words[first].item(), words[values.size - 1 - last].item()
    if values.dtype.kind == "f":
        count, low, high, total, m2 = _join_floats(pieces)
    else:
        count, low, high, total, m2 = _join_whole(pieces, values, mask)
    return BlockStatistics(count, values.size - count, low, high, total, m2, *ends)


def summarise(
    values: NDArray[Any], valid: NDArray[np.bool_] | None
) -> tuple[Pieces, NDArray[np.bool_]]:
    """Summarise every piece of a column.

    Parameters
    ----------
    values : ndarray, shape (rows,)
    valid : ndarray of bool, shape (rows,), or None

    Returns
    -------
    pieces : Pieces
        The image of a whole number is the number itself as int64, of uint64 less 2**63. That of
        a float are the bits of the value in float64, all but the sign flipped where it is set.
    mask : ndarray of bool, shape (rows,) or (0,)
        The rows that count; empty if all do.
    """
    floats = values.dtype.kind == "f"
    words, flip = _images(values)
    mask = _ALL if valid is None else _owned(valid)
    size = -(-values.size // PIECE_ROWS)
    whole, parts = np.zeros((6, size), np.int64), np.zeros((3, size))
    scratch, lanes = np.empty(2 * PIECE_ROWS, np.int64), np.empty((2, 64))
    run = kernel("block_statistics", "summarise")
    if not run(words, mask, floats, flip, scratch, lanes, whole, parts):
        mask = values == values if valid is None else mask & (values == values)
        whole[:] = 0
        run(words, mask, floats, flip, scratch, lanes, whole, parts)
    places = np.flatnonzero(whole[0])
    if places.size < size:
        whole, parts = whole.take(places, 1), parts.take(places, 1)
    return Pieces(places, whole, parts), mask


def _images(values: NDArray[Any]) -> tuple[NDArray[np.int64], np.int64]:
    """Return the words of a column, and what to flip in them to have the images."""
    flip = np.int64(_TOP if values.dtype == np.uint64 else 0)
    word_type = np.float64 if values.dtype.kind == "f" else np.uint64 if flip else np.int64
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        wide = values.astype(word_type, copy=False)
    return _owned(wide).view(np.int64), flip


def _owned(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of the one layout that the kernel is compiled for."""
    return array if array.flags.carray else array.copy()


def _join_floats(pieces: Pieces) -> tuple[int, float, float, float, float]:
    totals, (total, m2) = _join(pieces, True)
    totals[1:3] ^= (totals[1:3] >> 63) & ~np.int64(_TOP)
    count, (low, high) = int(totals[0]), totals[1:3].view(np.float64).tolist()
    if low == high:  # a rounded mean must not make a constant block vary
        return count, low, high, low * count, high - low
    if math.isnan(m2) and math.isfinite(total):
        m2 = math.inf
    return count, low, high, total, m2


def _join_whole(
    pieces: Pieces, values: NDArray[Any], mask: NDArray[np.bool_]
) -> tuple[int, int, int, float, float]:
    totals, _ = _join(pieces, False)
    count, low, high, upper, lower, squares = totals.tolist()
    above = (upper << 32) + lower
    if high - low >= _NARROW:
        squares = _squares(values, mask, low)
    if values.dtype == np.uint64:
        low, high = low - _TOP, high - _TOP
    m2 = (count * squares - above * above) / count
    return count, low, high, float(low * count + above), m2


def _squares(values: NDArray[Any], mask: NDArray[np.bool_], low: int) -> int:
    """Return the exact sum of the squares of the distances from `low`, the smallest image."""
    words, flip = _images(values)
    sums = np.empty(6, np.int64)
    kernel("block_statistics", "squares")(words, mask, flip, low, sums)
    xx, xy, yy, xz, yz, zz = sums.view(np.uint64).tolist()
    return xx + (xy << 22) + (yy << 42) + (xz << 43) + (yz << 64) + (zz << 84)


def _join(pieces: Pieces, floats: bool) -> tuple[NDArray[np.int64], list[float]]:
    totals, sums = np.zeros(6, np.int64), np.zeros(2)
    kernel("block_statistics", "join")(pieces.whole, pieces.parts, floats, totals, sums)
    return totals, sums.tolist()
