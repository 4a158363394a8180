"""From the cheapest way to answer to the exact one, until a budget is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.analytics.aggregate import exact_values
from pipeline.analytics.approximate.bounded import Bounded, meets
from pipeline.analytics.approximate.budget import Budget
from pipeline.analytics.approximate.from_summaries import answer_from_summaries
from pipeline.analytics.query import Query
from pipeline.summaries.asked import Statistic

__all__ = ["Climbed", "climb"]

Key = tuple[str, Statistic]


@dataclass(slots=True)
class Climbed:
    """Answers so far, and what was done for them."""

    answers: dict[Key, Bounded] = field(default_factory=dict)


def climb(query: Query, budget: Budget) -> Climbed:
    """Answer a request, each statistic in the cheapest way that is good enough."""
    done = Climbed()
    done.answers |= answer_from_summaries(query, query.statistics)
    left = _left(query, done, budget)
    if left:
        exact = exact_values(replace(query, statistics=left))
        done.answers |= {key: Bounded.exactly(values) for key, values in exact.items()}
    return done


def _left(query: Query, done: Climbed, budget: Budget) -> Mapping[str, tuple[Statistic, ...]]:
    """Return the statistics that are not good enough yet."""
    left = {}
    for channel, statistics in query.statistics.items():
        open_ones = tuple(
            statistic
            for statistic in statistics
            if (channel, statistic) not in done.answers
            or not meets(done.answers[channel, statistic], budget)
        )
        if open_ones:
            left[channel] = open_ones
    return left
