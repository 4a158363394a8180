"""Series of whole numbers, and columns of every dtype, that are hard on predictors and bins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import config
from numpy.random import Generator
from numpy.typing import NDArray

__all__ = ["COLUMNS", "MISSING", "SERIES", "SIZES", "column", "missing", "series"]

INTERPRETED = bool(config.DISABLE_JIT)  # type: ignore[attr-defined]

_SIZES = (
    1, 2, 3, 4, 5, 7, 8, 31, 32, 33, 255, 256, 257, 1000, 2047, 2048, 2049, 4096, 8191, 8192, 8193,
    32_768, 65_535, 65_536, 65_537, 131_072,
)  # fmt: skip
SIZES = tuple(size for size in _SIZES if not INTERPRETED or size < 1000)
"""Rows at which something changes: lanes, groups, tiles, samples and counts end there."""

type Numbers = NDArray[np.int64]


def _wide(rows: int, rng: Generator, span: int) -> Numbers:
    """Noise of exactly so wide a span."""
    numbers = rng.integers(0, span, rows, endpoint=True)
    numbers[[0, -1]] = 0, span
    return numbers


def _walk(rows: int, rng: Generator) -> Numbers:
    walk: Numbers = np.cumsum(rng.integers(-1000, 1001, rows))
    walk -= walk.min()
    return walk


def _ramp(rows: int, rng: Generator) -> Numbers:
    """A slow ramp with gaps, some of them long."""
    return np.cumsum(np.where(rng.random(rows) < 0.01, rng.integers(0, 10**6, rows), 3))


def _clock(rows: int, rng: Generator) -> Numbers:
    """A jittered clock with gaps, which jumps back now and then."""
    steps = 60_000_000 + rng.integers(-900, 900, rows)
    steps += 60_000_000 * (rng.random(rows) < 0.01) * rng.integers(1, 50, rows)
    steps -= 3_600_000_000 * (rng.random(rows) < 0.001)
    clock: Numbers = np.cumsum(steps)
    clock -= clock.min()
    return clock


def _drift(rows: int, rng: Generator) -> Numbers:
    """Steps so large and so alike that no small number is left by a difference."""
    return np.arange(rows) * (2**61 // max(1, rows)) + rng.integers(0, 2, rows)


def _spike(rows: int, rng: Generator, row: int) -> Numbers:
    numbers = rng.integers(500, 520, rows)
    numbers[row] = 2**49
    return numbers


def _spikes(rows: int, rng: Generator) -> Numbers:
    """Some rows in a thousand far above or below the others."""
    numbers = rng.integers(2**48, 2**48 + 100, rows)
    spiked = rng.choice(rows, min(rows, rows // 400 + 1), replace=False)
    numbers[spiked] += rng.integers(-(2**47), 2**47, spiked.size)
    return numbers


def _bursts(rows: int, rng: Generator) -> Numbers:
    """Quiet and busy stretches: what comes next depends on what came before."""
    busy = np.repeat(rng.random(-(-rows // 64)) < 0.3, 64)[:rows]
    return np.cumsum(busy * rng.integers(0, 400, rows))


SERIES: dict[str, Callable[[int, Generator], Numbers]] = {
    "zeros": lambda rows, rng: np.zeros(rows, np.int64),
    "bits": lambda rows, rng: rng.integers(0, 2, rows),
    "alternating": lambda rows, rng: np.arange(rows) % 2 * 2**40,
    "noise": lambda rows, rng: np.rint(rng.normal(4000, 300, rows)).astype(np.int64).clip(0),
    "heavy tails": lambda rows, rng: (
        (rng.pareto(0.7, rows) * 100).clip(0, 2.0**49).astype(np.int64)
    ),
    "long runs": lambda rows, rng: np.repeat(rng.integers(0, 2**30, -(-rows // 700)), 700)[:rows],
    "walk": _walk,
    "ramp": _ramp,
    "clock": _clock,
    "bursts": _bursts,
    "drift": _drift,
    "parabola": lambda rows, rng: np.arange(rows) ** 2 + rng.integers(0, 9, rows),
    "first spike": lambda rows, rng: _spike(rows, rng, 0),
    "last spike": lambda rows, rng: _spike(rows, rng, -1),
    "middle spike": lambda rows, rng: _spike(rows, rng, rows // 2),
    "lane spike": lambda rows, rng: _spike(rows, rng, rows // 4),
    "spikes": _spikes,
    "tiny and huge": lambda rows, rng: (
        rng.integers(0, 2, rows) * (2**62 - 200) + rng.integers(0, 99, rows)
    ),
    **{
        f"span {span:#x}": partial(_wide, span=span)
        for span in (2**16 - 1, 2**16, 2**37 - 1, 2**37, 2**38, 2**39, 2**40, 2**62 - 1)
    },
}
"""Whole numbers from 0 up to below 2**62, by name: called with the number of rows and a source."""


def series(name: str, rows: int, seed: int = 0) -> Numbers:
    """The series `name` of so many rows."""
    return np.asarray(SERIES[name](rows, np.random.default_rng((seed, rows))), np.int64)


def _floats(rows: int, rng: Generator, dtype: np.dtype[Any], share: float) -> NDArray[Any]:
    """Decimals, of which some are NaNs with payloads, infinities, zeros and subnormals."""
    words = np.dtype(f"u{dtype.itemsize}")
    top = np.array(1, words) << np.array(8 * dtype.itemsize - 1, words)
    nan = np.array(np.nan, dtype).view(words)
    odd = np.array(
        [
            nan,
            nan | 1,
            nan | 77,
            nan | top,
            nan | top | 5,
            0,
            top,
            1,
            top | 1,
            99,
            np.array(np.inf, dtype).view(words),
            np.array(-np.inf, dtype).view(words),
        ],
        words,
    )
    values = np.round(20 + np.cumsum(rng.normal(0, 0.1, rows)), int(rng.integers(0, 4))).astype(
        dtype
    )
    spoilt = rng.random(rows) < share
    values[spoilt] = rng.choice(odd, int(spoilt.sum())).view(dtype)
    return values


def _extremes(rows: int, rng: Generator, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The ends of the dtype and their neighbours, and zero."""
    if dtype.kind == "f":
        info = np.finfo(dtype)
        ends = np.array([info.max, info.min, info.tiny, info.smallest_subnormal, 0, -0.0, 1], dtype)
    else:
        whole = np.iinfo(dtype)
        ends = np.array([whole.min, whole.min + 1, whole.max, whole.max - 1, 0, 1], dtype)
    return rng.choice(ends, rows)


def _near_ends(rows: int, rng: Generator, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Small noise at both ends of the dtype in turn."""
    words = np.dtype(f"u{dtype.itemsize}")
    noise = rng.integers(0, 50, rows).astype(words)
    top = words.type(1 << (8 * words.itemsize - 1))
    noise += np.where(rng.random(rows) < 0.5, top, top - words.type(60))
    near: NDArray[Any] = noise.view(dtype)
    return near


def _wrapping(rows: int, rng: Generator, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A walk whose steps are so large that it runs over the end of the words again and again."""
    words = np.dtype(f"u{dtype.itemsize}")
    step = (1 << (8 * words.itemsize)) // 3
    return np.cumsum(rng.integers(step - 3, step + 3, rows).astype(words), dtype=words).view(dtype)


def _numbered(name: str) -> Callable[[int, Generator, np.dtype[Any]], NDArray[Any]]:
    def make(rows: int, rng: Generator, dtype: np.dtype[Any]) -> NDArray[Any]:
        numbers = SERIES[name](rows, rng)
        if dtype.kind == "f":
            return (numbers / 100).astype(dtype)
        return numbers.astype(dtype)

    return make


COLUMNS: dict[str, Callable[[int, Generator, np.dtype[Any]], NDArray[Any]]] = {
    "any bits": lambda rows, rng, dtype: np.frombuffer(rng.bytes(rows * dtype.itemsize), dtype),
    "extremes": _extremes,
    "near the ends": _near_ends,
    "wrapping": _wrapping,
    "constant": lambda rows, rng, dtype: np.full(rows, rng.integers(0, 100), dtype),
    **{name: _numbered(name) for name in SERIES},
}
"""Columns of any dtype but bool, by name."""


def column(name: str, rows: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    """The column `name` of so many rows; of floats and bools whatever suits them."""
    rng, kind = np.random.default_rng((seed, rows)), np.dtype(dtype)
    if kind.kind == "b":
        return (
            np.asarray(SERIES[name](rows, rng) % 2 == 1)
            if name in SERIES
            else rng.random(rows) < 0.5
        )
    if kind.kind == "f" and name in ("extremes", "noise", "walk"):
        share = {"extremes": 1.0, "noise": 0.3, "walk": 0.01}[name]
        return _floats(rows, rng, kind, share)
    with np.errstate(all="ignore"):
        return COLUMNS[name](rows, rng, kind)


MISSING: dict[str, Callable[[int, Generator], NDArray[np.bool_]]] = {
    "all": lambda rows, rng: np.zeros(rows, np.bool_),
    "none": lambda rows, rng: np.ones(rows, np.bool_),
    "first": lambda rows, rng: np.arange(rows) > 0,
    "last": lambda rows, rng: np.arange(rows) < rows - 1,
    "all but one": lambda rows, rng: np.arange(rows) == rows // 2,
    "alternating": lambda rows, rng: np.arange(rows) % 2 == 0,
    "few": lambda rows, rng: rng.random(rows) > 0.01,
    "many": lambda rows, rng: rng.random(rows) > 0.6,
    "stretches": lambda rows, rng: np.arange(rows) // 100 % 3 > 0,
}
"""Where columns have values, by name."""


def missing(name: str, rows: int, seed: int = 0) -> NDArray[np.bool_]:
    """The validity `name` of so many rows."""
    return MISSING[name](rows, np.random.default_rng((seed, rows, 1)))
