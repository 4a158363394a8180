"""What values in one unit are in another, worked out once, when a schema changes.

The map is stored with the change: reading needs no units library, and an archive reads the same
whatever a later release of the library says.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from importlib import import_module
from typing import Any, Final

from pipeline.errors import MissingDependencyError, SchemaError
from pipeline.schema.affine import Affine

__all__ = ["affine_between"]

_INSTEAD: Final = "give the map yourself: ChangeUnits(channel, units, multiply=, add=, divide=)"
_POWER: Final = re.compile(r"(?<=[A-Za-z°µΩ])(-?\d+)")
_BETWEEN: Final = re.compile(r"(?<=[\w)])\s+(?=[A-Za-z(])")


def affine_between(old: str, new: str) -> Affine:
    """Return the map from values in one unit to values in another.

    Parameters
    ----------
    old, new
        Units as ``pint`` writes them (``"degF"``, ``"m/s"``, ``"hPa"``), or as CF does
        (``"m s-1"``); the empty text for none.

    Raises
    ------
    MissingDependencyError
        If ``pint`` is not installed.
    SchemaError
        If a unit is unknown, they measure different things, or the map is not affine (decibels).

    References
    ----------
    CF conventions 1.11, section 3.1 (units); https://pint.readthedocs.io.
    """
    registry = _registry()
    try:
        source, target = (registry.parse_units(_plain(units)) for units in (old, new))
        zero, one, two = (
            Fraction(registry.Quantity(Fraction(at), source).to(target).magnitude)
            for at in range(3)
        )
    except Exception as error:
        msg = f"no way from units {old!r} to {new!r} ({error}); {_INSTEAD}"
        raise SchemaError(msg) from error
    if two - one != one - zero:
        msg = f"from units {old!r} to {new!r} there is no affine map; {_INSTEAD}"
        raise SchemaError(msg)
    return Affine.of_fractions(one - zero, zero)


def _plain(units: str) -> str:
    """Return units with the powers and products of CF written as operators."""
    return _BETWEEN.sub(" * ", _POWER.sub(r"**(\1)", units.strip())) or "dimensionless"


@cache
def _registry() -> Any:
    try:
        pint = import_module("pint")
    except ImportError as error:
        msg = (
            "changing units by name needs pint: install iot-archive with the extra 'units', or "
            f"{_INSTEAD}"
        )
        raise MissingDependencyError(msg) from error
    # Fractions: floats gave 273.15 - 273.14999999999998 for what is exactly nothing.
    return pint.UnitRegistry(non_int_type=Fraction)
