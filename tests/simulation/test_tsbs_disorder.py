"""TSBS disorder: the vectorised order behaves like queues worked entry by entry."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.tsbs_disorder import tsbs_order


def one_by_one(entries: int, rng: np.random.Generator) -> np.ndarray:
    """Deliver entries with plain queues, as the published rules read."""
    new = iter(range(entries + 50))
    kept: deque[int] = deque()
    kept_batches: deque[list[int]] = deque()
    sent: list[int] = []
    reached = 0
    while reached < entries:
        if rng.random() < 0.01:
            reached = [next(new) for _ in range(10)][-1] + 1
        elif kept_batches and rng.random() < 0.5:
            sent += kept_batches.popleft()
        else:
            late, slot, pending = rng.random() < 0.05, 0, len(kept)
            batch: list[int] = []
            while len(batch) < 10:
                chances, slot = rng.random(3) if slot < 10 else np.ones(3), slot + 1
                returns = pending > 0 and chances[0] < 0.5
                pending -= returns
                entry = kept.popleft() if returns else next(new)
                reached = max(reached, entry + 1)
                if chances[1] < 0.1:
                    continue
                (kept if chances[2] < 0.3 else batch).append(entry)
            if late:
                kept_batches.append(batch)
            else:
                sent += batch
    everything = np.array(sent + [entry for batch in kept_batches for entry in batch] + [*kept])
    return everything[everything < entries]


def behaviour(order: np.ndarray, entries: int) -> tuple[float, float, float, float]:
    behind = np.maximum.accumulate(order) - order
    displaced = behind[behind > 0]
    return (
        1 - len(order) / entries,
        float(displaced.size / order.size),
        float(displaced.mean()),
        float(np.percentile(displaced, 90)),
    )


def test_the_order_behaves_like_the_published_queues() -> None:
    entries = 60_000
    fast = behaviour(tsbs_order(entries, np.random.default_rng(1)), entries)
    slow = behaviour(one_by_one(entries, np.random.default_rng(2)), entries)
    assert fast[0] == pytest.approx(slow[0], abs=0.01), "share missing"
    assert fast[1] == pytest.approx(slow[1], abs=0.01), "share out of order"
    assert fast[2:] == pytest.approx(slow[2:], rel=0.1), "how far"


def test_a_tenth_is_missing_and_a_fifth_out_of_order() -> None:
    missing, displaced, mean, _ = behaviour(tsbs_order(200_000, np.random.default_rng(3)), 200_000)
    assert missing == pytest.approx(0.1, abs=0.01)
    assert displaced == pytest.approx(0.19, abs=0.02)
    assert 10 < mean < 25


@given(st.integers(0, 2**32), st.integers(1, 500))
def test_entries_are_delivered_at_most_once(seed: int, entries: int) -> None:
    order = tsbs_order(entries, np.random.default_rng(seed))
    assert order.dtype == np.int64
    assert len(np.unique(order)) == len(order) <= entries
    assert not len(order) or (order.min() >= 0 and order.max() < entries)
    assert (order == tsbs_order(entries, np.random.default_rng(seed))).all()
