"""Random processes that sensors see: correlated noise, things that switch, things that ring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["correlated_noise", "resonances", "switching"]


def correlated_noise(
    random: np.random.Generator, rows: int, memory: float, deviation: float
) -> NDArray[np.float64]:
    """Return noise that forgets exponentially (an Ornstein-Uhlenbeck process).

    Parameters
    ----------
    random
        Source of randomness.
    rows
        How many values.
    memory
        Rows after which the correlation has fallen to 1/e.
    deviation
        Standard deviation that it has in the long run.

    Returns
    -------
    ndarray of float64, shape (rows,)

    References
    ----------
    D. T. Gillespie, "Exact numerical simulation of the Ornstein-Uhlenbeck process and its
    integral", Physical Review E 54 (1996).
    """
    # Filtered with what came long before, so that it does not start at rest.
    before = min(rows, int(8 * memory) + 1) if memory * 8 < rows else rows
    spectrum = np.fft.rfft(random.normal(0, 1, rows + before))
    frequency = np.fft.rfftfreq(rows + before)
    keep = np.exp(-1 / memory)
    gain = np.sqrt(1 - keep**2) / np.abs(1 - keep * np.exp(-2j * np.pi * frequency))
    shaped: NDArray[np.float64] = np.fft.irfft(spectrum * gain, rows + before)[before:]
    return deviation * shaped


def switching(
    random: np.random.Generator, rows: int, every: float, lasting: float
) -> NDArray[np.float64]:
    """Return 1 while something is on and 0 while it is off, both for exponential times.

    Parameters
    ----------
    random
        Source of randomness.
    rows
        How many values.
    every
        Mean rows off.
    lasting
        Mean rows on.
    """
    pairs = int(2 * rows / (every + lasting)) + 64
    lengths = np.column_stack(
        (random.exponential(every, pairs) + 1, random.exponential(lasting, pairs) + 1)
    ).astype(np.int64)
    states = np.repeat(np.tile([0.0, 1.0], pairs), lengths.ravel())
    return np.resize(states, rows)


def resonances(
    random: np.random.Generator,
    rows: int,
    rate: float,
    peaks: Sequence[tuple[float, float, float]],
) -> NDArray[np.float64]:
    """Return noise that rings.

    Parameters
    ----------
    random
        Source of randomness.
    rows
        How many values.
    rate
        Rows per second, Hz.
    peaks
        Frequency and width in Hz, and standard deviation, of each resonance.
    """
    frequency = np.fft.rfftfreq(rows, 1 / rate)
    total = np.zeros(rows)
    for centre, width, deviation in peaks:
        gain = 1 / np.sqrt((centre**2 - frequency**2) ** 2 + (width * frequency) ** 2)
        ringing = np.fft.irfft(np.fft.rfft(random.normal(0, 1, rows)) * gain, rows)
        total += deviation * ringing / ringing.std()
    return total
