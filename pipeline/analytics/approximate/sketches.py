"""Percentiles from quantile sketches that are stored for periods of devices.

A sketch tells how many readings lie in each of some hundred narrow ranges. Where the sketches of
a device tile one of its summary periods and count all of its readings, they take its place;
elsewhere the summary stands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.approximate.bounded import SKETCH, Bounded
from pipeline.analytics.approximate.from_summaries import bounds_of_parts
from pipeline.analytics.approximate.placing import place
from pipeline.analytics.approximate.stored_parts import read_parts
from pipeline.analytics.query import Query
from pipeline.summaries.asked import Statistic
from pipeline.summaries.part_bounds import Bounds
from pipeline.summaries.parts import Parts
from pipeline.summaries.quantile_sketch import QuantileSketch
from pipeline.summaries.sketch_buckets import parts_of_sketches

__all__ = ["SketchSource", "answer_from_sketches", "sketches_to_read"]

_MOST_SKETCHES: Final = 200_000

Key = tuple[str, Statistic]


class SketchSource(Protocol):
    """Stored sketches of a fleet, at the snapshot that is asked."""

    def periods(self, start: int, stop: int) -> range:
        """Return the numbers of the periods that touch a half-open range of microseconds."""

    def starts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return where periods start, ``int64`` microseconds since 1970-01-01 UTC."""

    def sketches(
        self, codes: NDArray[np.int64], periods: range, channel: str
    ) -> NDArray[np.object_]:
        """Return sketches of devices, shape (devices, periods).

        Each is a `QuantileSketch` of all readings, or None where none is stored or it is not up to
        date.
        """


def sketches_to_read(query: Query, source: SketchSource) -> int:
    """Return how many sketches a channel's percentiles would need."""
    return len(query.groups.codes) * len(_periods(query, source))


def answer_from_sketches(
    query: Query, source: SketchSource, known: dict[Key, Bounded], keys: list[Key]
) -> dict[Key, Bounded]:
    """Return percentiles that stored sketches make better than summaries do.

    Parameters
    ----------
    query
        The request.
    source
        Where the sketches are.
    known
        Answers from summaries, which are narrowed.
    keys
        What to answer; others than percentiles are passed over.
    """
    keys = [key for key in keys if key in known and key[1].quantile is not None]
    if not keys or sketches_to_read(query, source) > _MOST_SKETCHES:
        return {}
    found = {}
    for channel in dict.fromkeys(channel for channel, _ in keys):
        parts = _parts(query, source, channel)
        if parts is None:
            continue
        for key in keys:
            if key[0] == channel:
                found[key] = _narrowed(known[key], bounds_of_parts(parts, key[1]))
    return found


def _narrowed(known: Bounded, found: Bounds) -> Bounded:
    """Return what lies between both pairs of bounds."""
    shape = known.bounds.value.shape
    low = np.fmax(known.bounds.low, found.low.reshape(shape))
    high = np.fmin(known.bounds.high, found.high.reshape(shape))
    value = np.fmin(np.fmax(found.value.reshape(shape), low), high)
    return Bounded(Bounds(value, low, high), known.present, known.seen, SKETCH)


def _periods(query: Query, source: SketchSource) -> range:
    start = max(query.bounds[0], query.selection.start)
    stop = min(query.bounds[1], query.selection.stop)
    return source.periods(start, stop) if start < stop else range(0)


def _parts(query: Query, source: SketchSource, channel: str) -> Parts | None:
    """Return parts of sketches, and of summaries where there are none; None without a sketch."""
    periods, length = _periods(query, source), query.view.meta.scheme.summary_length
    edges = source.starts(np.arange(periods.start, periods.stop + 1))
    of_period = length.numbers(edges[:-1])
    nested = of_period == length.numbers(edges[1:] - 1)
    stored = source.sketches(query.groups.codes, periods, channel)
    there = nested & np.array([[one is not None for one in row] for row in stored], np.bool_)
    row, column = np.nonzero(there)
    chosen: list[QuantileSketch] = stored[row, column].tolist()
    keys = row << 32 | of_period[column]
    summary = read_parts(query, (channel,), (0, query.groups.size)).parts(channel)
    replaced = _counted(keys, chosen, summary)
    if not replaced.any():
        return None
    usable = np.isin(keys, summary.key[replaced])
    row, column = row[usable], column[usable]
    placed = place(edges[column], edges[column + 1] - 1, query.windows, query.selection)
    sketches = [one for one, used in zip(chosen, usable, strict=True) if used]
    buckets = parts_of_sketches(
        [sketches[at] for at in placed.at.tolist()],
        query.groups.of_device[row[placed.at]] * len(query.windows) + placed.window,
        placed.whole,
        placed.share,
        summary.size,
    )
    parts = [buckets, _as_floats(summary.take(~replaced))]
    return Parts.joined(parts, summary.size, np.dtype(np.float64))


def _counted(
    keys: NDArray[np.int64], sketches: list[QuantileSketch], summary: Parts
) -> NDArray[np.bool_]:
    """Return which parts of summaries have all of their readings in sketches."""
    if not sketches or len(summary) == 0:
        return np.zeros(len(summary), np.bool_)
    found, inverse = np.unique(keys, return_inverse=True)
    counts = np.zeros(len(found), np.int64)
    np.add.at(counts, inverse, [one.count for one in sketches])
    at = np.minimum(np.searchsorted(found, summary.key), len(found) - 1)
    full: NDArray[np.bool_] = (counts[at] == summary.states.count) & (found[at] == summary.key)
    return full


def _as_floats(parts: Parts) -> Parts:
    """Return parts whose readings are doubles, as those of sketches are."""
    states = parts.states
    floats = {
        name: getattr(states, name).astype(np.float64) for name in ("min", "max", "first", "last")
    }
    return replace(parts, states=replace(states, **floats))
