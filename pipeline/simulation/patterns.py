"""Value patterns that sensors show: cycles, weather, steps, noise, and how readings are rounded.

Every function works on a whole group of devices at once, in arrays of shape (devices, readings),
and draws only from the generator it is given. Smooth parts are computed in ``float32``, which is
far finer than any resolution they are rounded to; `quantise` returns ``float64``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DAY",
    "YEAR",
    "autoregressive",
    "cycle",
    "disturbances",
    "drift",
    "interpolate",
    "noise",
    "quantise",
    "steps",
]

type Floats = NDArray[np.float32]

DAY: Final = 86_400.0
"""Seconds of a day, a period for `cycle`."""

YEAR: Final = 365.2425 * DAY
"""Seconds of a mean year, a period for `cycle`."""


def cycle(
    seconds: NDArray[np.float64],
    period: float,
    amplitude: NDArray[np.floating[Any]],
    peak: NDArray[np.floating[Any]],
) -> Floats:
    """Return one cosine per device: a daily or yearly cycle.

    Parameters
    ----------
    seconds
        Shape (readings,): seconds since 1970-01-01 UTC.
    period
        Length of the cycle in seconds, such as `DAY` or `YEAR`.
    amplitude
        Shape (devices,): half the distance from the lowest to the highest value.
    peak
        Shape (devices,): seconds after the start of a period at which the value is highest.

    Returns
    -------
    ndarray
        ``float32``, shape (devices, readings). The angle is split into a part of the time and
        a part of the device, so that only (devices + readings) cosines are computed.
    """
    turn = 2 * np.pi / period
    across = np.asarray(amplitude * np.cos(turn * peak), np.float32)
    along = np.asarray(amplitude * np.sin(turn * peak), np.float32)
    values = across[:, None] * np.cos(turn * seconds).astype(np.float32)
    values += along[:, None] * np.sin(turn * seconds).astype(np.float32)
    return values


def drift(elapsed: NDArray[np.float64], per_day: NDArray[np.floating[Any]]) -> Floats:
    """Return a straight line through zero for each device: an ageing sensor.

    Parameters
    ----------
    elapsed
        Shape (readings,): seconds since the fleet started.
    per_day
        Shape (devices,): change per day.
    """
    slope = np.asarray(per_day, np.float32)[:, None]
    return slope * (elapsed / DAY).astype(np.float32)


def autoregressive(innovations: Floats, decay: float, last: Floats) -> Floats:
    """Return the AR(1) series ``y[k] = decay * y[k - 1] + innovations[k]``.

    Parameters
    ----------
    innovations
        ``float32``, shape (devices, knots).
    decay
        How much of a value is left one knot later, in [0, 1).
    last
        ``float32``, shape (devices,): the value before the first knot.

    Returns
    -------
    ndarray
        ``float32``, shape (devices, knots). Each pass adds the sum of twice as many earlier
        innovations, so there are about log2(knots) passes and no loop over time.
    """
    values = innovations.copy()
    if values.shape[1]:
        values[:, 0] += np.float32(decay) * last
    reach = 1
    while reach < values.shape[1] and decay**reach > 1e-9:
        values[:, reach:] += np.float32(decay**reach) * values[:, :-reach].copy()
        reach *= 2
    return values


def interpolate(knots: Floats, position: NDArray[np.float64]) -> Floats:
    """Return each device's values on straight lines between its knots.

    Parameters
    ----------
    knots
        ``float32``, shape (devices, knots).
    position
        Shape (readings,): where each reading lies, in knots, at least 0 and less than the
        number of knots less one.
    """
    left = position.astype(np.int64)
    rise = np.diff(knots, axis=1)
    values = rise[:, left]
    values *= (position - left).astype(np.float32)
    values += knots[:, left]
    return values


def noise(rng: np.random.Generator, sigma: NDArray[np.floating[Any]], readings: int) -> Floats:
    """Return measurement noise: independent and normal, with one `sigma` per device."""
    values = rng.standard_normal((len(sigma), readings), dtype=np.float32)
    values *= np.asarray(sigma, np.float32)[:, None]
    return values


def steps(
    rng: np.random.Generator, last: Floats, readings: int, chance: float, low: float, high: float
) -> Floats:
    """Return levels that stay until they are set anew: set-points.

    Parameters
    ----------
    rng
        Where chance comes from.
    last
        ``float32``, shape (devices,): the levels before the first reading.
    readings
        Number of readings.
    chance
        Probability that a reading starts a new level.
    low, high
        New levels are uniform in ``[low, high)``.

    Returns
    -------
    ndarray
        ``float32``, shape (devices, readings).
    """
    devices = len(last)
    changed = rng.random((devices, readings), dtype=np.float32) < chance
    levels = np.concatenate([last, rng.uniform(low, high, changed.sum()).astype(np.float32)])
    number = np.where(changed, 0, np.arange(devices)[:, None])
    number[changed] = devices + np.arange(len(levels) - devices)
    since = np.maximum.accumulate(np.where(changed, np.arange(readings), -1), axis=1)
    since = np.maximum(since, 0)
    return np.asarray(levels[np.take_along_axis(number, since, axis=1)])


def disturbances(
    rng: np.random.Generator,
    last: Floats,
    readings: int,
    rate: float,
    sizes: tuple[float, float],
    decay: float,
) -> Floats:
    """Return sudden changes that fade away: a door opened, a heater switched on.

    Parameters
    ----------
    rng
        Where chance comes from.
    last
        ``float32``, shape (devices,): what was left at the reading before the first.
    readings
        Number of readings.
    rate
        Disturbances per reading, on average.
    sizes
        The change at the start is uniform between these.
    decay
        What is left of a disturbance one reading later, in [0, 1).

    Returns
    -------
    ndarray
        ``float32``, shape (devices, readings). A disturbance is cut where less than a
        thousandth of it is left.
    """
    devices = len(last)
    reach = min(int(np.log(1e-3) / np.log(decay)) + 1 if decay > 0 else 1, readings)
    fading = decay ** np.arange(reach)
    count = rng.poisson(rate * devices * readings)
    device, reading = rng.integers(0, devices, count), rng.integers(0, readings, count)
    width = readings + reach  # room for what reaches past the last reading, cut off below
    cells = (device * width + reading)[:, None] + np.arange(reach)
    added = rng.uniform(*sizes, count)[:, None] * fading
    values = np.bincount(cells.ravel(), added.ravel(), devices * width).astype(np.float32)
    values = values.reshape(devices, width)[:, :readings]
    values[:, :reach] += last[:, None] * (decay * fading).astype(np.float32)
    return values


def quantise(values: NDArray[np.floating[Any]], decimals: int) -> NDArray[np.float64]:
    """Round to what a sensor with this resolution delivers.

    Returns
    -------
    ndarray
        ``float64``, same shape: exactly the double next to the decimal number, because a whole
        number is divided by a power of ten (multiplying by 0.1 would miss it). Zero is +0.0.
    """
    scale = 10.0**decimals
    whole = values * values.dtype.type(scale)
    np.rint(whole, out=whole)
    whole += values.dtype.type(0)  # turns -0.0 into 0.0, which is what an integer divided gives
    return np.divide(whole, scale, dtype=np.float64)
