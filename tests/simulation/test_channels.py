"""Every preset looks like its sensor, in any slab and at any interval."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.simulation.channels import PRESETS, channel_presets
from pipeline.simulation.streams import COHORT, random_stream, slabs
from pipeline.simulation.weather import weather

START = 1_735_689_600_000_000
MINUTE = 60_000_000
DECIMAL = [name for name, preset in PRESETS.items() if preset.decimals is not None]


def simulate(
    name: str, readings: int = 3000, interval: int = MINUTE, size: int = 4096, seed: int = 1
) -> NDArray[np.float64]:
    """Return the values of one cohort, shape (devices, readings)."""
    walk = PRESETS[name].walk(random_stream(seed, name, 0), slabs(START, interval, readings, size))
    return np.concatenate(list(walk), axis=1).astype(np.float64)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("interval", [1_000_000, MINUTE, 86_400_000_000])
def test_every_preset_fills_every_slab(name: str, interval: int) -> None:
    walk = PRESETS[name].walk(random_stream(0, name, 0), slabs(START, interval, 250, 100))
    blocks = list(walk)
    assert [block.shape for block in blocks] == [(COHORT, 100), (COHORT, 100), (COHORT, 50)]
    assert all(np.isfinite(block).all() for block in blocks)


@pytest.mark.parametrize("name", PRESETS)
def test_seeds_reproduce_and_differ(name: str) -> None:
    first, again, other = (simulate(name, 500, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", DECIMAL)
def test_decimal_channels_deliver_exact_decimals(name: str) -> None:
    decimals = PRESETS[name].decimals
    assert decimals is not None
    values = np.unique(simulate(name, 500))
    printed = np.array([float(f"{value:.{decimals}f}") for value in values.tolist()])
    assert (values == printed).all()


def test_temperature_cycles_daily_and_flickers_in_its_last_digit() -> None:
    values = simulate("temperature", 5 * 1440)
    days = values.reshape(COHORT, 5, 1440)
    hours = days.mean(axis=1).reshape(COHORT, 24, 60).mean(axis=2)
    swing = (hours.max(axis=1) - hours.min(axis=1)) / 2
    assert swing.min() > 0.4
    assert swing.max() < 6
    assert np.abs(np.median(hours.argmax(axis=1)) - 15) <= 2
    steps = np.round(np.diff(values, axis=1) * 10)
    assert 0.2 < (steps != 0).mean() < 0.7, "neither constant nor noise"
    assert (np.abs(steps) <= 1).mean() > 0.98
    reversals = (steps[:, 1:] * steps[:, :-1] < 0).mean()
    assert reversals > 0.02, "the last digit goes back and forth"
    assert (np.abs(steps) >= 3).any(), "doors open now and then"
    assert np.ptp(values.mean(axis=1)) > 3, "rooms differ"


def test_temperature_has_seasons_and_noise_of_hundredths() -> None:
    year = simulate("temperature", 365, 86_400_000_000).mean(axis=0)
    assert year[180:220].mean() - year[:20].mean() > 4
    fine = simulate("temperature_fine", 2000)
    wiggle = np.diff(fine, n=2, axis=1)
    sigma = np.median(np.abs(wiggle), axis=1) / 0.6745 / np.sqrt(6)
    assert sigma.min() > 0.015
    assert sigma.max() < 0.06


def test_weather_goes_on_smoothly_and_has_its_spread() -> None:
    sigma = np.full(COHORT, 2.0)
    walk = weather(np.random.default_rng(3), slabs(START, MINUTE, 40_000, 777), sigma, 2.0)
    values = np.concatenate(list(walk), axis=1)
    assert values.std() == pytest.approx(2.0, rel=0.1)
    jumps = np.abs(np.diff(values, axis=1)).max(axis=0)
    seams = jumps[776::777]
    assert seams.max() <= jumps.max()
    assert jumps.max() < 0.5


def test_pressure_humidity_and_battery_stay_in_their_ranges() -> None:
    pressure = simulate("pressure")
    assert pressure.min() > 950
    assert pressure.max() < 1070
    humidity = simulate("humidity")
    assert humidity.min() >= 0
    assert humidity.max() <= 100
    battery = simulate("battery", 3000, 3_600_000_000)
    assert battery.min() > 3.28
    assert battery.max() < 4.17
    rises = np.diff(battery, axis=1) > 0.5
    assert rises.any(), "charged anew"
    assert np.median(np.diff(battery, axis=1)) <= 0


def test_set_points_are_half_degrees_that_seldom_change() -> None:
    values = simulate("setpoint", 14_400)
    assert (values * 2 == np.round(values * 2)).all()
    changes = (np.diff(values, axis=1) != 0).sum() / COHORT / 10
    assert changes == pytest.approx(4, rel=0.2)


def test_counters_are_monotone_but_for_roll_over_and_reset() -> None:
    energy = simulate("energy")
    falls = np.diff(energy, axis=1) < 0
    assert falls.sum() <= COHORT
    assert energy.max() < 2**32
    pulses = simulate("pulses", 20_000)
    assert pulses.max() < 2**16
    assert (np.diff(pulses, axis=1) < 0).any()
    assert (np.diff(pulses, axis=1) == 0).mean() > 0.7, "nothing flows most of the time"


def test_states_motion_and_signal_have_their_levels() -> None:
    assert set(np.unique(simulate("state", 20_000))) == {0, 1, 2, 3}
    motion = simulate("motion", 20_000)
    assert motion.mean() == pytest.approx(120 / 1620, rel=0.15)
    rssi = simulate("rssi")
    assert rssi.min() >= -120
    assert rssi.max() <= -20
    vibration = simulate("vibration")
    assert (vibration > 0).all()
    assert len(np.unique(vibration)) > 10_000, "no grid at all"


def test_both_coordinates_belong_to_one_journey() -> None:
    time = list(slabs(START, MINUTE, 2000))
    latitude, longitude = (
        next(iter(PRESETS[name].walk(random_stream(5, "gps", 0), time)))
        for name in ("latitude", "longitude")
    )
    moves_north, moves_east = (np.diff(x, axis=1) != 0 for x in (latitude, longitude))
    assert (moves_north == moves_east).mean() > 0.99
    parked = ~moves_north & ~moves_east
    assert 0.55 < parked.mean() < 0.8
    metres = np.diff(latitude, axis=1) * 111_320
    assert np.abs(metres).max() < 25 * 60 + 30


def test_channels_may_have_other_names_than_their_preset() -> None:
    presets = channel_presets(["temperature", "outlet=temperature", "state"])
    assert list(presets) == ["temperature", "outlet", "state"]
    assert presets["outlet"] is PRESETS["temperature"]
    field = presets["outlet"].field("outlet")
    assert field.metadata[b"units"] == b"degC"
    assert field.type == pa.float64()


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (["temprature"], "unknown channel preset 'temprature'"),
        (["a=temperature", "a=humidity"], "'a' is taken"),
        (["time=temperature"], "'time' is taken"),
    ],
)
def test_wrong_channels_are_refused(channels: list[str], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        channel_presets(channels)
