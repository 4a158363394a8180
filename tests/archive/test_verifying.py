"""Verification finds whatever is wrong, names it, and has nothing to say of what is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.abc.store import Store

import pipeline
from pipeline.archive.chunk_io import put_many
from pipeline.archive.expiry import forget
from pipeline.archive.layout import INDEX_FIELDS, STATE_FIELDS, FleetLayout
from pipeline.archive.tables import Table
from pipeline.codecs.block import encode_block
from pipeline.errors import ArchiveError, NotFoundError
from tests.golden.make_archive import Kind, fill
from tests.support import START, memory_archive, minutes

ROWS = 3000


def noisy_archive(folder: Path | None = None) -> pipeline.Archive:
    """Return an archive whose blocks are too large to lie inside of a manifest."""
    archive = memory_archive() if folder is None else pipeline.Archive.create(folder)
    schema = pipeline.Schema([pipeline.Channel("t", "float64")])
    fleet = archive.create_fleet(
        "fleet", schema, pipeline.Partitioning("1 day", 2, landing_rows=1000)
    )
    chance = np.random.default_rng(3)
    for device in ("a", "b", "c"):
        time = START + chance.integers(1, 50_000, ROWS).cumsum()
        values = chance.normal(size=ROWS)
        fleet.append({"device": device, "time": time.astype("M8[us]"), "t": values})
    small = minutes(*range(400))
    fleet.append({"device": "a", "time": small, "t": chance.normal(size=400)})
    return archive


def layout_of(archive: pipeline.Archive) -> FleetLayout:
    return archive.fleet("fleet")._view().meta.layout


def change(archive: pipeline.Archive, table: Table, edit: Callable[[Any], None]) -> None:
    """Edit the first stored chunk of a table."""

    def commit(store: Store) -> None:
        places = [at for at in candidates(table) if table.read(store, [at])]
        chunk = table.load(store, places[:1])[places[0]]
        edit(chunk)
        table.write(store, {places[0]: chunk})

    archive._repository.commit(commit, "damage")


def candidates(table: Table) -> list[tuple[int, ...]]:
    day = (START - int(np.datetime64("1900-01-01", "us").astype(int))) // 86_400_000_000
    if table.path.endswith("/blocks"):
        return [(0, day // table.chunk[1], 0, 0)]
    if "/summary/" in table.path:
        return [(0, 0, day // table.chunk[2])]
    if table.path.endswith("/slots"):
        return [(day // table.chunk[0],)]
    return [(0,)]


def kinds(archive: pipeline.Archive) -> set[str]:
    return {problem.kind for problem in archive.verify().problems}


def test_an_archive_of_every_kind_of_channel_is_clean() -> None:
    archive = memory_archive()
    fill(archive, Kind())
    report = archive.verify()
    assert report.is_clean
    assert report.problems == ()
    found = report.fleets["golden"]
    assert found.blocks == 4
    assert found.rows >= archive.fleet("golden").read().read_all().num_rows
    assert found.cells == 5
    assert found.bytes > 1000
    assert report.to_json()["clean"] is True


def test_only_fleets_asked_for_are_read() -> None:
    archive = noisy_archive()
    archive.create_fleet("empty", pipeline.Schema([pipeline.Channel("x", "int8")]))
    assert list(archive.verify("empty").fleets) == ["empty"]
    assert archive.verify("empty").fleets["empty"].blocks == 0
    assert set(archive.verify().fleets) == {"fleet", "empty"}
    with pytest.raises(NotFoundError, match="nothing"):
        archive.verify(["nothing"])


def test_an_old_state_is_verified_as_it_was() -> None:
    archive = noisy_archive()
    before = next(archive.history()).snapshot
    put_orphan(archive)
    assert not archive.verify().is_clean
    assert archive.at(before).verify().is_clean


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_to_any_chunk_file_is_found(tmp_path: Path, damage: str) -> None:
    archive = noisy_archive(tmp_path / "archive")
    forget(archive._repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    files = sorted((tmp_path / "archive" / "chunks").iterdir())
    assert len(files) >= 7
    chance = np.random.default_rng(5)
    for file in files:
        data = file.read_bytes()
        broken = bytearray(data)
        broken[int(chance.integers(len(data)))] ^= 1 << int(chance.integers(8))
        if damage == "remove":
            file.unlink()
        else:
            file.write_bytes(broken if damage == "flip" else data[: len(data) // 2])
        report = pipeline.Archive.open(tmp_path / "archive").verify()
        assert not report.is_clean, file
        assert any("fleet/" in problem.message for problem in report.problems)
        file.write_bytes(data)
    assert pipeline.Archive.open(tmp_path / "archive").verify().is_clean


def test_a_damaged_column_does_not_hide_the_others(tmp_path: Path) -> None:
    archive = noisy_archive(tmp_path / "archive")
    forget(archive._repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    largest = sorted((tmp_path / "archive" / "chunks").iterdir(), key=lambda f: f.stat().st_size)
    for file in largest[-3:]:
        file.unlink()
    found = pipeline.Archive.open(tmp_path / "archive").verify().fleets["fleet"]
    assert found.counts == {"corrupt": 3}
    assert {problem.place.split("/c/")[0] for problem in found.problems} == {"fleet/raw/t"}
    assert found.blocks == 4


def put_orphan(archive: pipeline.Archive) -> None:
    window = archive.fleet("fleet")._view().windows(pipeline_selection())[0]
    data = encode_block(np.arange(100, dtype=np.float64))
    key = f"fleet/raw/t/c/{window}/1/77"
    archive._repository.commit(lambda store: put_many(store, {key: data}), "orphan")


def pipeline_selection() -> Any:
    from pipeline.partitioning.pruning import Selection

    return Selection()


def test_chunks_that_no_entry_names_are_orphans() -> None:
    archive = noisy_archive()
    put_orphan(archive)
    (problem,) = archive.verify().problems
    assert problem.kind == "orphan"
    assert problem.place.endswith("/1/77")


@pytest.mark.parametrize(
    ("field", "amount", "kind"),
    [
        ("rows", 1, "corrupt"),
        ("time_min", -1, "bounds"),
        ("time_max", 1, "bounds"),
        ("device_max", 1, "bounds"),
        ("bytes", 1, "index"),
        ("sequence", 1000, "counter"),
        ("schema_version", 5, "index"),
    ],
)
def test_index_entries_that_do_not_fit_their_block(field: str, amount: int, kind: str) -> None:
    archive = noisy_archive()

    def edit(chunk: Any) -> None:
        place = tuple(np.argwhere(chunk[0] > 0)[0])
        chunk[(INDEX_FIELDS.index(field), *place)] += amount

    change(archive, layout_of(archive).index, edit)
    assert kinds(archive) == {kind}


def test_an_entry_without_a_block_and_a_block_without_an_entry() -> None:
    archive = noisy_archive()

    def move(chunk: Any) -> None:
        place = tuple(np.argwhere(chunk[0] > 0)[-1])
        chunk[(slice(None), *place[:-1], place[-1] + 2)] = chunk[(slice(None), *place)]
        chunk[(slice(None), *place)] = 0

    change(archive, layout_of(archive).index, move)
    layout = layout_of(archive)
    change(archive, layout.slots, lambda counts: counts.__setitem__(counts > 0, 8))
    assert kinds(archive) == {"missing", "orphan"}


def test_an_index_that_the_slots_do_not_reach() -> None:
    archive = noisy_archive()
    change(archive, layout_of(archive).slots, lambda counts: counts.fill(0))
    assert {"index", "orphan", "summary"} <= kinds(archive)


@pytest.mark.parametrize("statistic", [0, 1, 2, 3])
def test_statistics_that_are_not_those_of_the_rows(statistic: int) -> None:
    archive = noisy_archive()
    layout, (channel,) = layout_of(archive), archive.fleet("fleet").schema
    values, _ = layout.summary_pair(channel)

    def edit(chunk: Any) -> None:
        row = chunk[statistic]
        at = tuple(np.argwhere(row != 0)[0])
        row[at] += 1e-6 * max(1.0, abs(row[at]))

    change(archive, values, edit)
    (problem,) = archive.verify().problems
    assert problem.kind == "summary"
    assert "device 'a', 2024-01-01T00:00:00Z: statistics of t" in problem.message


@pytest.mark.parametrize(("moment", "by"), [(0, 1.0), (1, 1e-3), (2, 1e-3)])
def test_moments_that_are_not_those_of_the_rows(moment: int, by: float) -> None:
    archive = noisy_archive()
    layout, (channel,) = layout_of(archive), archive.fleet("fleet").schema
    _, moments = layout.summary_pair(channel)

    def edit(chunk: Any) -> None:
        chunk[moment][tuple(np.argwhere(chunk[0] != 0)[0])] += by

    change(archive, moments, edit)
    assert kinds(archive) == {"summary"}


def test_statistics_of_rows_that_are_not_there() -> None:
    archive = noisy_archive()
    layout = layout_of(archive)

    def edit(chunk: Any) -> None:
        chunk[0, 1, 5] = 10
        chunk[0, 0] += 1

    change(archive, layout.extent, edit)
    found = archive.verify().fleets["fleet"]
    assert set(found.counts) == {"summary"}
    assert any("without a row" in problem.message for problem in found.problems)


@pytest.mark.parametrize(
    ("field", "by", "kind"),
    [("devices", -1, "counter"), ("sequence", -2, "counter"), ("quarantined", 1, "quarantine")],
)
def test_counters_that_do_not_count(field: str, by: int, kind: str) -> None:
    archive = noisy_archive()

    def edit(chunk: Any) -> None:
        chunk[STATE_FIELDS.index(field)] += by

    change(archive, layout_of(archive).state, edit)
    assert kind in kinds(archive)


def test_rows_out_of_order_and_of_other_places() -> None:
    archive = noisy_archive()
    view = archive.fleet("fleet")._view()
    blocks = view.blocks(pipeline_selection())
    at = int(np.flatnonzero(blocks.device_block == 2)[0])
    place = "/".join(map(str, blocks.places[at].tolist()))
    rows = int(blocks.rows[at])

    def commit(store: Store) -> None:
        codes = np.full(rows, 2, np.int32)
        time = np.linspace(blocks.time_max[at], blocks.time_min[at], rows).astype(np.int64)
        put_many(
            store,
            {
                f"fleet/raw/time/c/{place}": encode_block(time),
                f"fleet/raw/device_index/c/{place}": encode_block(codes),
            },
        )

    archive._repository.commit(commit, "shuffle")
    assert {"order", "index"} <= kinds(archive)

    def elsewhere(store: Store) -> None:
        codes = np.zeros(rows, np.int32)
        time = START - 86_400_000_000 + np.arange(rows)
        put_many(
            store,
            {
                f"fleet/raw/time/c/{place}": encode_block(time),
                f"fleet/raw/device_index/c/{place}": encode_block(codes),
            },
        )

    archive._repository.commit(elsewhere, "move")
    messages = " ".join(problem.message for problem in archive.verify().problems)
    assert "outside of the block's window" in messages
    assert "do not belong to this device block" in messages


def is_clean(folder: Path) -> bool:
    """Return whether an archive can be opened and is clean."""
    try:
        return pipeline.Archive.open(folder).verify().is_clean
    except ArchiveError:
        return False


@pytest.mark.parametrize("kind", ["manifests", "snapshots"])
def test_damage_below_is_found_or_stops_it(tmp_path: Path, kind: str) -> None:
    archive = noisy_archive(tmp_path / "archive")
    forget(archive._repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    for file in sorted((tmp_path / "archive" / kind).iterdir()):
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
        assert not is_clean(tmp_path / "archive")
        file.write_bytes(data)
    assert is_clean(tmp_path / "archive")


def test_a_thousand_problems_are_listed_and_all_are_counted() -> None:
    from pipeline.archive.verify_report import FleetFindings, Problem

    one = FleetFindings.of((Problem("order", str(at), "x") for at in range(1500)), rows=3)
    two = FleetFindings.of([Problem("bounds", "p", "y")], rows=4)
    both = one.joined(two)
    assert both.counts == {"order": 1500, "bounds": 1}
    assert len(both.problems) == 1000
    assert both.rows == 7
