"""Values of the statistics that mergeable states hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.collectors import Values
from pipeline.analytics.windows import Windows
from pipeline.summaries.asked import Statistic
from pipeline.summaries.differences import delta, value_range
from pipeline.summaries.merging import slide
from pipeline.summaries.statistics import Statistics, finalise

__all__ = ["slid_states", "stored_values"]


def slid_states(states: Statistics, windows: Windows) -> Statistics:
    """Merge states of panes, shape (groups, panes), into those of windows."""
    if windows.is_panes:
        return states
    return slide(
        states,
        Statistics.combine,
        lambda part, at: part[:, at],
        windows.span,
        windows.positions,
    )


def stored_values(states: Statistics, rows: NDArray[np.int64], statistic: Statistic) -> Values:
    """Return the values of a statistic.

    Parameters
    ----------
    states
        Shape (groups, windows).
    rows
        ``int64``, the same shape: rows with and without a value.
    statistic
        One that is stored.
    """
    some = states.count > 0
    if statistic.kind == "missing":
        return Values.always(rows - states.count, rows > 0)
    if statistic.kind == "range":
        return Values.where(value_range(states), some)
    if statistic.kind == "delta":
        return Values.where(delta(states), some)
    values, present = finalise(states, statistic.kind)
    return Values(values, present, some)
