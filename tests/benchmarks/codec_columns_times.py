"""Made-up timestamps: what clocks and networks do to a reading each second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.codec_noise import correlated_noise

__all__ = ["START", "TIMES", "regular_times"]

type Numbers = np.random.Generator

START: Final = 1_704_067_200_000_000
"""2024-01-01T00:00 UTC in microseconds."""
_SECOND: Final = 1_000_000


def regular_times(
    rows: int, random: Numbers, *, period_s: int = 1, missing: float = 0.0
) -> NDArray[np.int64]:
    """Return times of a regular sensor some of whose readings are lost.

    Parameters
    ----------
    rows
        How many readings arrive.
    random
        Decides which are lost.
    period_s
        Seconds between readings.
    missing
        Share of the readings that is lost, each independently of the others.

    Returns
    -------
    ndarray of int64, shape (rows,)
        Microseconds since 1970-01-01 UTC.
    """
    steps = random.geometric(1 - missing, rows) if missing else np.ones(rows, np.int64)
    return START + np.cumsum(steps) * (period_s * _SECOND)


def _jittered(rows: int, random: Numbers, *, deviation_us: float) -> NDArray[np.int64]:
    """Return times of readings that are stamped late by a varying delay, each second."""
    return regular_times(rows, random) + np.rint(random.normal(0, deviation_us, rows)).astype(
        np.int64
    )


def _drifting(rows: int, random: Numbers) -> NDArray[np.int64]:
    """Return times by a crystal that is 38 ppm slow, more or less with the temperature."""
    ppm = 38 + correlated_noise(random, rows, 20_000, 4.0)
    clock = np.cumsum(_SECOND + ppm) + random.normal(0, 60, rows)
    return START + np.rint(clock).astype(np.int64)


def _with_gaps(rows: int, random: Numbers) -> NDArray[np.int64]:
    """Return times of a sensor that loses single readings, and all for up to hours."""
    steps = random.geometric(0.992, rows)
    outages = random.random(rows) < 0.0004
    steps[outages] += (random.pareto(1.1, int(outages.sum())) * 60).astype(np.int64).clip(0, 20_000)
    return START + np.cumsum(steps) * _SECOND


TIMES: Final[Mapping[str, Callable[[int, Numbers], NDArray[np.int64]]]] = {
    "time regular 1 s": regular_times,
    "time jitter 1 ms": partial(_jittered, deviation_us=1_000),
    "time jitter 5 ms": partial(_jittered, deviation_us=5_000),
    "time jitter 50 ms": partial(_jittered, deviation_us=50_000),
    "time drifting clock": _drifting,
    "time with gaps": _with_gaps,
}
"""Makers of the timestamps of each kind, by name."""
