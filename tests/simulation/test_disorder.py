"""What happens on the way is what the functions say happened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.disorder import (
    ROLLOVER,
    corrupt_times,
    drift_clock,
    drop_gaps,
    hold_back,
    jitter_clock,
    repeat_rows,
    shuffle_within,
)

START = 1_735_689_600_000_000
MINUTE = 60_000_000
SECOND = 1_000_000
SEEDS = st.integers(0, 2**32)


def clock(readings: int, interval: int = MINUTE) -> np.ndarray:
    return START + interval * np.arange(readings, dtype=np.int64)


def test_gaps_lose_their_share_in_runs_of_single_devices() -> None:
    device = np.repeat(np.arange(100), 2000)
    lost = drop_gaps(device, np.random.default_rng(1), 0.02, 10.0)
    assert lost.mean() == pytest.approx(0.02, rel=0.1)
    per_device = np.bincount(device[lost], minlength=100)
    assert per_device.std() > 10, "runs make devices differ more than single rows would"


@pytest.mark.parametrize("milliseconds", [1, 5, 50])
def test_jitter_has_its_deviation_in_whole_microseconds(milliseconds: int) -> None:
    time = clock(100_000)
    moved = jitter_clock(time, np.random.default_rng(2), milliseconds * 1000)
    assert moved.dtype == np.int64
    errors = (moved - time) / 1000
    assert errors.std() == pytest.approx(milliseconds, rel=0.02)
    assert abs(errors.mean()) < 0.02 * milliseconds
    assert (np.diff(moved) > 0).all()


def test_no_jitter_changes_nothing() -> None:
    time = clock(1000)
    assert (jitter_clock(time, np.random.default_rng(3), 0) == time).all()


def test_a_drifting_clock_gains_its_rate_until_it_is_set() -> None:
    time = clock(2880)
    shown = drift_clock(time, np.full(2880, 50.0), START, 86_400 * SECOND)
    error = shown - time
    assert error[0] == 0
    assert error[1439] == pytest.approx(50e-6 * 1439 * MINUTE, abs=1)
    assert error[1440] == 0, "set right after a day"
    slow = drift_clock(time, np.full(2880, -50.0), START, 86_400 * SECOND)
    assert (slow - time == -error).all()


@given(SEEDS, st.integers(1, 400), st.sampled_from([0.0, 0.1, 1.0]))
def test_shuffled_rows_are_all_there_and_never_later_than_allowed(
    seed: int, readings: int, share: float
) -> None:
    time, lateness = clock(readings, SECOND), 30 * SECOND
    order = shuffle_within(time, np.random.default_rng(seed), share, lateness)
    assert sorted(order.rows.tolist()) == list(range(readings))
    delivered = time[order.rows]
    behind = np.maximum.accumulate(delivered) - delivered
    assert behind.max() <= lateness
    assert (order.touched == (behind > 0)).all()
    if share == 0:
        assert (order.rows == np.arange(readings)).all()


def test_shuffling_puts_a_share_out_of_order() -> None:
    order = shuffle_within(clock(50_000, SECOND), np.random.default_rng(4), 0.05, 30 * SECOND)
    assert order.touched.mean() == pytest.approx(0.05, rel=0.1)


@given(SEEDS, st.integers(0, 300))
def test_late_rows_come_late_and_the_others_keep_their_order(seed: int, readings: int) -> None:
    rng = np.random.default_rng(seed)
    time, by = rng.permutation(clock(readings, MINUTE)), 3600 * SECOND
    order = hold_back(time, rng, 0.1, by)
    assert sorted(order.rows.tolist()) == list(range(readings))
    on_time = order.rows[~order.touched]
    assert (np.diff(on_time) > 0).all()


def test_late_rows_wait_for_the_stream_to_pass_them() -> None:
    time, by = clock(5000, MINUTE), 3600 * SECOND
    order = hold_back(time, np.random.default_rng(5), 0.01, by)
    assert order.touched.mean() == pytest.approx(0.01, rel=0.3)
    delivered = time[order.rows]
    latest = np.maximum.accumulate(delivered)
    ended = latest >= time[-1] - MINUTE
    behind = (latest - delivered)[order.touched & ~ended]
    assert behind.min() >= by - MINUTE
    assert behind.max() <= 2 * by
    assert ((latest - delivered)[~order.touched] == 0).all()


def test_repeats_follow_the_row_they_repeat() -> None:
    order = repeat_rows(200_000, np.random.default_rng(6), 0.03)
    assert len(order) == 200_000 + order.touched.sum()
    assert order.touched.sum() == pytest.approx(6000, rel=0.05)
    again = np.flatnonzero(order.touched)
    assert (order.rows[again] == order.rows[again - 1]).all()
    assert (order.rows[~order.touched] == np.arange(200_000)).all()


def test_corrupt_times_are_missing_early_or_far_ahead() -> None:
    time = clock(30_000)
    stamps = corrupt_times(time, np.random.default_rng(7), 0.1)
    assert stamps.touched.mean() == pytest.approx(0.1, rel=0.1)
    assert (stamps.time[~stamps.touched] == time[~stamps.touched]).all()
    assert stamps.valid[~stamps.touched].all()
    missing = ~stamps.valid
    early = stamps.valid & (stamps.time < 86_400 * SECOND)
    ahead = stamps.valid & (stamps.time == time + ROLLOVER)
    assert (missing.astype(int) + early + ahead == stamps.touched).all()
    for kind in (missing, early, ahead):
        assert kind.sum() == pytest.approx(1000, rel=0.15)
    assert (stamps.time[early] >= 0).all()


@given(SEEDS)
def test_equal_generators_do_equal_harm(seed: int) -> None:
    time = clock(200)

    def harm() -> list[list[int]]:
        rng = np.random.default_rng(seed)
        return [
            drop_gaps(np.zeros(200, np.int64), rng, 0.1, 5.0).tolist(),
            jitter_clock(time, rng, 1000).tolist(),
            shuffle_within(time, rng, 0.2, 10 * MINUTE).rows.tolist(),
            hold_back(time, rng, 0.1, 10 * MINUTE).rows.tolist(),
            repeat_rows(200, rng, 0.1).rows.tolist(),
            corrupt_times(time, rng, 0.1).time.tolist(),
        ]

    assert harm() == harm()
