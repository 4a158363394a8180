"""The trucks of the TSBS ``iot`` use case: what they measure and how they are tagged.

References
----------
Time Series Benchmark Suite, https://github.com/timescale/tsbs, ``pkg/data/usecases/iot``:
``truck.go``, ``readings.go``, ``diagnostics.go`` (choices, steps, bounds, starts, decimals);
``pkg/data/usecases/common/distribution.go`` (what a clamped random walk is).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.simulation.patterns import steps
from pipeline.simulation.streams import Slab, random_stream
from pipeline.simulation.tsbs_disorder import ZERO_TAG

__all__ = ["DIAGNOSTICS", "READINGS", "TruckField", "truck_tags", "walk_trucks"]

_LOAD_CHANGES: Final = 0.05


@dataclass(frozen=True, slots=True)
class TruckField:
    """One field of a measurement: a clamped random walk.

    Parameters
    ----------
    name, units
        What the table says.
    start
        First values are uniform between these.
    step
        Steps are uniform between these; None for normal steps of mean 0 and deviation 1.
    bounds
        The lowest and highest value; a step beyond ends there.
    decimals
        Digits after the decimal point that are kept; what follows is cut off.
    then
        ``"refills"`` jumps to the highest value when the lowest is reached; ``"stays"`` is no
        walk: it keeps its value until it takes a new one between the bounds.
    """

    name: str
    units: str
    start: tuple[float, float]
    step: tuple[float, float] | None
    bounds: tuple[float, float]
    decimals: int = 0
    then: str = "walks"

    def field(self) -> pa.Field:
        """Return the Arrow field; a status is an integer, everything else a double."""
        kind = pa.int64() if self.name == "status" else pa.float64()
        return pa.field(self.name, kind, metadata={"units": self.units})


READINGS: Final = (
    TruckField("latitude", "degrees_north", (0, 90), (-0.005, 0.005), (-90, 90), 5),
    TruckField("longitude", "degrees_east", (0, 180), (-0.005, 0.005), (-180, 180), 5),
    TruckField("elevation", "m", (0, 500), (-10, 10), (0, 5000)),
    TruckField("velocity", "km/h", (0, 0), (-10, 10), (0, 100)),
    TruckField("heading", "degree", (0, 360), (-5, 5), (0, 360)),
    TruckField("grade", "%", (0, 0), (-5, 5), (0, 100)),
    TruckField("fuel_consumption", "L/h", (25, 25), (-5, 5), (0, 50), 1),
)
"""Fields of the ``readings`` measurement."""

DIAGNOSTICS: Final = (
    TruckField("fuel_state", "1", (1, 1), (-0.001, 0), (0, 1), 1, "refills"),
    TruckField("current_load", "kg", (0, 0), (0, 0), (0, 5000), 0, "stays"),
    TruckField("status", "1", (0, 0), None, (0, 5)),
)
"""Fields of the ``diagnostics`` measurement."""

_MODELS: Final = (
    {"model": "F-150", "load_capacity": "2000", "fuel_capacity": "200",
     "nominal_fuel_consumption": "15"},
    {"model": "G-2000", "load_capacity": "5000", "fuel_capacity": "300",
     "nominal_fuel_consumption": "19"},
    {"model": "H-2", "load_capacity": "1500", "fuel_capacity": "150",
     "nominal_fuel_consumption": "12"},
)  # fmt: skip
_CHOICES: Final = {
    "fleet": ("East", "West", "North", "South"),
    "driver": ("Derek", "Rodney", "Albert", "Andy", "Seth", "Trish"),
    "device_version": ("v1.0", "v1.5", "v2.0", "v2.3"),
}


def truck_tags(trucks: int, seed: int, incomplete: bool) -> dict[str, dict[str, str]]:
    """Return the tags of every truck; if `incomplete`, one truck in a hundred lacks one of them."""
    picks = {
        name: random_stream(seed, f"tag {name}").integers(0, len(texts), trucks).tolist()
        for name, texts in _CHOICES.items()
    }
    models = random_stream(seed, "tag model").integers(0, len(_MODELS), trucks).tolist()
    tags = {}
    for number in range(trucks):
        chosen = {name: _CHOICES[name][pick[number]] for name, pick in picks.items()}
        name = f"truck_{number}"
        tags[name] = {"name": name, **chosen, **_MODELS[models[number]]}
    if incomplete:
        rng = random_stream(seed, "missing tags")
        for truck, luck in zip(tags.values(), rng.random((trucks, 2)).tolist(), strict=True):
            if luck[0] < ZERO_TAG:
                del truck[list(truck)[int(luck[1] * len(truck))]]
    return tags


def walk_trucks(
    rng: np.random.Generator, slabs: Iterable[Slab], fields: Sequence[TruckField], trucks: int
) -> Iterator[list[NDArray[np.float64]]]:
    """Yield for each slab one array per field, shape (readings, trucks), cut to its decimals."""
    low, high = (np.array([field.bounds[i] for field in fields])[:, None] for i in (0, 1))
    full = np.where([[field.then == "refills"] for field in fields], high, low)
    begin = np.array([field.start for field in fields], np.float64)
    state = rng.uniform(begin[:, :1], begin[:, 1:], (len(fields), trucks))
    load = np.zeros(trucks, np.float32)
    for slab in slabs:
        values = np.empty((len(slab), len(fields), trucks))
        for now, step in zip(values, _steps(rng, fields, len(slab), trucks), strict=True):
            now[:] = state
            np.clip(state + step, low, high, out=state)
            state = np.where(state == low, full, state)
        later = steps(rng, load, len(slab), _LOAD_CHANGES, 0.0, 5000.0)
        loads = np.column_stack([load, later[:, :-1]])
        load = later[:, -1]
        yield [
            _cut(loads.T if field.then == "stays" else values[:, i], field.decimals)
            for i, field in enumerate(fields)
        ]


def _steps(
    rng: np.random.Generator, fields: Sequence[TruckField], readings: int, trucks: int
) -> NDArray[np.float64]:
    drawn = np.empty((readings, len(fields), trucks))
    for i, field in enumerate(fields):
        shape = (readings, trucks)
        drawn[:, i] = (
            rng.normal(size=shape) if field.step is None else rng.uniform(*field.step, shape)
        )
    return drawn


def _cut(values: NDArray[np.floating], decimals: int) -> NDArray[np.float64]:
    scale = 10.0**decimals
    return np.asarray((np.trunc(values * scale) + 0.0) / scale, np.float64)  # + 0.0: no -0.0
