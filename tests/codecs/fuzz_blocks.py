"""Blocks that try to break a decoder: random, damaged, mixed, or put together field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import google_crc32c
import numpy as np
from numba import config
from numpy.random import Generator

from pipeline.codecs.block import encode_block, read_header
from pipeline.codecs.cursor import signed_varint, sized, varint
from pipeline.codecs.entropy import RAW
from pipeline.codecs.frame import DTYPES, MAX_ROWS, BlockStatistics, join_frame
from pipeline.codecs.payload import ABSENT, CORRECTIONS, DROPPED, MISSING, REPEATED
from pipeline.codecs.pieces import PIECES
from pipeline.codecs.series import BINS, LIST, RUNS
from tests.codecs import plane_columns as planes
from tests.codecs.block_columns import bits_column, forced, hard_floats, sensor, times
from tests.codecs.fuzz_streams import (
    any_laned,
    any_mask,
    any_nested,
    any_plain,
    any_runs,
    any_size,
    any_transform,
)

__all__ = ["FAMILIES", "crafted", "make", "seed_blocks"]

_VALUES = b"\x01"
_BYTES = np.frombuffer(b"\x00\x01\x02\x7f\x80\x81\xfe\xff", np.uint8)


@cache
def seed_blocks() -> dict[str, bytes]:
    """Small blocks of every stage and section, as the encoder writes them."""
    rng = np.random.default_rng(17)
    jitter = np.arange(700) * 60_000_000 + rng.integers(0, 900, 700)
    late = jitter.copy()
    late[300:] += 10**15
    walk = np.cumsum(rng.integers(-40, 41, 900))
    spiked = walk.copy()
    spiked[[3, 400, 899]] = 2**41, -(2**55), 2**60
    spiky = np.cumsum(rng.integers(0, 9, 3000))
    spiky[100::600] += rng.integers(2**49, 2**50, 5)
    quiet = np.repeat(rng.random(60) < 0.6, 50)
    busy = np.where(quiet, rng.integers(-1, 2, 3000), rng.integers(-30, 31, 3000))
    misfits = sensor(200)
    misfits[[20, 21, 90]], misfits[150:170] = (np.pi, -0.0, np.inf), np.nan
    degrees, minutes, seconds = rng.integers((0, 0, 0), (80, 60, 60), (600, 3)).T
    places = (degrees + minutes / 60 + seconds / 3600) * np.pi / 180
    places[::30] += 1e-8
    columns: dict[str, Any] = {
        "empty": np.empty(0), "one": np.array([21.5]), "constant": np.full(40, True),
        "sensor": sensor(300), "float32": sensor(300).astype(np.float32), "times": times(3, 20),
        "jitter": jitter, "late": late, "walk": walk, "spiked": spiked, "spiky": spiky,
        "smooth": np.round(20 + rng.normal(0, 0.3, 500), 2), "wide": rng.integers(0, 2**45, 300),
        "contexts": np.cumsum(busy), "parabola": np.cumsum(np.cumsum(rng.integers(-3, 4, 3000))),
        "bits": bits_column(40, "float64"), "misfits": misfits, "hard": hard_floats("float64"),
        "dictionary": rng.choice([0.123456789, 777.1, -3e9 / 7, 2.718281828459], 300),
        "runs": np.repeat(rng.integers(0, 2**20, 60), rng.integers(1, 60, 60)),
        "places": places, "list": np.array([71, -3, 800, 12]), "many": np.repeat(rng.integers(0, 9, 40), 100).astype("int8"),
    }  # fmt: skip
    if not config.DISABLE_JIT:  # type: ignore[attr-defined]
        columns["groups"] = np.cumsum(rng.integers(-3, 4, 33_000)).astype("int32")
    blocks = {name: encode_block(column) for name, column in columns.items()}
    for name in ("numbers", "dropped", "plain-bits", "wide", "short-group-of-pairs", "bool"):
        blocks[f"planes {name}"] = planes.encoded(name)
    blocks["gaps"] = encode_block(walk, rng.random(walk.size) < 0.8)
    for entropy, width in ((RAW, 8), (2, 4), (2, 16), (3, 40), (4, 0)):
        with np.errstate(all="ignore"):
            blocks[f"plain {entropy} {width}"] = forced(walk[:60], "image", 1, entropy, width)
    return blocks


def statistics_of(rows: int, missing: int = 0, largest: float = 5) -> BlockStatistics:
    """Statistics that a header can store for any dtype."""
    if missing == rows:
        return BlockStatistics(0, rows, None, None, 0.0, 0.0, None, None)
    return BlockStatistics(rows - missing, missing, 0, largest, 0.0, 0.0, 0, largest)


def crafted(
    block: bytes,
    payload: bytes,
    stages: tuple[int, int, int] | None = None,
    rows: int | None = None,
) -> bytes:
    """Put a good header around a payload: that of `block`, but for stages and rows."""
    header = read_header(block)
    found = header.statistics
    if rows is not None:
        found = replace(statistics_of(rows), missing=0) if rows else statistics_of(0)
    stages = stages or (header.transform, header.predictor, header.entropy)
    return join_frame(header.dtype, found, stages, payload)


def _pick(rng: Generator) -> bytes:
    blocks = seed_blocks()
    return blocks[list(blocks)[int(rng.integers(len(blocks)))]]


def _payload(block: bytes) -> bytes:
    return block[read_header(block).size :]


def _place(rng: Generator, size: int) -> int:
    """A place among `size` bytes, more often near the front, where structure is."""
    return min(size - 1, int(size * rng.random() ** 3)) if size else 0


def _damage(rng: Generator, data: bytes) -> bytes:
    """Change one to eight places: set, flip, insert, delete, repeat or move bytes."""
    damaged = bytearray(data)
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.5 else 1):
        at, kind = _place(rng, len(damaged)), int(rng.integers(7))
        if not damaged or kind == 0:
            damaged[at:at] = varint(any_size(rng, 300))
        elif kind == 1:
            damaged[at] = int(rng.choice(_BYTES))
        elif kind == 2:
            damaged[at] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            damaged[at] = int(rng.integers(256))
        elif kind == 4:
            del damaged[at : at + int(rng.integers(1, 5))]
        elif kind == 5:
            damaged[at:at] = damaged[at : at + int(rng.integers(1, 30))]
        else:
            other = _place(rng, len(damaged))
            damaged[at : at + 3] = damaged[other : other + 3]
    return bytes(damaged)


def _noise(rng: Generator, rows: int) -> bytes:
    head = (b"", b"IOTB", b"IOTB\x01", b"IOTB\x02\x05")[int(rng.integers(4))]
    return head + rng.bytes(int(rng.integers(0, 200)))


def _unsealed(rng: Generator, rows: int) -> bytes:
    """A damaged, cut or spliced block with the checksums that it had."""
    block, kind = _pick(rng), int(rng.integers(3))
    if kind == 0:
        return _damage(rng, block)
    if kind == 1:
        return block[: int(rng.integers(0, len(block)))]
    return block[: _place(rng, len(block))] + _pick(rng)[-int(rng.integers(1, 200)) :]


def _damaged_payload(rng: Generator, rows: int) -> bytes:
    block = _pick(rng)
    return crafted(block, _damage(rng, _payload(block)))


def _spliced_payload(rng: Generator, rows: int) -> bytes:
    block, other = _pick(rng), _pick(rng)
    one, two = _payload(block), _payload(other)
    mixed = one[: _place(rng, len(one))] + two[_place(rng, len(two)) :]
    return crafted(block if rng.random() < 0.5 else other, mixed)


def _wrong_header(rng: Generator, rows: int) -> bytes:
    """A good payload under other stages, rows, bounds or dtype."""
    block = _pick(rng)
    header, payload = read_header(block), _payload(block)
    stages = [header.transform, header.predictor, header.entropy]
    stages[int(rng.integers(3))] = int(rng.integers(0, 9))
    if rng.random() < 0.1:
        return crafted(block, payload, rows=min(_any_rows(rng, rows), MAX_ROWS))
    if rng.random() < 0.5:
        return crafted(block, payload, (stages[0], stages[1], stages[2]))
    dtype = list(DTYPES.values())[int(rng.integers(len(DTYPES)))]
    found = statistics_of(header.rows, int(rng.choice((0, header.rows))), int(rng.integers(0, 2)))
    return join_frame(dtype, found, (stages[0], stages[1], stages[2]), payload)


def _damaged_header(rng: Generator, rows: int) -> bytes:
    """A header with damage under a good checksum of its own."""
    block = _pick(rng)
    size = read_header(block).size
    head = block[:4] + _damage(rng, block[4 : size - 4])
    checksum = int(google_crc32c.value(head)).to_bytes(4, "little")
    return head + checksum + block[size:]


def _any_rows(rng: Generator, most: int) -> int:
    kind = int(rng.integers(200))
    if kind == 0 and most > 5000:
        return int(rng.choice((65_536, MAX_ROWS, MAX_ROWS - 1)))
    return int(rng.integers(1, most + 1 if kind < 20 else min(most, 400) + 1))


def _transformed(rng: Generator, rows: int, entropy: int, predictor: int, stream: bytes) -> bytes:
    """A block of a stream behind any transform, sections before it at times."""
    dtype: np.dtype[Any] = np.dtype("float64")
    if rng.random() < 0.6:
        dtype = list(DTYPES.values())[int(rng.integers(len(DTYPES)))]
    transform, head = any_transform(rng, rows, dtype.kind == "f")
    sections, all_rows = _any_sections(rng, rows)
    found = statistics_of(all_rows, 0 if rng.random() < 0.9 else all_rows, 1)
    payload = sections + _VALUES + head + stream
    return join_frame(dtype, found, (transform, predictor, entropy), payload)


def _any_sections(rng: Generator, rows: int) -> tuple[bytes, int]:
    """Sections before a stream of `rows` rows, and how many rows the block has with them."""
    kind = int(rng.integers(0, 24))
    if kind in (ABSENT, DROPPED):  # some more rows, which are not in the stream
        more = int(rng.integers(0, 100))
        body = varint(more) + b"\x04\x02" + varint(rows)
        return _section(kind, (b"\x00" if kind == DROPPED else b"") + body), rows + more
    if kind == CORRECTIONS:
        return _section(kind, any_mask(rng, rows) + any_nested(rng, min(rows, 300))), rows
    if kind in (MISSING, REPEATED):
        value = bytes((int(rng.integers(0, 3)),)) if kind == REPEATED else b""
        return _section(kind, value + any_mask(rng, rows)), rows
    if kind == 10:
        gone = _section(ABSENT, varint(rows) + b"\x04\x02\x00")
        return gone + _section(int(rng.integers(2, 8)), b"\x00" + any_mask(rng, 0)), rows
    if kind == 11:
        ids = rng.choice((2, 3, 4, 5, 6, 128, 200), 2)
        return b"".join(_section(int(id), any_mask(rng, rows)) for id in ids), rows
    if kind == 12:
        return _section(PIECES, rng.integers(0, 66, 40, np.uint8).tobytes()), rows
    return b"", rows


def _section(id: int, body: bytes) -> bytes:
    return bytes((id,)) + sized(body)


def _head(rng: Generator) -> bytes:
    """Offset and scale, from plain to extreme."""
    if rng.random() < 0.5:
        return b"\x00\x01"
    return signed_varint(any_size(rng, 1000)) + varint(any_size(rng, 1000))


def _laned(rng: Generator, rows: int) -> bytes:
    rows = _any_rows(rng, rows)
    predictor, stream = any_laned(rng, rows)
    return _transformed(rng, rows, BINS, predictor, _head(rng) + stream)


def _runs(rng: Generator, rows: int) -> bytes:
    rows = _any_rows(rng, rows)
    predictor, stream = any_runs(rng, rows)
    return _transformed(rng, rows, RUNS, predictor, _head(rng) + stream)


def _list(rng: Generator, rows: int) -> bytes:
    """A few numbers of any size, one by one, or without a transform a stream of none."""
    rows = int(rng.integers(0, 70))
    stream = b"".join(varint(any_size(rng, 2**40)) for _ in range(rows))
    return _transformed(rng, rows, LIST, int(rng.random() < 0.05), stream)


def _plain(rng: Generator, rows: int) -> bytes:
    rows, entropy, predictor = (
        _any_rows(rng, rows),
        int(rng.integers(0, 5)),
        int(rng.integers(0, 3)),
    )
    stage = varint(any_size(rng, 100)) + signed_varint(any_size(rng, 100)) if predictor else b""
    stream = _head(rng) + stage + any_plain(rng, entropy, max(0, rows - predictor))
    return _transformed(rng, rows, entropy, predictor, stream)


FAMILIES: dict[str, tuple[float, Callable[[Generator, int], bytes]]] = {
    "noise": (0.04, _noise),
    "unsealed": (0.08, _unsealed),
    "damaged payload": (0.25, _damaged_payload),
    "spliced payload": (0.1, _spliced_payload),
    "wrong header": (0.06, _wrong_header),
    "damaged header": (0.05, _damaged_header),
    "laned": (0.3, _laned),
    "runs": (0.07, _runs),
    "list": (0.03, _list),
    "plain": (0.05, _plain),
}
"""Kinds of inputs: how often each comes, and what makes one of at most so many rows."""


def make(seed: int, number: int, rows: int = 6000) -> tuple[str, bytes]:
    """Return the family and the bytes of one input."""
    rng = np.random.default_rng((seed, number))
    shares = np.array([share for share, _ in FAMILIES.values()])
    name = list(FAMILIES)[int(rng.choice(len(FAMILIES), p=shares / shares.sum()))]
    return name, FAMILIES[name][1](rng, rows)
