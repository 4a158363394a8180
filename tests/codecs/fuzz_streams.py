"""Streams put together field by field, mostly possible and sometimes not, for fuzzing decoders."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from pipeline.codecs.cursor import WORD, signed_varint, sized, varint
from pipeline.codecs.lanes import GRID, LANES, LEAST_LANE, MOST_OUTLIERS, PAIRS, PLANES, SMOOTHING
from pipeline.codecs.series import BINS, LIST, RUNS
from pipeline.codecs.streams import write_nested

__all__ = [
    "Bits",
    "LanedStream",
    "any_laned",
    "any_mask",
    "any_nested",
    "any_plain",
    "any_runs",
    "any_size",
    "any_transform",
]

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 2**16, 2**31, 2**32, 2**38, 2**40, 2**62, 2**63, WORD)


class Bits:
    """A bit stream that grows from its lowest bits on, with the codes of laned streams."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def put(self, number: int, width: int) -> None:
        if width:
            self._parts.append(f"{number & ((1 << width) - 1):0{width}b}"[::-1])

    def gamma(self, number: int, low: int) -> None:
        high = (number >> low) + 1
        zeros = high.bit_length() - 1
        self.put(0, zeros)
        self.put(1, 1)
        self.put(high, zeros)
        self.put(number, low)

    def number(self, number: int) -> None:
        folded = (number << 1) ^ (number >> 63)
        self.put(folded.bit_length(), 7)
        self.put(folded, folded.bit_length())

    def tobytes(self) -> bytes:
        digits = "".join(self._parts)
        return int(digits[::-1] or "0", 2).to_bytes(-(-len(digits) // 8), "little")


def any_size(rng: Generator, most: int) -> int:
    """A number up to `most`: small, close to it, or an extreme far beyond."""
    kind = rng.integers(8)
    if kind == 0:
        return int(rng.choice(np.array(EXTREMES, np.uint64)))
    if kind == 1:
        return most + int(rng.integers(-1, 2)) if most else 0
    return int(rng.integers(0, most + 1) if kind > 4 else rng.integers(0, min(most, 8) + 1))


def any_signed(rng: Generator) -> int:
    number = int(rng.choice(np.array(EXTREMES, np.uint64))) if rng.random() < 0.5 else 5
    return -number if rng.random() < 0.5 else number


@dataclass
class LanedStream:
    """Every field of a laned stream, free to be wrong.

    ``frequencies[context][bin]`` are all but the last of a context; without `moves`, a bin's
    kind is the next context.
    """

    rows: int
    predictor: int = 0
    shift: int = 0
    period: int = 1024
    low: int = 0
    skip: int = 0
    lane: int = 0
    outliers: bytes = b"\x00"
    groups: list[int] = field(default_factory=list)
    state_bits: int = 5
    base: int = 0
    extras: list[int] = field(default_factory=lambda: [0])
    steps: list[int] = field(default_factory=lambda: [0])
    kinds: list[int] = field(default_factory=lambda: [0])
    moves: list[int] = field(default_factory=list)
    contexts: int = 1
    frequencies: list[list[int]] = field(default_factory=lambda: [[]])
    tail: bytes = b""
    pair_bits: int = 1
    pair_least: int = 0
    planes: int = 0
    plane_flag: bool = False

    def write(self) -> bytes:
        """The stream behind offset and scale."""
        head = bytes((self.shift,)) if self.predictor in (SMOOTHING, GRID) else b""
        head += varint(self.period) if self.predictor == GRID else b""
        head += varint(8 * self.low + self.skip)
        if self.low == PAIRS:
            head += varint(self.pair_bits | PLANES * (self.plane_flag or self.planes > 0))
            head += varint(self.planes) if self.plane_flag or self.planes else b""
            head += signed_varint(self.pair_least) if self.pair_bits else b""
        head += varint(self.lane) + self.outliers
        head += b"".join(varint(size) for size in self.groups)
        bits = Bits()
        bits.put(0, self.skip)
        self._write_table(bits)
        return head + bits.tobytes() + self.tail

    def plane_bytes(self) -> int:
        """What low bits in planes take."""
        lane, lines = max(1, self.lane), 0
        for start in range(0, self.rows, LANES * lane):
            lines += -(-min(lane, self.rows - start) // 16)
        return 8 * self.planes * lines

    def _write_table(self, bits: Bits) -> None:
        bits.put(self.state_bits, 4)
        bits.put(self.contexts - 1, 3)
        bits.put(len(self.extras) - 1, 8)
        bits.number(self.base)
        before = 0
        for extra, step in zip(self.extras, self.steps, strict=True):
            bits.gamma(_fold(extra - before), 0)
            bits.gamma(step, min(extra, 40))
            before = extra
        if self.contexts > 1:
            for kind in self.kinds:
                bits.put(kind, 3)
            bits.put(bool(self.moves), 1)
            for context in self.moves:
                bits.put(context, 3)
        for frequencies in self.frequencies:
            before = 0
            for frequency in frequencies:
                length = frequency.bit_length()
                bits.gamma(_fold(length - before), 0)
                bits.put(frequency, max(0, length - 1))
                before = length


def _fold(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def any_laned(rng: Generator, rows: int) -> tuple[int, bytes]:
    """A predictor's id and a laned stream of `rows` rows; about half of them can be decoded."""
    lane = rows if rows <= LEAST_LANE else int(rng.integers(LEAST_LANE, rows + 1))
    groups = -(-rows // (LANES * lane)) - 1
    contexts = int(rng.choice((1, 1, 1, 2, 3, 8)))
    bins = int(rng.choice((1, 2, 3, 7, 20))) if rng.random() < 0.96 else 255
    state_bits = int(rng.choice((0, 4, 5, 6) if rng.random() < 0.8 else (8, 11, 12)))
    widest = int(rng.choice((0, 1, 4, 13, 30)))
    stream = LanedStream(
        rows, int(rng.integers(0, 5)), int(rng.integers(0, 9)), 1 + any_size(rng, 5000) % 2**61,
        int(rng.choice((0, 0, 0, 1, 20, 62))), int(rng.integers(0, 8)), lane,
        any_outliers(rng, rows), [int(rng.integers(0, 40)) for _ in range(groups)], state_bits,
        int(rng.integers(-200, 200)), rng.integers(0, widest + 1, bins).tolist(),
        rng.integers(0, 1 << min(widest, 30), bins).tolist(),
        *_any_moves(rng, contexts, bins), contexts,
        [_shares(rng, bins, state_bits) for _ in range(contexts)],
    )  # fmt: skip
    if widest == 0 and rng.random() < 0.5:
        stream.low, stream.lane = PAIRS, lane - lane % 2
        stream.pair_bits, stream.base = int(rng.integers(1, 7)), abs(stream.base)
        stream.pair_least = int(rng.integers(-40, 40))
    if rng.random() < 0.4:
        stream.pair_bits *= stream.low == PAIRS
        stream.low, stream.planes = PAIRS, int(rng.choice((1, 2, 7, 15, 16, 33, 62)))
    for _ in range(int(rng.choice((0, 0, 1, 2)))):
        _spoil(stream, rng)
    apart = 0 if stream.low == PAIRS else stream.low
    size = rows * (apart + state_bits + widest) // 8 + 16
    stream.tail = rng.bytes(min(size, 4 * rows + 64) + min(stream.plane_bytes(), 9 * rows + 2048))
    if rng.random() < 0.1:
        stream.tail = stream.tail[: int(rng.integers(0, len(stream.tail)))]
    return stream.predictor, stream.write()


def _any_moves(rng: Generator, contexts: int, bins: int) -> tuple[list[int], list[int]]:
    """Kinds of bins, and the contexts that follow a context and a kind, or none."""
    if rng.random() < 0.5:
        return rng.integers(0, contexts, bins).tolist(), []
    kinds = rng.integers(0, int(rng.integers(1, 9)), bins)
    return kinds.tolist(), rng.integers(0, contexts, contexts * (int(kinds.max()) + 1)).tolist()


def _shares(rng: Generator, bins: int, bits: int) -> list[int]:
    """States of all bins but the last, some of none."""
    cuts = np.sort(rng.integers(0, (1 << bits) + 1, bins - 1))
    return [int(share) for share in np.diff(cuts, prepend=0)]


def _spoil(stream: LanedStream, rng: Generator) -> None:
    """Make one field impossible, or extreme."""
    bins = int(rng.integers(len(stream.extras)))
    shares = stream.frequencies[int(rng.integers(len(stream.frequencies)))]
    kind = int(rng.integers(18))
    if kind == 0:
        stream.state_bits = int(rng.integers(0, 16))
    elif kind == 1:
        stream.contexts = int(rng.integers(1, 9))
    elif kind == 2:
        stream.base = any_signed(rng)
    elif kind == 3:
        stream.extras[bins] = int(rng.integers(30, 70))
    elif kind == 4:
        stream.steps[bins] = any_size(rng, 2**41) % 2**48
    elif kind == 5:
        (stream.moves or stream.kinds)[0] = int(rng.integers(8))
    elif kind == 6 and shares:
        shares[int(rng.integers(len(shares)))] = int(rng.choice((0, 1, 4095, 4096, 8191, 9000)))
    elif kind == 7:
        stream.lane = any_size(rng, stream.rows)
    elif kind == 8:
        stream.low = int(rng.integers(0, 70))
    elif kind == 9:
        stream.shift = int(rng.integers(256))
    elif kind == 10:
        stream.period = any_size(rng, 2**61)
    elif kind == 11:
        stream.groups.append(any_size(rng, 1000))
    elif kind == 12 and stream.groups:
        stream.groups[int(rng.integers(len(stream.groups)))] = any_size(rng, 1000)
    elif kind == 13:
        stream.pair_bits = int(rng.choice((0, 1, 2, 6, 7, 8, 63, 64, 127, 128, 255, 256)))
    elif kind == 14:
        stream.pair_least = any_signed(rng)
    elif kind == 15:
        stream.planes = int(rng.choice((0, 1, 61, 62, 63, 64, 127, 128, 129, 2**20)))
    elif kind == 16:
        stream.plane_flag = True
    else:
        stream.outliers = rng.bytes(int(rng.integers(1, 12)))


def any_outliers(rng: Generator, rows: int) -> bytes:
    """Outliers of a laned stream: none, a few, or more than there may be."""
    kind = int(rng.integers(8))
    if kind < 4:
        return b"\x00"
    count = min(rows, int(rng.integers(1, MOST_OUTLIERS + 3 if kind == 7 else 40)))
    where = np.sort(rng.choice(rows + (rng.random() < 0.1), count, replace=rng.random() < 0.1))
    found = (any_signed(rng) for _ in range(count))
    pairs = zip(np.diff(where, prepend=0).tolist(), found, strict=True)
    return varint(count) + b"".join(varint(gap) + signed_varint(one) for gap, one in pairs)


def any_plain(rng: Generator, entropy: int, rows: int) -> bytes:
    """What may stand behind offset and scale of a plain stream: small numbers and buffers."""
    width = int(rng.choice((1, 2, 4, 8, 16, 64, 3, 0, 65)))
    head = bytes((width,)) if entropy in (1, 2, 3) else b""
    head += varint(any_size(rng, rows)) if entropy in (2, 4) else b""
    size = max(0, int(rng.choice((rows, rows * width // 8, 1))))
    mode = int(rng.choice((0, 0, 2, 2, 1, 3)))
    stored = rng.bytes(1 if mode == 2 else min(size, 4096))
    if entropy == 1:
        return head + rng.bytes(min(rows * width, 4096))
    if entropy == 0:
        return varint(any_size(rng, 1000))
    return head + (varint(len(stored) << 2 | mode) + stored) * int(rng.choice((1, 1, 2, 8)))


def any_nested(rng: Generator, rows: int, depth: int = 0) -> bytes:
    """A nested stream that says whatever stages it has; runs within runs at times."""
    entropy = int(rng.choice((0, 1, 2, 3, 4, BINS, BINS, RUNS, LIST)))
    predictor = int(rng.integers(0, 3))
    if entropy == LIST:
        listed = b"".join(varint(int(one)) for one in rng.integers(0, 9, min(rows, 70)))
        return bytes((int(rng.random() < 0.1), LIST)) + sized(listed)
    head = signed_varint(any_signed(rng)) + varint(any_size(rng, 3))
    if entropy == BINS and rows > 0:
        predictor, body = any_laned(rng, min(rows, 3000))
    elif entropy == RUNS and depth < 3:
        inner, body = any_runs(rng, rows, depth + 1)
        return bytes((inner, RUNS)) + sized(head + body)
    else:
        body = any_plain(rng, entropy, rows)
        head += varint(any_size(rng, 9)) + signed_varint(3) if predictor else b""
    return bytes((predictor, entropy)) + sized(head + body)


def any_runs(rng: Generator, rows: int, depth: int = 0) -> tuple[int, bytes]:
    """A predictor and, behind offset and scale, runs; the lengths of many of them add up."""
    predictor = int(rng.choice((0, 0, 1, 1, 2))) if rng.random() < 0.3 else int(rng.random() < 0.3)
    head = varint(any_size(rng, 100)) if predictor else b""
    rows = max(0, rows - predictor)
    count = min(rows, int(rng.integers(1, 50))) if rng.random() < 0.8 else any_size(rng, rows)
    few = min(count, 2000)
    if rng.random() < 0.3 or not 0 < count <= rows:
        head += varint(count) + any_nested(rng, few, depth)
        return predictor, head + any_nested(rng, few, depth)
    lengths = np.diff(np.sort(rng.integers(0, rows - count + 1, count - 1)), prepend=0)
    lengths = np.append(lengths, rows - count - lengths.sum())
    if rng.random() < 0.3:
        lengths[int(rng.integers(count))] = any_signed(rng) % 2**63
    values = rng.integers(0, 100, count)
    first = any_nested(rng, count, depth) if rng.random() < 0.3 else write_nested(values, 0)
    return predictor, head + varint(count) + first + write_nested(lengths, 0)


def any_mask(rng: Generator, rows: int) -> bytes:
    """A mask of some of the rows, of any kind."""
    marked = rng.random(rows) < rng.choice((0.0, 0.1, 0.9, 1.0))
    count, kind = int(np.count_nonzero(marked)), int(rng.integers(0, 5))
    listed = np.flatnonzero(marked if kind == 1 else ~marked)
    if rng.random() < 0.3 or (kind in (1, 2) and not listed.size) or not rows:
        body = any_nested(rng, min(rows, 300))
    elif kind == 0:
        packed = np.packbits(marked, bitorder="little").tobytes()
        body = varint(len(packed) << 2) + packed
    elif kind == 3:
        turns = np.flatnonzero(marked[1:] != marked[:-1]) + 1
        lengths = np.diff(turns, prepend=[0, 0] if marked[0] else 0, append=rows)
        lengths = lengths if lengths.size > 1 else np.append(lengths, 0)
        body = varint(lengths.size) + write_nested(lengths[::2], 0) + write_nested(lengths[1::2], 0)
    elif kind == 4:
        body = varint(3) + varint(count) + varint(any_size(rng, max(0, rows - count)))
    else:
        body = write_nested(listed, 0)
    return varint(any_size(rng, rows) if rng.random() < 0.1 else count) + bytes((kind,)) + body


def any_transform(
    rng: Generator, rows: int, floats: bool, nested: bool = False
) -> tuple[int, bytes]:
    """A transform's id and parameters."""
    kinds = (0, 1, 2, 4, 5) if nested else (0, 1, 2, 3, 4, 5, 6)
    kind = int(rng.choice(kinds)) if floats or rng.random() < 0.1 else int(rng.choice((0, 0, 3, 6)))
    if kind == 3 and nested:
        kind = 0
    if kind == 2:
        return kind, bytes((int(rng.integers(0, 24)), int(rng.integers(0, 2))))
    if kind == 4:
        steps = [_any_step(rng) for _ in range(int(rng.integers(0, 5)))]
        return kind, bytes((len(steps),)) + b"".join(steps)
    if kind == 5:
        return kind, rng.integers(0, 20, 2, np.uint8).tobytes()
    if kind in (3, 6):
        count = max(1, min(rows, int(rng.integers(1, 300))))
        base, parameters = any_transform(rng, rows, floats, nested=True)
        head = bytes((base,)) + parameters + varint(count)
        entries = rng.integers(0, 99, count)
        head += any_nested(rng, count) if rng.random() < 0.2 else write_nested(entries, 0)
        mend = any_mask(rng, count) + any_nested(rng, count) if kind == 6 else b""
        return kind, head + (sized(mend) if kind == 6 else b"")
    return kind, b""


def _any_step(rng: Generator) -> bytes:
    """A step of arithmetic: a kind, and digits or a number."""
    kind = int(rng.integers(0, 9))
    number = float(rng.choice((0.1, 1.8, 32.0, -1.0, 1e300, 1e-300, np.inf, np.nan, 0.0)))
    parameter = (b"", bytes((int(rng.integers(0, 24)),)), np.float64(number).tobytes())
    return bytes((kind,)) + parameter[int(rng.integers(3))]
