"""Bit transposition between elements and rows of single bits.

An element is worked on in lanes of 8, 4, 2 or 1 bytes. A tile is 64 x 8 words of 64 bits
and holds 4,096 bytes of one lane: word (j, c) is element ``64 c + j`` of a run of 512.
Lanes narrower than 8 bytes stack 2, 4 or 8 runs in the same word, so that a byte costs the
same whatever its element. Transposing the eight columns as 64 x 64 bit matrices makes word
(r, c) the next 64 bits of bit row r: eight neighbouring words are one cache line of a row.
That line matters: rows of a full block lie 8 KiB apart, and storing single words there
evicts the line before it is full.

Indices are unsigned throughout: a signed one brings the test for negative indices into
every loop and stops vectorisation, as does the test for division by zero (hence the error
model). Copies between buffer and tile are inlined by numba, which saves a quarter of the
compile time against compiling them apart first. Nothing is checked here:
`pipeline.codecs.bitshuffle` checks sizes before it calls.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

__all__ = ["shuffle", "unshuffle"]

U = np.uint64
ZERO, EIGHT, RUN, TILE_BYTES = U(0), U(8), U(64), U(4096)
BYTE = U(0xFF)

type Bytes = NDArray[np.uint8]
type Words = NDArray[np.uint64]
# Compiled code sees uint64 only; what range() yields is an int to the interpreter.
type Count = np.uint64 | int

_BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)
_BYTES_OUT = types.Array(types.uint8, 1, "C")
_SIGNATURE = types.void(_BYTES_IN, types.uint64, types.uint64, types.uint64, _BYTES_OUT)


@njit(error_model="numpy")
def _read(data: Bytes, at: Count, width: Count) -> np.uint64:
    # Each width as one expression: the compiler then makes it a single load (10x faster
    # here than a load assembled in steps).
    if width == EIGHT:
        return (
            U(data[at])
            | U(data[at + U(1)]) << U(8)
            | U(data[at + U(2)]) << U(16)
            | U(data[at + U(3)]) << U(24)
            | U(data[at + U(4)]) << U(32)
            | U(data[at + U(5)]) << U(40)
            | U(data[at + U(6)]) << U(48)
            | U(data[at + U(7)]) << U(56)
        )
    if width == U(4):
        return (
            U(data[at])
            | U(data[at + U(1)]) << U(8)
            | U(data[at + U(2)]) << U(16)
            | U(data[at + U(3)]) << U(24)
        )
    if width == U(2):
        return U(data[at]) | U(data[at + U(1)]) << U(8)
    return U(data[at])


@njit(error_model="numpy")
def _write(data: Bytes, at: Count, value: np.uint64, width: Count) -> None:
    data[at] = np.uint8(value & BYTE)
    if width > U(1):
        data[at + U(1)] = np.uint8((value >> U(8)) & BYTE)
    if width > U(2):
        data[at + U(2)] = np.uint8((value >> U(16)) & BYTE)
        data[at + U(3)] = np.uint8((value >> U(24)) & BYTE)
    if width > U(4):
        data[at + U(4)] = np.uint8((value >> U(32)) & BYTE)
        data[at + U(5)] = np.uint8((value >> U(40)) & BYTE)
        data[at + U(6)] = np.uint8((value >> U(48)) & BYTE)
        data[at + U(7)] = np.uint8((value >> U(56)) & BYTE)


@njit(error_model="numpy")
def _transpose(tile: Words) -> None:
    """Transpose eight 64 x 64 bit matrices side by side, in place (its own inverse)."""
    distance = 32
    mask = U(0x00000000FFFFFFFF)
    while distance:
        shift = U(distance)
        for row in range(0, 64, 2 * distance):
            # Two slices rather than two offsets into one array: 2.5x faster, because the
            # compiler need not prove that the halves are apart.
            low = tile[8 * row : 8 * (row + distance)]
            high = tile[8 * (row + distance) : 8 * (row + 2 * distance)]
            for k in range(len(low)):
                swap = ((low[k] >> shift) ^ high[k]) & mask
                high[k] ^= swap
                low[k] ^= swap << shift
        distance >>= 1
        mask ^= mask << U(distance)


@njit(inline="always")
def _load_elements(
    src: Bytes,
    elements: Count,
    elementsize: Count,
    offset: Count,
    lane: Count,
    base: Count,
    tile: Words,
) -> None:
    tile[:] = ZERO
    shift = ZERO
    for first in range(base, min(elements, base + TILE_BYTES // lane), EIGHT * RUN):
        for column in range(EIGHT):
            start = first + RUN * column
            if start >= elements:
                break
            for j in range(min(RUN, elements - start)):
                at = (start + j) * elementsize + offset
                tile[j * EIGHT + column] |= _read(src, at, lane) << shift
        shift += EIGHT * lane


@njit(inline="always")
def _store_elements(
    tile: Words,
    elements: Count,
    elementsize: Count,
    offset: Count,
    lane: Count,
    base: Count,
    out: Bytes,
) -> None:
    shift = ZERO
    for first in range(base, min(elements, base + TILE_BYTES // lane), EIGHT * RUN):
        for column in range(EIGHT):
            start = first + RUN * column
            if start >= elements:
                break
            for j in range(min(RUN, elements - start)):
                at = (start + j) * elementsize + offset
                _write(out, at, tile[j * EIGHT + column] >> shift, lane)
        shift += EIGHT * lane


@njit(inline="always")
def _load_rows(
    src: Bytes,
    elements: Count,
    offset: Count,
    lane: Count,
    base: Count,
    tile: Words,
) -> None:
    tile[:] = ZERO
    length = elements // EIGHT
    bits = EIGHT * lane
    for r in range(RUN):
        done = base // EIGHT + (r // bits) * RUN
        if done >= length:
            break
        at = (offset * EIGHT + r % bits) * length + done
        count = min(RUN, length - done)
        for column in range(count // EIGHT):
            tile[r * EIGHT + column] = _read(src, at + EIGHT * column, EIGHT)
        for k in range(count // EIGHT * EIGHT, count):
            tile[r * EIGHT + k // EIGHT] |= U(src[at + k]) << (EIGHT * (k % EIGHT))


@njit(inline="always")
def _store_rows(
    tile: Words,
    elements: Count,
    offset: Count,
    lane: Count,
    base: Count,
    out: Bytes,
) -> None:
    length = elements // EIGHT
    bits = EIGHT * lane
    for r in range(RUN):
        done = base // EIGHT + (r // bits) * RUN
        if done >= length:
            break
        at = (offset * EIGHT + r % bits) * length + done
        count = min(RUN, length - done)
        for column in range(count // EIGHT):
            _write(out, at + EIGHT * column, tile[r * EIGHT + column], EIGHT)
        for k in range(count // EIGHT * EIGHT, count):
            word = tile[r * EIGHT + k // EIGHT]
            out[at + k] = np.uint8((word >> (EIGHT * (k % EIGHT))) & BYTE)


@njit(_SIGNATURE, error_model="numpy", nogil=True, cache=True)
def shuffle(src: Bytes, elements: Count, elementsize: Count, lane: Count, out: Bytes) -> None:
    """Write the bit rows of the first `elements` elements of `src` to `out`.

    `elements` is a multiple of 8, `lane` is 1, 2, 4 or 8 and divides `elementsize`, and both
    buffers hold at least ``elements * elementsize`` bytes.
    """
    tile = np.empty(512, np.uint64)
    for offset in range(ZERO, elementsize, lane):
        for base in range(ZERO, elements, TILE_BYTES // lane):
            _load_elements(src, elements, elementsize, offset, lane, base, tile)
            _transpose(tile)
            _store_rows(tile, elements, offset, lane, base, out)


@njit(_SIGNATURE, error_model="numpy", nogil=True, cache=True)
def unshuffle(src: Bytes, elements: Count, elementsize: Count, lane: Count, out: Bytes) -> None:
    """Undo `shuffle`, under the same conditions."""
    tile = np.empty(512, np.uint64)
    for offset in range(ZERO, elementsize, lane):
        for base in range(ZERO, elements, TILE_BYTES // lane):
            _load_rows(src, elements, offset, lane, base, tile)
            _transpose(tile)
            _store_elements(tile, elements, elementsize, offset, lane, base, out)
