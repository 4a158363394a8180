"""From the cheapest way to answer to the exact one, until a budget is met.

The rungs are stored summaries, stored sketches, a sample of windows, all rows. A statistic goes up
only while its bounds are wider than the budget allows, or while time is left, if that is what
the budget limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.analytics.approximate.bounded import EXACT, SKETCH, SUMMARIES, Bounded, meets
from pipeline.analytics.approximate.budget import Budget
from pipeline.analytics.approximate.costs import decoding_seconds, sketch_seconds, stored_rows
from pipeline.analytics.approximate.from_sample import Sample, draws, make_sample
from pipeline.analytics.approximate.from_summaries import answer_from_summaries
from pipeline.analytics.approximate.monotone import in_order
from pipeline.analytics.approximate.sketches import (
    SketchSource,
    answer_from_sketches,
    sketches_to_read,
)
from pipeline.analytics.exact import exact_values
from pipeline.analytics.execution import Executor, Threads
from pipeline.analytics.query import Query
from pipeline.errors import InvalidInputError
from pipeline.summaries.asked import Statistic

__all__ = ["Key", "Ladder", "climb"]

Key = tuple[str, Statistic]


def climb(
    query: Query,
    budget: Budget,
    sketches: SketchSource | None = None,
    executor: Executor | None = None,
) -> Ladder:
    """Answer a request, each statistic in the cheapest way that is good enough.

    Raises
    ------
    InvalidInputError
        If a statistic has no bounds and its rows are gone.
    """
    ladder = Ladder(query, budget, sketches, executor or Threads())
    ladder.start()
    sample = ladder.planned()
    if sample is not None:
        ladder.draw(*sample)
    ladder.finish()
    ladder.answers |= in_order(ladder.answers)
    return ladder


@dataclass(slots=True, eq=False)
class Ladder:
    """Answers so far, and why each is what it is.

    Parameters
    ----------
    query, budget
        What is asked, and how good the answer has to be.
    sketches
        Stored sketches, if there are any.
    executor
        Where all rows are looked at.
    answers
        The best so far, by channel and statistic.
    reasons
        How each was come by, in plain words.
    """

    query: Query
    budget: Budget
    sketches: SketchSource | None = None
    executor: Executor = field(default_factory=Threads)
    answers: dict[Key, Bounded] = field(default_factory=dict)
    reasons: dict[Key, str] = field(default_factory=dict)
    _exact_seconds: float | None = None

    @property
    def keys(self) -> list[Key]:
        """All that is asked for."""
        asked = self.query.statistics.items()
        return [(channel, one) for channel, statistics in asked for one in statistics]

    @property
    def without_bounds(self) -> list[Key]:
        """What only the rows themselves can tell."""
        return [key for key in self.keys if key not in self.answers]

    @property
    def open(self) -> list[Key]:
        """What has bounds that could be better, and should."""
        return [key for key in self.keys if key in self.answers and self._is_open(key)]

    def _is_open(self, key: Key) -> bool:
        if self.answers[key].source == EXACT:
            return False
        if self.budget.limits_error:
            return not meets(self.answers[key], self.budget)
        return self.budget.seconds is not None

    def start(self) -> None:
        """Take what summaries and sketches tell; no row is read for it."""
        self.answers |= answer_from_summaries(self.query, self.query.statistics)
        self._explain(self.answers, "stored summaries")
        if self.sketches is None or not self.open:
            return
        count = sketches_to_read(self.query, self.sketches)
        if self._in_time(sketch_seconds(count)):
            found = answer_from_sketches(self.query, self.sketches, self.answers, self.open)
            self.answers |= found
            self._explain(found, f"{count:,} stored sketches")

    def planned(self) -> tuple[Sample, int] | None:
        """Return a sample that is worth drawing and how many windows of it; None without one."""
        if not self.open or self._pays(self.exact_seconds):
            return None
        sample = make_sample(self.query, self.answers, self.open)
        if sample is None:
            return None
        windows = len(sample.stretches.numbers)
        sizes = [
            size
            for size in draws(len(sample.order))
            if self._in_time(self.exact_seconds * size / windows)
        ]
        if not self.budget.limits_error:
            return (sample, sizes[-1]) if sizes else None
        for size in sizes:
            expected = sample.expected(size, self.budget)
            if all(meets(expected[key], self.budget) for key in expected):
                return sample, size
        may_be_exact = self.budget.seconds is None
        return None if may_be_exact or not sizes else (sample, sizes[-1])

    def draw(self, sample: Sample, size: int) -> None:
        """Look at a sample's windows, and keep the answers that are better than before."""
        for key, answer in sample.run(self.budget, size).items():
            if (
                meets(answer, self.budget)
                or answer.errors().sum() < self.answers[key].errors().sum()
            ):
                self.answers[key] = answer
                drawn = f"up to {size} of {len(sample.order)} windows, drawn at random"
                self.reasons[key] = self._told(answer, drawn)

    def finish(self) -> None:
        """Look at all rows, for what has no bounds and for what may become exact."""
        must, may = self.without_bounds, self.exact_ones
        if must:
            self._answer_exactly(must)
        if may:
            try:
                self._answer_exactly(may)
            except InvalidInputError:
                for key in may:  # rows are gone, while bounds are there
                    self.reasons[key] += "; its rows are gone"

    @property
    def exact_ones(self) -> list[Key]:
        """What has bounds, and is answered from all rows nevertheless."""
        return self.open if self._pays(self.exact_seconds, at_last=True) else []

    @property
    def exact_seconds(self) -> float:
        """About how long it takes to look at all rows of what is open."""
        if self._exact_seconds is None:
            channels = len({channel for channel, _ in self.open})
            blocks = stored_rows(self.query)
            self._exact_seconds = decoding_seconds(self.query, blocks, channels)
        return self._exact_seconds

    def _pays(self, seconds: float, *, at_last: bool = False) -> bool:
        """Tell whether to look at all rows: in time, or since nothing else is good enough."""
        if self.budget.seconds is None:
            return at_last
        return seconds <= self.budget.seconds

    def _in_time(self, seconds: float) -> bool:
        return self.budget.seconds is None or seconds <= self.budget.seconds

    def _answer_exactly(self, keys: Sequence[Key]) -> None:
        wanted: dict[str, tuple[Statistic, ...]] = {}
        for channel, statistic in keys:
            wanted[channel] = (*wanted.get(channel, ()), statistic)
        query = replace(self.query, statistics=wanted)
        for key, values in exact_values(query, self.executor).items():
            self.answers[key] = Bounded.exactly(values)
            self.reasons[key] = "all rows of the selection"

    def _explain(self, answers: dict[Key, Bounded], source: str) -> None:
        for key, answer in answers.items():
            self.reasons[key] = self._told(answer, source)

    @staticmethod
    def _told(answer: Bounded, source: str) -> str:
        if answer.source == EXACT:
            return f"{source}, exact"
        word = {SUMMARIES: "always", SKETCH: "always"}.get(
            answer.source, f"{answer.confidence:.0%}"
        )
        worst = float(answer.errors().max(initial=0.0))
        return f"{source}, wrong by {worst:.4g} at most ({word})"
