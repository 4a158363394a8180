"""Inputs that try to break the decoder of blocks, and a campaign that feeds it with them.

Random bytes, flipped bits, truncations and splices are what checksums stop. Crafted blocks have
good checksums around payloads that were damaged, mixed, or put together field by field
(`tests.codecs.fuzz_blocks`, `tests.codecs.fuzz_streams`), so that the decoder proper has to deal
with them. Every input must be called corrupt, or give as many rows of the dtype as its header
says, within `TIME_LIMIT` and `memory_limit`.

The long campaign, and the same with checks of every index::

    python -m tests.codecs.fuzzing --count 200000 --seed 1
    NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=/tmp/checked python -m tests.codecs.fuzzing --count 200000
    NUMBA_DISABLE_JIT=1 python -m tests.codecs.fuzzing --count 5000 --rows 300

or ``pytest -m campaign tests/codecs/test_fuzz.py``. An input is known by seed and number:
``--seed 1 --first 4711 --count 1`` repeats one.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numba import config

from pipeline.codecs.block import decode_block, describe, read_header, read_pieces
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.lanes import read_lanes
from pipeline.codecs.pointwise import Mapping
from pipeline.codecs.statistics import PIECE_ROWS
from pipeline.errors import CorruptBlockError
from tests.codecs.fuzz_blocks import make, seed_blocks
from tests.codecs.fuzz_streams import any_laned

__all__ = ["TIME_LIMIT", "Outcome", "campaign", "check", "memory_limit"]

TIME_LIMIT = 2.0
"""Seconds that an input may take."""


def memory_limit(rows: int, size: int) -> int:
    """Bytes that reading a block of `size` bytes that says it has `rows` rows may take."""
    return 500_000 + 64 * rows + 64 * size


def check(data: bytes) -> bool:
    """Feed one input to all readers; whether it could be decoded.

    Raises
    ------
    AssertionError
        If what came back cannot be.
    """
    header = _read(read_header, data)
    _read(describe, data)
    pieces = _read(read_pieces, data)
    decoded = _read(decode_block, data)
    if header is not None:
        assert pieces is None or len(pieces.count) == -(-header.rows // PIECE_ROWS), "pieces"
        start, stop = header.rows // 3, header.rows // 2
        part = _read(partial(decode_block, rows=(start, stop)), data)
        assert part is None or part.values.shape == (stop - start,), "rows of a part"
    if decoded is None:
        return False
    if header is None:  # of impossible statistics, which decoding does not look at
        return True
    assert decoded.values.shape == (header.rows,), f"{decoded.values.shape} of {header.rows} rows"
    assert decoded.values.dtype == header.dtype, f"{decoded.values.dtype} as {header.dtype}"
    if header.dtype.kind == "b":
        assert decoded.values.view(np.uint8).max(initial=0) <= 1, "a bool of another value"
    valid = decoded.valid
    assert valid is None or (valid.shape == (header.rows,) and valid.dtype == np.bool_), "validity"
    return True


def _read(reader: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return reader(data)
    except CorruptBlockError:
        return None


def check_part(seed: int, number: int, rows: int = 3000) -> bool:
    """Decode a part of a crafted laned stream; whether it could be."""
    rng = np.random.default_rng((seed, number, 1))
    rows = int(rng.integers(1, rows))
    predictor, stream = any_laned(rng, rows)
    start = int(rng.integers(0, rows))
    stop = int(rng.integers(start + 1, rows + 1))
    try:
        lanes = read_lanes(predictor, Cursor(memoryview(b"\x00\x01" + stream)), rows)
        first, last = lanes.span(start, stop)
        assert first <= start < stop <= last <= rows, "a part outside of its span"
        with np.errstate(all="ignore"):
            part = lanes.restore(first, last, Mapping())
    except CorruptBlockError:
        return False
    assert part.shape == (last - first,), f"{part.shape} of [{first}, {last})"
    return True


@dataclass
class Outcome:
    """What a campaign met.

    Attributes
    ----------
    inputs, decoded : Counter
        By family.
    seconds, slowest : float
    memory : float
        Largest share of `memory_limit` that an input took.
    failures : list of str
    """

    inputs: Counter[str] = field(default_factory=Counter)
    decoded: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0
    memory: float = 0.0
    failures: list[str] = field(default_factory=list)


def campaign(count: int, seed: int, first: int = 0, rows: int = 6000) -> Outcome:
    """Make and check `count` inputs from number `first` on, and collect what goes wrong."""
    if not config.DISABLE_JIT:  # type: ignore[attr-defined]
        for block in seed_blocks().values():  # loops are loaded before anything is measured
            check(block)
    outcome, begun = Outcome(), time.perf_counter()
    for number in range(first, first + count):
        _attempt(outcome, seed, number, rows)
    outcome.seconds = time.perf_counter() - begun
    return outcome


def _attempt(outcome: Outcome, seed: int, number: int, rows: int) -> None:
    name, data = make(seed, number, rows)
    outcome.inputs[name] += 1
    begun = time.perf_counter()
    try:
        outcome.decoded[name] += check(data)
        if number % 8 == 0:
            outcome.inputs["part"] += 1
            outcome.decoded["part"] += check_part(seed, number, min(rows, 3000))
    except Exception as error:
        outcome.failures.append(f"{name} {seed} {number}: {error!r}: {data[:4000].hex()}")
        return
    seconds, memory = time.perf_counter() - begun, 0.0
    if seconds > 0.05 or number % 4 == 0:  # 0.05 s: many rows, or a kernel that was loaded
        seconds, memory = _costs(data)
    outcome.slowest, outcome.memory = max(outcome.slowest, seconds), max(outcome.memory, memory)
    if seconds > TIME_LIMIT and not config.DISABLE_JIT:  # type: ignore[attr-defined]
        outcome.failures.append(f"{name} {seed} {number}: {seconds:.1f} s")
    if memory > 1:
        outcome.failures.append(f"{name} {seed} {number}: {memory:.2f} of the memory limit")


def _costs(data: bytes) -> tuple[float, float]:
    """Seconds and share of the memory limit that one input takes, everything being loaded."""
    header = _read(read_header, data)
    limit = memory_limit(header.rows if header else 0, len(data))
    begun = time.perf_counter()
    tracemalloc.start()
    try:
        check(data)
        return time.perf_counter() - begun, tracemalloc.get_traced_memory()[1] / limit
    finally:
        tracemalloc.stop()


def main() -> int:
    """Run a campaign from the command line; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("count", 200_000), ("seed", 1), ("first", 0), ("rows", 6000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    outcome = campaign(asked.count, asked.seed, asked.first, asked.rows)
    for name, inputs in outcome.inputs.items():
        print(f"{name:16} {inputs:7} inputs, {outcome.decoded[name]:7} decoded")
    print(f"{outcome.seconds:.0f} s, slowest {outcome.slowest:.2f} s, "
          f"memory {outcome.memory:.2f} of the limit, {len(outcome.failures)} failures")  # fmt: skip
    for failure in outcome.failures[:20]:
        print(failure)
    return bool(outcome.failures)


if __name__ == "__main__":
    raise SystemExit(main())
