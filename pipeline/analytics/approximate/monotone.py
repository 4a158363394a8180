"""Percentiles of one channel rise with their percent, and so do their bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.approximate.bounded import SKETCH, SUMMARIES, Bounded
from pipeline.summaries.asked import Statistic
from pipeline.summaries.part_bounds import Bounds

__all__ = ["in_order"]

Key = tuple[str, Statistic]


def in_order(answers: Mapping[Key, Bounded]) -> dict[Key, Bounded]:
    """Return those percentiles whose bounds always hold, narrowed by one another.

    What no median can be below, no higher percentile can be below either, and the other way round.
    """
    found: dict[Key, Bounded] = {}
    for channel in dict.fromkeys(channel for channel, _ in answers):
        keys = sorted(
            (
                key
                for key, answer in answers.items()
                if key[0] == channel
                and key[1].quantile is not None
                and answer.source in (SUMMARIES, SKETCH)
            ),
            key=lambda key: key[1].quantile or 0.0,
        )
        if len(keys) > 1:
            found |= dict(zip(keys, _narrowed([answers[key] for key in keys]), strict=True))
    return found


def _narrowed(answers: list[Bounded]) -> list[Bounded]:
    low = np.maximum.accumulate([answer.bounds.low for answer in answers])
    high = np.minimum.accumulate([answer.bounds.high for answer in answers][::-1])[::-1]
    value = np.maximum.accumulate([answer.bounds.value for answer in answers])
    value = np.clip(value, low, high)
    return [
        Bounded(Bounds(v, lo, hi), answer.present, answer.seen, answer.source)
        for answer, v, lo, hi in zip(answers, value, low, high, strict=True)
    ]
