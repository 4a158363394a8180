"""FORMAT.md, "Laned streams": the entropy stage bins."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.format_reader.octets import Octets, signed, unfold

__all__ = ["read_lanes"]

TILE = 1024


class Bits:
    """A bit stream, lowest bits first."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.whole = int.from_bytes(data, "little")
        self.data = data + bytes(16)
        self.at = at

    def take(self, width: int) -> int:
        window = int.from_bytes(self.data[self.at // 8 : self.at // 8 + 16], "little")
        found = window >> self.at % 8 & ((1 << width) - 1)
        self.at += width
        return found

    def number(self) -> int:
        return unfold(self.take(self.take(7)))

    def golomb(self, order: int) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        high = self.take(zeros) + (1 << zeros) - 1
        return high << order | self.take(order)


@dataclass
class Table:
    """Bins and their states."""

    bits: int
    bases: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    moves: list[list[int]] = field(default_factory=list)
    # by context and state: bin, bits of the next state, base of the next state
    states: list[list[tuple[int, int, int]]] = field(default_factory=list)


def _read_table(bits: Bits) -> Table:
    table = Table(bits.take(4))
    contexts, bins = bits.take(3) + 1, bits.take(8) + 1
    base, width = bits.number(), 0
    for _ in range(bins):
        width += unfold(bits.golomb(0))
        table.bases.append(base)
        table.widths.append(width)
        base += bits.golomb(min(width, 40)) + 1
    table.kinds = [bits.take(3) if contexts > 1 else 0 for _ in range(bins)]
    kinds = range(max(table.kinds) + 1)
    listed = contexts > 1 and bits.take(1)
    table.moves = [[bits.take(3) if listed else kind for kind in kinds] for _ in range(contexts)]
    for _ in range(contexts):
        shares, length = list[int](), 0
        for _ in range(bins - 1):
            length += unfold(bits.golomb(0))
            shares.append(bits.take(length - 1) | 1 << length - 1 if length else 0)
        shares.append((1 << table.bits) - sum(shares))
        table.states.append(_spread(shares, table.bits))
    return table


def _spread(shares: list[int], bits: int) -> list[tuple[int, int, int]]:
    size = 1 << bits
    bins, state = [0] * size, 0
    for number, share in enumerate(shares):
        for _ in range(share):
            bins[state] = number
            state = (state + size // 2 + size // 8 + 3) % size
    following, states = list(shares), []
    for number in bins:
        occurrence = following[number]
        following[number] += 1
        width = bits + 1 - occurrence.bit_length()
        states.append((number, width, (occurrence << width) - size))
    return states


@dataclass
class Stream:
    """What stands before the bit stream."""

    predictor: int
    rows: int
    lane: int = 0
    shift: int = 0
    period: int = 0
    low: int = 0
    pair: int = 0
    least: int = 0
    planes: int = 0
    odd: dict[int, int] = field(default_factory=dict)


def read_lanes(predictor: int, octets: Octets, rows: int) -> list[int]:
    """Read so many numbers, as multiples of a scale above an offset that were read before."""
    stream = Stream(predictor, rows)
    if predictor in (3, 4):
        stream.shift = octets.byte()
    if predictor == 4:
        stream.period = octets.number()
    head = octets.number()
    stream.low = head >> 3
    if stream.low == 63:
        stream.low = 0
        kind = octets.number()
        stream.pair = kind & 127
        stream.planes = octets.byte() if kind & 128 else 0
        stream.least = octets.signed() if stream.pair else 0
    stream.lane = octets.number()
    row = 0
    for _ in range(octets.number()):
        row += octets.number()
        stream.odd[row] = octets.signed()
    groups = -(-rows // (4 * stream.lane))
    for _ in range(groups - 1):
        octets.number()  # bits of a group: for those who start at a later one
    data = octets.rest()
    low_at = 8 * len(data) - rows * stream.low
    sizes = [min(stream.lane, rows - 4 * stream.lane * group) for group in range(groups)]
    plane_at = len(data) - sum(_plane_bytes(size, stream.planes) for size in sizes)
    bits = Bits(data, head & 7)
    table = _read_table(bits)
    found: list[int] = []
    for group in range(groups):
        start = 4 * stream.lane * group
        total = min(4 * stream.lane, rows - start)
        lanes, begins = _read_group(stream, table, bits, total)
        if stream.planes:
            _add_planes(lanes, data[plane_at:], stream.planes)
            plane_at += _plane_bytes(len(lanes[0]), stream.planes)
        residuals = [one for lane in lanes for one in lane]
        if stream.low:
            apart = Bits(data, low_at + start * stream.low)
            residuals = [one << stream.low | apart.take(stream.low) for one in residuals]
        residuals = [stream.odd.get(start + at, one) for at, one in enumerate(residuals)]
        for number, (begin, slope) in enumerate(begins):
            lane = residuals[number * stream.lane : (number + 1) * stream.lane]
            found += _restore(stream, lane, begin, slope)
    return found


def _read_group(
    stream: Stream, table: Table, bits: Bits, total: int
) -> tuple[list[list[int]], list[tuple[int, int]]]:
    sizes = [max(0, min(stream.lane, total - k * stream.lane)) for k in range(4)]
    used = [k for k in range(4) if sizes[k]]
    places, begins, begin = [(0, 0)] * 4, [], 0
    for k in used:
        places[k] = (0, bits.take(table.bits))
        if stream.predictor:
            begin += bits.number()
        slope = bits.number() if stream.predictor == 2 else 0
        begins.append((begin, slope))
    lanes: list[list[int]] = [[] for _ in range(4)]
    for row in range(0, sizes[0], 2 if stream.pair else 1):
        for k in used:
            if row >= sizes[k]:
                continue
            context, state = places[k]
            number, width, base = table.states[context][state]
            following = table.moves[context][table.kinds[number]]
            places[k] = (following, base + bits.take(width))
            residual = table.bases[number] + bits.take(table.widths[number])
            if stream.pair:
                lanes[k].append((residual >> stream.pair) + stream.least)
                residual = (residual & (1 << stream.pair) - 1) + stream.least
            if len(lanes[k]) < sizes[k]:
                lanes[k].append(residual)
    return lanes, begins


def _plane_bytes(steps: int, low: int) -> int:
    tiles = [min(TILE, steps - at) for at in range(0, steps, TILE)]
    return 8 * low * sum(-(-tile // 16) for tile in tiles)


def _add_planes(lanes: list[list[int]], data: bytes, low: int) -> None:
    """Put low bits under the residuals of a group."""
    at = 0
    for first in range(0, len(lanes[0]), TILE):
        steps = min(TILE, len(lanes[0]) - first)
        lines, numbers = -(-steps // 16), [0] * (64 * -(-steps // 16))
        place = 0
        while place < low:
            width = next(width for width in (16, 8, 4, 2, 1) if width <= low - place)
            size = lines * width
            words = [
                int.from_bytes(data[at + 8 * j : at + 8 * j + 8], "little") for j in range(size)
            ]
            for i in range(len(numbers)):
                word, shift = (i // 64, i % 64) if width == 1 else (i % size, i // size * width)
                numbers[i] |= (words[word] >> shift & (1 << width) - 1) << place
            at += 8 * size
            place += width
        for k, lane in enumerate(lanes):
            for step in range(first, min(first + steps, len(lane))):
                lane[step] = lane[step] << low | numbers[4 * (step - first) + k]


def _restore(stream: Stream, residuals: list[int], begin: int, slope: int) -> list[int]:
    """Undo the predictor of a lane."""
    found = []
    fraction = {3: 8, 4: 10}.get(stream.predictor, 0)
    value = (begin << fraction) + (1 << fraction - 1) if fraction else begin
    half = stream.period >> 1
    for residual in residuals:
        if stream.predictor == 0:
            found.append(residual)
        elif stream.predictor < 3:
            slope = slope + residual if stream.predictor == 2 else residual
            value += slope
            found.append(value)
        elif stream.predictor == 3:
            found.append(residual + (value >> 8))
            value = signed(value + (residual << stream.shift))
        else:
            found.append(residual + (value >> 10))
            late = residual << 10
            missed = (late + half) // stream.period * stream.period if late > half else 0
            value = signed(value + missed + stream.period + (late - missed >> stream.shift))
    return found
