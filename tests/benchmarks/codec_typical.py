"""How small a typical sensor gets: regular times with few gaps, and a value that wanders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.codec_columns import SYNTHETIC, Block, Column, check_same
from tests.benchmarks.codec_columns_synthetic import random_numbers
from tests.benchmarks.codec_columns_times import regular_times
from tests.benchmarks.codec_sides import OURS
from tests.benchmarks.outcome import Figure, Size

__all__ = ["measure", "typical_times", "typical_values"]

_ROWS: Final = {Size.FULL: 65_536, Size.QUICK: 65_536, Size.TINY: 4096}
_RAW_ROW_BYTES: Final = 16
_PERIODS_S: Final = (1, 10, 60)
_MISSING: Final = (0.0, 0.01, 0.02)
_DECIMALS: Final = (1, 2)
_LARGEST_STEPS: Final = (1, 2, 5)


def measure(size: Size, show: Callable[[str], None]) -> Mapping[str, Figure]:
    """Measure the ratio of the pair of time and value that gets least small."""
    rows = _ROWS[size]
    time, value = (
        max(map(_encoded_size, columns)) for columns in (typical_times(rows), typical_values(rows))
    )
    ratio = _RAW_ROW_BYTES * rows / (time + value)
    show(f"typical sensors: at least {ratio:.1f} : 1")
    meaning = (
        "raw bytes (8 a time, 8 a value) by bytes of both blocks, the worst of 9 times (1, 10, "
        "60 s; 0, 1, 2 % gaps) with the worst of 6 values (0.1, 0.01; steps up to 1, 2, 5 units)"
    )
    return {"typical_ratio_min": Figure(ratio, meaning)}


def typical_times(rows: int) -> Iterator[Column]:
    """Yield times of regular sensors, some of whose readings are lost."""
    for period in _PERIODS_S:
        for missing in _MISSING:
            name = f"typical time {period} s, {missing:.0%} missing"
            times = regular_times(rows, random_numbers(name), period_s=period, missing=missing)
            yield Column(name, SYNTHETIC, times)


def typical_values(rows: int) -> Iterator[Column]:
    """Yield values whose steps are uniform integers of the resolution, on top of a slow drift."""
    for decimals in _DECIMALS:
        for largest in _LARGEST_STEPS:
            name = f"typical value {decimals} decimals, steps up to {largest}"
            yield Column(name, SYNTHETIC, _wandering(rows, name, decimals, largest))


def _wandering(rows: int, name: str, decimals: int, largest: int) -> NDArray[np.float64]:
    steps = random_numbers(name).integers(-largest, largest, rows, endpoint=True)
    drift = np.rint(40 * np.sin(2 * np.pi * np.arange(rows) / 50_000))
    wandering: NDArray[np.float64] = (200 * 10**decimals + np.cumsum(steps) + drift) / 10**decimals
    return wandering


def _encoded_size(column: Column) -> int:
    block = Block(column.values)
    data = OURS.encode(block)
    check_same(OURS.name, column.name, block, OURS.decode(data))
    return OURS.size(data)
