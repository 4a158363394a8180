"""Planning an aggregate of rows with given values: what stored statistics say of each cell.

A cell is a device in a summary period. Its least and greatest value, and how many rows have one,
tell that no row satisfies the conditions, that all do, or that rows have to be looked at. This is
pure; `pipeline.analytics.value_steps` reads what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.partitioning.conditions import Conditions, Known
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.scheme import Partitioning
from pipeline.summaries.merging import runs_of

__all__ = ["Cells", "batches", "judge_cells", "parts_to_decode"]

_EMPTY_BETWEEN: Final = 32
_CELLS_AT_ONCE: Final = 1 << 21  # about 80 bytes each are held


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What is to be done about the cells of some devices and periods.

    Parameters
    ----------
    periods
        Numbers of the summary periods.
    answered
        Bool, shape (devices, periods): cells that stored statistics answer, for all of their rows
        match and are asked for.
    needed
        Bool, the same shape: cells whose rows have to be looked at. All others hold no match.
    """

    periods: range
    answered: NDArray[np.bool_]
    needed: NDArray[np.bool_]


def batches(
    numbers: NDArray[np.int64], scheme: Partitioning, devices: int
) -> Iterator[NDArray[np.int64]]:
    """Cut ascending period numbers into runs to be judged at once, between windows.

    A run holds about as many cells as memory should, and no long stretch without rows.
    """
    windows = scheme.window_length.numbers(scheme.summary_length.starts(numbers))
    edges = [*runs_of(windows).tolist(), len(numbers)]
    most = max(_CELLS_AT_ONCE // max(devices, 1), 1)
    begun = 0
    for start, stop in pairwise(edges):
        apart = numbers[start] - numbers[max(start - 1, 0)] > _EMPTY_BETWEEN
        if start > begun and (apart or numbers[stop - 1] - numbers[begun] >= most):
            yield numbers[begun:start]
            begun = start
    if len(numbers):
        yield numbers[begun:]


def judge_cells(
    periods: range,
    whole: NDArray[np.bool_],
    rows: NDArray[np.int64],
    known: Mapping[str, Known],
    conditions: Conditions,
) -> Cells:
    """Tell cells that match as a whole from those that may hold a match.

    Parameters
    ----------
    periods
        Numbers of the summary periods.
    whole
        Bool, shape (periods,): those that stored statistics may answer.
    rows
        ``int64``, shape (devices, periods): rows of each cell.
    known
        By channel of the conditions, what is stored of its values, of that shape.
    conditions
        At least one.
    """
    may = (rows > 0) & conditions.may_match(known)
    answered = may & whole & conditions.must_match(known)
    return Cells(periods, answered, may & ~answered)


def parts_to_decode(
    cells: Cells,
    codes: NDArray[np.int64],
    scheme: Partitioning,
    selection: Selection,
    bounds: tuple[int, int],
) -> tuple[NDArray[np.bool_], dict[int, Selection]]:
    """Return which cells stored statistics still answer, and what to decode of each window.

    Rows are decoded by whole blocks. So of a device that needs it, all periods between the first
    and the last one that any device of the window needs are taken from its rows.

    Parameters
    ----------
    cells
        From `judge_cells`; all periods of a window are among them.
    codes
        ``int64``, shape (devices,): the devices, ascending.
    scheme
        The fleet's partitioning.
    selection
        What is asked.
    bounds
        Half-open range in which the fleet has rows, in microseconds since 1970-01-01 UTC.

    Returns
    -------
    tuple
        Bool, shape (devices, periods); and by window number, the part of the selection.
    """
    period, answered = scheme.summary_length, cells.answered.copy()
    busy = np.flatnonzero(cells.needed.any(axis=0))
    edges = period.starts(np.arange(cells.periods.start, cells.periods.stop + 1))
    windows = scheme.window_length.numbers(edges[busy])
    low, high = max(selection.start, bounds[0]), min(selection.stop, bounds[1])
    parts: dict[int, Selection] = {}
    for run in np.split(busy, np.flatnonzero(np.diff(windows)) + 1) if len(busy) else []:
        span = slice(int(run[0]), int(run[-1]) + 1)
        devices = cells.needed[:, span].any(axis=1)
        answered[devices, span] = False
        start, stop = max(low, int(edges[span.start])), min(high, int(edges[span.stop]))
        chosen = selection.codes if devices.all() else codes[devices]
        window = scheme.window_length.number(int(edges[span.start]))
        parts[window] = replace(selection, start=start, stop=stop, codes=chosen)
    return answered, parts
