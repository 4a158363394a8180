"""What reads the short lists between the streams of a block: masks, corrections and runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_whole import decode_whole
from pipeline.codecs.kernels.block_loop import part
from pipeline.codecs.kernels.plain_decode import integrate
from pipeline.codecs.kernels.plain_layouts import read_varints

__all__ = ["ODD", "read_mask", "read_nested", "read_series", "suits", "take", "unfold"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TWO = np.uint64(2)
_THREE = np.uint64(3)
_FOUR = np.uint64(4)
_SEVEN = np.uint64(7)
_EIGHT = np.uint64(8)
_MOST_SHIFT = np.uint64(56)
_LOW_SEVEN = np.uint64(127)
_MORE = np.uint64(128)
_CONSTANT, _CODES, _VARINTS, _BINS, _LIST = 0, 2, 4, 5, 7
_MARKED, _UNMARKED, _STRETCHES, _FEW_STRETCHES = 1, 2, 3, 4
_MOST_LISTED = 64
_AS_THEY_ARE = np.int64(0)
_WIDTH = np.int64(8)

ODD = -1
"""How many stretches there are of a mask that is odd."""


@part
def take(data: NDArray[np.uint8], place: NDArray[np.int64]) -> np.uint64:
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
def unfold(folded: np.uint64) -> np.uint64:
    """Undo the zigzag of a number, modulo 2**64."""
    return (folded >> _ONE) ^ (_ZERO - (folded & _ONE))


@part
def _read_plain(data: NDArray[np.uint8], entropy: int, order: int, out: NDArray[np.uint64]) -> bool:
    """Read a plain stream whose residuals agree, or are stored as varints or short codes."""
    place = np.zeros(2, np.int64)
    begins = np.zeros(2, np.uint64)
    rows = np.uint64(out.size)
    offset = unfold(take(data, place))
    scale = take(data, place)
    ahead = np.uint64(order)
    if ahead > _TWO or ahead > rows:
        return False
    if order:
        begins[0] = take(data, place) * scale + offset
        begins[1] = unfold(take(data, place)) * scale
        out[0] = begins[0]
    if order == 2:
        begins[0] += begins[1]
        out[1] = begins[0]
    residuals = out[np.int64(ahead) :]
    count = rows - ahead
    number = take(data, place)
    if entropy == _CODES:
        if not _read_codes(data, place, number, count, residuals):
            return False
    elif entropy == _CONSTANT:
        for i in range(count):
            residuals[i] = number
    else:
        tag = take(data, place)
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
def _read_codes(
    data: NDArray[np.uint8],
    place: NDArray[np.int64],
    width: np.uint64,
    count: np.uint64,
    out: NDArray[np.uint64],
) -> bool:
    """Read codes of up to a byte that need no escapes; False if they are others, or compressed."""
    if width != _ONE and width != _TWO and width != _FOUR and width != _EIGHT:
        return False
    if take(data, place) != _ZERO:  # escapes
        return False
    octets = (count * width + _SEVEN) >> _THREE
    tag = take(data, place)
    begin = np.uint64(place[0])
    repeated = tag == (_ONE << _TWO | _TWO)
    if tag != octets << _TWO and not repeated:
        return False
    if place[1] or begin + (_ONE if repeated else octets) != np.uint64(data.size):
        return False
    mask = (_ONE << width) - _ONE
    for i in range(count):
        bit = i * width
        byte = begin if repeated else begin + (bit >> _THREE)
        out[i] = (np.uint64(data[byte]) >> (bit & _SEVEN)) & mask
    place[0] = data.size
    return True


@part
def _read_list(data: NDArray[np.uint8], out: NDArray[np.uint64]) -> bool:
    rows = np.uint64(out.size)
    if read_varints(data, _ZERO, rows, out) != np.uint64(data.size):
        return False
    for i in range(rows):
        out[i] = unfold(out[i])
    return True


@part
def read_series(
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
    if entropy in (_CONSTANT, _CODES, _VARINTS):
        return bool(_read_plain(data, entropy, predictor, out))
    return False


@part
def read_nested(
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
    size = np.int64(take(data, place))
    start = place[0]
    if place[1] or size > data.size - start:
        return False
    place[0] = start + size
    return read_series(data[start : start + size], predictor, entropy, sizes, lookup, out)


@part
def suits(data: NDArray[np.uint8], at: int, streams: int) -> bool:
    """Tell whether so many nested streams from `at` on are of stages that are read here."""
    place = np.zeros(2, np.int64)
    place[0] = at
    for _ in range(streams):
        if place[1] or place[0] + 2 > data.size:
            return False
        entropy = data[place[0] + 1]
        place[0] += 2
        long = entropy != _LIST and entropy != _CONSTANT and entropy != _VARINTS
        if long and entropy != _BINS and entropy != _CODES:
            return False
        size = np.int64(take(data, place))
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
            return ODD
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
            return ODD
        left -= length
        lengths[k] = np.int64(length)
    return count if left == _ZERO else ODD


@part
def read_mask(
    data: NDArray[np.uint8],
    place: NDArray[np.int64],
    sizes: tuple[int, int, int, int],
    lookup: NDArray[np.int64],
    rows: int,
    lengths: NDArray[np.int64],
    numbers: NDArray[np.uint64],
) -> int:
    """Read a mask; return how many stretches there are, -1 if there is anything odd about it."""
    marked = np.int64(take(data, place))
    if marked > rows or place[0] >= data.size:
        return ODD
    kind = np.int64(data[place[0]])
    place[0] += 1
    count = np.int64(0)
    if kind in (_MARKED, _UNMARKED):
        empty = kind - 1
        listed = rows - marked if empty else marked
        if 2 * listed + 2 > lengths.size or listed > numbers.size:
            return ODD
        if listed and not (
            suits(data, place[0], 1) and read_nested(data, place, sizes, lookup, numbers[:listed])
        ):
            return ODD
        count = np.int64(_surround(numbers, listed, rows, empty, lengths))
    elif kind == _STRETCHES:
        count = np.int64(take(data, place))
        half = count // 2
        if count < 2 or count > lengths.size or count > numbers.size:
            return ODD
        if not (
            suits(data, place[0], 2)
            and read_nested(data, place, sizes, lookup, numbers[: count - half])
            and read_nested(data, place, sizes, lookup, numbers[count - half : count])
        ):
            return ODD
        count = np.int64(_interleave(numbers, rows, lengths, count))
    elif kind == _FEW_STRETCHES:
        count = np.int64(take(data, place))
        left = np.int64(rows)
        if count == 0 or count > _MOST_LISTED:
            return ODD
        for k in range(count - 1):
            length = np.int64(take(data, place))
            if length > left:
                return ODD
            lengths[k] = length
            left -= length
        lengths[count - 1] = left
    else:
        return ODD
    for k in range(1, count, 2):
        marked -= lengths[k]
    return count if marked == 0 and place[1] == 0 else ODD  # type: ignore[return-value]
