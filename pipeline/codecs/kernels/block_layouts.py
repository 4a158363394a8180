"""Loops that lay residuals out as bytes: fixed-width codes, bit planes, variable length.

Residuals are `uint64`. Bounds are the callers' business: every function here is told the
sizes it may touch by the sizes of its arrays, which the callers have checked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = [
    "join_bit_planes",
    "join_bytes",
    "join_codes",
    "read_varints",
    "split_bit_planes",
    "split_bytes",
    "split_codes",
    "write_varints",
]


@loop
def split_codes(residuals: NDArray[np.uint64], width: int, out: NDArray[np.uint8]) -> None:
    """Pack codes of 1, 2 or 4 bits, the first in the lowest bits of the first byte."""
    per_byte = 8 // width
    whole = residuals.size // per_byte
    at = 0
    for j in range(whole):
        byte = np.uint64(0)
        for k in range(per_byte):
            byte |= residuals[at] << np.uint64(k * width)
            at += 1
        out[j] = byte
    if at < residuals.size:
        byte = np.uint64(0)
        for k in range(residuals.size - at):
            byte |= residuals[at + k] << np.uint64(k * width)
        out[whole] = byte


@loop
def join_codes(packed: NDArray[np.uint8], width: int, out: NDArray[np.uint64]) -> None:
    """Undo `split_codes`."""
    per_byte = 8 // width
    whole = out.size // per_byte
    mask = np.uint64((1 << width) - 1)
    at = 0
    for j in range(whole):
        byte = np.uint64(packed[j])
        for k in range(per_byte):
            out[at] = (byte >> np.uint64(k * width)) & mask
            at += 1
    for k in range(out.size - at):
        out[at + k] = (np.uint64(packed[whole]) >> np.uint64(k * width)) & mask


@loop
def split_bytes(residuals: NDArray[np.uint64], out: NDArray[np.uint8]) -> None:
    """Write byte ``j`` of every residual to row ``j`` of `out`, shape (bytes, rows)."""
    for j in range(out.shape[0]):
        shift = np.uint64(8 * j)
        for i in range(residuals.size):
            out[j, i] = (residuals[i] >> shift) & np.uint64(255)


@loop
def join_bytes(plane: NDArray[np.uint8], shift: np.uint64, out: NDArray[np.uint64]) -> None:
    """Or the bytes of one plane, shifted left by `shift` bits, into `out`."""
    for i in range(out.size):
        out[i] |= np.uint64(plane[i]) << shift


@part
def _transpose(square: np.uint64) -> np.uint64:
    """Transpose an 8 x 8 bit matrix (Hacker's Delight, section 7-3)."""
    swap = (square ^ (square >> np.uint64(7))) & np.uint64(0x00AA00AA00AA00AA)
    square ^= swap ^ (swap << np.uint64(7))
    swap = (square ^ (square >> np.uint64(14))) & np.uint64(0x0000CCCC0000CCCC)
    square ^= swap ^ (swap << np.uint64(14))
    swap = (square ^ (square >> np.uint64(28))) & np.uint64(0x00000000F0F0F0F0)
    return square ^ swap ^ (swap << np.uint64(28))


@loop
def split_bit_planes(residuals: NDArray[np.uint64], out: NDArray[np.uint8]) -> None:
    """Write bit ``j`` of eight residuals to one byte of row ``j``; `out` is (bits, rows / 8).

    The number of residuals is a multiple of eight.
    """
    byte = np.uint64(255)
    for group in range(out.shape[1]):
        for low in range(0, out.shape[0], 8):
            square = np.uint64(0)
            for k in range(8):
                taken = (residuals[8 * group + k] >> np.uint64(low)) & byte
                square |= taken << np.uint64(8 * k)
            square = _transpose(square)
            for k in range(min(8, out.shape[0] - low)):
                out[low + k, group] = (square >> np.uint64(8 * k)) & byte


@loop
def join_bit_planes(planes: NDArray[np.uint8], out: NDArray[np.uint64]) -> None:
    """Undo `split_bit_planes`."""
    byte = np.uint64(255)
    for group in range(planes.shape[1]):
        for low in range(0, planes.shape[0], 8):
            square = np.uint64(0)
            for k in range(min(8, planes.shape[0] - low)):
                square |= np.uint64(planes[low + k, group]) << np.uint64(8 * k)
            square = _transpose(square)
            for k in range(8):
                taken = (square >> np.uint64(8 * k)) & byte
                out[8 * group + k] |= taken << np.uint64(low)


@loop
def write_varints(residuals: NDArray[np.uint64], out: NDArray[np.uint8]) -> int:
    """Write residuals as LEB128 (seven bits a byte, low first) and return the bytes written."""
    seven = np.uint64(7)
    more = np.uint64(128)
    at = 0
    for i in range(residuals.size):
        rest = residuals[i]
        while rest >= more:
            out[at] = (rest | more) & np.uint64(255)
            rest >>= seven
            at += 1
        out[at] = rest
        at += 1
    return at


@loop
def read_varints(data: NDArray[np.uint8], out: NDArray[np.uint64]) -> int:
    """Read exactly ``out.size`` LEB128 numbers; return the bytes used, or -1 if they run out."""
    at = 0
    for i in range(out.size):
        number = np.uint64(0)
        shift = np.uint64(0)
        while True:
            if at >= data.size or shift > np.uint64(63):
                return -1
            byte = np.uint64(data[at])
            at += 1
            number |= (byte & np.uint64(127)) << shift
            shift += np.uint64(7)
            if byte < np.uint64(128):
                break
        out[i] = number
    return at
