"""The channels a simulated device may have, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.simulation import walks
from pipeline.simulation.streams import Slab

__all__ = ["PRESETS", "Preset", "channel_presets"]

type Walk = Callable[[np.random.Generator, Iterable[Slab]], Iterator[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Preset:
    """A kind of channel.

    Parameters
    ----------
    walk
        Yields an array of shape (cohort, readings) per slab of time.
    type
        Arrow type of the column.
    units, description
        What the column's metadata says.
    decimals
        Digits after the decimal point that the sensor delivers; None if it is no decimal.
    categories
        The texts that state numbers stand for.
    stream
        Presets of the same stream are parts of one simulation; empty for the channel's name.
    """

    walk: Walk
    type: pa.DataType
    units: str
    description: str
    decimals: int | None = None
    categories: tuple[str, ...] = ()
    stream: str = ""

    def field(self, name: str) -> pa.Field:
        """Return the Arrow field of a channel called `name`."""
        metadata = {"units": self.units, "description": self.description}
        return pa.field(name, self.type, metadata={k: v for k, v in metadata.items() if v})


def _decimal(
    walk: Callable[..., Iterator[NDArray[Any]]], units: str, description: str, decimals: int
) -> Preset:
    bound = partial(walk, decimals=decimals)
    return Preset(bound, pa.float64(), units, description, decimals)


def _position(axis: int, units: str, description: str) -> Preset:
    bound = partial(walks.position, axis=axis, decimals=5)
    return Preset(bound, pa.float64(), units, description, 5, stream="gps")


_MACHINE: Final = ("off", "standby", "running", "fault")
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "temperature": _decimal(walks.temperature, "degC", "air temperature", 1),
        "temperature_fine": _decimal(walks.temperature, "degC", "air temperature", 2),
        "pressure": _decimal(walks.pressure, "hPa", "air pressure", 2),
        "humidity": _decimal(walks.humidity, "%", "relative humidity", 1),
        "battery": _decimal(walks.battery, "V", "battery voltage", 3),
        "setpoint": _decimal(walks.setpoint, "degC", "thermostat set-point", 1),
        "latitude": _position(0, "degrees_north", "latitude, WGS 84"),
        "longitude": _position(1, "degrees_east", "longitude, WGS 84"),
        "energy": Preset(walks.energy, pa.uint32(), "W h", "energy meter, rolls over at 2**32"),
        "pulses": Preset(walks.pulses, pa.uint16(), "1", "pulse count, rolls over at 2**16"),
        "rssi": Preset(walks.signal_strength, pa.int8(), "dBm", "radio signal strength"),
        "vibration": Preset(walks.vibration, pa.float32(), "mm/s", "vibration velocity, RMS"),
        "state": Preset(
            partial(walks.states, dwell=(14_400.0, 3600.0, 1800.0, 600.0)),
            _TEXT, "", "what the machine does", categories=_MACHINE,
        ),
        "motion": Preset(
            partial(walks.states, dwell=(1500.0, 120.0)), pa.bool_(), "", "somebody moves"
        ),
    }
)  # fmt: skip
"""Every preset by name."""


def channel_presets(channels: Iterable[str]) -> dict[str, Preset]:
    """Return the presets of channels given as ``"preset"`` or ``"name=preset"``.

    Raises
    ------
    InvalidInputError
        If a preset is unknown, or a name is used twice or reserved.
    """
    found: dict[str, Preset] = {}
    for channel in channels:
        name, _, kind = channel.rpartition("=")
        name = name or kind
        if kind not in PRESETS:
            msg = f"unknown channel preset {kind!r}; use one of {', '.join(PRESETS)}"
            raise InvalidInputError(msg)
        if name in found or name in ("device", "time"):
            msg = f"channel name {name!r} is taken; write 'other_name={kind}'"
            raise InvalidInputError(msg)
        found[name] = PRESETS[kind]
    return found
