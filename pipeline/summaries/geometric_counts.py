"""Counts by integer key, in one array over the keys from the lowest to the highest."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["GeometricCounts"]


@dataclass(frozen=True, slots=True, eq=False)
class GeometricCounts:
    """Counts of consecutive keys.

    Parameters
    ----------
    first
        The lowest key.
    counts
        ``int64``, shape (keys,); none without readings.
    collapsed
        Whether the lowest key stands for all below it too.
    """

    first: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    collapsed: bool = False

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return int(self.counts.sum())

    def with_keys(self, keys: NDArray[np.int64], most: int) -> GeometricCounts:
        """Return the counts with each key counted once more, over at most `most` keys."""
        if len(keys) == 0:
            return self
        # Keys far below the highest are counted as the lowest that is kept, in any case.
        low = max(int(keys.min()), int(keys.max()) - most + 1)
        counts = np.bincount(np.maximum(keys, low) - low).astype(np.int64)
        return self.merge(GeometricCounts(low, counts, bool(keys.min() < low)), most)

    def merge(self, other: GeometricCounts, most: int) -> GeometricCounts:
        """Return the sum of counts, over at most `most` keys: lower ones are counted as the lowest.

        The result does not depend on the order of merging.
        """
        parts = [part for part in (self, other) if len(part.counts)]
        if len(parts) < 2:
            return parts[0] if parts else self
        stop = max(part.first + len(part.counts) for part in parts)
        lowest = min(part.first for part in parts)
        first = max(lowest, stop - most)
        counts = np.zeros(stop - first, np.int64)
        for part in parts:
            below = max(first - part.first, 0)
            kept = part.counts[below:]
            at = max(part.first - first, 0)
            counts[at : at + len(kept)] += kept
            counts[0] += part.counts[:below].sum()
        collapsed = lowest < first or self.collapsed or other.collapsed
        return GeometricCounts(first, counts, collapsed)

    def key_of(self, rank: int) -> tuple[int, bool]:
        """Return the key of a rank from 0 in ascending order, and whether it stands for others."""
        at = int(np.searchsorted(np.cumsum(self.counts), rank, side="right"))
        return self.first + at, self.collapsed and at == 0
