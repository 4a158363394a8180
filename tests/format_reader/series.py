"""FORMAT.md, "Series", "Masks", "Corrections": whole numbers, lists of rows."""

from __future__ import annotations

import struct
from itertools import accumulate

from tests.format_reader.lanes import read_lanes
from tests.format_reader.octets import MASK, Octets, unfold

__all__ = ["read_corrections", "read_mask", "read_nested", "read_series"]


def read_nested(octets: Octets, rows: int) -> list[int]:
    """Read a nested stream."""
    predictor, entropy = octets.byte(), octets.byte()
    return read_series(predictor, entropy, octets.sized(), rows)


def read_series(predictor: int, entropy: int, octets: Octets, rows: int) -> list[int]:
    """Read so many numbers, modulo 2**64, to the end of the bytes."""
    if entropy == 7:
        return [octets.signed() & MASK for _ in range(rows)]
    offset, scale = octets.signed(), octets.number()
    if entropy == 5:
        multiples = read_lanes(predictor, octets, rows)
    elif entropy == 6:
        multiples = _read_runs(predictor, octets)
    else:
        multiples = _read_plain(predictor, entropy, octets, rows)
    assert len(multiples) == rows
    assert octets.at == len(octets.data)
    return [(number * scale + offset) & MASK for number in multiples]


def _read_runs(predictor: int, octets: Octets) -> list[int]:
    first = octets.number() if predictor else 0
    count = octets.number()
    numbers, lengths = read_nested(octets, count), read_nested(octets, count)
    repeated = [n for n, more in zip(numbers, lengths, strict=True) for _ in range(more + 1)]
    return list(accumulate(repeated, initial=first)) if predictor else repeated


def _read_plain(predictor: int, entropy: int, octets: Octets, rows: int) -> list[int]:
    first = octets.number() if predictor else 0
    step = octets.signed() if predictor else 0
    residuals = _read_residuals(entropy, octets, rows - predictor)
    if predictor == 0:
        return residuals
    if predictor == 1:
        return list(accumulate((step + unfold(one) for one in residuals), initial=first))
    slopes = accumulate(map(unfold, residuals), initial=step)
    return list(accumulate(slopes, initial=first))


def _read_residuals(entropy: int, octets: Octets, count: int) -> list[int]:
    if entropy == 0:
        return [octets.number()] * count
    if entropy == 1:
        width = octets.byte()
        letter = {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
        return list(struct.unpack(f"<{count}{letter}", octets.take(width * count)))
    if entropy == 2:
        return _read_codes(octets, count)
    if entropy == 3:
        planes, line = octets.byte(), -(-count // 8)
        data = octets.buffer(planes * line)
        rows = [data[plane * line : (plane + 1) * line] for plane in range(planes)]
        return [
            sum((row[i // 8] >> i % 8 & 1) << plane for plane, row in enumerate(rows))
            for i in range(count)
        ]
    assert entropy == 4
    listed = Octets(octets.buffer(octets.number()))
    found = [listed.number() for _ in range(count)]
    assert listed.at == len(listed.data)
    return found


def _read_codes(octets: Octets, count: int) -> list[int]:
    width, escapes = octets.byte(), octets.number()
    larger = iter(_read_residuals(4, octets, escapes)) if escapes else iter(())
    if width < 8:
        data = octets.buffer(-(-count * width // 8))
        each, mask = 8 // width, (1 << width) - 1
        codes = [data[i // each] >> i % each * width & mask for i in range(count)]
    else:
        planes = [octets.buffer(count) for _ in range(width // 8)]
        codes = [int.from_bytes(bytes(octet), "little") for octet in zip(*planes, strict=True)]
    escape = (1 << width) - 1
    marked = escapes > 0
    return [code + next(larger) if marked and code == escape else code for code in codes]


def read_mask(octets: Octets, rows: int) -> list[bool]:
    """Read which rows are marked."""
    marked, kind = octets.number(), octets.byte()
    mask = [kind == 2] * rows
    if kind == 0:
        bits = octets.buffer(-(-rows // 8))
        mask = [bool(bits[row // 8] >> row % 8 & 1) for row in range(rows)]
    elif kind in (1, 2):
        listed = marked if kind == 1 else rows - marked
        for row in read_nested(octets, listed) if listed else []:
            mask[row] = kind == 1
    else:
        count = octets.number()
        if kind == 3:
            others, those = read_nested(octets, count - count // 2), read_nested(octets, count // 2)
            lengths = [(those if at % 2 else others)[at // 2] for at in range(count)]
        else:
            lengths = [octets.number() for _ in range(count - 1)]
            lengths.append(rows - sum(lengths))
        mask = [bool(at % 2) for at, length in enumerate(lengths) for _ in range(length)]
    assert len(mask) == rows
    assert sum(mask) == marked
    return mask


def read_corrections(octets: Octets, rows: int) -> list[int]:
    """Read what is added to the image of every row."""
    mask = read_mask(octets, rows)
    steps = map(unfold, read_nested(octets, sum(mask)) if any(mask) else [])
    return [next(steps) if marked else 0 for marked in mask]
