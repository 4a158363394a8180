"""Differences of neighbouring values, exact for every fixed-width type.

Layout
------
The values, flattened in C order, are taken as unsigned integers of their own width (the bit
pattern of floats, the ticks of datetimes, 0 and 1 of booleans). All arithmetic is modulo
``2 ** bits``, which is exactly reversible: nothing is narrowed, rounded or overflows, and
-0.0 and NaN payloads survive. The result has the same length and width and is written as
signed integers, so that a small step down is a small negative number.

order 1
    ``e[0] = v[0]``, then ``e[i] = v[i] - v[i-1]``.
order 2
    ``e[0] = v[0]``, ``e[1] = v[1] - v[0]``, then ``e[i] = (v[i] - v[i-1]) - (v[i-1] - v[i-2])``.

There is no header: type and order live in the codec's configuration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptBlockError, InvalidInputError

__all__ = ["check_order", "decode", "encode", "encoded_dtype"]

_KINDS = "biufmM"
_WIDTHS = (1, 2, 4, 8)


def encoded_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the signed integer type, in the same byte order, that differences of `dtype` have.

    Raises
    ------
    InvalidInputError
        When `dtype` is not a boolean, integer, float, datetime or timedelta of 1, 2, 4 or 8 bytes.
    """
    if dtype.kind not in _KINDS or dtype.itemsize not in _WIDTHS:
        msg = (
            f"delta takes booleans, integers, floats, datetimes and timedeltas of at most "
            f"8 bytes, not {dtype}; leave the filter out for this array"
        )
        raise InvalidInputError(msg)
    return np.dtype(f"i{dtype.itemsize}").newbyteorder(dtype.byteorder)


def check_order(order: object) -> int:
    """Return `order` when it is 1 (differences) or 2 (differences of differences).

    Raises
    ------
    InvalidInputError
        When it is anything else.
    """
    if isinstance(order, bool) or not isinstance(order, int) or order not in (1, 2):
        msg = f"delta order must be 1 or 2, not {order!r}"
        raise InvalidInputError(msg)
    return order


def encode(values: NDArray[Any], order: int = 1) -> NDArray[Any]:
    """Return the differences of `values`.

    Parameters
    ----------
    values : ndarray, shape (n,), contiguous
        Any type that `encoded_dtype` accepts, in any byte order.
    order : {1, 2}
        1 for differences, 2 for differences of differences.

    Returns
    -------
    ndarray, shape (n,)
        Signed integers of the same width and byte order; a fresh array.

    Raises
    ------
    InvalidInputError
        When the type or the order is not supported.
    """
    target = encoded_dtype(values.dtype)
    bits = _native_bits(values)
    for start in range(check_order(order)):
        bits = _differences(bits, start)
    return _with_bits(bits, target)


def decode(differences: NDArray[Any], dtype: np.dtype[Any], order: int = 1) -> NDArray[Any]:
    """Undo `encode`.

    Parameters
    ----------
    differences : ndarray, shape (n,), contiguous
        What `encode` returned; any integer type of the width of `dtype`, in its own byte order.
    dtype : dtype
        Type of the values that were encoded.
    order : {1, 2}
        The order they were encoded with.

    Returns
    -------
    ndarray, shape (n,)
        The values, of type `dtype`; a fresh array.

    Raises
    ------
    InvalidInputError
        When the type or the order is not supported.
    CorruptBlockError
        When the differences of booleans add up to something else than 0 and 1.
    """
    encoded_dtype(dtype)
    bits = _native_bits(differences)
    for start in reversed(range(check_order(order))):
        bits = _running_sum(bits, start)
    if dtype.kind == "b" and bits.size and bits.max() > 1:
        msg = "delta: the stored differences do not add up to booleans; restore the chunk"
        raise CorruptBlockError(msg)
    return _with_bits(bits, dtype)


def _native_bits(values: NDArray[Any]) -> NDArray[Any]:
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    bits = values.view(unsigned.newbyteorder(values.dtype.byteorder))
    return bits.astype(unsigned, copy=False)


def _with_bits(bits: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    # Byte order is changed while the values are integers: casting floats could quieten NaNs.
    ordered = bits.astype(bits.dtype.newbyteorder(dtype.byteorder), copy=False)
    return ordered.view(dtype)


def _differences(bits: NDArray[Any], start: int) -> NDArray[Any]:
    """Subtract from every value after `start` the one before it."""
    out = np.empty_like(bits)
    out[: start + 1] = bits[: start + 1]
    np.subtract(bits[start + 1 :], bits[start:-1], out=out[start + 1 :])
    return out


def _running_sum(bits: NDArray[Any], start: int) -> NDArray[Any]:
    out = np.empty_like(bits)
    out[:start] = bits[:start]
    np.cumsum(bits[start:], dtype=bits.dtype, out=out[start:])
    return out
