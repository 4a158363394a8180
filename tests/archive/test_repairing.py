"""Repair brings back whatever can be read, and keeps what cannot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from zarr.abc.store import Store

import pipeline
from pipeline.archive import repairing
from pipeline.archive.chunk_io import delete_many, get_many, put_many
from pipeline.archive.expiry import forget
from pipeline.archive.layout import INDEX_FIELDS, STATE_FIELDS
from pipeline.archive.mending_quarantine import LOST
from pipeline.archive.repairing import RepairResult
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.errors import InvalidInputError, NotFoundError
from tests.archive.test_verifying import (
    change,
    layout_of,
    noisy_archive,
    pipeline_selection,
    put_orphan,
)
from tests.support import memory_archive, minutes, rows_of


def reopened(folder: Path) -> pipeline.Archive:
    return pipeline.Archive.open(folder)


def on_disk(folder: Path) -> list[Path]:
    """Return the chunk files of a noisy archive that holds its newest state alone."""
    archive = noisy_archive(folder)
    forget(archive._repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    return sorted((folder / "chunks").iterdir())


def repaired(archive: pipeline.Archive) -> RepairResult:
    """Repair, after a look that changes nothing, and see that it is clean then."""
    tip = archive._repository.tip()
    looked = archive.repair(dry_run=True)["fleet"]
    assert not looked.is_clean
    assert archive._repository.tip() == tip
    done = archive.repair()["fleet"]
    assert (done.lost, done.reduced, done.damaged) == (looked.lost, looked.reduced, looked.damaged)
    report = archive.verify()
    assert report.is_clean, report.problems[:4]
    assert archive.repair()["fleet"].is_clean
    return done


def test_nothing_is_done_where_nothing_is_wrong() -> None:
    archive = noisy_archive()
    tip = archive._repository.tip()
    assert archive.repair() == {"fleet": RepairResult()}
    assert archive._repository.tip() == tip
    assert archive.fleet("fleet").damaged() == []
    with pytest.raises(NotFoundError):
        archive.repair("nobody")
    with pytest.raises(InvalidInputError, match="without at"):
        archive.at(tip).repair()


def test_the_index_is_listed_once_however_many_windows_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = memory_archive()
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = archive.create_fleet("fleet", schema, pipeline.Partitioning("1 hour"))
    times = minutes(*range(0, 60 * 24, 60))
    fleet.append({"device": ["d"] * len(times), "time": times, "t": np.arange(len(times)) / 2})
    listed: list[str] = []

    def listing(store: Store, path: str) -> Iterator[tuple[int, ...]]:
        listed.append(path)
        return stored_chunks(store, path)

    monkeypatch.setattr(repairing, "stored_chunks", listing)
    assert archive.repair()["fleet"].is_clean
    index = layout_of(archive).index.path
    # To find unreadable chunks, and to find entries.
    assert listed.count(index) == 2


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_chunk_costs_what_is_in_it_and_no_more(tmp_path: Path, damage: str) -> None:
    files = on_disk(tmp_path / "x")
    before = rows_of(reopened(tmp_path / "x").fleet("fleet").read())
    for file in files:
        data = file.read_bytes()
        if damage == "remove":
            file.unlink()
        else:
            file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        archive = reopened(tmp_path / "x")
        problems = archive.verify().problems
        done = repaired(archive)
        fleet = archive.fleet("fleet")
        rows = rows_of(fleet.read())
        place = next(one.place for one in problems if one.kind == "corrupt")
        kept = fleet.damaged()
        assert len(kept) >= 1
        if "/raw/t/" in place:
            assert done.reduced == 1
            pd.testing.assert_frame_equal(rows[["device", "time"]], before[["device", "time"]])
            assert 300 < rows["t"].isna().sum() < 5000
        elif "/raw/" in place:
            assert done.lost == 1
            assert len(before) - 3000 <= len(rows) < len(before)
        else:
            pd.testing.assert_frame_equal(rows, before)
        if damage == "flip":
            assert any(one.data == file.read_bytes() for one in kept)
        assert all(one.reason for one in kept)
        restore(tmp_path / "x", file, data)


def restore(folder: Path, file: Path, data: bytes) -> None:
    """Take a repair back: the state before, and its file."""
    file.write_bytes(data)
    repository = reopened(folder)._repository
    first = next(c.snapshot for c in repository.history() if c.metadata.get("kind") != "repair")
    repository._repository.reset_branch("main", first)


@pytest.mark.parametrize("field", ["rows", "time_min", "device_max", "bytes"])
def test_wrong_index_entries(field: str) -> None:
    archive = noisy_archive()
    before = rows_of(archive.fleet("fleet").read())

    def edit(chunk: Any) -> None:
        for place in np.argwhere(chunk[0] > 0):
            chunk[(INDEX_FIELDS.index(field), *place)] += 1

    change(archive, layout_of(archive).index, edit)
    done = repaired(archive)
    assert (done.blocks, done.lost, done.damaged) == (4, 0, 0)
    pd.testing.assert_frame_equal(rows_of(archive.fleet("fleet").read()), before)


@pytest.mark.parametrize("table", ["index", "slots", "extent", "state"])
def test_tables_that_are_gone_are_made_anew(table: str) -> None:
    archive = noisy_archive()
    fleet = archive.fleet("fleet")
    before, answer = rows_of(fleet.read()), fleet.aggregate({"t": ["sum", "count"]})
    layout = layout_of(archive)
    path = getattr(layout, table).path

    def remove(store: Any) -> None:
        keys = [f"{path}/c/{'/'.join(map(str, at))}" for at in stored_chunks(store, path)]
        delete_many(store, keys)

    archive._repository.commit(remove, "remove")
    repaired(archive)
    again = archive.fleet("fleet")
    pd.testing.assert_frame_equal(rows_of(again.read()), before)
    after = again.aggregate({"t": ["sum", "count"]})
    np.testing.assert_allclose(after["t_sum"], answer["t_sum"], rtol=1e-12)
    assert again.devices == ["a", "b", "c"]
    again.append({"device": ["a"], "time": before["time"].values[:1].astype("M8[us]"), "t": [9.5]})
    assert rows_of(again.read())["t"][0] == 9.5


def test_entries_without_blocks_orphans_and_false_statistics() -> None:
    archive = noisy_archive()
    before = rows_of(archive.fleet("fleet").read())
    put_orphan(archive)
    layout = layout_of(archive)

    def edit(chunk: Any) -> None:
        place = tuple(np.argwhere(chunk[0] > 0)[0])
        chunk[(slice(None), *place[:-1], place[-1] + 4)] = chunk[(slice(None), *place)]

    change(archive, layout.index, edit)

    def double(chunk: Any) -> None:
        chunk[0, 0] *= 2

    change(archive, layout.extent, double)

    def restart(state: Any) -> None:
        state[STATE_FIELDS.index("sequence")] = 0

    change(archive, layout.state, restart)
    done = repaired(archive)
    assert done.lost == 2
    assert done.windows >= 1
    pd.testing.assert_frame_equal(rows_of(archive.fleet("fleet").read()), before)
    # The orphan's one column has no device and time to go with it, so it is set aside.
    assert [one.key.split("/c/")[0] for one in archive.fleet("fleet").damaged() if one.data] == [
        "fleet/raw/t"
    ]


def test_rows_that_do_not_belong_where_they_are_are_set_aside() -> None:
    from pipeline.archive.chunk_io import put_many
    from pipeline.codecs.block import encode_block

    archive = noisy_archive()
    view = archive.fleet("fleet")._view()
    blocks = view.blocks(pipeline_selection())
    for at, codes in enumerate(([5, 5], [1, 0], [0])):
        place = "/".join(map(str, blocks.places[at].tolist()))
        time = np.array([int(blocks.time_min[at])] * 2)
        written = {
            f"fleet/raw/device_index/c/{place}": encode_block(np.array(codes, np.int32)),
            f"fleet/raw/time/c/{place}": encode_block(time),
        }
        archive._repository.commit(partial(put_many, items=written), "damage")
    done = repaired(archive)
    assert (done.lost, done.damaged) == (3, 9)
    reasons = {one.reason for one in archive.fleet("fleet").damaged()}
    assert any("differ in length" in reason for reason in reasons)
    assert any("not in order" in reason for reason in reasons)
    assert any("devices that do not belong" in reason for reason in reasons)


def spoil(archive: pipeline.Archive, key: str, damage: str) -> None:
    def commit(store: Store) -> None:
        if damage == "remove":
            delete_many(store, [key])
        else:
            (stored,) = get_many(store, [key])
            assert stored is not None
            put_many(store, {key: stored.tobytes()[:-1] + bytes([stored[-1] ^ 1])})

    archive._repository.commit(commit, "damage")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("reason", "flip"),
        ("reason", "remove"),
        ("record", "flip"),
        ("source", "flip"),
        ("received", "flip"),
    ],
)
def test_a_damaged_quarantine_is_readable_again(tmp_path: Path, name: str, damage: str) -> None:
    archive = pipeline.Archive.create(tmp_path / "x")
    fleet = archive.create_fleet("fleet", pipeline.Schema([pipeline.Channel("t", "float64")]))
    for size in (4096, 900):
        fleet.append(
            {
                "device": ["a"] * size,
                "time": ["2024-01-01T00:00:00Z"] * (size - 1) + ["never"],
                "t": [f"x{at}" for at in range(size)],
            },
            source="radio",
        )
    before = fleet.quarantine().to_pylist()
    assert len(before) == 4996
    spoil(archive, f"fleet/quarantine/{name}/c/1", damage)
    assert {one.kind for one in archive.verify().problems} == {"quarantine"}
    done = repaired(archive)
    assert done.damaged == 1
    fleet = archive.fleet("fleet")
    after = fleet.quarantine().to_pylist()
    assert after[:4096] == before[:4096]
    lost = {
        "reason": LOST,
        "record": "",
        "source": "",
        "received": datetime(1970, 1, 1, tzinfo=UTC),
    }
    assert after[4096:] == [one | {name: lost[name]} for one in before[4096:]]
    fleet.append({"device": ["a"], "time": ["never"]})
    assert fleet.quarantine().num_rows == 4997
