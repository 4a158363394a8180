"""Loops that decode some rows of a block's stream: bins and runs, behind the usual transforms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bins_decode import decode_lanes
from pipeline.codecs.kernels.bins_stream import read_rest
from pipeline.codecs.kernels.bins_values import map_tile
from pipeline.codecs.kernels.block_loop import part
from pipeline.codecs.kernels.blocks_rows import repeat_rows, step_rows
from pipeline.codecs.kernels.lists_parts import read_nested, suits, take, unfold

__all__ = ["read_stream"]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_FOUR = np.uint64(4)
_FIFTEEN = np.uint64(15)
_TEN = np.uint64(10)
_WIDEST = np.uint64(1 << 60)
_IDENTITY, _ORDERED, _DECIMAL, _DICTIONARY = range(4)
_NUMBERS, _QUOTIENT, _SINGLE_QUOTIENT, _IMAGE, _LOOK_UP = range(5)
_BINS, _RUNS, _INHERITED = 5, 6, 128
_RAW, _SCALE, _ALIGNED = 8, 64, 128
_SIGNED, _FLOAT = 1, 2
_VALUES = 10
_AS_IS = np.int64(1)
_NO_OFFSET = np.int64(0)
_POWERS = 23


@part
def read_stream(
    data: NDArray[np.uint8],
    told: NDArray[np.int64],
    rows: int,
    first: int,
    last: int,
    sizes: tuple[int, int, int, int],
    kind: tuple[int, int, bool],
    decimals: NDArray[np.float64],
    place: NDArray[np.int64],
    numbers: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> bool:
    """Decode rows from `first` up to `last` of the `rows` in a stream; False if it is odd.

    Parameters
    ----------
    data, told
        The block, and what `pipeline.codecs.kernels.frame_open.open_frame` tells of it.
    rows, first, last
        At least one row, and none or more of them.
    sizes, kind, decimals
        See `pipeline.codecs.kernels.blocks_decode.decode_frames`.
    place, numbers
        Memory.
    out
        Receives the values.
    """
    if first == last:
        return True
    lookup = np.zeros(1, np.int64)
    place[0], place[1] = told[_VALUES], 0
    way = np.int64(_read_way(data, told[4], kind, place))
    if way < 0:
        return False
    power = inverse = rest = 1.0
    if way & 7 == _LOOK_UP:
        lookup = _read_entries(data, way >> 3, rows, sizes, kind, decimals, place)
        if lookup.size == 0:
            return False
    elif way & 7 == _QUOTIENT or way & 7 == _SINGLE_QUOTIENT:
        power, inverse, rest = decimals[0, way >> 3], decimals[1, way >> 3], decimals[2, way >> 3]
    mapping = way & 7
    entropy = told[6] & ~_INHERITED
    if told[6] & _INHERITED:
        offset, scale = _inherited(data, told, kind)
        if scale == _ZERO:
            return False
    else:
        offset = np.int64(unfold(take(data, place)))
        scale = take(data, place)
    if place[1]:
        return False
    stream = data[place[0] : told[_VALUES + 1]]
    if entropy == _BINS:
        return _read_bins(
            stream, told[5], offset, scale, rows, first, last, sizes, mapping, power, inverse, rest,
            lookup, kind[0], place, out,
        )  # fmt: skip
    if entropy == _RUNS:
        return _read_runs(
            stream, told[5], offset, scale, rows, first, last, sizes, mapping, power, inverse, rest,
            lookup, kind[0], place, numbers, out,
        )  # fmt: skip
    return False


@part
def _read_way(
    data: NDArray[np.uint8], transform: int, kind: tuple[int, int, bool], place: NDArray[np.int64]
) -> int:
    """Return a mapping and, times 8, its power of ten or the transform of entries; -1 if unusual."""
    at = place[0]
    if transform == _IDENTITY:
        return _NUMBERS if kind[1] != _FLOAT else -1
    if transform == _ORDERED:
        return _IMAGE if kind[1] == _FLOAT and kind[0] == 8 else -1
    if transform == _DECIMAL and at + 2 <= data.size and kind[1] == _FLOAT:
        exponent, single = np.int64(data[at]), np.int64(data[at + 1])
        place[0] = at + 2
        if exponent >= _POWERS or single > 1:
            return -1
        # A narrow column is rounded as it is written.
        mapping = _SINGLE_QUOTIENT if single and kind[0] == 8 else _QUOTIENT
        return mapping + 8 * exponent  # type: ignore[return-value]
    if transform == _DICTIONARY and at < data.size and (kind[0] == 8 or kind[1] != _FLOAT):
        place[0] = at + 1
        return _LOOK_UP + 8 * np.int64(data[at])  # type: ignore[return-value]
    return -1


@part
def _read_entries(
    data: NDArray[np.uint8],
    transform: int,
    rows: int,
    sizes: tuple[int, int, int, int],
    kind: tuple[int, int, bool],
    decimals: NDArray[np.float64],
    place: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the entries of a dictionary as they are looked up; none if they are unusual."""
    none = np.empty(0, np.int64)
    lookup = np.zeros(1, np.int64)
    way = np.int64(_read_way(data, transform, kind, place))
    if way < 0 or way & 7 == _LOOK_UP:
        return none
    count = np.int64(take(data, place))
    if place[1] or count == 0 or count > rows or not suits(data, place[0], 1):
        return none
    entries = np.zeros((count + 3) & -4, np.uint64)
    if not read_nested(data, place, sizes, lookup, entries[:count]):
        return none
    found = entries.view(np.int64)
    power = way >> 3
    map_tile(
        found, entries.view(np.float64), (count + 3) >> 2, way & 7, _AS_IS, _NO_OFFSET,
        decimals[0, power], decimals[1, power], decimals[2, power], lookup,
    )  # fmt: skip
    return found[:count]


@part
def _inherited(
    data: NDArray[np.uint8], told: NDArray[np.int64], kind: tuple[int, int, bool]
) -> tuple[np.int64, np.uint64]:
    """Return offset and scale as the header has them; a scale of 0 if they are unusual."""
    place = np.zeros(2, np.int64)
    place[0] = told[7]
    flags = told[1]
    if kind[1] == _FLOAT or flags & _RAW or told[3] == told[2]:
        return _NO_OFFSET, _ZERO
    scale = _ONE
    if flags & _SCALE:
        number = take(data, place)
        scale = number >> _FOUR
        for _ in range(number & _FIFTEEN):
            if scale >= _WIDEST:
                return _NO_OFFSET, _ZERO
            scale *= _TEN
        if scale <= _ONE or scale >= _WIDEST:
            return _NO_OFFSET, _ZERO
    least = take(data, place)
    if kind[1] == _SIGNED:
        least = unfold(least)
    if flags & _ALIGNED:
        least *= scale
    if place[1] or place[0] > told[8]:
        return _NO_OFFSET, _ZERO
    return np.int64(least), scale


@part
def _read_bins(
    data: NDArray[np.uint8],
    predictor: int,
    offset: np.int64,
    scale: np.uint64,
    rows: int,
    first: int,
    last: int,
    sizes: tuple[int, int, int, int],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    width: int,
    place: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> bool:
    """Decode the groups of a laned stream that hold the rows wanted."""
    count, most_groups, most_odd, spare = sizes
    words = np.empty(data.size // 8 + 1 + spare, np.uint64)
    head = np.empty(count, np.int64)
    groups = np.empty(most_groups, np.int64)
    odd = np.empty((2, most_odd), np.int64)
    head[0], head[1] = offset, np.int64(scale)
    place[0] = 0
    if read_rest(data, place, rows, predictor, head, odd, groups, words.view(np.uint8)):
        return False
    group = 4 * head[8]
    low = first // group
    high = (last - 1) // group
    start, stop = low * group, min(np.int64(rows), (high + 1) * group)
    whole = start == first and stop == last
    size = np.int64(abs(width))
    target = out if whole else np.empty((stop - start) * size, np.uint8)
    outliers = head[9]
    good = decode_lanes(
        words[: head[15] // 8 + 1 + spare], data[data.size - head[11] // 8 + head[15] :], head,
        groups[:high], low, odd[0, :outliers], odd[1, :outliers], mapping, power, inverse, rest,
        lookup, width, target,
    )  # fmt: skip
    if good and not whole:
        begin = np.uint64((first - start) * size)
        for i in range(np.uint64(out.size)):
            out[i] = target[begin + i]
    return good


@part
def _read_runs(
    data: NDArray[np.uint8],
    predictor: int,
    offset: np.int64,
    scale: np.uint64,
    rows: int,
    first: int,
    last: int,
    sizes: tuple[int, int, int, int],
    mapping: int,
    power: float,
    inverse: float,
    rest: float,
    lookup: NDArray[np.int64],
    width: int,
    place: NDArray[np.int64],
    memory: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> bool:
    """Decode runs, as far as they are wanted."""
    place[0] = place[1] = 0
    if predictor > 1 or (predictor and mapping):
        return False
    begin = take(data, place) if predictor else _ZERO
    count = np.int64(take(data, place))
    room = (count + 3) & -4
    if place[1] or count == 0 or count > rows - predictor or 2 * room > memory.size:
        return False
    numbers = memory[:room]
    more = memory[room : room + count]
    if not (
        suits(data, place[0], 2)
        and read_nested(data, place, sizes, lookup, numbers[:count])
        and read_nested(data, place, sizes, lookup, more)
        and place[0] == data.size
        and _adds_up(more, np.uint64(rows - predictor))
    ):
        return False
    move = np.uint64(offset)
    if predictor:
        for k in range(count):
            numbers[k] *= scale
        _write_steps(numbers[:count], more, begin * scale + move, first, last, width, out)
        return True
    for k in range(count):
        numbers[k] = numbers[k] * scale + move
    for k in range(count, room):
        numbers[k] = numbers[0]
    floats = numbers.view(np.float64)
    if not map_tile(
        numbers.view(np.int64), floats, room >> 2, mapping, _AS_IS, _NO_OFFSET, power, inverse,
        rest, lookup,
    ):  # fmt: skip
        return False
    _write_runs(numbers, floats, more, first, last, width, out)
    return True


@part
def _adds_up(more: NDArray[np.uint64], rows: np.uint64) -> bool:
    """Tell whether runs of one row and so many `more` are all the `rows` there are."""
    left = rows
    for k in range(np.uint64(more.size)):
        if more[k] >= left:
            return False
        left -= more[k] + _ONE
    return left == _ZERO


@part
def _write_steps(
    steps: NDArray[np.uint64],
    more: NDArray[np.uint64],
    start: np.uint64,
    first: int,
    last: int,
    width: int,
    out: NDArray[np.uint8],
) -> None:
    if width == 8:
        step_rows(steps, more, start, first, last, out.view(np.uint64))
    elif width == 4:
        step_rows(steps, more, start, first, last, out.view(np.uint32))
    elif width == 2:
        step_rows(steps, more, start, first, last, out.view(np.uint16))
    else:
        step_rows(steps, more, start, first, last, out)


@part
def _write_runs(
    numbers: NDArray[np.uint64],
    floats: NDArray[np.float64],
    more: NDArray[np.uint64],
    first: int,
    last: int,
    width: int,
    out: NDArray[np.uint8],
) -> None:
    """Write runs of values; `floats` is the memory of `numbers`."""
    if width == 8:
        repeat_rows(numbers, more, first, last, out.view(np.uint64))
    elif width == -4:
        singles = np.empty(numbers.size, np.float32)
        for k in range(numbers.size):
            singles[k] = floats[k]
        repeat_rows(singles.view(np.uint32), more, first, last, out.view(np.uint32))
    elif width == 4:
        repeat_rows(numbers, more, first, last, out.view(np.uint32))
    elif width == 2:
        repeat_rows(numbers, more, first, last, out.view(np.uint16))
    else:
        repeat_rows(numbers, more, first, last, out)
