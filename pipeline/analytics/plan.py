"""Planning an aggregate: which periods stored summaries answer, which rows must be decoded.

The planner is pure: it sees which windows hold rows, the bins and the selection, and reads
nothing. A summary period answers when it lies inside the time range and inside one bin; the
rest, usually the ragged edges of the range, is decoded. Decoded units are looked at once more:
a block that lies inside one bin and one group is answered by the statistics in its header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.bins import Bins
from pipeline.archive.block_index import BlockTable
from pipeline.archive.read_units import ReadUnit
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.scheme import Partitioning

__all__ = [
    "FromHeaders",
    "FromRows",
    "FromSummaries",
    "Judged",
    "QueryPlan",
    "RuledOut",
    "Step",
    "headers_answer",
    "plan_query",
    "plan_rows",
    "plan_steps",
    "runs_of_numbers",
    "touched_periods",
]

_EMPTY_BETWEEN: Final = 32


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What to read for an aggregate.

    Parameters
    ----------
    summaries
        Runs of summary periods to answer from stored statistics.
    decode
        Selections whose rows have to be looked at.
    rollups
        Runs of periods of rollups to answer from, with the rollups' names.
    """

    summaries: tuple[range, ...]
    decode: tuple[Selection, ...]
    rollups: tuple[tuple[str, range], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FromSummaries:
    """Stored summaries answer some periods.

    Parameters
    ----------
    periods
        Numbers of the periods.
    cells
        Bool, shape (devices, periods): for which devices; None for all that are asked for.
    rollup
        Name of the rollup whose periods they are; empty for the fleet's own summaries.
    """

    periods: range
    cells: NDArray[np.bool_] | None = None
    rollup: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FromHeaders:
    """The statistics in the headers of some blocks answer."""

    blocks: BlockTable


@dataclass(frozen=True, slots=True, eq=False)
class FromRows:
    """Rows of a unit have to be decoded, those that are selected."""

    unit: ReadUnit
    selection: Selection


@dataclass(frozen=True, slots=True)
class Judged:
    """Stored summaries were asked which devices may have rows with the values wanted.

    Parameters
    ----------
    periods
        Numbers of the periods.
    cells
        Devices and periods with rows.
    open, whole
        How many of these may hold a match and have to be looked at, and how many match whole.
    """

    periods: range
    cells: int
    open: int
    whole: int


@dataclass(frozen=True, slots=True, eq=False)
class RuledOut:
    """The headers of some blocks tell that no row has the values wanted."""

    blocks: BlockTable


type Step = FromSummaries | FromHeaders | FromRows | Judged | RuledOut


def plan_steps(
    plan: QueryPlan,
    units: Callable[[Selection], Iterator[ReadUnit]],
    bins: Bins,
    one_group: bool,
) -> Iterator[Step]:
    """Yield what is to be done for an aggregate.

    Parameters
    ----------
    plan
        From `plan_query`.
    units
        Returns the units that hold rows of a selection.
    bins
        Bins that cover the selections' time range.
    one_group
        Whether all devices are aggregated together.
    """
    yield from map(FromSummaries, plan.summaries)
    for name, periods in plan.rollups:
        yield FromSummaries(periods, rollup=name)
    for part in plan.decode:
        for unit in units(part):
            by_header = headers_answer(unit, part, bins, one_group)
            if by_header.any():
                yield FromHeaders(unit.blocks.take(by_header))
            if not by_header.all():
                rest = unit.blocks.take(~by_header)
                yield FromRows(ReadUnit(rest, unit.first_code, unit.last_code), part)


def plan_query(
    windows: Sequence[int],
    scheme: Partitioning,
    selection: Selection,
    bounds: tuple[int, int],
    bins: Bins,
) -> QueryPlan:
    """Split a query into summary periods and ranges to decode.

    Parameters
    ----------
    windows, scheme, selection, bounds, bins
        As for `touched_periods`.
    """
    numbers, covered = touched_periods(windows, scheme, selection, bounds, bins)
    period = scheme.summary_length
    decode = (
        replace(
            selection,
            start=max(selection.start, period.start(run.start)),
            stop=min(selection.stop, period.start(run.stop)),
        )
        for run in runs_of_numbers(numbers[~covered])
    )
    # Periods without rows stand between them: reading these, too, costs less than another read.
    summaries = runs_of_numbers(numbers[covered], np.cumsum(~covered)[covered], _EMPTY_BETWEEN)
    return QueryPlan(tuple(summaries), tuple(decode))


def touched_periods(
    windows: Sequence[int],
    scheme: Partitioning,
    selection: Selection,
    bounds: tuple[int, int],
    bins: Bins,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the summary periods that a query touches, and which of them it can take as a whole.

    Parameters
    ----------
    windows
        Numbers of the windows inside the selection that hold rows, ascending.
    scheme
        The fleet's partitioning.
    selection
        Times and devices asked for.
    bounds
        Half-open range in which the fleet has rows, in microseconds since 1970-01-01 UTC. What a
        period holds lies inside it.
    bins
        Bins that cover the part of the selection inside `bounds`.

    Returns
    -------
    tuple of ndarray
        ``int64``, shape (periods,), ascending: their numbers; and bool: those that lie inside
        the time range and inside one bin.
    """
    period = scheme.summary_length
    numbers = _periods(np.asarray(windows, np.int64), scheme)
    starts = np.maximum(period.starts(numbers), bounds[0])
    stops = np.minimum(period.starts(numbers + 1), bounds[1])
    touched = (
        (stops > max(selection.start, bounds[0])) & (starts < selection.stop) & (starts < stops)
    )
    numbers, starts, stops = numbers[touched], starts[touched], stops[touched]
    covered = (starts >= selection.start) & (stops <= selection.stop)
    covered[covered] = bins.hold_whole(starts[covered], stops[covered])
    return numbers, covered


def plan_rows(selection: Selection, bounds: tuple[int, int]) -> QueryPlan:
    """Return the plan of a query that no summary answers: everything is decoded.

    Parameters
    ----------
    selection
        Times and devices asked for.
    bounds
        Half-open range in which the fleet has rows, in microseconds since 1970-01-01 UTC.
    """
    start, stop = max(selection.start, bounds[0]), min(selection.stop, bounds[1])
    decode = () if start >= stop else (replace(selection, start=start, stop=stop),)
    return QueryPlan((), decode)


def headers_answer(
    unit: ReadUnit, selection: Selection, bins: Bins, one_group: bool
) -> NDArray[np.bool_]:
    """Return which blocks of a unit their header statistics answer; bool, shape (blocks,).

    Parameters
    ----------
    unit
        Blocks that are read together.
    selection
        Times and devices asked for.
    bins
        Bins that cover the selection's time range.
    one_group
        Whether all devices are aggregated together.
    """
    blocks = unit.blocks
    if selection.conditions or (one_group and selection.codes is not None):
        return np.zeros(len(blocks), np.bool_)
    inside = (blocks.time_min >= selection.start) & (blocks.time_max < selection.stop)
    inside &= one_group | _single_selected(blocks, selection)
    inside[inside] = bins.hold_whole(blocks.time_min[inside], blocks.time_max[inside] + 1)
    # Looked at last: it takes longest, and hardly ever one device fills a block.
    if inside.any() and not unit.is_simple:
        return np.zeros(len(blocks), np.bool_)
    return inside


def _single_selected(blocks: BlockTable, selection: Selection) -> NDArray[np.bool_]:
    single: NDArray[np.bool_] = blocks.device_min == blocks.device_max
    if selection.codes is not None:
        single &= np.isin(blocks.device_min, selection.codes)
    return single


def _periods(windows: NDArray[np.int64], scheme: Partitioning) -> NDArray[np.int64]:
    window, period = scheme.window_length, scheme.summary_length
    if window is period or len(windows) == 0:
        return windows
    first = period.numbers(window.starts(windows))
    last = period.numbers(window.starts(windows + 1) - 1)
    return np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])


def runs_of_numbers(
    numbers: NDArray[np.int64], parts: NDArray[np.int64] | None = None, between: int = 0
) -> list[range]:
    """Return ranges that hold ascending numbers, and at most so many others between two of them.

    Numbers of different parts are kept apart.
    """
    if len(numbers) == 0:
        return []
    apart = np.diff(numbers) > 1 + between
    if parts is not None:
        apart |= np.diff(parts) > 0
    edges = np.flatnonzero(apart) + 1
    return [range(int(run[0]), int(run[-1]) + 1) for run in np.split(numbers, edges)]
