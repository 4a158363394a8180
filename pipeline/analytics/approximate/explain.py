"""How an approximate answer would be come by, and why; no row is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.analytics.approximate.aggregate import check_approximable
from pipeline.analytics.approximate.budget import Budget
from pipeline.analytics.approximate.ladder import Key, Ladder
from pipeline.analytics.approximate.rollup_sketches import stored_sketches
from pipeline.analytics.approximate.stored_parts import summary_chunks
from pipeline.analytics.explain import explain_aggregate
from pipeline.analytics.explanation import Explanation
from pipeline.analytics.query import Asked, Grouping, make_query
from pipeline.archive.chunk_io import chunk_key, get_sizes
from pipeline.archive.fleet_view import FleetView
from pipeline.partitioning.pruning import Selection

__all__ = ["explain_approximate"]


def explain_approximate(
    view: FleetView,
    statistics: Mapping[str, Asked],
    selection: Selection,
    grouping: Grouping,
    budget: Budget,
) -> Explanation:
    """Return what an approximate aggregate would touch, and which way each statistic takes.

    Summaries are read, as the answer would: whether their bounds are good enough decides about the
    rest. Blocks and bytes are those of statistics that are answered from all rows.

    Parameters
    ----------
    view, statistics, selection, grouping, budget
        As for `pipeline.analytics.approximate.aggregate.approximate_aggregate`.

    Raises
    ------
    InvalidInputError
        If the question makes no sense.
    """
    query = make_query(view, statistics, selection, grouping)
    check_approximable(grouping, selection)
    ladder = Ladder(query, budget, stored_sketches(view))
    ladder.start()
    reasons = dict(ladder.reasons)
    exact = ladder.without_bounds
    reasons |= dict.fromkeys(exact, "all rows of the selection: nothing else bounds it")
    sample = ladder.planned()
    if sample is not None:
        drawn, size = sample
        text = (
            f"a sample of {size} of {len(drawn.order)} windows, then all rows if it is not enough"
        )
        reasons |= {key: f"{reasons[key]}; {text}" for key in drawn.sampled}
    else:
        more = ladder.exact_ones
        reasons |= {key: f"{reasons[key]}; that is too much, so all rows" for key in more}
        exact = [*exact, *more]
    wanted: dict[str, Any] = {channel: [] for channel in query.statistics}
    for channel, statistic in exact:
        wanted[channel].append(statistic)
    told = explain_aggregate(view, wanted, selection, grouping)
    periods, places = summary_chunks(query)
    sizes = get_sizes(view.store, [chunk_key(path, place) for path, place in places])
    return replace(
        told,
        summary_periods=periods,
        summary_chunks=sum(size > 0 for size in sizes),
        summary_bytes=sum(sizes),
        approximation={_name(key): reason for key, reason in reasons.items()},
    )


def _name(key: Key) -> str:
    channel, statistic = key
    return f"{channel}_{statistic.label}"
