"""Statistics of converted values, from those of stored values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.schema.images import Image
from pipeline.summaries.statistics import Statistics

__all__ = ["mapped_states"]


def mapped_states(image: Image, states: Statistics) -> tuple[Statistics, NDArray[np.bool_]]:
    """Return what a conversion makes of statistics, and where that is sure; any shape."""
    if image.is_identity:
        return states, np.ones(states.count.shape, np.bool_)
    low, high = image.extremes(states.min, states.max)
    total, m2 = image.sums(states.count, states.total, states.m2)
    first, last = image.points(states.first), image.points(states.last)
    sure = (states.count == 0) | image.fits(states.min, states.max)
    return Statistics(states.count, low, high, first, last, total, m2), sure
