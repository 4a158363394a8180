"""Bounds from a sample of clusters hold as often as they say, however alike readings of one are."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.summaries.cluster_bounds import Clusters, quantile_between

REPETITIONS = 300
GRID = 64


def population(kind: str, random: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return the readings of 120 clusters."""
    if kind == "alike":  # all the variance is between clusters
        return [np.full(40, random.normal(0, 5)) + random.normal(0, 0.01, 40) for _ in range(120)]
    if kind == "rare":  # a few clusters hold all that is large
        return [random.normal(100 if at % 30 == 0 else 0, 1, 40) for at in range(120)]
    if kind == "unequal":
        return [random.normal(at / 20, 1, 1 + 7 * (at % 13)) for at in range(120)]
    return [random.normal(0, 1, 40) for _ in range(120)]


def below(readings: NDArray[np.float64], grid: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(np.sort(readings), grid, side="left").astype(np.int64)


def least_successes(trials: int, rate: float, risk: float = 1e-6) -> int:
    """Return how many successes there are at least, but with a probability of `risk`."""
    total = 0.0
    for count in range(trials + 1):
        total += comb(trials, count) * rate**count * (1 - rate) ** (trials - count)
        if total > risk:
            return count
    return trials


@pytest.mark.parametrize("kind", ["alike", "rare", "unequal", "plain"])
@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_bounds_hold_at_the_stated_rate(kind: str, quantile: float) -> None:
    random = np.random.default_rng(17)
    clusters = population(kind, random)
    every = np.concatenate(clusters)
    truth = float(np.quantile(every, quantile))
    grid = np.linspace(every.min(), np.nextafter(every.max(), np.inf), GRID)[None]
    found = np.stack([below(readings, grid[0]) for readings in clusters])
    # Nothing is known beforehand but how many readings each has, and the range of all.
    sizes = np.array([len(readings) for readings in clusters])
    most = np.repeat(sizes[:, None], GRID, axis=1)
    most[:, 0] = 0
    least = np.zeros_like(most)
    least[:, -1] = sizes
    held, widths = 0, []
    for _ in range(REPETITIONS):
        drawn = np.zeros(len(clusters), np.bool_)
        drawn[random.choice(len(clusters), 40, replace=False)] = True
        given = Clusters(np.zeros(120, np.int64), least, most, drawn, found, np.ones(120, np.bool_))
        value, low, high = quantile_between(given, grid, sizes.sum()[None], quantile, 0.1)
        held += bool(low[0] <= truth <= high[0])
        widths.append(high[0] - low[0])
        assert low[0] <= value[0] <= high[0]
    assert held >= least_successes(REPETITIONS, 0.9)
    if kind == "plain":
        assert np.median(widths) < 0.5 * (every.max() - every.min())


def test_a_rate_below_the_stated_one_would_be_noticed() -> None:
    assert least_successes(300, 0.9) > 300 * 0.8


def test_counts_hold_at_every_number() -> None:
    random = np.random.default_rng(23)
    clusters = population("rare", random)
    grid = np.linspace(-3, 103, 20)
    found = np.stack([below(readings, grid) for readings in clusters])
    truth = found.sum(axis=0)
    most = np.full(found.shape, 40)
    wrong = np.zeros(20)
    for _ in range(REPETITIONS):
        drawn = np.zeros(120, np.bool_)
        drawn[random.choice(120, 20, replace=False)] = True
        given = Clusters(
            np.zeros(120, np.int64), np.zeros_like(most), most, drawn, found, np.ones(120, np.bool_)
        )
        low, _, high = given.counts(0.05)
        wrong += (truth < low[0]) | (truth > high[0])
    assert (REPETITIONS - wrong >= least_successes(REPETITIONS, 0.9)).all()


def test_what_is_known_beforehand_needs_no_sample() -> None:
    readings = [np.array([1.0, 2.0]), np.array([5.0, 6.0]), np.array([9.0])]
    grid = np.array([[1.0, 3.0, 7.0, 9.5]])
    known = np.stack([below(one, grid[0]) for one in readings])
    nobody = np.zeros(3, np.bool_)
    given = Clusters(np.zeros(3, np.int64), known, known, nobody, known, np.ones(3, np.bool_))
    value, low, high = quantile_between(given, grid, np.array([5]), 0.5, 0.05)
    assert (low[0], high[0]) == (3.0, 7.0)
    assert 3 <= value[0] <= 7


def test_windows_that_are_gone_keep_their_bounds() -> None:
    least, most = np.zeros((2, 3), np.int64), np.array([[0, 4, 4], [0, 4, 4]])
    found = np.array([[0, 4, 4], [0, 0, 0]])
    drawn, random = np.array([True, False]), np.array([True, False])
    low, about, high = Clusters(np.zeros(2, np.int64), least, most, drawn, found, random).counts(
        0.1
    )
    assert low[0].tolist() == [0, 4, 4]
    assert high[0].tolist() == [0, 8, 8]
    assert about[0, 1] == 6
