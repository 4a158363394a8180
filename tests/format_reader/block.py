"""FORMAT.md, "Payload" and "Transforms": a block's rows."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.format_reader.header import Header, read_header
from tests.format_reader.octets import MASK, Octets, signed
from tests.format_reader.series import read_corrections, read_mask, read_nested, read_series

__all__ = ["fill_value", "read_block", "read_pieces"]

type Values = NDArray[Any]
type Inverse = Callable[[list[int]], Values]

VALUES, MISSING, REPEATED, CORRECTIONS, ABSENT, DROPPED = range(1, 7)
PIECES = 128
INHERITED = 128


def fill_value(dtype: np.dtype[Any]) -> Any:
    """Return what stands at rows without a value."""
    if dtype.kind == "f":
        return dtype.type(np.nan)
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def read_block(data: bytes) -> tuple[Values, NDArray[np.bool_]]:
    """Return values and validity of all rows."""
    header = read_header(data)
    rows, dtype = header.rows, header.dtype
    if header.constant is not None:
        first = int.from_bytes(header.constant, "little")
        bits = [(first + row * header.step) & MASK for row in range(rows)]
        return _from_bits(bits, dtype), np.ones(rows, np.bool_)
    if header.vacant or not rows:
        return np.full(rows, fill_value(dtype), dtype), np.zeros(rows, np.bool_)
    with np.errstate(all="ignore"):
        return _read_payload(header)


def read_pieces(data: bytes) -> list[tuple[int, Any, Any]]:
    """Return rows with a value, smallest and largest value of every 1,024 rows."""
    header, found = read_header(data), list[tuple[int, Any, Any]]()
    octets = _sections(Octets(header.payload))[PIECES]
    form = octets.byte()
    widths = [octets.byte() if form & 64 else 0, octets.byte(), octets.byte()]
    least, count = octets.signed(), -(-header.rows // 1024)
    bits, place = int.from_bytes(octets.rest(), "little"), 0
    fields: list[list[int]] = []
    for width in widths:
        fields.append([bits >> place + at * width & (1 << width) - 1 for at in range(count)])
        place += count * width
    for at, (gone, low, span) in enumerate(zip(*fields, strict=True)):
        numbers = [least + low, least + low + span]
        ends = _from_images(numbers, header.dtype)
        if form & 63 < 32:
            ends = (_floats(numbers) / 10.0 ** (form & 63)).astype(header.dtype)
        found.append((min(1024, header.rows - 1024 * at) - gone, *ends.tolist()))
    return found


def _sections(octets: Octets) -> dict[int, Octets]:
    """Return the sections before the values, and stop where these begin."""
    sections = dict[int, Octets]()
    while (id := octets.byte()) != VALUES:
        assert id >= PIECES or MISSING <= id <= DROPPED
        sections[id] = octets.sized()
    return sections


def _read_payload(header: Header) -> tuple[Values, NDArray[np.bool_]]:
    dtype, octets = header.dtype, Octets(header.payload)
    sections = _sections(octets)
    there = np.ones(header.rows, np.bool_)
    if ABSENT in sections:
        there = ~np.array(read_mask(sections[ABSENT], header.rows))
    held, repeated = int(there.sum()), np.zeros(int(there.sum()), np.bool_)
    value = np.array([fill_value(dtype)], dtype)
    for id in (REPEATED, DROPPED):
        if id in sections:
            if sections[id].byte():
                value = np.frombuffer(sections[id].take(dtype.itemsize), dtype)
            repeated = np.array(read_mask(sections[id], held))
    streamed = held - int(repeated.sum()) if DROPPED in sections else held
    values = np.empty(held, dtype)
    values[~repeated if DROPPED in sections else np.ones(held, np.bool_)] = _read_values(
        header, octets, sections.get(CORRECTIONS), streamed
    )
    values[repeated] = value[0]
    wide = np.full(header.rows, fill_value(dtype), dtype)
    wide[there] = values
    if MISSING in sections:
        there = ~np.array(read_mask(sections[MISSING], header.rows))
        wide[~there] = fill_value(dtype)
    return wide, there


def _read_values(header: Header, octets: Octets, corrections: Octets | None, rows: int) -> Values:
    if not rows:
        return np.empty(0, header.dtype)
    transform, predictor, entropy = header.stages
    inverse = _read_transform(transform, octets, header.dtype)
    if entropy & INHERITED:
        numbers = read_series(
            predictor, entropy - INHERITED, _with_head(header, octets.rest()), rows
        )
    else:
        numbers = read_series(predictor, entropy, Octets(octets.rest()), rows)
    values = inverse(numbers)
    return values if corrections is None else _mended(values, corrections)


def _with_head(header: Header, rest: bytes) -> Octets:
    """Put the smallest value and the scale of the header where offset and scale would stand."""
    low = int(header.low)
    return Octets(_leb(((low << 1) ^ (low >> 63)) & MASK) + _leb(header.scale) + rest)


def _leb(number: int) -> bytes:
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    return bytes((*octets, number))


def _mended(values: Values, corrections: Octets) -> Values:
    steps = read_corrections(corrections, len(values))
    return _from_images(
        [image + step for image, step in zip(_images(values), steps, strict=True)], values.dtype
    )


def _from_bits(numbers: list[int], dtype: np.dtype[Any]) -> Values:
    width = 8 * dtype.itemsize
    bits = np.array([n & (1 << width) - 1 for n in numbers], f"u{dtype.itemsize}")
    return bits != 0 if dtype.kind == "b" else bits.view(dtype)


def _flipped(bits: int, width: int) -> int:
    return bits ^ (1 << width - 1) - 1 if bits >> width - 1 else bits


def _images(values: Values) -> list[int]:
    width = 8 * values.dtype.itemsize
    if values.dtype.kind != "f":
        return [int(value) for value in values.tolist()]
    bits = [_flipped(one, width) for one in values.view(f"u{width // 8}").tolist()]
    return [one - (1 << width) if one >> width - 1 else one for one in bits]


def _from_images(numbers: list[int], dtype: np.dtype[Any]) -> Values:
    width = 8 * dtype.itemsize
    cut = [number & (1 << width) - 1 for number in numbers]
    return _from_bits([_flipped(n, width) for n in cut] if dtype.kind == "f" else cut, dtype)


def _read_transform(id: int, octets: Octets, dtype: np.dtype[Any]) -> Inverse:
    """Read the parameters of a transform, and return what makes values of its numbers."""
    if id == 0:
        return lambda numbers: _from_bits(numbers, dtype)
    if id == 1:
        return lambda numbers: _from_images(numbers, dtype)
    if id == 2:
        exponent, single = octets.byte(), octets.byte()
        kind = np.dtype(np.float32 if single else np.float64)
        return lambda numbers: (_floats(numbers) / 10.0**exponent).astype(kind).astype(dtype)
    if id in (3, 6):
        return _read_dictionary(octets, dtype, mended=id == 6)
    if id == 4:
        steps = [_read_step(octets) for _ in range(octets.byte())]
        return lambda numbers: _computed(_floats(numbers), steps).astype(dtype)
    if id == 5:
        digits, exponent = octets.byte(), octets.byte()
        return lambda numbers: np.array(
            [_printed(signed(number), digits, exponent) for number in numbers]
        ).astype(dtype)
    assert id == 7
    return _read_multiples(octets)


def _floats(numbers: list[int]) -> Values:
    return np.array([signed(number) for number in numbers], np.int64).astype(np.float64)


def _read_dictionary(octets: Octets, dtype: np.dtype[Any], *, mended: bool) -> Inverse:
    inverse = _read_transform(octets.byte(), octets, dtype)
    entries = inverse(read_nested(octets, octets.number()))
    if mended:
        entries = _mended(entries, octets.sized())
    return lambda numbers: entries[np.array(numbers, np.int64)]


def _read_step(octets: Octets) -> tuple[int, float]:
    kind = octets.byte()
    if kind < 4:
        (parameter,) = struct.unpack("<d", octets.take(8))
        return kind, parameter
    return kind, octets.byte() if kind < 6 else 0


def _computed(values: Values, steps: list[tuple[int, float]]) -> Values:
    for kind, parameter in steps:
        if kind == 1:
            values = values * parameter
        elif kind == 2:
            values = values / parameter
        elif kind == 3:
            values = values + parameter
        elif kind == 4:
            values = np.rint(values * 10.0 ** int(parameter)) / 10.0 ** int(parameter)
        elif kind == 5:
            values = np.array([_rounded(float(x), int(parameter)) for x in values])
        else:
            assert kind == 6
            values = values.astype(np.float32).astype(np.float64)
    return values


def _rounded(value: float, digits: int) -> float:
    if not np.isfinite(value) or value == 0:
        return value
    decade = next(d for d in range(400, -400, -1) if float(f"1e{d}") <= abs(value))
    exponent = digits - 1 - decade
    if 0 <= exponent <= 22:
        return float(np.rint(value * 10.0**exponent) / 10.0**exponent)
    if -22 <= exponent < 0:
        return float(np.rint(value / 10.0**-exponent) * 10.0**-exponent)
    return value


def _printed(number: int, digits: int, exponent: int) -> float:
    unit, far = 10 ** (digits - 1), abs(number)
    decades, left = 0, far
    if far >= 10 * unit:
        decades, left = divmod(far - 10 * unit, 9 * unit)
        decades, left = decades + 1, unit + left
    power = exponent - decades
    if power < -22:
        value = float("nan")
    else:
        value = float(left) / 10.0**power if power >= 0 else float(left) * 10.0**-power
    return -value if number < 0 else value


def _read_multiples(octets: Octets) -> Inverse:
    (factor,) = struct.unpack("<d", octets.take(8))
    bits = octets.byte()
    exceptions = iter(np.frombuffer(octets.take(8 * octets.number()), np.float64))

    def inverse(numbers: list[int]) -> Values:
        near = _floats([signed(number) >> bits for number in numbers]) * factor
        found = []
        for image, number in zip(_images(near), numbers, strict=True):
            far = number & (1 << bits) - 1
            if far == (1 << bits) - 1:
                found.append(_images(np.array([next(exceptions)]))[0])
            else:
                found.append(image + far - ((1 << bits - 1) - 1))
        return _from_images(found, np.dtype(np.float64))

    return inverse
