"""Speeds of two codecs on the same blocks, in turns, so that both see the same machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.benchmarks.codec_columns import Block
from tests.benchmarks.codec_sides import Side

__all__ = ["Speed", "compare_speeds", "in_turns"]


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one side encodes and decodes, in MB of raw values per second."""

    encode: float
    decode: float


def compare_speeds(sides: Sequence[Side], blocks: Sequence[Block], turns: int) -> list[Speed]:
    """Measure each side on all blocks, in turns; medians.

    Parameters
    ----------
    sides
        Each has encoded and decoded such blocks before, so that nothing is compiled here.
    blocks
        Of one column.
    turns
        How often each side encodes and decodes all blocks.

    Returns
    -------
    list of Speed
        One per side.
    """
    kept = [[side.encode(block) for block in blocks] for side in sides]
    with _no_garbage_collection():
        encoding = in_turns([_encoder(side, blocks) for side in sides], turns)
        decoding = in_turns(
            [_decoder(side, data) for side, data in zip(sides, kept, strict=True)], turns
        )
    megabytes = sum(block.values.nbytes for block in blocks) / 1e6
    return [
        Speed(megabytes / median(encoded), megabytes / median(decoded))
        for encoded, decoded in zip(encoding, decoding, strict=True)
    ]


def in_turns(works: Sequence[Callable[[], None]], turns: int) -> list[list[float]]:
    """Do works in turns and return the seconds that each took, in order."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(turns):
        for work, taken in zip(works, seconds, strict=True):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return seconds


def _encoder(side: Side, blocks: Sequence[Block]) -> Callable[[], None]:
    def work() -> None:
        for block in blocks:
            side.encode(block)

    return work


def _decoder(side: Side, kept: Sequence[Any]) -> Callable[[], None]:
    def work() -> None:
        for data in kept:
            side.decode(data)

    return work


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
