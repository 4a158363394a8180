"""Fewer points that look the same when they are plotted.

References
----------
Steinarsson: "Downsampling Time Series for Visual Representation", MSc thesis, University of
Iceland, 2013 (largest triangle three buckets).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_triangles", "min_max"]


def largest_triangles(
    time: NDArray[np.int64], values: NDArray[Any], points: int
) -> NDArray[np.int64]:
    """Return which readings to plot, by largest triangle three buckets.

    The first and the last reading stay. The others are divided into buckets of about equal
    numbers, and of each the reading stays that spans the largest triangle with the one that
    stayed before and the mean of the next bucket.

    Parameters
    ----------
    time
        ``int64``, ascending, in microseconds.
    values
        Numbers without NaN, the shape of `time`.
    points
        Most readings to keep, at least 2.

    Returns
    -------
    ndarray
        ``int64``, ascending, at most `points` positions.
    """
    size = len(time)
    if size <= points:
        return np.arange(size)
    if points == 2:
        return np.array([0, size - 1])
    # Infinities span no triangle; the largest double does, and is kept as likely.
    limit = np.finfo(np.float64).max / 4
    heights = np.clip(values.astype(np.float64), -limit, limit)
    scale = max(float(np.abs(heights).max()), 1.0)
    heights /= scale
    ages = (time - time[0]).astype(np.float64) / max(int(time[-1] - time[0]), 1)
    edges = 1 + np.arange(points - 1) * (size - 2) // (points - 2)
    widths = np.diff(edges)
    mean_age = np.append(np.add.reduceat(ages[1:-1], edges[:-1] - 1) / widths, ages[-1])
    mean_height = np.append(np.add.reduceat(heights[1:-1], edges[:-1] - 1) / widths, heights[-1])
    kept = np.zeros(points, np.int64)
    kept[-1] = size - 1
    for bucket in range(points - 2):
        start, stop = int(edges[bucket]), int(edges[bucket + 1])
        before = kept[bucket]
        age, height = ages[before], heights[before]
        area = np.abs(
            (age - mean_age[bucket + 1]) * (heights[start:stop] - height)
            - (age - ages[start:stop]) * (mean_height[bucket + 1] - height)
        )
        kept[bucket + 1] = start + int(np.argmax(area))
    return kept


def min_max(time: NDArray[np.int64], values: NDArray[Any], points: int) -> NDArray[np.int64]:
    """Return which readings to plot: the least and the greatest of equal stretches of time.

    Parameters
    ----------
    time
        ``int64``, ascending, in microseconds.
    values
        Numbers without NaN, the shape of `time`.
    points
        Most readings to keep, at least 2; half as many stretches are looked at.

    Returns
    -------
    ndarray
        ``int64``, ascending, at most `points` positions, the first of equals. The least and the
        greatest of all readings are among them.
    """
    size = len(time)
    if size <= points:
        return np.arange(size)
    stretches = points // 2
    length = int(time[-1] - time[0]) // stretches + 1
    stretch = (time - time[0]) // length
    starts = np.flatnonzero(np.append(True, stretch[1:] != stretch[:-1]))
    run = np.repeat(np.arange(len(starts)), np.diff(starts, append=size))
    kept = [
        _first_of_each(values == extreme.reduceat(values, starts)[run], run)
        for extreme in (np.minimum, np.maximum)
    ]
    return np.unique(np.concatenate(kept))


def _first_of_each(wanted: NDArray[np.bool_], run: NDArray[np.int64]) -> NDArray[np.int64]:
    at = np.flatnonzero(wanted)
    first = np.append(True, run[at][1:] != run[at][:-1])
    chosen: NDArray[np.int64] = at[first]
    return chosen
