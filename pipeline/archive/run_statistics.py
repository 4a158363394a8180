"""Statistics of runs of decoded rows, in one pass over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.row_cells import summarise_runs
from pipeline.summaries.statistics import Statistics

__all__ = ["run_statistics"]


def run_statistics(
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64] | None = None,
    *,
    sums_only: bool = False,
) -> Statistics:
    """Return the states of runs of rows.

    Parameters
    ----------
    values
        Shape (rows,), in time order inside each run.
    valid
        Bool, shape (rows,), False where a value is missing; None when none is.
    starts
        ``int64``, shape (runs,): the row at which each non-empty run starts.
    stops
        ``int64``, shape (runs,): the row behind the last of each; by default runs follow one another
        up to the last row.
    sums_only
        Whether nothing but count and sum has a meaning in what is returned.
    """
    ends = np.append(starts[1:], len(values)) if stops is None else stops
    counts, exact, moments = summarise_runs(values, valid, starts, ends, sums_only=sums_only)
    return Statistics(counts, *exact, *moments)
