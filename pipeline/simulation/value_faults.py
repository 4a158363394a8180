"""What goes wrong with values: stuck sensors, spikes, missing values and NaN."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation.patterns import quantise

__all__ = ["EXTREMES", "chosen", "hold", "runs", "spike"]

EXTREMES: Final = (-999.9, 85.0, 9999.9, 1e9, -1e30, 3e38)
"""What broken sensors and overflowing converters deliver."""


def chosen(
    rng: np.random.Generator, shape: int | tuple[int, ...], share: float
) -> NDArray[np.bool_]:
    """Return a bool array of `shape`, each element True with probability `share`."""
    return rng.random(shape, dtype=np.float32) < share


def runs(
    rng: np.random.Generator, groups: NDArray[np.integer[Any]], share: float, length: float
) -> NDArray[np.bool_]:
    """Choose a share of rows in runs that never cross from one group into the next.

    Parameters
    ----------
    rng
        Where chance comes from.
    groups
        Shape (rows,): equal neighbours belong together, such as the rows of a device.
    share
        Expected share of rows chosen, in [0, 1).
    length
        Mean length of a run in rows, geometrically distributed, at least 1. Runs are cut at
        the end of their group, so short groups get a little less than `share`.

    Returns
    -------
    ndarray
        Bool, shape (rows,).
    """
    rows = len(groups)
    if rows == 0 or share == 0:
        return np.zeros(rows, bool)
    first = np.flatnonzero(rng.random(rows) < -np.log1p(-share) / length)
    ends = np.append(np.flatnonzero(np.diff(groups)), rows - 1) + 1
    group_end = ends[np.searchsorted(ends, first, side="right")]
    after = np.minimum(first + rng.geometric(1 / length, len(first)), group_end)
    edges = np.bincount(first, minlength=rows + 1) - np.bincount(after, minlength=rows + 1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def hold(
    rng: np.random.Generator, values: NDArray[Any], share: float, length: float
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Let sensors get stuck: runs of readings repeat the value before them.

    Parameters
    ----------
    rng
        Where chance comes from.
    values
        Shape (devices, readings), any dtype.
    share, length
        As in `runs`.

    Returns
    -------
    values
        Same shape and dtype.
    stuck
        Bool, same shape; never True at a device's first reading.
    """
    devices, readings = values.shape
    stuck = runs(rng, np.repeat(np.arange(devices), readings), share, length)
    stuck = stuck.reshape(values.shape)
    stuck[:, 0] = False
    source = np.maximum.accumulate(np.where(stuck, 0, np.arange(readings)), axis=1)
    return np.take_along_axis(values, source, axis=1), stuck


def spike(
    rng: np.random.Generator, values: NDArray[Any], share: float, decimals: int | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Put outliers among floats.

    Half of them are spikes of 10 to 100 up or down, rounded to `decimals` like other readings;
    the other half are values out of `EXTREMES`.

    Returns
    -------
    values
        Same shape and dtype as `values`.
    spiked
        Bool, same shape.
    """
    spiked = chosen(rng, values.shape, share)
    old = values[spiked].astype(np.float64)
    peaks = old + rng.uniform(10.0, 100.0, len(old)) * rng.choice((-1.0, 1.0), len(old))
    if decimals is not None:
        peaks = quantise(peaks, decimals)
    extreme = chosen(rng, len(old), 0.5)
    values = values.copy()
    values[spiked] = np.where(extreme, rng.choice(EXTREMES, len(old)), peaks)
    return values, spiked
