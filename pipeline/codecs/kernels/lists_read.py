"""The loop that reads the short lists of a block in one call: masks, corrections and runs.

They are a few dozen numbers in a stream of their own. What Python does for each of them takes
10 to 30 us otherwise, as long as decoding ten thousand rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_values import map_tile
from pipeline.codecs.kernels.bins_whole import decode_whole
from pipeline.codecs.kernels.block_loop import part, wide_loop
from pipeline.codecs.kernels.plain_decode import integrate
from pipeline.codecs.kernels.plain_layouts import read_varints

__all__ = ["read_few", "read_lists"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_SEVEN = np.uint64(7)
_MOST_SHIFT = np.uint64(56)
_LOW_SEVEN = np.uint64(127)
_MORE = np.uint64(128)
_CONSTANT, _VARINTS, _BINS, _LIST = 0, 4, 5, 7
_MARKED, _UNMARKED, _STRETCHES, _FEW_STRETCHES = 1, 2, 3, 4
_MOST_LISTED = 64
_AS_THEY_ARE = np.int64(0)
_WIDTH = np.int64(8)
_FEW = 2048
_ODD = -1


@part
def _take(data: NDArray[np.uint8], place: NDArray[np.int64]) -> np.uint64:
    """Read LEB128 of up to 63 bits at ``place[0]``; ``place[1]`` becomes 1 if it cannot be."""
    number = _ZERO
    shift = _ZERO
    while place[0] < data.size and shift <= _MOST_SHIFT:
        byte = np.uint64(data[place[0]])
        place[0] += 1
        number |= (byte & _LOW_SEVEN) << shift
        if byte < _MORE:
            return number
        shift += _SEVEN
    place[1] = 1
    return _ZERO


@part
def _unfold(folded: np.uint64) -> np.uint64:
    return (folded >> _ONE) ^ (_ZERO - (folded & _ONE))


@part
def _read_plain(data: NDArray[np.uint8], entropy: int, order: int, out: NDArray[np.uint64]) -> bool:
    """Read a plain stream whose residuals agree, or stand there as varints that are stored."""
    place = np.zeros(2, np.int64)
    begins = np.zeros(2, np.uint64)
    rows = np.uint64(out.size)
    offset = _unfold(_take(data, place))
    scale = _take(data, place)
    ahead = np.uint64(order)
    if ahead > _TWO or ahead > rows:
        return False
    if order:
        begins[0] = _take(data, place) * scale + offset
        begins[1] = _unfold(_take(data, place)) * scale
        out[0] = begins[0]
    if order == 2:
        begins[0] += begins[1]
        out[1] = begins[0]
    residuals = out[np.int64(ahead) :]
    count = rows - ahead
    number = _take(data, place)
    if entropy == _CONSTANT:
        for i in range(count):
            residuals[i] = number
    else:
        tag = _take(data, place)
        if tag != number << _TWO:  # compressed, or repeated
            return False
        if place[1] or number != np.uint64(data.size - place[0]):
            return False
        if read_varints(data, np.uint64(place[0]), count, residuals) != np.uint64(data.size):
            return False
        place[0] = data.size
    integrate(residuals, count, ahead, scale, offset, begins)
    return bool(place[1] == 0 and place[0] == data.size)


@part
def _read_list(data: NDArray[np.uint8], out: NDArray[np.uint64]) -> bool:
    rows = np.uint64(out.size)
    if read_varints(data, _ZERO, rows, out) != np.uint64(data.size):
        return False
    for i in range(rows):
        out[i] = _unfold(out[i])
    return True


@part
def _read_series(
    data: NDArray[np.uint8],
    predictor: int,
    entropy: int,
    sizes: tuple[int, int, int, int],
    lookup: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> bool:
    """Read a series that takes all bytes; False if there is anything odd about it."""
    if entropy == _BINS:
        rows, octets = np.int64(out.size), out.view(np.uint8)
        wrong = decode_whole(
            data, rows, predictor, sizes, _AS_THEY_ARE, 1.0, 0.0, 0.0, lookup, _WIDTH, octets
        )
        return bool(wrong == 0)
    if entropy == _LIST:
        return bool(predictor == 0 and out.size <= _MOST_LISTED and _read_list(data, out))
    if entropy in (_CONSTANT, _VARINTS):
        return bool(_read_plain(data, entropy, predictor, out))
    return False


@part
def _read_nested(
    data: NDArray[np.uint8],
    place: NDArray[np.int64],
    sizes: tuple[int, int, int, int],
    lookup: NDArray[np.int64],
    out: NDArray[np.uint64],
) -> bool:
    """Read a nested stream at ``place[0]``; False if there is anything odd about it."""
    if out.size == 0 or place[1] or place[0] + 2 > data.size:
        return False
    predictor = np.int64(data[place[0]])
    entropy = np.int64(data[place[0] + 1])
    place[0] += 2
    size = np.int64(_take(data, place))
    start = place[0]
    if place[1] or size > data.size - start:
        return False
    place[0] = start + size
    return _read_series(data[start : start + size], predictor, entropy, sizes, lookup, out)


@part
def _suits(data: NDArray[np.uint8], at: int, streams: int) -> bool:
    """Tell whether so many nested streams from `at` on are of stages that are read here."""
    place = np.zeros(2, np.int64)
    place[0] = at
    for _ in range(streams):
        if place[1] or place[0] + 2 > data.size:
            return False
        entropy = data[place[0] + 1]
        place[0] += 2
        if entropy != _BINS and entropy != _LIST and entropy != _CONSTANT and entropy != _VARINTS:
            return False
        size = np.int64(_take(data, place))
        if size > data.size - place[0]:
            return False
        place[0] += size
    return bool(place[1] == 0)


@part
def _surround(
    listed: NDArray[np.uint64], count: int, rows: int, empty: int, lengths: NDArray[np.int64]
) -> int:
    """Write the rows of stretches around listed rows; return how many, -1 if they are odd."""
    before = _ZERO
    last = np.uint64(rows)
    lengths[0] = 0
    for k in range(count):
        row = listed[k]
        if row < before or row >= last:
            return _ODD
        lengths[empty + 2 * k] = np.int64(row - before)
        lengths[empty + 2 * k + 1] = 1
        before = row + _ONE
    lengths[empty + 2 * count] = np.int64(last - before)
    return empty + 2 * count + 1


@part
def _interleave(
    numbers: NDArray[np.uint64], rows: int, lengths: NDArray[np.int64], count: int
) -> int:
    """Write lengths of stretches in turn, of those that are not marked and those that are."""
    left = np.uint64(rows)
    half = count - count // 2
    for k in range(count):
        length = numbers[half + k // 2] if k & 1 else numbers[k // 2]
        if length > left:
            return _ODD
        left -= length
        lengths[k] = np.int64(length)
    return count if left == _ZERO else _ODD


@part
def _read_mask(
    data: NDArray[np.uint8],
    place: NDArray[np.int64],
    sizes: tuple[int, int, int, int],
    lookup: NDArray[np.int64],
    rows: int,
    lengths: NDArray[np.int64],
    numbers: NDArray[np.uint64],
) -> int:
    """Read a mask; return how many stretches there are, -1 if there is anything odd about it."""
    marked = np.int64(_take(data, place))
    if marked > rows or place[0] >= data.size:
        return _ODD
    kind = np.int64(data[place[0]])
    place[0] += 1
    count = np.int64(0)
    if kind in (_MARKED, _UNMARKED):
        empty = kind - 1
        listed = rows - marked if empty else marked
        if 2 * listed + 2 > lengths.size or listed > numbers.size:
            return _ODD
        if listed and not (
            _suits(data, place[0], 1) and _read_nested(data, place, sizes, lookup, numbers[:listed])
        ):
            return _ODD
        count = np.int64(_surround(numbers, listed, rows, empty, lengths))
    elif kind == _STRETCHES:
        count = np.int64(_take(data, place))
        half = count // 2
        if count < 2 or count > lengths.size or count > numbers.size:
            return _ODD
        if not (
            _suits(data, place[0], 2)
            and _read_nested(data, place, sizes, lookup, numbers[: count - half])
            and _read_nested(data, place, sizes, lookup, numbers[count - half : count])
        ):
            return _ODD
        count = np.int64(_interleave(numbers, rows, lengths, count))
    elif kind == _FEW_STRETCHES:
        count = np.int64(_take(data, place))
        left = np.int64(rows)
        if count == 0 or count > _MOST_LISTED:
            return _ODD
        for k in range(count - 1):
            length = np.int64(_take(data, place))
            if length > left:
                return _ODD
            lengths[k] = length
            left -= length
        lengths[count - 1] = left
    else:
        return _ODD
    for k in range(1, count, 2):
        marked -= lengths[k]
    return count if marked == 0 and place[1] == 0 else _ODD  # type: ignore[return-value]


@wide_loop
def read_lists(
    data: NDArray[np.uint8],
    rows: int,
    masked: bool,
    more: int,
    sizes: tuple[int, int, int, int],
    lengths: NDArray[np.int64],
    numbers: NDArray[np.uint64],
    told: NDArray[np.int64],
) -> bool:
    """Read a mask and what is listed behind it; False if there is anything odd about it.

    Parameters
    ----------
    data
        Bytes that begin with it.
    rows
        Rows of the mask, or numbers of each list if there is no mask.
    masked, more
        Whether there is a mask, and how many nested streams follow: behind a mask, of one number
        for each row that is marked.
    sizes
        See `pipeline.codecs.kernels.bins_whole.decode_whole`.
    lengths
        Receives the rows of the mask's stretches.
    numbers
        Receives what is listed, one stream behind the other; it also has room for what is listed
        in a mask.
    told
        Receives how many lengths there are, how many numbers each stream has, and how many
        bytes they are.
    """
    place = np.zeros(2, np.int64)
    lookup = np.zeros(1, np.int64)
    told[0] = 0
    each = np.int64(rows)
    if masked:
        told[0] = _read_mask(data, place, sizes, lookup, rows, lengths, numbers)
        if told[0] < 0:
            return False
        each = np.int64(0)
        for k in range(1, told[0], 2):
            each += lengths[k]
    if more * each > numbers.size or not _suits(data, place[0], more):
        return False
    for k in range(more):
        if not _read_nested(data, place, sizes, lookup, numbers[k * each : (k + 1) * each]):
            return False
    told[1] = each
    told[2] = place[0]
    return True


@part
def _spread(
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    count: int,
    fill: np.uint64,
    out: NDArray[Any],
    valid: NDArray[np.bool_],
) -> None:
    """Write `values` to the rows of every other stretch, and `fill` to the others."""
    at = _ZERO
    taken = _ZERO
    for k in range(count):
        stop = at + np.uint64(lengths[k])
        if k & 1:
            for i in range(at, stop):
                out[i] = fill
            for i in range(at, stop):
                valid[i] = False
        else:
            behind = taken - at
            for i in range(at, stop):
                out[i] = values[i + behind]
                valid[i] = True
            taken += stop - at
        at = stop


@wide_loop
def read_few(
    mask: NDArray[np.uint8],
    data: NDArray[np.uint8],
    predictor: int,
    entropy: int,
    sizes: tuple[int, int, int, int],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    fill: np.uint64,
    width: int,
    out: NDArray[np.uint8],
    valid: NDArray[np.bool_],
) -> bool:
    """Decode a block few rows of which have a value; False if there is anything odd about it.

    Parameters
    ----------
    mask
        Of the rows without a value.
    data, predictor, entropy
        The series of the others, and its stages.
    sizes
        See `pipeline.codecs.kernels.bins_whole.decode_whole`.
    mapping, power, inverse, rest, lookup, width, out
        See `pipeline.codecs.kernels.bins_decode.decode_lanes`.
    fill
        Bits of the rows without a value.
    valid
        Receives which rows have one.
    """
    place = np.zeros(2, np.int64)
    lengths = np.empty(_FEW, np.int64)
    numbers = np.empty(_FEW, np.uint64)
    none = np.zeros(1, np.int64)
    count = np.int64(_read_mask(mask, place, sizes, none, valid.size, lengths, numbers))
    if count < 0 or place[0] != mask.size:
        return False
    few = np.int64(0)
    for k in range(0, count, 2):
        few += lengths[k]
    if few == 0 or few + 3 > numbers.size:
        return False
    if not _read_series(data, predictor, entropy, sizes, none, numbers[:few]):
        return False
    steps = (few + 3) // 4
    for i in range(few, 4 * steps):
        numbers[i] = numbers[0]
    floats = numbers.view(np.float64)
    if not map_tile(
        numbers.view(np.int64), floats, steps, mapping, np.int64(1), np.int64(0), power, inverse,
        rest, lookup,
    ):  # fmt: skip
        return False
    if width == -4:
        singles = np.empty(few, np.float32)
        for i in range(few):
            singles[i] = floats[i]
        _spread(singles.view(np.uint32), lengths, count, fill, out.view(np.uint32), valid)
    elif width == 8:
        _spread(numbers, lengths, count, fill, out.view(np.uint64), valid)
    elif width == 4:
        _spread(numbers, lengths, count, fill, out.view(np.uint32), valid)
    elif width == 2:
        _spread(numbers, lengths, count, fill, out.view(np.uint16), valid)
    else:
        _spread(numbers, lengths, count, fill, out, valid)
    return True
