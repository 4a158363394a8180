"""Codes that travel to workers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import pipeline
from pipeline.archive.appending import plan_append
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.jobs.known_codes import KnownCodes
from tests.support import minutes

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("mode", "category")])


@pytest.fixture
def known(tmp_path: Path) -> KnownCodes:
    """Return codes of two devices that a fleet has, and of one that it is to get."""
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("pumps", SCHEMA)
    fleet.append(
        {"device": ["a", "b"], "time": minutes(0, 1), "t": [1.0, 2.0], "mode": ["on", "off"]}
    )
    view = FleetStore(Repository.open(Location.parse(archive.url)), "pumps").view()
    plan = plan_append(view, ["c", "a"], {"mode": ["idle", "on"]})
    found = KnownCodes.of(plan, ["c", "a"], {"mode": ["idle", "on"]})
    travelled: KnownCodes = pickle.loads(pickle.dumps(found))
    assert travelled == found
    return travelled


def test_codes_come_in_the_order_asked_for(known: KnownCodes) -> None:
    devices, texts = (
        known.device_codes(["a", "c", "a"]),
        known.category_codes({"mode": ["on", "idle"]}),
    )
    assert devices is not None
    assert texts is not None
    assert devices.tolist() == [0, 2, 0]
    assert {name: codes.tolist() for name, codes in texts.items()} == {"mode": [0, 2]}


def test_there_are_none_if_one_is_not_known(known: KnownCodes) -> None:
    assert known.device_codes(["a", "b"]) is None  # nobody asked for b's
    assert known.category_codes({"mode": ["on", "off"]}) is None


def test_nothing_has_no_codes(known: KnownCodes) -> None:
    devices = known.device_codes([])
    assert devices is not None
    assert len(devices) == 0
    assert known.category_codes({}) == {}
