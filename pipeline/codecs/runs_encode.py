"""Runs of equal numbers, or of equal differences, found before anything else is done to them.

Devices one after the other, and their clocks, are a few runs a block: what is left of 65,536
numbers are some dozens, and only these are scaled and encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import scratch
from pipeline.codecs._load import kernel
from pipeline.codecs.cursor import WORD, signed_varint, varint
from pipeline.codecs.streams import lengths_of

__all__ = ["Runs", "find_runs"]

_SAFE: Final = float(1 << 62)
_ZERO: Final = np.uint64(0)


@dataclass(frozen=True)
class Runs:
    """A series as runs.

    Attributes
    ----------
    order : int
        0 for runs of numbers, 1 of differences.
    offset, scale : int
        ``number = multiple * scale + offset``.
    first : int
        Order 1: the first multiple.
    values : ndarray of int64, shape (runs,)
        The multiple, or the difference of multiples, that each run repeats.
    lengths : ndarray of int64, shape (runs,)
        Rows of each run.
    """

    order: int
    offset: int
    scale: int
    first: int
    values: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def head(self) -> bytes:
        """Return what stands before the parts."""
        first = varint(self.first) if self.order else b""
        return signed_varint(self.offset) + varint(self.scale) + first + varint(self.values.size)


def find_runs(numbers: NDArray[Any], order: int, most: int) -> Runs | None:
    """Return `numbers` as runs, None if there are more than `most`.

    Parameters
    ----------
    numbers : ndarray of int64 or uint64, shape (rows,)
        More rows than `order`. Differences must not wrap, or they are no runs.
    order : int
    most : int
        At least 1.
    """
    words, rows = numbers.view(np.uint64), numbers.size - order
    starts, values = scratch.empty(most, np.int64), scratch.empty(most, np.uint64)
    count = kernel("block_runs", "find_runs")(words, order, starts, values)
    if count < 0:
        return None
    starts, values = starts[:count], values[:count]
    lengths = lengths_of(starts, rows)
    if order == 0:
        return _scaled(values, values.view(numbers.dtype), lengths)
    steps = values.view(np.int64)
    ends = numbers[np.append(starts, rows)]
    if float(ends.max()) - float(ends.min()) >= _SAFE or _wraps(steps, lengths):
        return None
    offset = int(ends.min())
    first = int(numbers[0]) - offset
    scale = _divisor(np.abs(steps).view(np.uint64), _ZERO, first)
    values = steps // scale if scale > 1 else steps
    return Runs(1, offset, scale, first // scale, values, lengths)


def _wraps(steps: NDArray[np.int64], lengths: NDArray[np.int64]) -> bool:
    """Tell whether numbers of a run may leave the range of its ends."""
    return bool((np.abs(steps.astype(np.float64)) * lengths).max() >= _SAFE)


def _scaled(words: NDArray[np.uint64], numbers: NDArray[Any], lengths: NDArray[np.int64]) -> Runs:
    offset, last = int(numbers.min()), int(numbers.max())
    least = np.uint64(offset & WORD)
    scale = _divisor(words, least, last - offset)
    multiples = words - least
    if scale > 1:
        multiples //= np.uint64(scale)
    return Runs(0, offset, scale, 0, multiples.view(np.int64), lengths)


def _divisor(words: NDArray[np.uint64], offset: np.uint64, start: int) -> int:
    """Return the divisor of `start` and all distances from `offset`, 1 if all are 0."""
    return int(kernel("block_numbers", "common_divisor")(words, offset, np.uint64(start), 1)) or 1
