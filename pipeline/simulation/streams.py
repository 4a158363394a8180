"""Random streams and stretches of time: the units in which a fleet is simulated.

A fleet is cut into cohorts of `COHORT` devices and into slabs of at most `SLAB` readings. Each
cohort draws from streams of its own, so its rows are the same whoever asks for them, and
whichever other devices are asked for with them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.timestamps import parse_duration, to_microseconds

__all__ = ["COHORT", "SLAB", "Slab", "as_microseconds", "instant", "random_stream", "slabs"]

COHORT: Final = 32
"""Devices simulated together: their arrays stay in a core's cache at 1,000 readings."""

SLAB: Final = 4096
"""Readings simulated together."""


@dataclass(frozen=True, slots=True, eq=False)
class Slab:
    """A stretch of regular readings.

    Parameters
    ----------
    number
        0 for the first stretch of a fleet.
    time
        ``int64``, shape (readings,): microseconds since 1970-01-01 UTC.
    start
        Time of the fleet's first reading, microseconds since 1970-01-01 UTC.
    interval
        Microseconds between readings.
    """

    number: int
    time: NDArray[np.int64]
    start: int
    interval: int

    def __len__(self) -> int:
        return len(self.time)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds since 1970-01-01 UTC, shape (readings,)."""
        return self.time / 1e6

    @property
    def elapsed(self) -> NDArray[np.float64]:
        """Seconds since the fleet's first reading, shape (readings,)."""
        return (self.time - self.start) / 1e6

    @property
    def step(self) -> float:
        """Seconds between readings."""
        return self.interval / 1e6


def slabs(start: int, interval: int, readings: int, size: int = SLAB) -> Iterator[Slab]:
    """Yield the stretches of `readings` readings from `start`, `interval` microseconds apart."""
    for number, first in enumerate(range(0, readings, size)):
        time = start + interval * np.arange(first, min(first + size, readings), dtype=np.int64)
        yield Slab(number, time, start, interval)


def random_stream(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """Return the generator of one purpose; other purposes and numbers are independent of it."""
    entropy = (seed, zlib.crc32(name.encode()), *numbers)
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


@lru_cache(maxsize=64)
def instant(text: str) -> int:
    """Return an ISO 8601 time as microseconds since 1970-01-01 UTC; remembered, as every walk asks.

    Raises
    ------
    InvalidInputError
        If it cannot be read.
    """
    return to_microseconds(text)


def as_microseconds(value: int | str, what: str) -> int:
    """Return a duration given in microseconds or as a text such as ``"50 ms"``.

    Raises
    ------
    InvalidInputError
        If it is negative or cannot be read.
    """
    if isinstance(value, str):
        return parse_duration(value)
    if value < 0:
        msg = f"{what} is {value} microseconds; give a duration of at least 0"
        raise InvalidInputError(msg)
    return value
