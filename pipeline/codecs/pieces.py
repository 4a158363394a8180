"""Statistics of pieces: count, smallest and largest value of every 1,024 rows of a block.

They stand in the payload as a section of their own (`PIECES`), which decoders may pass over.
A whole number's *image* is the number itself, that of a float its bits with all but the sign
flipped where it is set, both as a signed number of 64 bits modulo 2**64.

======  ==================================================================================
bytes   meaning
======  ==================================================================================
1       form: 0 to 17 bounds are ``k`` of decimals ``k / 10**form`` (rounded to float32 if the
        column is); 32 bounds are images; plus 64 if a row is without a value, or NaN
1       ``u``: bits of a number of missing rows, absent if there are none
1       ``v``: bits of a smallest value
1       ``w``: bits of a span
1-10    the smallest value of all, zigzagged LEB128
rest    bits, lowest first: of every piece its missing rows (``u`` bits each), then of every
        piece the distance of its smallest value from that of all (``v``), then of every
        piece the distance from its smallest to its largest value (``w``)
======  ==================================================================================

A piece without a value has distances of 0. All numbers are modulo 2**64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import Cursor, as_signed, signed_varint
from pipeline.codecs.statistics import PIECE_ROWS, Pieces, summarise
from pipeline.codecs.transforms import from_image, image
from pipeline.errors import CorruptBlockError
from pipeline.model.dtypes import fill_value

__all__ = ["PIECES", "PieceStatistics", "read_pieces", "write_pieces"]

PIECES: Final = 128
"""Id of the payload's section."""

_EXPONENTS: Final = (0, 1, 2, 3, 4, 6, 9)  # of which a coarser decimal is a case
_POWERS: Final = np.array([float(10**exponent) for exponent in _EXPONENTS])
_LAST_EXPONENT: Final = 17
_IMAGES, _GAPS = 32, 64
_LEAST_BYTES: Final = 5


@dataclass(frozen=True)
class PieceStatistics:
    """What is known of every `PIECE_ROWS` rows of a block; the last piece may have fewer.

    Attributes
    ----------
    count : ndarray of int64, shape (pieces,)
        Rows with a value that is not NaN.
    min, max : ndarray, shape (pieces,)
        Smallest and largest value, of the column's dtype; the dtype's fill value where `count`
        is 0.
    """

    count: NDArray[np.int64]
    min: NDArray[Any]
    max: NDArray[Any]


def write_pieces(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    budget_bytes: int,
    pieces: Pieces | None = None,
) -> bytes | None:
    """Return the section's body, or None if it takes more than the budget or has no use.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        Of a dtype in `pipeline.codecs.frame.DTYPES`.
    valid : ndarray of bool, shape (rows,), or None
        False where a row has no value.
    budget_bytes : int
        Most bytes that the body may take.
    pieces : Pieces, optional
        What `pipeline.codecs.statistics.summarise` found in the column, if that is known.
    """
    rows = _rows(values.size)
    # Pieces that differ at all take a bit each.
    if rows.size < 2 or budget_bytes < _LEAST_BYTES + rows.size // 8:
        return None
    pieces = summarise(values, valid)[0] if pieces is None else pieces
    if not pieces.places.size:
        return None
    count, low, high = np.zeros((3, rows.size), np.int64)
    count[pieces.places], low[pieces.places], high[pieces.places] = pieces.whole[:3]
    form, lows, highs = _bounds(values.dtype, low, high)
    least = lows[pieces.places[pieces.whole[1].argmin()]]
    columns = np.empty((3, rows.size), np.int64)
    columns[0], columns[1], columns[2] = rows - count, lows - least, highs - lows
    if columns[0].any():
        form |= _GAPS
        columns[1] *= count > 0
    else:
        columns = columns[1:]
    widths, packed = np.empty(len(columns), np.int64), np.zeros(8 * columns.size, np.uint8)
    used = kernel("block_pieces", "pack")(columns, widths, packed)
    body = bytes((form, *widths.tolist())) + signed_varint(int(least)) + packed[:used].tobytes()
    return body if len(body) <= budget_bytes else None


def _rows(rows: int) -> NDArray[np.int64]:
    """Return the rows of each piece."""
    starts = np.arange(0, rows, PIECE_ROWS)
    return np.minimum(rows - starts, PIECE_ROWS)


def _bounds(
    dtype: np.dtype[Any], low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return a form, and smallest and largest values in that form, 0 in pieces without any."""
    if dtype.kind != "f":
        top = np.int64(-(1 << 63)) if dtype == np.uint64 else np.int64(0)
        return _IMAGES, low ^ top, high ^ top
    both = np.concatenate((low, high))
    numbers = np.empty_like(both)
    at = kernel("block_pieces", "find_decimals")(both, _POWERS, dtype.itemsize == 4, numbers)
    if at < _POWERS.size:
        return _EXPONENTS[at], numbers[: low.size], numbers[low.size :]
    with np.errstate(all="ignore"):
        values = from_image(both.view(np.uint64), np.dtype(np.float64)).astype(dtype)
    images = image(values)
    return _IMAGES, images[: low.size], images[low.size :]


def _decimals(
    numbers: NDArray[np.int64], exponent: int, dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    quotients = numbers / float(10**exponent)
    return quotients.astype(dtype).astype(np.float64) if dtype.itemsize == 4 else quotients


def read_pieces(cursor: Cursor, rows: int, dtype: np.dtype[Any]) -> PieceStatistics:
    """Read the section's body to its end.

    Parameters
    ----------
    cursor : Cursor
        At the body of the section.
    rows : int
        Of the block.
    dtype : numpy.dtype
        Of the column.

    Raises
    ------
    CorruptBlockError
        If it cannot be what `write_pieces` wrote.
    """
    form = cursor.byte()
    widths = list(cursor.take(3 if form & _GAPS else 2))
    exponent = form & ~_GAPS
    decimal = exponent <= _LAST_EXPONENT and dtype.kind == "f"
    if max(widths) > 64 or not (decimal or exponent == _IMAGES):
        raise CorruptBlockError(f"has pieces of form {form} and widths {widths} on {dtype} values")
    least = np.int64(as_signed(cursor.signed_varint()))
    sizes = _rows(rows)
    numbers = _unpack(cursor, sizes.size, widths)
    count = sizes - numbers[0] if form & _GAPS else sizes
    if (count < 0).any() or (count > sizes).any():
        raise CorruptBlockError("has pieces with more missing rows than rows")
    low = numbers[-2] + least
    bounds = np.concatenate((low, low + numbers[-1]))
    values = _values(bounds, exponent, decimal, dtype)
    values[np.concatenate((count, count)) == 0] = fill_value(dtype)
    smallest, largest = values[: sizes.size], values[sizes.size :]
    if not ((smallest <= largest) | (count == 0)).all():
        raise CorruptBlockError("has pieces whose smallest value is not the smallest")
    return PieceStatistics(count, smallest, largest)


def _values(
    numbers: NDArray[np.int64], exponent: int, decimal: bool, dtype: np.dtype[Any]
) -> NDArray[Any]:
    if decimal:
        return _decimals(numbers, exponent, dtype).astype(dtype)
    return from_image(numbers.view(np.uint64), dtype)


def _unpack(cursor: Cursor, pieces: int, widths: list[int]) -> list[NDArray[np.int64]]:
    """Read as many numbers of each width as there are pieces, and nothing else."""
    total = pieces * sum(widths)
    packed = np.frombuffer(cursor.take(-(-total // 8)), np.uint8)
    cursor.finish()
    bits = np.unpackbits(packed, count=total, bitorder="little")
    found, at = [], 0
    for width in widths:
        wide = np.zeros((pieces, 64), np.uint8)
        wide[:, :width] = bits[at : at + pieces * width].reshape(pieces, width)
        at += pieces * width
        octets = np.packbits(wide, axis=1, bitorder="little")
        found.append(octets.view("<i8").ravel().astype(np.int64, copy=False))
    return found
