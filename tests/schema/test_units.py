from __future__ import annotations

import sys

import pytest

from pipeline.errors import MissingDependencyError, SchemaError
from pipeline.schema import units
from pipeline.schema.affine import Affine
from pipeline.schema.units import affine_between


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("degF", "degC", Affine(5, -160, 9)),
        ("degC", "degF", Affine(9, 160, 5)),
        ("degC", "K", Affine(20, 5463, 20)),
        ("hPa", "Pa", Affine(100)),
        ("%", "1", Affine(1, 0, 100)),
        ("", "percent", Affine(100)),
        ("m s-1", "km h-1", Affine(18, 0, 5)),
        ("m/s", "km/hour", Affine(18, 0, 5)),
        ("ug m-3", "mg m-3", Affine(1, 0, 1000)),
        ("kWh", "J", Affine(3_600_000)),
    ],
)
def test_maps_are_exact_fractions(old: str, new: str, expected: Affine) -> None:
    pytest.importorskip("pint")
    assert affine_between(old, new) == expected


@pytest.mark.parametrize(("old", "new"), [("degC", "m"), ("nonsense", "m"), ("dBm", "W")])
def test_no_way_between_units(old: str, new: str) -> None:
    pytest.importorskip("pint")
    with pytest.raises(SchemaError, match="give the map yourself"):
        affine_between(old, new)


def test_without_pint_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pint", None)
    units._registry.cache_clear()
    with pytest.raises(MissingDependencyError, match="extra 'units'"):
        affine_between("m", "km")
    units._registry.cache_clear()
