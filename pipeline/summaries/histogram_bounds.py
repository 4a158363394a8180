"""How many readings of a cell lie between given edges, at least and at most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.summaries.moment_bounds import Moments
from pipeline.summaries.part_bounds import Bounds
from pipeline.summaries.parts import Parts

__all__ = ["histogram_bounds"]


def histogram_bounds(parts: Parts, edges: NDArray[np.float64]) -> Bounds:
    """Return the counts of readings in buckets, ``int64``, shape (cells, buckets).

    Parameters
    ----------
    parts
        What is known of the readings.
    edges
        Ascending, shape (buckets + 1,): buckets are half-open, the last one closed.
    """
    shape = (parts.size, len(edges) - 1)
    value, low, high = (np.zeros(shape, np.int64) for _ in range(3))
    if len(parts) == 0:
        return Bounds(value, low, high)
    buckets = _Buckets(parts, edges)
    for at in range(shape[1]):
        least, likely, most = buckets.counts(at)
        low[parts.used, at] = parts.total(np.where(parts.whole, least, 0))
        high[parts.used, at] = parts.total(most)
        value[parts.used, at] = np.rint(parts.total(likely)).astype(np.int64)
    return Bounds(np.clip(value, low, high), low, high)


class _Buckets:
    """What is known of each part on both sides of each edge."""

    def __init__(self, parts: Parts, edges: NDArray[np.float64]) -> None:
        moments = Moments.of(parts)
        below, above, model = moments.tails(), moments.mirrored().tails(), moments.model()
        each = [np.full(len(parts), edge) for edge in edges]
        self._parts = parts
        self._edges = edges
        self._below = [below.most_below(edge).astype(np.int64) for edge in each]
        self._above = [above.most_below(-edge).astype(np.int64) for edge in each]
        self._share = [model.share_below(edge) for edge in each]

    def counts(self, at: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return how many readings of each part lie in a bucket: at least, about, at most."""
        parts, count = self._parts, self._parts.states.count
        ends = self._holds(at, parts.low), self._holds(at, parts.high)
        # Least and greatest reading are known to be there; one of a part's two if it has two.
        known = ends[0].astype(np.int64) + (ends[1] & (count > 1))
        least = count - self._below[at] - self._above[at + 1]
        least = np.where(ends[0] & ends[1], count, np.maximum(least, known))
        most = np.minimum(self._below[at + 1], self._above[at])
        outside = (~ends[0]).astype(np.int64) + (~ends[1] & (count > 1))
        most = np.clip(np.minimum(most, count - outside), 0, count)
        likely = count * parts.share * (self._share[at + 1] - self._share[at])
        return np.minimum(least, most), likely, most

    def _holds(self, at: int, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        is_last = at == len(self._edges) - 2
        high = self._edges[at + 1]
        below = (values <= high) if is_last else (values < high)
        inside: NDArray[np.bool_] = below & (values >= self._edges[at])
        return inside
