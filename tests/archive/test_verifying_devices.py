"""The ids, tags, lookup and reserved blocks of devices are verified, and the lookup is mended."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import pipeline
from pipeline.archive.chunk_io import chunk_key, delete_many, put_many
from pipeline.archive.device_lookup import add_codes
from pipeline.archive.fleet_state import FleetState
from tests.support import minutes

SCHEMA = pipeline.Schema([pipeline.Channel("value", "float64")])


def new_fleet(by: str | None = None) -> pipeline.Archive:
    archive = pipeline.Archive.create("memory://")
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning(by=by, devices_per_block=2))
    for step, device in enumerate(["a", "b", "c", "d", "e"]):
        rows = {"device": [device], "time": minutes(step), "value": [1.0]}
        fleet.append(rows, tags={device: {"site": "north" if step % 2 else "south"}})
    assert archive.verify().is_clean
    return archive


def kinds(archive: pipeline.Archive) -> set[str]:
    return {kind for found in archive.verify().fleets.values() for kind in found.counts}


def change_state(archive: pipeline.Archive, **changes: int) -> None:
    layout = archive["fleet"]._view().meta.layout
    archive._repository.commit(
        lambda store: FleetState.load(store, layout).moved(**changes).save(store, layout), "damage"
    )


@pytest.mark.parametrize("by", [None, "site"])
def test_a_damaged_lookup_is_found_and_made_anew(by: str | None) -> None:
    archive = new_fleet(by)
    table = archive["fleet"]._view().meta.layout.device_lookup
    damaged = {chunk_key(table.path, (0, 0, 0)): b"not a chunk"}
    archive._repository.commit(partial(put_many, items=damaged), "damage")
    assert kinds(archive) == {"devices"}
    assert archive.repair(dry_run=True)["fleet"].tables == 1
    assert kinds(archive) == {"devices"}
    assert archive.repair()["fleet"].tables == 1
    assert archive.verify().is_clean
    assert archive["fleet"].read("d").read_all().num_rows == 1
    assert archive.repair()["fleet"].is_clean


def test_a_lookup_that_misleads_is_made_anew() -> None:
    archive = new_fleet()
    layout = archive["fleet"]._view().meta.layout

    def mislead(store: object) -> None:
        delete_many(store, [chunk_key(layout.device_lookup.path, (0, 0, 0))])  # type: ignore[arg-type]
        codes = np.array([1, 0, 2, 3, 4])
        add_codes(store, layout.device_lookup, 0, list("abcde"), codes)  # type: ignore[arg-type]

    archive._repository.commit(mislead, "damage")
    [problem] = archive.verify().fleets["fleet"].problems
    assert "leads 2 of 5 devices" in problem.message
    assert archive.repair()["fleet"].tables == 1
    assert archive.verify().is_clean


def test_counted_devices_are_compared_with_the_registered_ones() -> None:
    archive = new_fleet()
    change_state(archive, devices=1, indexed=1)
    assert "counter" in kinds(archive)
    archive = new_fleet()
    change_state(archive, devices=-1, indexed=-1)
    assert "counter" in kinds(archive)


@pytest.mark.parametrize("what", ["device_ids", "device_blocks"])
def test_unreadable_ids_and_reserved_blocks_are_told(what: str) -> None:
    archive = new_fleet("site")
    layout = archive["fleet"]._view().meta.layout
    place = (0,) if what == "device_ids" else (0, 0)
    damaged = {chunk_key(getattr(layout, what).path, place): b"nothing"}
    archive._repository.commit(partial(put_many, items=damaged), "damage")
    assert "corrupt" in kinds(archive)
