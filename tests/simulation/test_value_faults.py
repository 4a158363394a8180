"""Stuck sensors, outliers and runs come as often and as long as asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.value_faults import EXTREMES, chosen, hold, runs, spike


def lengths_of(mask: np.ndarray) -> np.ndarray:
    """Return the lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return np.asarray(edges[1::2] - edges[::2])


def test_chosen_keeps_its_share() -> None:
    rng = np.random.default_rng(1)
    assert chosen(rng, (100, 1000), 0.02).mean() == pytest.approx(0.02, rel=0.05)
    assert not chosen(rng, 1000, 0.0).any()
    assert chosen(rng, 1000, 1.0).all()


def test_runs_have_the_share_and_length_asked_for() -> None:
    rng = np.random.default_rng(2)
    mask = runs(rng, np.zeros(400_000, np.int64), 0.02, 12.0)
    assert mask.mean() == pytest.approx(0.02, rel=0.1)
    assert lengths_of(mask).mean() == pytest.approx(12.0, rel=0.1)


@given(st.integers(0, 2**32), st.lists(st.integers(1, 20), max_size=8))
def test_runs_stay_in_their_group(seed: int, sizes: list[int]) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(seed)
    mask = runs(rng, groups, 0.5, 4.0)
    assert mask.shape == groups.shape
    assert mask.dtype == bool


def test_a_run_never_crosses_into_the_next_group() -> None:
    groups = np.repeat(np.arange(1000), 10)
    starts_of_groups = np.arange(0, 10_000, 10)
    mask = runs(np.random.default_rng(3), groups, 0.3, 1000.0)
    crossing = mask[starts_of_groups[1:]] & mask[starts_of_groups[1:] - 1]
    alone = mask[starts_of_groups]
    assert crossing.mean() <= alone.mean() < 0.01, "each needs a start of its own"


def test_stuck_sensors_repeat_the_value_before() -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((20, 5000))
    held, stuck = hold(rng, values, 0.1, 25.0)
    assert stuck.mean() == pytest.approx(0.1, rel=0.2)
    assert lengths_of(stuck[0]).mean() > 5
    assert (held[~stuck] == values[~stuck]).all()
    device, reading = np.nonzero(stuck)
    assert (held[device, reading] == held[device, reading - 1]).all()
    assert not stuck[:, 0].any()


def test_spikes_are_decimals_far_away_or_extremes() -> None:
    rng = np.random.default_rng(5)
    values = np.full((10, 10_000), 20.0)
    spiked, where = spike(rng, values, 0.01, 1)
    assert where.mean() == pytest.approx(0.01, rel=0.1)
    assert (spiked[~where] == 20.0).all()
    outliers = spiked[where]
    extreme = np.isin(outliers, EXTREMES)
    assert extreme.mean() == pytest.approx(0.5, abs=0.05)
    peaks = outliers[~extreme]
    assert (np.abs(peaks - 20.0) >= 9.95).all()
    assert (np.abs(peaks - 20.0) <= 100.05).all()
    assert (peaks == np.round(peaks * 10) / 10).all()
    assert (values == 20.0).all(), "what was given stays as it is"


def test_spikes_keep_the_dtype_and_may_be_unrounded() -> None:
    rng = np.random.default_rng(6)
    spiked, where = spike(rng, np.zeros((4, 1000), np.float32), 0.1, None)
    assert spiked.dtype == np.float32
    assert where.any()
    assert np.isfinite(spiked).all()
