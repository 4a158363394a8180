"""Arrays that filters must bring back bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DTYPES", "INTEGERS", "adversarial", "sensor_values", "steady_times"]

INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
DTYPES = (
    "?",
    *INTEGERS,
    "f2",
    "f4",
    "f8",
    "M8[us]",
    "m8[ns]",
    ">i2",
    ">u4",
    ">i8",
    ">f8",
    ">M8[s]",
)


def adversarial(dtype: str, size: int = 67, seed: int = 0) -> NDArray[Any]:
    """Every bit pattern is equally likely; the type's extremes and specials come first."""
    kind = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    if kind.kind == "b":
        return rng.integers(0, 2, size).astype(kind)
    values = rng.bytes(size * kind.itemsize)
    array = np.frombuffer(values, kind).copy()
    special = _specials(kind)[:size]
    array[: special.size] = special
    return array


def _specials(dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        top = np.array([limits.max, -limits.max, limits.smallest_subnormal], dtype)
        return np.concatenate([np.array([-0.0, 0.0, np.nan, np.inf, -np.inf], dtype), top])
    integers = np.dtype("i8").newbyteorder(dtype.byteorder) if dtype.kind in "mM" else dtype
    low, high = np.iinfo(integers).min, np.iinfo(integers).max
    return np.array([low, high, low, 0, high, 1, high], integers).view(dtype)


def sensor_values(size: int = 1000, seed: int = 0) -> NDArray[np.float64]:
    """A slow temperature in steps of a tenth."""
    steps = np.random.default_rng(seed).integers(-1, 2, size)
    return np.round(20.0 + np.cumsum(steps) / 10, 1)


def steady_times(size: int = 1000) -> NDArray[np.datetime64]:
    """One reading every ten seconds, to the microsecond."""
    start = np.datetime64("2024-03-01T00:00:00", "us")
    return start + np.arange(size) * np.timedelta64(10_000_000, "us")
