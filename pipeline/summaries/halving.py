"""Search by halving, for many numbers at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["last_that_holds"]


def last_that_holds(
    holds: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    good: NDArray[np.float64],
    end: NDArray[np.float64],
    halvings: int,
) -> NDArray[np.float64]:
    """Return about the last numbers between `good` and `end` for which something holds.

    Parameters
    ----------
    holds
        Tells for numbers, shape (cells,), which of them pass: every one up to some point.
    good, end
        ``float64``, shape (cells,): numbers that pass, and what is not passed.
    halvings
        How often to halve what lies between.

    Returns
    -------
    ndarray
        ``float64``, shape (cells,): numbers that pass.
    """
    for _ in range(halvings):
        middle = good / 2 + end / 2
        held = holds(middle)
        good, end = np.where(held, middle, good), np.where(held, end, middle)
    return good
