"""Answers from stored summaries alone, each with bounds that always hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.approximate.bounded import EXACT, SUMMARIES, Bounded
from pipeline.analytics.approximate.stored_parts import StoredParts, read_parts
from pipeline.analytics.query import Query
from pipeline.archive.chunk_io import in_threads
from pipeline.summaries.asked import Statistic
from pipeline.summaries.histogram_bounds import histogram_bounds
from pipeline.summaries.part_bounds import BOUNDED, Bounds, bounds_of
from pipeline.summaries.parts import Parts
from pipeline.summaries.quantile_bounds import quantile_bounds

__all__ = ["answer_from_summaries", "bounds_of_parts", "has_bounds"]

_ALWAYS: Final = ("count", "missing", "sum", "distinct", "histogram")
"""Statistics that cells without a reading have, too."""

_COURSES: Final = ("time_weighted_mean", "time_weighted_mean_previous")
_QUANTILES: Final = ("median", "percentile")
_GROUPS_AT_ONCE: Final = 256
_PARTS_AT_ONCE: Final = 1 << 14
"""So few that what is computed of them stays in a core's cache: half the time of 2**17."""

Wanted = Mapping[str, Sequence[Statistic]]
Answers = dict[tuple[str, Statistic], Bounded]


def has_bounds(query: Query, statistic: Statistic) -> bool:
    """Tell whether summaries bound a statistic of a request at all.

    Means over time depend on the readings before and after each window: only of one window that
    holds all that is asked for, there are none.
    """
    kind = statistic.kind
    if kind in _COURSES:
        return len(query.windows) == 1
    return kind in BOUNDED or kind in (*_QUANTILES, "histogram", "missing")


def answer_from_summaries(query: Query, wanted: Wanted) -> Answers:
    """Return what summaries tell; statistics that they cannot bound are left out.

    Parameters
    ----------
    query
        The request, in windows.
    wanted
        Statistics by channel that are asked for.
    """
    asked = {
        channel: [statistic for statistic in statistics if has_bounds(query, statistic)]
        for channel, statistics in wanted.items()
    }
    asked = {channel: statistics for channel, statistics in asked.items() if statistics}
    if not asked:
        return {}
    batches = list(_batches(query))
    found = in_threads(lambda groups: _batch(query, asked, groups), batches)
    together = {key: [part[key] for part in found] for key in found[0]}
    joined = {key: Bounded.joined(parts) for key, parts in together.items()}
    return {key: answer for key, answer in joined.items() if _is_told(query, key, answer)}


def _is_told(query: Query, key: tuple[str, Statistic], answer: Bounded) -> bool:
    """Tell whether bounds mean something: between two texts there is nothing."""
    channel, statistic = key
    is_text = query.view.meta.schema[channel].dtype == "category"
    return answer.source == EXACT or not (is_text and statistic.kind in ("first", "last"))


def _batches(query: Query) -> Iterator[tuple[int, int]]:
    """Yield ranges of groups whose summaries lie in chunks of their own."""
    groups = query.groups
    if groups.dimension != "device" or groups.size == 0:
        yield 0, groups.size
        return
    rows = groups.codes // _GROUPS_AT_ONCE
    edges = np.concatenate([[0], np.flatnonzero(np.diff(rows)) + 1, [groups.size]])
    yield from pairwise(edges.tolist())


def _batch(query: Query, asked: Wanted, groups: tuple[int, int]) -> Answers:
    kinds = {statistic.kind for statistics in asked.values() for statistic in statistics}
    stored = read_parts(query, tuple(asked), groups, rows="missing" in kinds)
    answers: Answers = {}
    for channel, statistics in asked.items():
        parts = stored.parts(channel)
        seen = np.zeros(parts.size, np.bool_)
        seen[parts.used] = True
        for statistic in statistics:
            if statistic.kind == "missing":
                answers[channel, statistic] = _missing(stored, channel)
                continue
            bounds = bounds_of_parts(parts, statistic)
            exact = statistic.is_stored and bool(parts.whole.all())
            present = np.ones_like(seen) if statistic.kind in _ALWAYS else seen
            answers[channel, statistic] = _shaped(
                stored, bounds, present, seen, EXACT if exact else SUMMARIES
            )
    return answers


def _missing(stored: StoredParts, channel: str) -> Bounded:
    bounds = stored.missing(channel)
    exact = bool((bounds.low == bounds.high).all())
    always = np.ones(stored.size, np.bool_)
    return _shaped(stored, bounds, always, always, EXACT if exact else SUMMARIES)


def _shaped(
    stored: StoredParts,
    bounds: Bounds,
    present: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    source: str,
) -> Bounded:
    shape = stored.groups[1] - stored.groups[0], len(stored.query.windows)
    value, low, high = (
        part.reshape(*shape, *part.shape[1:]) for part in (bounds.value, bounds.low, bounds.high)
    )
    return Bounded(Bounds(value, low, high), present.reshape(shape), seen.reshape(shape), source)


def bounds_of_parts(parts: Parts, statistic: Statistic) -> Bounds:
    """Return bounds of a statistic, shape (cells,) or (cells, buckets).

    Parameters
    ----------
    parts
        What is known of the readings.
    statistic
        One that `has_bounds`, other than ``missing``.
    """
    if statistic.kind == "histogram":
        return histogram_bounds(parts, np.array(statistic.edges))
    if statistic.kind not in _QUANTILES:
        return bounds_of(parts, statistic.kind)
    quantile = statistic.quantile or 0.0
    found = in_threads(lambda part: quantile_bounds(part, quantile), _runs_of_cells(parts))
    whole = [np.full(parts.size, np.nan) for _ in range(3)]
    for target, name in zip(whole, ("estimate", "low", "high"), strict=True):
        target[parts.used] = np.concatenate([np.zeros(0), *(getattr(f, name) for f in found)])
    return Bounds(*whole)


def _runs_of_cells(parts: Parts) -> list[Parts]:
    """Return the parts in runs of whole cells, of about equal sizes."""
    if len(parts) == 0:
        return []
    run = parts.starts // _PARTS_AT_ONCE
    edges = [0, *parts.starts[1:][np.diff(run) > 0].tolist(), len(parts)]
    if len(edges) == 2:
        return [parts]
    return [parts.take(slice(start, stop)) for start, stop in pairwise(edges)]
