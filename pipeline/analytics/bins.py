"""Time bins of an aggregate, half-open and without gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bins"]


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Half-open time bins without gaps.

    Parameters
    ----------
    edges
        ``int64``, shape (bins + 1,): microseconds since 1970-01-01 UTC.
    length
        Length of every bin in microseconds; None for calendar bins.
    """

    edges: NDArray[np.int64]
    length: int | None

    def __len__(self) -> int:
        return len(self.edges) - 1

    def numbers(self, time: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bin of each time inside the edges."""
        if self.length is not None:
            numbers: NDArray[np.int64] = (time - self.edges[0]) // self.length
            return numbers
        return np.searchsorted(self.edges, time, side="right").astype(np.int64) - 1

    def hold_whole(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for each half-open period inside the edges whether one bin holds all of it."""
        whole: NDArray[np.bool_] = self.numbers(starts) == self.numbers(stops - 1)
        return whole
