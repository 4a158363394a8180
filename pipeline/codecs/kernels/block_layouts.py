"""Loops that lay residuals out as bytes: fixed-width codes, bit planes, variable length.

Residuals are `uint64`. Bounds are the callers' business: every function here is told the
sizes it may touch by the sizes of its arrays, which the callers have checked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import loop, part

__all__ = ["split_bit_planes", "split_bytes", "split_codes", "transpose", "write_varints"]


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
def split_bytes(residuals: NDArray[np.uint64], out: NDArray[np.uint8]) -> None:
    """Write byte ``j`` of every residual to row ``j`` of `out`, shape (bytes, rows)."""
    for j in range(out.shape[0]):
        shift = np.uint64(8 * j)
        for i in range(residuals.size):
            out[j, i] = (residuals[i] >> shift) & np.uint64(255)


@part
def transpose(square: np.uint64) -> np.uint64:
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
            square = transpose(square)
            for k in range(min(8, out.shape[0] - low)):
                out[low + k, group] = (square >> np.uint64(8 * k)) & byte


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
