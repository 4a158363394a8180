"""Patterns have the shapes, spreads and exactness they state."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.simulation.patterns import (
    DAY,
    YEAR,
    autoregressive,
    cycle,
    disturbances,
    drift,
    interpolate,
    noise,
    quantise,
    steps,
)

DEVICES = 8


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250101)


@pytest.mark.parametrize(("period", "days"), [(DAY, 3), (YEAR, 800)])
def test_cycle_repeats_and_peaks_where_each_device_says(period: float, days: int) -> None:
    seconds = np.arange(0, days * DAY, period / 200)
    amplitude = np.linspace(1, 5, DEVICES)
    peak = np.linspace(0, 0.9 * period, DEVICES)
    values = cycle(seconds, period, amplitude, peak)
    assert values.shape == (DEVICES, len(seconds))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.max(axis=1), amplitude, rtol=1e-3)
    np.testing.assert_allclose(values[:, 200:], values[:, :-200], atol=0.002)
    highest = seconds[values[:, :200].argmax(axis=1)]
    assert np.abs(highest - peak).max() <= period / 200


def test_drift_is_a_line_of_the_given_slope() -> None:
    values = drift(np.array([0, DAY, 10 * DAY]), np.array([0.5, -0.01]))
    np.testing.assert_allclose(values, [[0, 0.5, 5], [0, -0.01, -0.1]], rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.97, 0.9999])
def test_autoregressive_follows_its_recursion(rng: np.random.Generator, decay: float) -> None:
    innovations = rng.standard_normal((DEVICES, 500)).astype(np.float32)
    last = np.linspace(-3, 3, DEVICES, dtype=np.float32)
    values = autoregressive(innovations, decay, last)
    expected = last.astype(np.float64)
    for k in range(500):
        expected = decay * expected + innovations[:, k]
        np.testing.assert_allclose(values[:, k], expected, atol=2e-4)


def test_autoregressive_of_nothing_is_nothing() -> None:
    empty = np.zeros((DEVICES, 0), np.float32)
    assert autoregressive(empty, 0.9, np.ones(DEVICES, np.float32)).shape == (DEVICES, 0)


def test_interpolation_meets_its_knots_and_the_line_between_them() -> None:
    knots = np.array([[0, 10, 20, 0], [1, 1, 5, 5]], np.float32)
    values = interpolate(knots, np.array([0, 0.5, 1, 1.25, 2, 2.9]))
    np.testing.assert_allclose(values[0], [0, 5, 10, 12.5, 20, 2], rtol=1e-6)
    np.testing.assert_allclose(values[1], [1, 1, 1, 2, 5, 5], rtol=1e-6)


def test_noise_has_each_device_s_deviation(rng: np.random.Generator) -> None:
    sigma = np.array([0.02, 0.05, 1.0])
    values = noise(rng, sigma, 50_000)
    np.testing.assert_allclose(values.std(axis=1), sigma, rtol=0.02)
    np.testing.assert_allclose(values.mean(axis=1), 0, atol=0.02)
    assert abs(np.corrcoef(values[0, 1:], values[0, :-1])[0, 1]) < 0.02


def test_steps_hold_their_level_and_change_as_often_as_told(rng: np.random.Generator) -> None:
    last = np.full(50, -1, np.float32)
    values = steps(rng, last, 2000, 0.01, 16.0, 23.0)
    changes = np.diff(values, axis=1) != 0
    assert changes.mean() == pytest.approx(0.01, rel=0.1)
    fresh = values[values != -1]
    assert fresh.min() >= 16
    assert fresh.max() < 23
    assert (values[:, 0] == -1).mean() > 0.9, "levels go on from the last ones"


def test_steps_never_change_without_chance(rng: np.random.Generator) -> None:
    last = np.arange(5, dtype=np.float32)
    assert (steps(rng, last, 100, 0.0, 16.0, 23.0) == last[:, None]).all()


def test_disturbances_jump_and_fade_at_the_stated_rate(rng: np.random.Generator) -> None:
    values = disturbances(rng, np.zeros(200, np.float32), 1000, 0.0005, (-2.0, -1.0), 0.9)
    jumps = np.diff(values, axis=1) < -0.5
    assert jumps.sum() == pytest.approx(100, rel=0.3)
    device, reading = np.argwhere(jumps[:, :900])[0]
    after = values[device, reading + 1 : reading + 6]
    assert -2.0 <= after[0] <= -1.0
    np.testing.assert_allclose(after[1:] / after[:-1], 0.9, rtol=1e-4)


def test_disturbances_go_on_fading_from_the_last_reading(rng: np.random.Generator) -> None:
    last = np.array([1.0, -2.0], np.float32)
    values = disturbances(rng, last, 10, 0.0, (0.0, 0.0), 0.5)
    np.testing.assert_allclose(values, last[:, None] * 0.5 ** np.arange(1, 11), rtol=1e-6)


def test_disturbances_without_memory_last_one_reading(rng: np.random.Generator) -> None:
    values = disturbances(rng, np.ones(10, np.float32), 100, 0.05, (1.0, 1.0), 0.0)
    assert values.shape == (10, 100)
    assert values.sum() == pytest.approx(50, abs=25)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.integers(0, 6),
)
def test_quantised_values_are_exactly_the_decimals_a_sensor_prints(
    values: list[float], decimals: int
) -> None:
    rounded = quantise(np.array([values]), decimals)
    for value in rounded.ravel().tolist():
        assert value == float(f"{value:.{decimals}f}")
        assert not (value == 0 and np.signbit(value))
    assert np.abs(rounded - values).max() <= 0.5 * 10.0**-decimals * (1 + 1e-6)


def test_float32_is_rounded_to_the_same_doubles() -> None:
    values = np.linspace(-40, 60, 4001, dtype=np.float32)[None]
    rounded = quantise(values, 1)
    assert rounded.dtype == np.float64
    assert set(rounded.ravel().tolist()) == {k / 10 for k in range(-400, 601)}


def test_equal_generators_give_equal_patterns() -> None:
    def draw() -> list[np.ndarray]:
        rng, last = np.random.default_rng(7), np.zeros(3, np.float32)
        return [
            noise(rng, np.ones(3), 100),
            steps(rng, last, 100, 0.1, 0.0, 1.0),
            disturbances(rng, last, 100, 0.1, (0.0, 1.0), 0.5),
        ]

    assert all((a == b).all() for a, b in zip(draw(), draw(), strict=True))
