"""Loops that turn a lane's numbers in a tile into values and write them where their rows stand."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.codecs.kernels.block_loop import part

__all__ = ["write_values"]

_SIGN = np.int64(63)
_ALL_BUT_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)
_FAR_SHIFT = np.int64(52)
_MAGIC = np.int64(0x4338000000000000)
_LEAST = np.int64(-(1 << 51))
_MAGIC_FLOAT = 6755399441055744.0
"""1.5 * 2**52: a whole number from -2**51 up to below 2**51, added to its bits, makes the float
of their sum."""


@intrinsic
def _fused(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        double = ir.DoubleType()
        kind = ir.FunctionType(double, [double] * 3)
        fused = builder.module.declare_intrinsic("llvm.fma", [double], kind)
        return builder.call(fused, arguments)

    return types.float64(a, b, c), generate


@intrinsic
def _same_bits(_: Any, word: Any) -> Any:
    """Return the float that has the bits of a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(word), generate


@part
def _small_float(number: np.int64) -> float:
    """Return a number from -2**51 up to below 2**51 as a float."""
    return _same_bits(number + _MAGIC) - _MAGIC_FLOAT  # type: ignore[no-any-return]


@part
def _times_inverse(number: float, power: float, inverse: float, rest: float) -> float:
    """Return ``number / power``, rounded as a division is, which takes six times as long."""
    return _fused(number, inverse, number * rest)  # type: ignore[no-any-return]


@part
def _divided(number: float, power: float, inverse: float, rest: float) -> float:
    return number / power


@part
def _times(number: float, power: float, inverse: float, rest: float) -> float:
    return number * power


_interpreted = bool(config.DISABLE_JIT)  # type: ignore[attr-defined]
_as_float: Any = np.float64 if _interpreted else _small_float
_quotient: Any = _divided if _interpreted else _times_inverse


def _make_floats(compute: Any) -> Any:
    """Return a loop that writes floats computed of numbers."""

    @part
    def floats_of(
        tile: NDArray[np.int64],
        begin: np.uint64,
        rows: np.uint64,
        power: float,
        inverse: float,
        rest: float,
        out: NDArray[Any],
        to: np.uint64,
    ) -> None:
        outside = np.int64(0)
        for i in range(rows):
            number = tile[begin + i]
            outside |= (number - _LEAST) >> _FAR_SHIFT
            out[to + i] = compute(_as_float(number), power, inverse, rest)
        if outside:  # too large for the short way
            for i in range(rows):
                out[to + i] = compute(np.float64(tile[begin + i]), power, inverse, rest)

    return floats_of


_write_quotients = _make_floats(_quotient)
_write_divided = _make_floats(_divided)
_write_products = _make_floats(_times)


@part
def _write_floats(
    tile: NDArray[np.int64],
    begin: np.uint64,
    rows: np.uint64,
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    out: NDArray[Any],
    to: np.uint64,
) -> None:
    if mapping == 5:
        _write_products(tile, begin, rows, power, inverse, rest, out, to)
    elif inverse == 0.0:
        _write_divided(tile, begin, rows, power, inverse, rest, out, to)
    else:
        _write_quotients(tile, begin, rows, power, inverse, rest, out, to)
    if mapping == 2:
        for i in range(to, to + rows):
            out[i] = np.float32(out[i])


@part
def _copy(
    tile: NDArray[Any], begin: np.uint64, rows: np.uint64, out: NDArray[Any], to: np.uint64
) -> None:
    for i in range(rows):
        out[to + i] = tile[begin + i]


@part
def _look_up(
    tile: NDArray[np.int64], begin: np.uint64, rows: np.uint64, lookup: NDArray[np.int64]
) -> bool:
    """Replace numbers by their entries in `lookup`; False if one has none."""
    farthest = np.uint64(0)
    for i in range(begin, begin + rows):
        farthest = max(farthest, np.uint64(tile[i]))
    if farthest >= np.uint64(lookup.size):
        return False
    for i in range(begin, begin + rows):
        tile[i] = lookup[np.uint64(tile[i])]
    return True


@part
def write_values(
    tile: NDArray[np.int64],
    begin: np.uint64,
    rows: np.uint64,
    mapping: int,
    scale: np.int64,
    offset: np.int64,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    width: int,
    out: NDArray[np.uint8],
    to: np.uint64,
) -> bool:
    """Write the values of some numbers to row `to` of `out` and those behind it.

    Returns False if a number has no entry in a look-up. Numbers are multiples of `scale` above
    `offset`; see `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    """
    if scale != 1:
        for i in range(begin, begin + rows):
            tile[i] *= scale
    if offset:
        for i in range(begin, begin + rows):
            tile[i] += offset
    if mapping == 1 or mapping == 2 or mapping == 5:
        if width == 8:
            doubles = out.view(np.float64)
            _write_floats(tile, begin, rows, mapping, power, inverse, rest, doubles, to)
        else:
            singles = out.view(np.float32)
            _write_floats(tile, begin, rows, mapping, power, inverse, rest, singles, to)
        return True
    if mapping == 3:
        for i in range(begin, begin + rows):
            tile[i] ^= (tile[i] >> _SIGN) & _ALL_BUT_SIGN
    elif mapping == 4 and not _look_up(tile, begin, rows, lookup):
        return False
    if width == 8:
        _copy(tile, begin, rows, out.view(np.int64), to)
    elif width == -4:
        _copy(tile.view(np.float64), begin, rows, out.view(np.float32), to)
    elif width == 4:
        _copy(tile, begin, rows, out.view(np.int32), to)
    elif width == 2:
        _copy(tile, begin, rows, out.view(np.int16), to)
    else:
        _copy(tile, begin, rows, out, to)
    return True
