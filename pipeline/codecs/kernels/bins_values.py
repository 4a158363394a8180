"""Loops that turn the numbers of a tile into values, and write them where their rows stand."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic as _intrinsic
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import part

__all__ = ["as_all", "map_tile", "quotient", "write_values"]

intrinsic: Any = _intrinsic

_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)
_SIGN = np.int64(63)
_ALL_BUT_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)
_ALL_BITS = np.int64(-1)
_FOUR_BYTES = np.int64(0xFFFFFFFF)
_TWO_BYTES = np.int64(0xFFFF)
_ONE_BYTE = np.int64(0xFF)
_FAR_SHIFT = np.int64(52)
_MAGIC = np.int64(0x4338000000000000)
_LEAST = np.int64(-(1 << 51))
_MAGIC_FLOAT = 6755399441055744.0
"""1.5 * 2**52: a whole number from -2**51 up to below 2**51, added to its bits, makes the float
of their sum."""


@intrinsic
def _fused(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.DoubleType()
        kind = ir.FunctionType(double, [double] * 3)
        fused = builder.module.declare_intrinsic("llvm.fma", [double], kind)
        return builder.call(fused, arguments)

    return types.float64(a, b, c), generate


@part
def _times_inverse(number: float, _power: float, inverse: float, rest: float) -> float:
    """Return ``number / power``, rounded as a division is, which takes six times as long."""
    return _fused(number, inverse, number * rest)


@intrinsic
def _same_bits(_: Any, word: Any) -> Any:
    """Return the float that has the bits of a number."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(word), generate


@part
def _by_bits(number: np.int64) -> float:
    """Return a number from -2**51 up to below 2**51 as a float."""
    return _same_bits(number + _MAGIC) - _MAGIC_FLOAT


def _divided(number: float, power: float, _inverse: float, _rest: float) -> float:
    return number / power


@part
def _product(number: float, power: float, _inverse: float, _rest: float) -> float:
    return number * power


_compiled = not config.DISABLE_JIT  # type: ignore[attr-defined]
quotient: Any = _times_inverse if _compiled else _divided
_small_float: Any = _by_bits if _compiled else np.float64


@part
def _make_floats(tile: NDArray[np.int64], floats: NDArray[np.float64], count: np.uint64) -> None:
    """Turn numbers into floats in place."""
    outside = np.int64(0)
    for i in range(count):
        outside |= (tile[i] - _LEAST) >> _FAR_SHIFT
    if outside:  # too large for the short way
        for i in range(count):
            floats[i] = np.float64(tile[i])
    else:
        for i in range(count):
            floats[i] = _small_float(tile[i])


@part
def _in_range(tile: NDArray[np.int64], count: np.uint64, size: int) -> bool:
    """Tell whether all numbers are places in a look-up."""
    farthest = np.uint64(0)
    for i in range(count):
        farthest = max(farthest, np.uint64(tile[i]))
    return bool(farthest < np.uint64(size))


@part
def map_tile(
    tile: NDArray[np.int64],
    floats: NDArray[np.float64],
    steps: int,
    mapping: int,
    scale: np.int64,
    offset: np.int64,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
) -> bool:
    """Turn the numbers of a tile into values in place; False if one has none in a look-up.

    Numbers are multiples of `scale` above `offset`, and `floats` is the memory of `tile`; see
    `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    """
    count = np.uint64(4 * steps)
    if scale != 1:
        for i in range(count):
            tile[i] *= scale
    if offset:
        for i in range(count):
            tile[i] += offset
    if mapping == 1 or mapping == 2 or mapping == 5:
        _make_floats(tile, floats, count)
        if mapping == 5:
            for i in range(count):
                floats[i] *= power
        elif inverse == 0.0:
            for i in range(count):
                floats[i] /= power
        else:
            for i in range(count):
                floats[i] = quotient(floats[i], power, inverse, rest)
        if mapping == 2:
            for i in range(count):
                floats[i] = np.float64(np.float32(floats[i]))
    elif mapping == 3:
        for i in range(count):
            tile[i] = _as_image(tile[i])
    elif mapping == 4:
        if not _in_range(tile, count, lookup.size):
            return False
        for i in range(count):
            tile[i] = lookup[np.uint64(tile[i])]
    return True


def _make_writer(compute: Any) -> Any:
    """Return a loop that writes floats computed of small numbers, in one pass."""

    @part
    def write(
        tile: NDArray[np.int64],
        steps: int,
        offset: np.int64,
        power: float,
        inverse: float,
        rest: float,
        out: NDArray[Any],
        starts: NDArray[np.uint64],
    ) -> bool:
        a = starts[0]
        b = starts[1]
        c = starts[2]
        d = starts[3]
        outside = np.int64(0)
        for i in range(np.uint64(steps)):
            one = tile[_FOUR * i] + offset
            two = tile[_FOUR * i + _ONE] + offset
            three = tile[_FOUR * i + _TWO] + offset
            four = tile[_FOUR * i + _THREE] + offset
            outside |= (one - _LEAST) >> _FAR_SHIFT
            outside |= (two - _LEAST) >> _FAR_SHIFT
            outside |= (three - _LEAST) >> _FAR_SHIFT
            outside |= (four - _LEAST) >> _FAR_SHIFT
            out[a + i] = compute(_small_float(one), power, inverse, rest)
            out[b + i] = compute(_small_float(two), power, inverse, rest)
            out[c + i] = compute(_small_float(three), power, inverse, rest)
            out[d + i] = compute(_small_float(four), power, inverse, rest)
        return outside == 0

    return write


_write_quotients = _make_writer(quotient)
_write_products = _make_writer(_product)


@part
def _write_floats(
    tile: NDArray[np.int64],
    steps: int,
    mapping: int,
    offset: np.int64,
    power: float,
    inverse: float,
    rest: float,
    width: int,
    outs: Any,
    starts: NDArray[np.uint64],
) -> bool:
    """Write quotients or products of numbers in one pass; False if one is too large for it."""
    if width == 8:
        doubles = outs[1]
        if mapping == 5:
            return _write_products(tile, steps, offset, power, inverse, rest, doubles, starts)
        return _write_quotients(tile, steps, offset, power, inverse, rest, doubles, starts)
    singles = outs[2]
    if mapping == 5:
        return _write_products(tile, steps, offset, power, inverse, rest, singles, starts)
    return _write_quotients(tile, steps, offset, power, inverse, rest, singles, starts)


@part
def _write_found(
    tile: NDArray[np.int64],
    steps: int,
    lookup: NDArray[np.int64],
    out: NDArray[np.int64],
    starts: NDArray[np.uint64],
) -> bool:
    """Write what a look-up has for the numbers; False if it has nothing for one of them."""
    if not _in_range(tile, np.uint64(4 * steps), lookup.size):
        return False
    a = starts[0]
    b = starts[1]
    c = starts[2]
    d = starts[3]
    for i in range(np.uint64(steps)):
        out[a + i] = lookup[np.uint64(tile[_FOUR * i])]
        out[b + i] = lookup[np.uint64(tile[_FOUR * i + _ONE])]
        out[c + i] = lookup[np.uint64(tile[_FOUR * i + _TWO])]
        out[d + i] = lookup[np.uint64(tile[_FOUR * i + _THREE])]
    return True


@part
def _write(
    tile: NDArray[np.int64],
    steps: np.uint64,
    offset: np.int64,
    mask: np.int64,
    out: NDArray[Any],
    starts: NDArray[np.uint64],
) -> None:
    """Write the numbers of all four lanes, cut by a mask to what `out` holds."""
    a = starts[0]
    b = starts[1]
    c = starts[2]
    d = starts[3]
    for i in range(steps):
        out[a + i] = (tile[_FOUR * i] + offset) & mask
        out[b + i] = (tile[_FOUR * i + _ONE] + offset) & mask
        out[c + i] = (tile[_FOUR * i + _TWO] + offset) & mask
        out[d + i] = (tile[_FOUR * i + _THREE] + offset) & mask


@part
def _as_image(number: np.int64) -> np.int64:
    """Return the bits of the float whose bits come in this place in the order of floats."""
    return number ^ ((number >> _SIGN) & _ALL_BUT_SIGN)


@part
def _write_ordered(
    tile: NDArray[np.int64],
    steps: np.uint64,
    offset: np.int64,
    out: NDArray[np.int64],
    starts: NDArray[np.uint64],
) -> None:
    """Write the bits of the floats that have these places in their order."""
    a = starts[0]
    b = starts[1]
    c = starts[2]
    d = starts[3]
    for i in range(steps):
        out[a + i] = _as_image(tile[_FOUR * i] + offset)
        out[b + i] = _as_image(tile[_FOUR * i + _ONE] + offset)
        out[c + i] = _as_image(tile[_FOUR * i + _TWO] + offset)
        out[d + i] = _as_image(tile[_FOUR * i + _THREE] + offset)


@part
def _write_singles(
    floats: NDArray[np.float64],
    steps: np.uint64,
    out: NDArray[np.float32],
    starts: NDArray[np.uint64],
) -> None:
    for k in range(4):
        at = np.uint64(k)
        for i in range(steps):
            out[starts[k] + i] = floats[at]
            at += _FOUR


@part
def _write_tile(
    tile: NDArray[np.int64],
    floats: NDArray[np.float64],
    steps: int,
    offset: np.int64,
    width: int,
    outs: Any,
    starts: NDArray[np.uint64],
) -> None:
    """Write a tile, each lane from its row in `starts` on; numbers get `offset` on top."""
    rows = np.uint64(steps)
    if width == 8:
        _write(tile, rows, offset, _ALL_BITS, outs[0], starts)
    elif width == -4:
        _write_singles(floats, rows, outs[2], starts)
    elif width == 4:
        _write(tile, rows, offset, _FOUR_BYTES, outs[3], starts)
    elif width == 2:
        _write(tile, rows, offset, _TWO_BYTES, outs[4], starts)
    else:
        _write(tile, rows, offset, _ONE_BYTE, outs[5], starts)


@part
def as_all(
    out: NDArray[np.uint8],
) -> tuple[
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.float32],
    NDArray[np.uint32],
    NDArray[np.uint16],
    NDArray[np.uint8],
]:
    """Return the same memory as every type of values that there is."""
    whole = out[: out.size & -8]
    half = out[: out.size & -4]
    quarter = out[: out.size & -2]
    return (
        whole.view(np.int64),
        whole.view(np.float64),
        half.view(np.float32),
        half.view(np.uint32),
        quarter.view(np.uint16),
        out,
    )


@part
def write_values(
    tile: NDArray[np.int64],
    floats: NDArray[np.float64],
    steps: int,
    mapping: int,
    scale: np.int64,
    offset: np.int64,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    width: int,
    outs: Any,
    starts: NDArray[np.uint64],
) -> bool:
    """Write what becomes of a tile's numbers, in one pass where there is a way for that.

    Numbers are multiples of `scale` above `offset`, and `floats` is the memory of `tile`; see
    `pipeline.codecs.kernels.bins_decode.decode_lanes`. False if a look-up lacks a number.
    """
    if scale == 1 and (mapping == 5 or (mapping == 1 and inverse != 0.0)):
        if _write_floats(tile, steps, mapping, offset, power, inverse, rest, width, outs, starts):
            return True
    elif scale == 1 and mapping == 0:
        _write_tile(tile, floats, steps, offset, width, outs, starts)
        return True
    elif scale == 1 and mapping == 3 and width == 8:
        _write_ordered(tile, np.uint64(steps), offset, outs[0], starts)
        return True
    elif scale == 1 and mapping == 4 and offset == 0 and width == 8:
        return _write_found(tile, steps, lookup, outs[0], starts)
    if not map_tile(tile, floats, steps, mapping, scale, offset, power, inverse, rest, lookup):
        return False
    _write_tile(tile, floats, steps, np.int64(0), width, outs, starts)
    return True
