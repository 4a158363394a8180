"""The rows of a column from which the encoder judges it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["sample"]

_RUNS: Final = 8
_RUN_ROWS: Final = 512


def sample(rows: NDArray[Any], length: int = _RUN_ROWS) -> NDArray[Any]:
    """Return contiguous runs from all over `rows`, shape (runs, rows of a run).

    A short column is one run by itself. Runs are contiguous because predictors need neighbours;
    each has `length` rows.
    """
    if rows.size <= _RUNS * length:
        return rows.reshape(1, -1)
    last = rows.size - length
    starts = [last * run // (_RUNS - 1) for run in range(_RUNS)]
    return np.concatenate([rows[at : at + length] for at in starts]).reshape(_RUNS, -1)
