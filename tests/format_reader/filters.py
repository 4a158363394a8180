"""FORMAT.md, "The filters": delta, bitshuffle and varint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.format_reader.octets import Octets

__all__ = ["undo_bitshuffle", "undo_delta", "undo_varint"]

_TYPES = {1: "b1", 2: "i1", 3: "i2", 4: "i4", 5: "i8", 6: "u1", 7: "u2", 8: "u4", 9: "u8"}


def undo_delta(data: bytes, dtype: np.dtype[Any], order: int) -> NDArray[Any]:
    """Return the values of differences, which have the byte order of `dtype`."""
    words = np.frombuffer(data, f"{dtype.byteorder}u{dtype.itemsize}")
    values = words.astype(f"u{dtype.itemsize}")
    for at in range(order):
        values[order - 1 - at :] = np.cumsum(values[order - 1 - at :], dtype=values.dtype)
    return values.astype(words.dtype).view(dtype)


def undo_bitshuffle(data: bytes, elementsize: int) -> bytes:
    """Return the elements of rows of bits."""
    count = len(data) // elementsize // 8 * 8
    rows = np.frombuffer(data, np.uint8, count * elementsize).reshape(8 * elementsize, -1)
    bits = np.unpackbits(rows, axis=1, bitorder="little")
    octets = np.packbits(bits.T, axis=1, bitorder="little")
    return octets.tobytes() + data[count * elementsize :]


def undo_varint(data: bytes) -> NDArray[Any]:
    """Return the numbers, in the byte order that they had."""
    octets = Octets(data)
    assert octets.byte() == 1
    code = octets.byte()
    order = ">" if code & 128 else "<"
    dtype = np.dtype(order + _TYPES[code & 127])
    count = int.from_bytes(octets.take(8), "little")
    signed = dtype.kind == "i"
    found = [octets.signed() if signed else octets.number() for _ in range(count)]
    assert octets.at == len(data)
    return np.array(found, dtype)
