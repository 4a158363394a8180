"""Made-up sensors, seeded: what each kind of sensor sends, with its resolution and its defects."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.codec_columns import SYNTHETIC, Column
from tests.benchmarks.codec_columns_times import TIMES
from tests.benchmarks.codec_noise import correlated_noise, resonances, switching

__all__ = ["random_numbers", "synthetic_columns"]

type Numbers = np.random.Generator
type Made = NDArray[Any] | tuple[NDArray[Any], NDArray[np.bool_]]

_HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_METRES_PER_DEGREE: Final = 111_320.0


def synthetic_columns(rows: int) -> Iterator[Column]:
    """Yield one column of each kind; the same number of rows gives the same values.

    Parameters
    ----------
    rows
        Of each column.
    """
    for name, make in {**_SENSORS, **TIMES}.items():
        made = make(rows, random_numbers(name))
        values, valid = made if isinstance(made, tuple) else (made, None)
        yield Column(name, SYNTHETIC, values, valid)


def random_numbers(name: str) -> Numbers:
    """Return the generator of random numbers that belongs to a name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def _decimal(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Return what a device that prints so many decimals would have sent, as doubles."""
    rounded: NDArray[np.float64] = np.rint(values * 10**decimals) / 10**decimals
    return rounded


def _temperature(
    rows: int, random: Numbers, *, decimals: int, step: float, noise: float = 0.012
) -> NDArray[np.float64]:
    """Return degrees: a daily cycle, weather over hours, air moving about over minutes."""
    seconds = np.arange(rows) * step
    daily = 5.5 * np.sin(2 * np.pi * (seconds / _DAY - 0.3))
    weather = correlated_noise(random, rows, 9 * _HOUR / step, 2.8)
    air = correlated_noise(random, rows, 300 / step, 0.12)
    return _decimal(14 + daily + weather + air + random.normal(0, noise, rows), decimals)


def _with_missing_rows(rows: int, random: Numbers) -> Made:
    """Lose single readings, and all of some longer outages."""
    valid = random.random(rows) > 0.01
    for start in random.integers(0, rows, 6):
        valid[start : start + int(random.exponential(rows / 150)) + 1] = False
    return _temperature(rows, random, decimals=1, step=60), valid


def _with_nan(rows: int, random: Numbers) -> Made:
    """Fail a checksum now and then, and for a while when the cable is loose."""
    values = _temperature(rows, random, decimals=2, step=1)
    values[random.random(rows) < 0.005] = np.nan
    loose = int(random.integers(rows // 4, rows // 2))
    values[loose : loose + rows // 100] = np.nan
    return values


def _with_outliers(rows: int, random: Numbers) -> Made:
    """Show the power-on value of the chip, its error value, and spikes on the line."""
    values = _temperature(rows, random, decimals=2, step=1)
    values[random.random(rows) < 0.0005] = 85.0
    values[random.random(rows) < 0.0003] = -127.0
    spikes = np.flatnonzero(random.random(rows) < 0.0007)
    values[spikes] = _decimal(values[spikes] + random.normal(0, 25, len(spikes)), 2)
    return values


def _pressure(rows: int, random: Numbers) -> Made:
    """Return hPa of a barometer at 1 Hz, two decimals."""
    weather = correlated_noise(random, rows, 14 * _HOUR, 6.0)
    gusts = correlated_noise(random, rows, 40, 0.015)
    return _decimal(1011 + weather + gusts + random.normal(0, 0.013, rows), 2)


def _humidity(rows: int, random: Numbers) -> Made:
    """Return % every ten seconds, one decimal, saturated at 100 in humid nights."""
    daily = -14 * np.sin(2 * np.pi * (np.arange(rows) * 10 / _DAY - 0.3))
    weather = correlated_noise(random, rows, 8 * _HOUR / 10, 11.0)
    air = correlated_noise(random, rows, 18, 0.35)
    return np.minimum(_decimal(68 + daily + weather + air + random.normal(0, 0.06, rows), 1), 100.0)


def _counter(rows: int, random: Numbers) -> Made:
    """Return pulses of a flow meter since its last restart."""
    flow = 9 * np.clip(correlated_noise(random, rows, 900, 0.8) + 0.6, 0, None)
    total = np.cumsum(random.poisson(flow)).astype(np.int64)
    for restart in np.sort(random.integers(rows // 10, rows, 3)):
        total[restart:] -= total[restart]
    return total


def _energy(rows: int, random: Numbers) -> Made:
    """Return kWh of a household's meter every minute, three decimals."""
    base = 140 + 60 * (switching(random, rows, 22, 9) > 0)
    appliances = 2100 * switching(random, rows, 300, 25)
    watts = (base + appliances) * (1 + correlated_noise(random, rows, 30, 0.06))
    return _decimal(4_218.337 + np.cumsum(np.clip(watts, 20, None)) / 60 / 1000, 3)


def _battery(rows: int, random: Numbers) -> Made:
    """Return volts of a lithium cell every ten minutes: slow decay, warm days, radio bursts."""
    used = np.arange(rows) / max(rows, 1) * 0.8
    rest = 4.12 - 0.45 * used - 0.22 * used**6
    daily = 0.008 * np.sin(2 * np.pi * np.arange(rows) * 600 / _DAY)
    radio = 0.035 * (random.random(rows) < 0.04)
    return _decimal(rest + daily - radio + random.normal(0, 0.0015, rows), 3)


def _position(rows: int, random: Numbers, *, axis: int) -> Made:
    """Return degrees of a car at 1 Hz, seven decimals: streets, turns, stops, wandering error."""
    # Both axes belong to the same drive.
    drive = random_numbers("drive")
    moving = switching(drive, rows, 240, 60) == 0
    speed = np.where(moving, np.clip(12 + correlated_noise(drive, rows, 25, 4.0), 0, None), 0.0)
    street = np.cumsum((drive.random(rows) < 0.012) * drive.choice([-1.0, 1.0], rows))
    heading = street * np.pi / 2 + 0.3 + correlated_noise(drive, rows, 40, 0.08)
    metres = np.cumsum(speed * (np.sin(heading) if axis else np.cos(heading)))
    error = correlated_noise(random, rows, 180, 1.2) + random.normal(0, 0.02, rows) * moving
    start, shrink = ((8.5417, np.cos(np.radians(47.37))), (47.3769, 1.0))[1 - axis]
    return _decimal(start + (metres + error) / (_METRES_PER_DEGREE * shrink), 7)


def _status(rows: int, random: Numbers) -> Made:
    """Return a machine's state: long runs, and bursts of changes when it is started."""
    codes = np.zeros(rows, np.int8)
    at, state = 0, 0
    while at < rows:
        if random.random() < 0.2:
            length = int(random.integers(20, 120))
            codes[at : at + length] = random.choice([1, 2, 3, 5, 17], min(length, rows - at))
        else:
            state = int(random.choice([0, 4, 4, 4, 6, 32]))
            length = int(random.exponential(900)) + 1
            codes[at : at + length] = state
        at += length
    return codes


def _toggles(rows: int, random: Numbers, *, every: float, lasting: float) -> Made:
    return switching(random, rows, every, lasting) > 0


def _vibration(rows: int, random: Numbers) -> Made:
    """Return g at 10 kHz as float32: the counts of a 16 bit converter times its scale."""
    shaft = 2 * np.pi * 29.3 * np.arange(rows) / 10_000
    turning = sum(
        level * np.sin(order * shaft) for order, level in ((1, 0.35), (2, 0.12), (5, 0.05))
    )
    ringing = resonances(random, rows, 10_000, ((780, 25, 0.30), (2340, 60, 0.18)))
    counts = np.rint((turning + ringing + random.normal(0, 0.04, rows)) / 16 * 32768)
    return np.clip(counts, -32768, 32767).astype(np.float32) * np.float32(16 / 32768 * 1.0037)


def _noise(rows: int, random: Numbers) -> Made:
    return random.normal(0, 1, rows)


_SENSORS: Final[Mapping[str, Callable[[int, Numbers], Made]]] = {
    "temperature 0.1 at 1 Hz": partial(_temperature, decimals=1, step=1),
    "temperature 0.01 at 1 Hz": partial(_temperature, decimals=2, step=1),
    "temperature 0.1 each min": partial(_temperature, decimals=1, step=60),
    "temperature 0.01 each min": partial(_temperature, decimals=2, step=60),
    "temperature 0.1 noisy": partial(_temperature, decimals=1, step=1, noise=0.18),
    "temperature 0.01 noisy": partial(_temperature, decimals=2, step=1, noise=0.18),
    "temperature missing rows": _with_missing_rows,
    "temperature NaN": _with_nan,
    "temperature outliers": _with_outliers,
    "pressure": _pressure,
    "relative humidity": _humidity,
    "counter": _counter,
    "energy meter": _energy,
    "battery voltage": _battery,
    "GPS latitude": partial(_position, axis=0),
    "GPS longitude": partial(_position, axis=1),
    "status codes": _status,
    "bool rare": partial(_toggles, every=9000, lasting=12),
    "bool toggling": partial(_toggles, every=7, lasting=4),
    "vibration float32": _vibration,
    "noise float64": _noise,
}
