"""What sensors feel for hours: weather that wanders slowly, and disturbances that fade away.

Both go on from one slab of a fleet to the next without a seam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.simulation.patterns import DAY, autoregressive, disturbances, interpolate
from pipeline.simulation.streams import COHORT, Slab

__all__ = ["fading", "weather"]

type Floats = NDArray[np.float32]

_HOUR: Final = 3600.0
_KNOT: Final = 600.0  # weather is drawn every ten minutes and joined by straight lines


def weather(
    rng: np.random.Generator,
    slabs: Iterable[Slab],
    sigma: NDArray[np.float64],
    hours: float,
    trend: Callable[[NDArray[np.float64]], Floats] | None = None,
) -> Iterator[Floats]:
    """Yield slow AR(1) variation, around a trend if one is given.

    Parameters
    ----------
    rng
        Where chance comes from.
    slabs
        When.
    sigma
        Shape (devices,): standard deviations.
    hours
        Correlation time.
    trend
        From seconds since 1970, shape (knots,), to values of shape (devices, knots). It is
        asked only every ten minutes and joined by straight lines, which is faster and puts a
        daily cycle of 4 degC off by 0.001 at most.
    """
    scale = sigma.astype(np.float32)[:, None]
    knots = scale * rng.standard_normal((COHORT, 1), dtype=np.float32)
    first = 0
    for slab in slabs:
        spacing = max(_KNOT, slab.step)
        where = slab.elapsed / spacing
        low, high = int(where[0]), int(where[-1]) + 1
        decay = float(np.exp(-spacing / (hours * _HOUR)))
        fresh = rng.standard_normal((COHORT, high - first - knots.shape[1] + 1), dtype=np.float32)
        fresh *= scale * np.float32(np.sqrt(1 - decay**2))
        later = autoregressive(fresh, decay, knots[:, -1])
        knots, first = np.concatenate([knots, later], axis=1)[:, low - first :], low
        around = knots
        if trend is not None:
            around = knots + trend(
                slab.start / 1e6 + spacing * np.arange(low, high + 1, dtype=np.float64)
            )
        yield interpolate(around, where - low)


def fading(
    rng: np.random.Generator,
    slabs: Iterable[Slab],
    per_day: float,
    sizes: tuple[float, float],
    minutes: float,
) -> Iterator[Floats]:
    """Yield `disturbances`, `per_day` of them, that fade with a time constant of `minutes`."""
    left = np.zeros(COHORT, np.float32)
    for slab in slabs:
        decay = float(np.exp(-slab.step / (60 * minutes)))
        values = disturbances(rng, left, len(slab), per_day * slab.step / DAY, sizes, decay)
        left = values[:, -1]
        yield values
