"""Which windows parts of a fleet's rows lie in, wholly or perhaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.windows import Windows
from pipeline.partitioning.pruning import Selection

__all__ = ["Placed", "place"]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Parts in windows; a part that reaches into several windows is there once for each.

    Parameters
    ----------
    at
        ``int64``, shape (placed,), ascending: which part.
    window
        ``int64``, shape (placed,): the window.
    whole
        Bool, shape (placed,): whether all of the part lies in the window and the selection.
    share
        ``float64``, shape (placed,): which share of the part's time does.
    """

    at: NDArray[np.int64]
    window: NDArray[np.int64]
    whole: NDArray[np.bool_]
    share: NDArray[np.float64]

    @property
    def is_plain(self) -> bool:
        """Whether every part is there once, wholly."""
        return bool(self.whole.all() and (self.at == np.arange(len(self.at))).all())


def place(
    first: NDArray[np.int64], last: NDArray[np.int64], windows: Windows, selection: Selection
) -> Placed:
    """Return the windows that parts reach into.

    Parameters
    ----------
    first, last
        ``int64``, shape (parts,): times of the first and the last row of each, in microseconds
        since 1970-01-01 UTC, or any that enclose them.
    windows
        Windows of the answer.
    selection
        Times asked for; what lies outside belongs to no window.
    """
    starts = np.maximum(windows.starts, selection.start)
    stops = np.minimum(windows.stops, selection.stop)
    begin = np.searchsorted(stops, first, side="right")
    end = np.searchsorted(starts, last, side="right")
    repeats = np.maximum(end - begin, 0)
    at = np.repeat(np.arange(len(first)), repeats)
    window = np.arange(len(at)) - np.repeat(np.cumsum(repeats) - repeats - begin, repeats)
    low = np.maximum(starts[window], first[at])
    high = np.minimum(stops[window], last[at] + 1)
    length = last[at] + 1 - first[at]
    kept = high > low
    at, window, inside = at[kept], window[kept], (high - low)[kept]
    return Placed(at, window, inside == length[kept], inside / length[kept])
