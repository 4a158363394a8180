"""Devices of a fleet: read as far as they are asked for, registered by few chunks, never twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.abc.store import Store

import pipeline
from pipeline.analytics.latest import latest
from pipeline.archive import device_changes
from pipeline.archive.arrow_rows import read_arrow
from pipeline.archive.device_changes import plan_devices
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.requests import selection_of
from pipeline.archive.transactions import Repository
from pipeline.errors import InvalidInputError, NotFoundError, StorageError
from tests.support import CountingStore, as_any, memory_archive, minutes, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])
MANY = 9000


def numbered(*numbers: int) -> dict[str, dict[str, str]]:
    return {f"d{at}": {"site": f"s{at % 5}", "model": f"m{at % 3}"} for at in numbers}


def repository_of(archive: pipeline.Archive) -> Repository:
    return Repository.open(Location.parse(archive.url))


def counted(archive: pipeline.Archive) -> tuple[FleetView, CountingStore]:
    """Return a view that has read nothing of its devices, and what counts the reads."""
    snapshot = repository_of(archive).snapshot()
    store = CountingStore(snapshot.store)
    view = FleetView.load(store, snapshot.id, "fleet")
    assert not [key for key in store.reads if "/devices/" in key]
    return view, store


def device_reads(store: CountingStore) -> list[str]:
    return sorted(key.removeprefix("fleet/devices/") for key in store.reads if "/devices/" in key)


@pytest.fixture(scope="module")
def many() -> pipeline.Archive:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning(landing_rows=0))
    fleet.set_tags(numbered(*range(MANY)))
    fleet.append({"device": ["d5000", "d1"], "time": minutes(0, 1), "t": [1.0, 2.0]})
    return archive


def test_a_question_about_one_device_reads_one_chunk_of_the_devices(
    many: pipeline.Archive,
) -> None:
    view, store = counted(many)
    rows = rows_of(read_arrow(view, selection_of(view.registry, "d5000", None), ["t"]))
    assert rows["device"].tolist() == ["d5000"]
    assert [key.rpartition("/c/")[0] for key in device_reads(store)] == ["lookup"]
    store.forget()
    newest = latest(view, view.registry.codes(["d1"]))
    assert newest["device"].values.tolist() == ["d1"]
    assert len(device_reads(store)) <= 1


def test_ids_and_tags_of_some_codes_read_their_chunks_only(many: pipeline.Archive) -> None:
    view, store = counted(many)
    assert view.registry.ids_of(np.array([8999, 8500])).tolist() == ["d8999", "d8500"]
    assert view.registry.tags_of(["site"], np.array([8999]))["site"].tolist() == ["s4"]
    assert device_reads(store) == ["id/c/2", "tag_0/c/2", "zarr.json"]
    assert len(view.registry) == MANY
    assert view.registry.ids[:2] == ("d0", "d1")
    assert view.registry.tags["model"][4] == view.registry.tag("model")[4] == "m1"
    assert view.registry.code("d77") == 77
    with pytest.raises(NotFoundError, match="'d9999' among the fleet's 9000 devices"):
        view.registry.codes(["d1", "d9999"])


def test_registering_a_device_touches_few_chunks() -> None:
    archive = memory_archive()
    archive.create_fleet("fleet", SCHEMA).set_tags(numbered(*range(MANY)))
    repository, written = repository_of(archive), list[str]()

    class Noting(CountingStore):
        async def set(self, key: str, value: Any) -> None:
            written.append(key)
            await super().set(key, value)

    registry = FleetStore(repository, "fleet").view().registry
    changes = plan_devices(registry, [], numbered(MANY))

    def change(store: Store) -> None:
        changes.save(Noting(store))

    repository.commit(change, "register")
    assert len(written) <= 6
    assert {key.split("/")[2] for key in written} == {"id", "tag_0", "tag_1", "lookup"}


def test_devices_are_told_apart_however_they_are_registered() -> None:
    fleet = memory_archive().create_fleet("fleet", SCHEMA)
    fleet.append({"device": ["a", "b", "a"], "time": minutes(0, 1, 2), "t": np.arange(3.0)})
    fleet.set_tags({"b": {"site": "x"}, "c": {}, "a": {"site": ""}})
    fleet.append(
        {"device": ["d", "c"], "time": minutes(3, 4), "t": [3.0, 4.0]},
        tags={"d": {"site": "y"}, "e": {"model": "z"}},
    )
    assert fleet.devices == ["a", "b", "c", "d", "e"]
    assert fleet.tags["a"] == fleet.tags["c"] == {}
    assert fleet.tags["d"] == {"site": "y"}
    assert fleet.tags["e"] == {"model": "z"}
    assert rows_of(fleet.read("c"))["t"].tolist() == [4.0]


@pytest.mark.parametrize("tags", [{"": {"site": "x"}}, {"a": {"": "x"}}, {"a": {"n": as_any(1)}}])
def test_devices_and_tags_have_names(tags: dict[str, dict[str, str]]) -> None:
    fleet = memory_archive().create_fleet("fleet", SCHEMA)
    with pytest.raises(InvalidInputError):
        fleet.set_tags(tags)
    assert fleet.devices == []


def test_a_fleet_that_has_no_room_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning(devices_per_block=1))
    fleet.set_tags(numbered(*range(5000)))
    registry = FleetStore(repository_of(archive), "fleet").view().registry
    full = replace(registry, state=replace(registry.state, devices=(1 << 16)))
    changes = plan_devices(full, ["one more"])
    with pytest.raises(StorageError, match="room for 65536; nothing was stored"):
        repository_of(archive).commit(changes.save, "register")
    assert len(fleet.devices) == 5000
    assert device_changes._ALWAYS_FREE == 4096


def test_writers_that_register_at_once_never_share_a_code() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning(by="site"))
    fleet.set_tags(numbered(*range(10)))
    repository = repository_of(archive)
    one, two = FleetStore(repository, "fleet"), FleetStore(repository, "fleet")
    stale = one.view()
    two.append_prepared((), {}, lambda _: [], [], tags=numbered(20))
    one.append_prepared((), {}, lambda _: [], [], tags=numbered(21, 25), view=stale)
    assert sorted(fleet.devices) == sorted([*numbered(*range(10)), "d20", "d21", "d25"])
    codes = two.view().registry.codes(fleet.devices)
    assert len(set(codes.tolist())) == 13
    assert fleet.tags["d25"] == {"site": "s0", "model": "m1"}


def without_lookup(archive: pipeline.Archive) -> None:
    """Leave the counters as a version without a lookup does whenever it writes."""
    view = FleetStore(repository_of(archive), "fleet").view()

    def change(store: Store) -> None:
        replace(FleetState.load(store, view.meta.layout), indexed=0).save(store, view.meta.layout)

    repository_of(archive).commit(change, "an earlier version")


def test_a_lookup_that_an_earlier_version_left_behind_is_not_used_and_made_anew() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA)
    fleet.set_tags(numbered(*range(700)))
    without_lookup(archive)
    view = FleetStore(repository_of(archive), "fleet").view()
    assert not view.registry.has_lookup
    assert view.registry.codes(["d699", "d3"]).tolist() == [699, 3]
    assert view.registry.unknown(["d1", "x"]) == ("x",)
    pipeline.Archive.open(archive.url)["fleet"].set_tags(numbered(700, 1))
    view = FleetStore(repository_of(archive), "fleet").view()
    assert view.registry.has_lookup
    assert view.registry.codes(["d700", "d1", "d512"]).tolist() == [700, 1, 512]


def test_tags_of_an_archive_without_a_lookup_can_be_set() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA)
    fleet.set_tags(numbered(*range(5)))
    without_lookup(archive)
    fleet = pipeline.Archive.open(archive.url)["fleet"]
    fleet.set_tags({"d2": {"site": "moved"}})
    assert fleet.tags["d2"]["site"] == "moved"
    assert not FleetStore(repository_of(archive), "fleet").view().registry.has_lookup


def test_a_fleet_keeps_what_it_has_read_of_its_devices() -> None:
    archive = memory_archive()
    archive.create_fleet("fleet", SCHEMA).set_tags(numbered(*range(10)))
    store = FleetStore(repository_of(archive), "fleet")
    first = store.view().registry
    first.codes(["d3"])
    assert first.tags["site"][3] == "s3"
    store.append_prepared(["d3"], {}, lambda _: [], [])
    assert store.view().registry.known is first.known
    store.append_prepared((), {}, lambda _: [], [], tags={"d11": {"site": "n", "new": "y"}})
    later = store.view().registry
    assert later.known.codes.keys() >= {"d3", "d11"}
    assert later.tags["new"][later.code("d11")] == "y"
    assert later.tags["site"][3] == "s3"
    assert first.unknown(["d11"]) == ("d11",)
    fleet = pipeline.Archive.open(archive.url)["fleet"]
    fleet.set_tags({"d3": {"site": "elsewhere"}})
    assert store.view().registry.tags["site"][3] == "elsewhere"


def test_plain_zarr_reads_ids_and_tags_with_free_codes_between_them() -> None:
    archive = memory_archive()
    scheme = pipeline.Partitioning(devices_per_block=4, by="site")
    fleet = archive.create_fleet("fleet", SCHEMA, scheme)
    fleet.set_tags({name: {"site": site} for name, site in zip("abcde", "xyxyx", strict=True)})
    fleet.append({"device": list("abcde"), "time": minutes(*range(5)), "t": np.arange(5.0)})
    store = repository_of(archive).snapshot().store
    ids = zarr.open_array(store, path="fleet/devices/id", mode="r")
    assert ids.attrs["cf_role"] == "timeseries_id"
    assert np.asarray(ids[:8]).tolist() == ["a", "c", "e", "", "b", "d", "", ""]
    group = zarr.open_group(store, path="fleet/devices", mode="r")
    assert group.attrs["tags"] == ["site"]
    sites = zarr.open_array(store, path="fleet/devices/tag_0", mode="r")
    assert np.asarray(sites[:6]).tolist() == ["x", "x", "x", "", "y", "y"]
    values = zarr.open_array(store, path="fleet/devices/block_value", mode="r")
    assert np.asarray(values[:4]).tolist() == ["", "x", "y", ""]
    kept = zarr.open_array(store, path="fleet/devices/blocks", mode="r")
    assert kept.attrs["fields"] == ["devices", "strays"]
    assert np.asarray(kept[:, :4]).tolist() == [[0, 3, 2, 0], [0, 0, 0, 0]]
    lookup = zarr.open_array(store, path="fleet/devices/lookup", mode="r")
    assert np.count_nonzero(np.asarray(lookup[0, :16, 4])) == 5
    whole = fleet.to_xarray()
    assert whole["device"].values[whole["device_index"].values].tolist() == list("acebd")


def test_a_fleet_by_tag_reads_its_devices_as_far_as_a_tag_asks() -> None:
    archive = memory_archive()
    scheme = pipeline.Partitioning(devices_per_block=8, by="site")
    fleet = archive.create_fleet("fleet", SCHEMA, scheme)
    fleet.set_tags(numbered(*range(40)))
    view, store = counted(archive)
    assert len(view.registry) == 40
    assert len(view.registry.where({"site": {"s3"}})) == 8
    assert not [key for key in store.reads if "/tag_" in key or "/id/" in key]
    fleet.set_tags({"d3": {"site": "s1"}, "d4": {"site": "s4"}})
    view, _ = counted(archive)
    found = view.registry.where({"site": {"s1"}, "model": {"m0"}})
    assert set(view.registry.ids_of(found)) == {"d3", "d6", "d21", "d36"}
    assert view.registry.reservations is not None
    assert view.registry.reservations.strays.tolist() == [False, False, False, True, False]


def test_the_refusal_of_repeated_rows_names_the_device() -> None:
    fleet = memory_archive().create_fleet("fleet", SCHEMA, duplicates="error")
    fleet.append({"device": ["a", "b"], "time": minutes(0, 0), "t": [1.0, 2.0]})
    with pytest.raises(InvalidInputError, match="device 'b' has a row at"):
        fleet.append({"device": ["b"], "time": minutes(0), "t": [3.0]})
