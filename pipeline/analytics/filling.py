"""What to do about windows in which nothing was read."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError

__all__ = ["FILLS", "check_fill", "fill_linear", "fill_previous"]

FILLS: Final = ("null", "none", "previous", "linear")
"""``null`` marks missing cells, ``none`` leaves out windows without any reading in any group,
``previous`` takes the value of the nearest earlier window of the group that has one, ``linear``
goes straight from there to the next that has one. Before the first value of a group, and with
``linear`` after its last, cells stay missing."""


def check_fill(fill: str) -> None:
    """Check the name of a fill policy.

    Raises
    ------
    InvalidInputError
        If there is none of that name.
    """
    if fill not in FILLS:
        msg = f"unknown fill={fill!r}; use one of {', '.join(FILLS)}"
        raise InvalidInputError(msg)


def fill_previous(
    values: NDArray[Any], present: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values with gaps filled by the value before, and which cells have one now.

    Parameters
    ----------
    values
        Shape (groups, windows), in the order of time.
    present
        Bool, the same shape.
    """
    at = np.where(present, np.arange(present.shape[1]), -1)
    latest = np.maximum.accumulate(at, axis=1)
    known = latest >= 0
    return np.take_along_axis(values, np.maximum(latest, 0), axis=1), known


def fill_linear(
    values: NDArray[Any], present: NDArray[np.bool_], time: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return values with gaps filled by a straight line, and which cells have one now.

    Parameters
    ----------
    values
        Numbers, shape (groups, windows), in the order of time.
    present
        Bool, the same shape.
    time
        ``int64``, shape (windows,): where windows lie, ascending.
    """
    numbers, count = values.astype(np.float64), present.shape[1]
    at = np.arange(count)
    before = np.maximum.accumulate(np.where(present, at, -1), axis=1)
    after = np.minimum.accumulate(np.where(present, at, count)[:, ::-1], axis=1)[:, ::-1]
    between = (before >= 0) & (after < count)
    low, high = np.maximum(before, 0), np.minimum(after, max(count - 1, 0))
    width = np.maximum(time[high] - time[low], 1)
    part = (time - time[low]) / width
    start = np.take_along_axis(numbers, low, axis=1)
    stop = np.take_along_axis(numbers, high, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        inner = start * (1 - part) + stop * part
    return np.where(present, numbers, inner), between
