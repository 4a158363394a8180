"""Damage to rollups is found, set aside, and built anew by the next refresh."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.abc.store import Store

import pipeline
from pipeline.archive.chunk_io import chunk_key, get_many, put_many
from pipeline.archive.fleet_meta import load_fleet
from pipeline.archive.rollups.arrays import rows_array
from pipeline.archive.rollups.store import Rollup, load_rollup
from pipeline.errors import CorruptBlockError, InvalidInputError
from pipeline.partitioning.pruning import Selection
from tests.rollup_checks import assert_right, store_of
from tests.support import minutes

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("n", "int32")])


@pytest.fixture
def archive(tmp_path: Path) -> pipeline.Archive:
    made = pipeline.Archive.create(tmp_path / "archive")
    partitioning = pipeline.Partitioning("1 day", summary="1 hour", landing_rows=8)
    fleet = made.create_fleet("fleet", SCHEMA, partitioning)
    steps = np.arange(0, 3 * 1440, 20)
    count = 4 * len(steps)
    fleet.append(
        {
            "device": np.repeat(list("abcd"), len(steps)),
            "time": np.tile(minutes(*steps), 4),
            "t": np.random.default_rng(1).normal(size=count),
            "n": np.arange(count),
        }
    )
    fleet.rollups.create("1h").refresh()
    fleet.rollups.create("1day", {"t": ["max", "p95"]}, every="1 day").refresh()
    return made


def change(archive: pipeline.Archive, what: Callable[[Store, Rollup], None]) -> None:
    def write(store: Store) -> None:
        what(store, load_rollup(store, load_fleet(store, "fleet"), "1h"))

    store_of(archive).repository.commit(write, "damage")


def flip(store: Store, key: str) -> None:
    data = get_many(store, [key])[0]
    assert data is not None
    broken = bytearray(data.tobytes())
    broken[-1] ^= 1
    put_many(store, {key: bytes(broken)})


def test_rollups_of_a_sound_archive_are_sound(archive: pipeline.Archive) -> None:
    assert archive.verify().is_clean
    assert archive.repair()["fleet"].is_clean
    assert_right(archive.fleet("fleet"), "1h")


def test_a_cell_that_says_something_else_is_found(archive: pipeline.Archive) -> None:
    def one_more(store: Store, rollup: Rollup) -> None:
        array = rows_array(rollup.meta.layout, rollup.definition)
        chunk = array.read(store, [(0, 0)])[0, 0]
        chunk[2, 5] += 1
        put_many(store, {chunk_key(array.path, (0, 0)): array.encode(chunk)})

    change(archive, one_more)
    (problem,) = archive.verify().problems
    assert problem.kind == "rollup"
    assert problem.place == "fleet/rollup/1h"
    assert "1 cells differ" in problem.message
    assert "'c'" in problem.message


@pytest.mark.parametrize("name", ["t_mean", "rows", "state/built"])
def test_unreadable_chunks_are_set_aside_and_built_anew(
    archive: pipeline.Archive, name: str
) -> None:
    key = f"fleet/rollup/1h/{name}/c/0/0"
    change(archive, lambda store, _: flip(store, key))
    fleet = archive.fleet("fleet")
    fleet.append({"device": ["a"], "time": minutes(7), "t": [1.5], "n": [1]})
    with pytest.raises(CorruptBlockError, match=key):
        fleet.rollups["1h"].refresh()
    assert {one.place for one in archive.verify().problems} == {key}
    assert archive.repair(dry_run=True)["fleet"].tables == 1
    assert archive.repair()["fleet"].tables == 1
    assert [one.key for one in fleet.damaged()] == [key]
    assert not fleet.rollups["1h"].state.is_fresh
    fleet.rollups["1h"].refresh()
    assert_right(fleet, "1h")
    assert archive.verify().is_clean


@pytest.mark.parametrize("table", ["index/changed", "state"])
def test_what_is_not_known_any_more_is_all_built_anew(
    archive: pipeline.Archive, table: str
) -> None:
    fleet = archive.fleet("fleet")
    layout = store_of(archive).view().meta.layout
    window = layout.scheme.window_length.number(int(minutes(0)[0].astype(int)))
    chunk = f"0/{window // layout.changed.chunk[1]}" if table == "index/changed" else "0"
    change(archive, lambda store, _: flip(store, f"fleet/{table}/c/{chunk}"))
    archive.repair()
    assert fleet.rollups["1h"].state.stale == 3
    fleet.append({"device": ["a"], "time": minutes(7), "t": [1.5], "n": [1]})
    for name in fleet.rollups:
        fleet.rollups[name].refresh()
        assert_right(fleet, name)
    assert archive.verify().is_clean


def test_a_repaired_index_makes_windows_stale(archive: pipeline.Archive) -> None:
    view = store_of(archive).view()
    blocks = view.blocks(Selection())
    window, block, slot = blocks.places[0].tolist()
    change(archive, lambda store, _: flip(store, f"fleet/raw/t/c/{window}/{block}/{slot}"))
    archive.repair()
    fleet = archive.fleet("fleet")
    assert not fleet.rollups["1h"].state.is_fresh
    for name in fleet.rollups:
        fleet.rollups[name].refresh()
        assert_right(fleet, name)
    assert archive.verify().is_clean


def test_a_later_version_is_refused(archive: pipeline.Archive) -> None:
    def later(store: Store, rollup: Rollup) -> None:
        group = zarr.open_group(store, path=rollup.path, mode="r+")
        group.attrs["rollup"] = {**rollup.definition.to_json(), "version": 2}

    change(archive, later)
    with pytest.raises(InvalidInputError, match=r"version 2, .* upgrade iot-archive"):
        archive.fleet("fleet").rollups["1h"]
