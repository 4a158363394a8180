"""Speeds of two codecs on the same blocks, in turns, so that both see the same machine."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from tests.benchmarks.codec_columns import Block
from tests.benchmarks.codec_sides import Side

__all__ = ["Pace", "Speeds", "compare_speeds", "pace"]

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Names of parameters in glibc's malloc.h."""

_MOST_KEPT: Final = 1 << 25

type Work = Callable[[], None]
type Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast both sides did the same work: MB of raw values per second.

    Parameters
    ----------
    ours, theirs
        Medians over the turns.
    ratio
        How many times faster we are: the median of the turns' ratios, which a busy machine
        disturbs less than the speeds.
    """

    ours: float
    theirs: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast both sides encode and decode a column.

    Parameters
    ----------
    encode
        Block after block of a column, as an archive is written.
    alone
        Every block as if there were no others.
    decode
    """

    encode: Pace
    alone: Pace
    decode: Pace


def compare_speeds(
    ours: Side, theirs: Side, columns: Sequence[Sequence[Block]], turns: int
) -> list[Speeds | None]:
    """Let two sides encode and decode all blocks in turns.

    The turns of a column are spread over the whole measurement: another program that is busy for
    a while spoils single turns of many columns, not all turns of one.

    Parameters
    ----------
    ours, theirs
        Both have encoded and decoded such blocks before, so that nothing is compiled here.
    columns
        The blocks of each column.
    turns
        How often each side encodes and decodes every block, with the clock running.

    Returns
    -------
    list of Speeds or None
        One per column; None for one without blocks.
    """
    _keep_freed_memory()
    races = [_Race.of(ours, theirs, blocks) for blocks in columns]
    with _no_garbage_collection():
        for _ in range(turns):
            for race in races:
                race.take_turn()
    return [race.speeds() if race.megabytes else None for race in races]


def pace(megabytes: float, seconds: Sequence[Pair]) -> Pace:
    """Return how fast both sides were from the seconds of ours and theirs in every turn."""
    ours, theirs = (median(taken) for taken in zip(*seconds, strict=True))
    ratio = median(their / our for our, their in seconds)
    return Pace(megabytes / ours, megabytes / theirs, ratio)


@dataclass(frozen=True, slots=True)
class _Race:
    """The works of both sides on one column, and the seconds that they took so far."""

    megabytes: float
    encoding: tuple[Work, Work]
    alone: tuple[Work, Work]
    decoding: tuple[Work, Work]
    encoded: list[Pair] = field(default_factory=list)
    encoded_alone: list[Pair] = field(default_factory=list)
    decoded: list[Pair] = field(default_factory=list)

    @classmethod
    def of(cls, ours: Side, theirs: Side, blocks: Sequence[Block]) -> _Race:
        return cls(
            sum(block.values.nbytes for block in blocks) / 1e6,
            (_each(ours.for_column(), blocks), _each(theirs.for_column(), blocks)),
            (_each(ours.encode, blocks), _each(theirs.encode, blocks)),
            (
                _each(ours.decode, [ours.encode(block) for block in blocks]),
                _each(theirs.decode, [theirs.encode(block) for block in blocks]),
            ),
        )

    def take_turn(self) -> None:
        for works, seconds in (
            (self.encoding, self.encoded),
            (self.alone, self.encoded_alone),
            (self.decoding, self.decoded),
        ):
            # Untimed: whoever is first would wait for memory that the other finds in the cache.
            for work in works:
                work()
            seconds.append((_seconds(works[0]), _seconds(works[1])))

    def speeds(self) -> Speeds:
        return Speeds(
            pace(self.megabytes, self.encoded),
            pace(self.megabytes, self.encoded_alone),
            pace(self.megabytes, self.decoded),
        )


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> Work:
    def work() -> None:
        for item in items:
            function(item)

    return work


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _keep_freed_memory() -> None:
    """Let the allocator keep what is freed, for the rest of the process.

    Whether a buffer is given back to the system and faulted in again depends on what was freed
    before, by either side: it slowed pcodec's encoder by up to a half.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # of glibc
        library.mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
        library.mallopt(_MMAP_THRESHOLD, _MOST_KEPT)


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
