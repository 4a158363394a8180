"""Counters roll over and restart; states last as long as they should."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidInputError
from pipeline.simulation.discrete import Dwelling, counter, dwell_states


@pytest.mark.parametrize("modulus", [2**16, 2**32])
def test_counters_add_up_modulo_their_register(modulus: int) -> None:
    rng = np.random.default_rng(1)
    increments = rng.integers(0, modulus // 100, (4, 1000))
    last = rng.integers(0, modulus, 4)
    total = counter(increments, last, modulus)
    assert total.min() >= 0
    assert total.max() < modulus
    steps = np.diff(np.concatenate([last[:, None], total], axis=1), axis=1)
    assert ((steps - increments) % modulus == 0).all()
    fell = steps < 0
    assert (steps[~fell] == increments[~fell]).all(), "between roll-overs it only rises"
    assert fell.sum() > 4


def test_counters_go_on_from_slab_to_slab() -> None:
    increments = np.random.default_rng(2).integers(0, 1000, (3, 400))
    last = np.array([0, 65_000, 5])
    whole = counter(increments, last, 2**16)
    first = counter(increments[:, :150], last, 2**16)
    rest = counter(increments[:, 150:], first[:, -1], 2**16)
    assert (np.concatenate([first, rest], axis=1) == whole).all()


def test_a_reset_counts_from_zero_again() -> None:
    increments = np.array([[5, 5, 5, 5, 5, 5]])
    resets = np.array([[False, False, True, False, True, False]])
    total = counter(increments, np.array([100]), 2**16, resets)
    assert total.tolist() == [[105, 110, 5, 10, 5, 10]]


def runs_of(states: np.ndarray, state: int, interval: float) -> np.ndarray:
    """Return the durations in seconds of all whole stays in `state`."""
    durations = []
    for row in states:
        edges = np.flatnonzero(np.diff(row)) + 1
        lengths, values = np.diff(edges), row[edges[:-1]]
        durations.append(lengths[values == state] * interval)
    return np.concatenate(durations)


def test_states_last_as_long_as_their_mean_dwell_time() -> None:
    rng = np.random.default_rng(3)
    dwell = (600.0, 120.0, 60.0)
    begin = Dwelling.begin(rng, 64, dwell)
    states, _ = dwell_states(rng, begin, 20_000, 5.0, dwell)
    assert states.dtype == np.int32
    assert states.shape == (64, 20_000)
    for state, mean in enumerate(dwell):
        assert runs_of(states, state, 5.0).mean() == pytest.approx(mean, rel=0.05)
    shares = np.bincount(states.ravel()) / states.size
    np.testing.assert_allclose(shares, np.array(dwell) / sum(dwell), rtol=0.05)


def test_states_jump_as_the_matrix_says() -> None:
    rng = np.random.default_rng(4)
    dwell = (50.0, 50.0, 50.0)
    ring = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0.0]])
    states, _ = dwell_states(rng, Dwelling.begin(rng, 16, dwell), 5000, 1.0, dwell, ring)
    before, after = states[:, :-1], states[:, 1:]
    moved = before != after
    forward = ((after - before) % 3)[moved]
    assert (forward == 1).mean() > 0.97, "two changes between readings may hide one"


def test_states_go_on_from_slab_to_slab() -> None:
    rng = np.random.default_rng(5)
    dwell = (1000.0, 1000.0)
    states, now = dwell_states(rng, Dwelling.begin(rng, 32, dwell), 100, 1.0, dwell)
    more, _ = dwell_states(rng, now, 100, 1.0, dwell)
    same = (states[:, -1] == more[:, 0]).mean()
    assert same > 0.9, "a stay of 1000 s seldom ends at a seam"


def test_stays_shorter_than_an_interval_are_taken_as_one() -> None:
    rng = np.random.default_rng(6)
    dwell = (1e-6, 1e-6)
    states, _ = dwell_states(rng, Dwelling.begin(rng, 4, dwell), 1000, 60.0, dwell)
    assert set(np.unique(states)) == {0, 1}


def test_one_state_never_changes() -> None:
    rng = np.random.default_rng(7)
    states, _ = dwell_states(rng, Dwelling.begin(rng, 4, (10.0,)), 100, 1.0, (10.0,))
    assert not states.any()


def test_a_matrix_of_the_wrong_size_is_refused() -> None:
    rng = np.random.default_rng(8)
    begin = Dwelling.begin(rng, 4, (1.0, 1.0))
    with pytest.raises(InvalidInputError, match=r"shape \(2, 2\)"):
        dwell_states(rng, begin, 10, 1.0, (1.0, 1.0), np.eye(3))
