"""How the channels of simulated devices behave over time.

A walk takes a random stream and the slabs of a fleet, and yields one array per slab, of shape
(`COHORT`, readings). What has to go on from one slab to the next (weather, counters, states)
lives in the walk's own variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation.discrete import Dwelling, counter, dwell_states
from pipeline.simulation.patterns import (
    DAY,
    YEAR,
    cycle,
    drift,
    noise,
    quantise,
    steps,
)
from pipeline.simulation.streams import COHORT, Slab
from pipeline.simulation.weather import fading, weather

__all__ = [
    "battery",
    "energy",
    "humidity",
    "position",
    "pressure",
    "pulses",
    "setpoint",
    "signal_strength",
    "states",
    "temperature",
    "vibration",
]

type Floats = NDArray[np.float32]

_HOUR: Final = 3600.0


def temperature(
    rng: np.random.Generator, slabs: Iterable[Slab], decimals: int
) -> Iterator[NDArray[np.float64]]:
    """Yield temperatures of room and outdoor thermometers in degC.

    The sum of these, rounded to `decimals`, where each device draws its own parameters:

    - a level, normal, 20 degC with a standard deviation of 2;
    - a daily cycle of 0.6 (heated room) to 4 degC (outdoors) up and down, warmest at 15:00 UTC
      with a standard deviation of one hour;
    - a yearly cycle twice as large, warmest on 19 July;
    - weather: AR(1) with a correlation time of 6 hours and a standard deviation of a quarter of
      the daily cycle, drawn every 10 minutes;
    - doors and heaters: three times a day a jump of -1.5 to +1 degC that fades with a time
      constant of 20 minutes;
    - sensor noise, normal and independent, with a standard deviation of 0.02 to 0.05 degC.
    """
    level = rng.normal(20.0, 2.0, COHORT).astype(np.float32)
    swing = rng.uniform(0.6, 4.0, COHORT)
    warmest = rng.normal(15 * _HOUR, _HOUR, COHORT)
    summer = np.full(COHORT, 199.5 * DAY)
    sigma = rng.uniform(0.02, 0.05, COHORT)

    def climate(seconds: NDArray[np.float64]) -> Floats:
        year = cycle(seconds, YEAR, 2.0 * swing, summer)
        return level[:, None] + cycle(seconds, DAY, swing, warmest) + year

    now, for_weather, for_doors = tee(slabs, 3)
    outside = weather(rng, for_weather, 0.25 * swing, 6.0, climate)
    doors = fading(rng, for_doors, 3.0, (-1.5, 1.0), 20.0)
    for slab, sky, door in zip(now, outside, doors, strict=True):
        values = noise(rng, sigma, len(slab))
        values += sky
        values += door
        yield quantise(values, decimals)


def pressure(
    rng: np.random.Generator, slabs: Iterable[Slab], decimals: int
) -> Iterator[NDArray[np.float64]]:
    """Yield air pressure in hPa: weather over two days, a twelve-hour tide, 0.01 to 0.02 of noise."""
    level = rng.normal(1008.0, 8.0, COHORT).astype(np.float32)
    tide, high = np.full(COHORT, 0.5), np.full(COHORT, 10 * _HOUR)
    sigma = rng.uniform(0.01, 0.02, COHORT)
    now, for_weather = tee(slabs)
    for slab, sky in zip(now, weather(rng, for_weather, np.full(COHORT, 6.0), 48.0), strict=True):
        values = noise(rng, sigma, len(slab))
        values += level[:, None] + cycle(slab.seconds, DAY / 2, tide, high) + sky
        yield quantise(values, decimals)


def humidity(
    rng: np.random.Generator, slabs: Iterable[Slab], decimals: int
) -> Iterator[NDArray[np.float64]]:
    """Yield relative humidity in %: a daily cycle lowest in the afternoon, weather, clipped to 0..100."""
    level = rng.uniform(35.0, 65.0, COHORT).astype(np.float32)
    swing = rng.uniform(2.0, 10.0, COHORT)
    dampest = rng.normal(4 * _HOUR, _HOUR, COHORT)
    sigma = rng.uniform(0.05, 0.15, COHORT)
    now, for_weather = tee(slabs)
    for slab, sky in zip(now, weather(rng, for_weather, 0.4 * swing, 8.0), strict=True):
        values = noise(rng, sigma, len(slab))
        values += level[:, None] + cycle(slab.seconds, DAY, swing, dampest) + sky
        yield quantise(np.clip(values, 0.0, 100.0), decimals)


def battery(
    rng: np.random.Generator, slabs: Iterable[Slab], decimals: int
) -> Iterator[NDArray[np.float64]]:
    """Yield battery voltages: 4.15 V falling to 3.30 V in 30 to 200 days, then charged anew."""
    charge = rng.uniform(0.2, 1.0, COHORT).astype(np.float32)
    per_day = -1.0 / rng.uniform(30.0, 200.0, COHORT)
    sigma = np.full(COHORT, 0.001)
    for slab in slabs:
        left = (charge[:, None] + drift(slab.elapsed, per_day)) % np.float32(1)
        yield quantise(np.float32(3.3) + np.float32(0.85) * left + noise(rng, sigma, len(slab)),
                       decimals)  # fmt: skip


def setpoint(
    rng: np.random.Generator, slabs: Iterable[Slab], decimals: int
) -> Iterator[NDArray[np.float64]]:
    """Yield thermostat set-points in degC: 16 to 23 in half degrees, changed four times a day."""
    level = rng.uniform(16.0, 23.0, COHORT).astype(np.float32)
    for slab in slabs:
        chance = min(4.0 * slab.step / DAY, 1.0)
        levels = steps(rng, level, len(slab), chance, 16.0, 23.0)
        level = levels[:, -1]
        yield quantise(np.rint(2 * levels) / np.float32(2), decimals)


def vibration(rng: np.random.Generator, slabs: Iterable[Slab]) -> Iterator[Floats]:
    """Yield vibration velocities in mm/s: log-normal float32 noise on no decimal grid at all."""
    level = rng.uniform(0.5, 4.0, COHORT).astype(np.float32)
    for slab in slabs:
        yield level[:, None] * np.exp(noise(rng, np.full(COHORT, 0.2), len(slab)))


def signal_strength(rng: np.random.Generator, slabs: Iterable[Slab]) -> Iterator[NDArray[np.int8]]:
    """Yield radio signal strengths in dBm: whole numbers around a level of -95 to -50."""
    level = rng.uniform(-95.0, -50.0, COHORT).astype(np.float32)
    now, for_fading = tee(slabs)
    for slab, slow in zip(now, weather(rng, for_fading, np.full(COHORT, 2.0), 0.5), strict=True):
        values = noise(rng, np.full(COHORT, 1.0), len(slab)) + slow + level[:, None]
        yield np.rint(np.clip(values, -120, -20)).astype(np.int8)


def energy(rng: np.random.Generator, slabs: Iterable[Slab]) -> Iterator[NDArray[np.uint32]]:
    """Yield meter readings in Wh: loads of 50 to 2,000 W that follow the day, rolling over at 2**32."""
    load = rng.uniform(50.0, 2000.0, COHORT)
    busiest = rng.normal(18 * _HOUR, 2 * _HOUR, COHORT)
    total = rng.integers(0, 2**32, COHORT)
    for slab in slabs:
        watts = load[:, None] + cycle(slab.seconds, DAY, 0.5 * load, busiest)
        totals = counter(rng.poisson(watts * slab.step / _HOUR), total, 2**32)
        total = totals[:, -1]
        yield totals.astype(np.uint32)


def pulses(rng: np.random.Generator, slabs: Iterable[Slab]) -> Iterator[NDArray[np.uint16]]:
    """Yield pulse counts of flow meters: nothing for hours, then 2 a second; 16 bits, reset monthly."""
    dwell = (4 * _HOUR, 0.5 * _HOUR)
    flowing = Dwelling.begin(rng, COHORT, dwell)
    total = rng.integers(0, 2**16, COHORT)
    for slab in slabs:
        running, flowing = dwell_states(rng, flowing, len(slab), slab.step, dwell)
        resets = rng.random(running.shape, dtype=np.float32) < slab.step / (30 * DAY)
        totals = counter(rng.poisson(2.0 * slab.step * running), total, 2**16, resets)
        total = totals[:, -1]
        yield totals.astype(np.uint16)


def states(
    rng: np.random.Generator,
    slabs: Iterable[Slab],
    dwell: tuple[float, ...],
    jumps: NDArray[np.floating[Any]] | None = None,
) -> Iterator[NDArray[np.int32]]:
    """Yield state numbers that last `dwell` seconds on average; see `dwell_states`."""
    now = Dwelling.begin(rng, COHORT, dwell)
    for slab in slabs:
        values, now = dwell_states(rng, now, len(slab), slab.step, dwell, jumps)
        yield values


def position(
    rng: np.random.Generator, slabs: Iterable[Slab], axis: int, decimals: int
) -> Iterator[NDArray[np.float64]]:
    """Yield one coordinate of vehicles in degrees: parked 40 minutes, then 20 minutes on the road.

    Both axes of one stream belong to the same journeys: speeds up to 25 m/s, a heading that
    turns slowly, two metres of noise while moving and none while parked.
    """
    dwell = (40 * 60.0, 20 * 60.0)
    trip = Dwelling.begin(rng, COHORT, dwell)
    place = np.stack([rng.uniform(35.0, 60.0, COHORT), rng.uniform(-10.0, 30.0, COHORT)])
    speed = rng.uniform(5.0, 25.0, (COHORT, 1))
    heading = rng.uniform(0.0, 2 * np.pi, COHORT)
    for slab in slabs:
        moving, trip = dwell_states(rng, trip, len(slab), slab.step, dwell)
        turns = rng.normal(0.0, 0.1, moving.shape) * moving
        course = heading[:, None] + np.cumsum(turns, axis=1)
        metres = speed * slab.step * moving * np.stack([np.cos(course), np.sin(course)])
        errors = rng.normal(0.0, 2.0, metres.shape) * moving
        path = place[:, :, None] + np.cumsum(metres, axis=2) / 111_320.0
        place, heading = path[:, :, -1], course[:, -1]
        yield quantise((path + errors / 111_320.0)[axis], decimals)
