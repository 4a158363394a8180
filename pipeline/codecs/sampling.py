"""The rows of a column from which the encoder judges it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["sample"]

_RUNS: Final = 8
_RUN_ROWS: Final = 512


def sample(rows: NDArray[Any]) -> NDArray[Any]:
    """Return contiguous runs from all over `rows`, shape (runs, rows of a run).

    A short column is one run by itself. Runs are contiguous because predictors need neighbours.
    """
    if rows.size <= _RUNS * _RUN_ROWS:
        return rows.reshape(1, -1)
    last = rows.size - _RUN_ROWS
    starts = [last * run // (_RUNS - 1) for run in range(_RUNS)]
    return np.concatenate([rows[at : at + _RUN_ROWS] for at in starts]).reshape(_RUNS, -1)
