"""The loop behind decoding plain streams: layout, predictor and mapping in one pass.

Rows are decoded in tiles that stay in the processor's nearest cache. One pass for each step over
a whole block took twice as long as decompressing its bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_values import map_tile
from pipeline.codecs.kernels.block_loop import loop, part
from pipeline.codecs.kernels.plain_layouts import (
    read_bit_planes,
    read_bytes,
    read_narrow,
    read_varints,
    widen,
)

__all__ = ["decode_plain", "integrate", "read_list"]

_TILE = np.uint64(512)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_SEVEN = np.uint64(7)
_EIGHT = np.uint64(8)
_BYTE = np.uint64(255)
_CONSTANT, _RAW, _CODES, _BIT_PLANES, _VARINTS = range(5)
_LOOK_UP = 4
_GOOD, _ESCAPES, _LENGTH, _ENTRY = range(4)
_WRONG = ~np.uint64(0)


@part
def integrate(
    tile: NDArray[np.uint64],
    rows: np.uint64,
    order: np.uint64,
    scale: np.uint64,
    offset: np.uint64,
    begins: NDArray[np.uint64],
) -> None:
    """Undo predictor and scale in place; `begins` holds the number and the difference so far."""
    if order == _ZERO:
        if scale != _ONE or offset:
            for i in range(rows):
                tile[i] = tile[i] * scale + offset
        return
    number = begins[0]
    stride = begins[1]
    usual = stride if order == _ONE else _ZERO
    for i in range(rows):
        tile[i] = ((tile[i] >> _ONE) ^ (_ZERO - (tile[i] & _ONE))) * scale + usual
    if order == _ONE:
        for i in range(rows):
            number += tile[i]
            tile[i] = number
    else:
        for i in range(rows):
            stride += tile[i]
            number += stride
            tile[i] = number
    begins[0] = number
    begins[1] = stride


@part
def _cut(
    tile: NDArray[np.uint64], rows: np.uint64, mask: np.uint64, out: NDArray[Any], to: np.uint64
) -> None:
    for i in range(rows):
        out[to + i] = tile[i] & mask


@part
def _find(
    tile: NDArray[np.uint64],
    rows: np.uint64,
    lookup: NDArray[np.int64],
    out: NDArray[np.int64],
    to: np.uint64,
) -> bool:
    """Write what a look-up has for the numbers; False if it has nothing for one of them."""
    farthest = _ZERO
    for i in range(rows):
        farthest = max(farthest, tile[i])
    if farthest >= np.uint64(lookup.size):
        return False
    for i in range(rows):
        out[to + i] = lookup[tile[i]]
    return True


@part
def _finish(
    tile: NDArray[np.uint64],
    signed: NDArray[np.int64],
    floats: NDArray[np.float64],
    rows: np.uint64,
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    size: int,
    out: NDArray[np.uint8],
    to: np.uint64,
) -> bool:
    """Write the values of a tile from row `to` on; False if one has no entry in the look-up.

    `signed` and `floats` are the memory of `tile`.
    """
    if mapping == _LOOK_UP and size == 8:
        return _find(tile, rows, lookup, out.view(np.int64), to)
    groups = (rows + _THREE) >> _TWO
    for i in range(rows, groups << _TWO):
        tile[i] = _ZERO
    if mapping and not map_tile(
        signed, floats, np.int64(groups), mapping, np.int64(1), np.int64(0), power, inverse, rest,
        lookup,
    ):  # fmt: skip
        return False
    if size == -4:
        singles = out.view(np.float32)
        for i in range(rows):
            singles[to + i] = floats[i]
    elif size == 8:
        _cut(tile, rows, _WRONG, out.view(np.uint64), to)
    elif size == 4:
        _cut(tile, rows, np.uint64(0xFFFFFFFF), out.view(np.uint32), to)
    elif size == 2:
        _cut(tile, rows, np.uint64(0xFFFF), out.view(np.uint16), to)
    else:
        _cut(tile, rows, _BYTE, out, to)
    return True


@loop
def decode_plain(
    data: NDArray[np.uint8],
    larger: NDArray[np.uint64],
    head: NDArray[np.uint64],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    size: int,
    out: NDArray[np.uint8],
) -> int:
    """Decode residuals, undo their predictor, and map them; return 0, or what is wrong.

    Parameters
    ----------
    data
        The residuals' bytes, as many as `head` asks for (of varints: any number).
    larger
        How much larger than the code of all ones its rows are, of codes with escapes; of raw
        numbers, these.
    head
        Id of the entropy stage, its width, the constant; the predictor's order, its first number
        and its step, scale and offset.
    mapping, power, inverse, rest, lookup, size, out
        See `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    """
    stage, width, constant, order, first, step, scale, offset = head
    all_rows = np.uint64(out.size) // np.uint64(abs(size))
    count = all_rows - order
    tile = np.empty(_TILE, np.uint64)
    signed = tile.view(np.int64)
    floats = tile.view(np.float64)
    squares = np.empty(_TILE >> _THREE, np.uint64)
    octets = squares.view(np.uint8)
    begins = np.empty(2, np.uint64)
    begins[0] = first * scale + offset
    begins[1] = step * scale
    at = _ZERO
    if order > _ZERO:
        tile[0] = begins[0]
        if order > _ONE:
            begins[0] += begins[1]
            tile[1] = begins[0]
        if not _finish(
            tile, signed, floats, order, mapping, power, inverse, rest, lookup, size, out, _ZERO
        ):
            return _ENTRY
    used = _ZERO
    for start in range(_ZERO, count, _TILE):
        rows = min(_TILE, count - start)
        if stage == _CODES:
            if width < _EIGHT:
                read_narrow(data, width, start, rows, squares, octets, tile)
            else:
                read_bytes(data, width, count, start, rows, tile)
            if larger.size:
                used = widen(tile, rows, _WRONG >> (np.uint64(64) - width), larger, used)
        elif stage == _VARINTS:
            at = read_varints(data, at, rows, tile)
            if at == _WRONG:
                return _LENGTH
        elif stage == _BIT_PLANES:
            groups = (count + _SEVEN) >> _THREE
            read_bit_planes(data, width, groups, start, rows, squares, octets, tile)
        elif stage == _RAW:
            for i in range(rows):
                tile[i] = larger[start + i]
        else:
            for i in range(rows):
                tile[i] = constant
        integrate(tile, rows, order, scale, offset, begins)
        to = start + order
        if not _finish(
            tile, signed, floats, rows, mapping, power, inverse, rest, lookup, size, out, to
        ):
            return _ENTRY
    if stage == _CODES and used != np.uint64(larger.size):
        return _ESCAPES
    if stage == _VARINTS and at != np.uint64(data.size):
        return _LENGTH
    return _GOOD


@loop
def read_list(data: NDArray[np.uint8], numbers: NDArray[np.uint64]) -> bool:
    """Read zigzagged LEB128 numbers; False if they are not as many as there are bytes for."""
    rows = np.uint64(numbers.size)
    if read_varints(data, _ZERO, rows, numbers) != np.uint64(data.size):
        return False
    for i in range(rows):
        numbers[i] = (numbers[i] >> _ONE) ^ (_ZERO - (numbers[i] & _ONE))
    return True
