"""A fleet that is partitioned anew answers as before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from zarr.abc.store import Store

import pipeline
from pipeline.archive import repartitioning
from pipeline.archive.block_reader import FetchedBlocks
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.leftover_grids import drop_leftovers
from pipeline.archive.repartitioning import RepartitionResult, repartition
from pipeline.archive.stored_chunks import stored_chunks, stored_names
from pipeline.archive.tables import Table
from pipeline.archive.thinning import apply_retention
from pipeline.errors import ConflictError, CorruptBlockError, InvalidInputError
from pipeline.model.tables import to_table
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate
from tests.support import HOUR, START, memory_archive, minutes, rows_of

DAY = 24 * HOUR
SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("mode", "category")])
QUESTIONS: dict[str, Any] = {"t": ["count", "min", "max", "mean", "std", "first", "last"]}


def batch(first: int = 0, hours: int = 24 * 40, devices: int = 5, step: int = 3) -> dict[str, Any]:
    """Return rows of some devices, one every `step` hours."""
    time = START + np.arange(first, first + hours, step) * HOUR + 17
    count = len(time) * devices
    return {
        "device": np.repeat([f"d{at}" for at in range(devices)], len(time)),
        "time": np.tile(time, devices).astype("M8[us]"),
        "t": np.random.default_rng(first).normal(size=count),
        "mode": np.where(np.arange(count) % 3 == 0, "auto", "manual"),
    }


def filled(
    partitioning: pipeline.Partitioning | None = None, **options: Any
) -> tuple[pipeline.Archive, pipeline.Fleet]:
    archive = memory_archive()
    scheme = partitioning or pipeline.Partitioning("1 day", 2, landing_rows=8)
    fleet = archive.create_fleet("fleet", SCHEMA, scheme, **options)
    fleet.append(batch(), tags={"d0": {"site": "Oslo"}}, positions={"source": {"offset": 7}})
    fleet.append(batch(24 * 20, 24 * 3, 3))
    return archive, fleet


def store_of(archive: pipeline.Archive) -> FleetStore:
    return FleetStore(archive._repository, "fleet")


def rows(fleet: pipeline.Fleet) -> pd.DataFrame:
    frame = rows_of(fleet.read())
    frame["mode"] = frame["mode"].astype(str)
    return frame.sort_values(["device", "time"], kind="stable").reset_index(drop=True)


def names_in(archive: pipeline.Archive, path: str = "fleet") -> list[str]:
    return stored_names(archive._repository.snapshot().store, path)


SCHEMES = [
    pipeline.Partitioning("1 month", 2, "1 day"),
    pipeline.Partitioning("1 month", 1, landing_rows=0),
    pipeline.Partitioning("1 hour", 256),
    pipeline.Partitioning("1 year", 3, "1 hour", landing_rows=8),
    pipeline.Partitioning("1 day", 4, "1 hour", landing_rows=0),
    pipeline.Partitioning("1 day", 2, landing_rows=0),
]


@pytest.mark.parametrize("rows_at_once", [1 << 20, pytest.param(300, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_answers_stay_and_nothing_of_the_old_grid_is_left(
    scheme: pipeline.Partitioning, rows_at_once: int
) -> None:
    archive, fleet = filled()
    fleet.append({"device": [None], "time": minutes(1), "t": [1.0]})
    before, latest = rows(fleet), fleet.latest()
    lazy = fleet.to_xarray("d0").load()
    asked = [fleet.aggregate(QUESTIONS, every=every) for every in (None, "1h", "1 day", "1 month")]
    kept = (fleet.devices, fleet.tags, fleet.positions, fleet.quarantine())
    old = archive.at(next(iter(archive.history())).snapshot)
    done = fleet.repartition(scheme, rows_at_once=rows_at_once)
    assert fleet.partitioning == scheme
    pd.testing.assert_frame_equal(rows(fleet), before)
    for every, one in zip((None, "1h", "1 day", "1 month"), asked, strict=True):
        xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every=every), one)
    xr.testing.assert_equal(fleet.latest(), latest)
    xr.testing.assert_equal(fleet.to_xarray("d0").load(), lazy)
    assert (fleet.devices, fleet.tags, fleet.positions) == kept[:3]
    assert fleet.quarantine().equals(kept[3])
    report = archive.verify()
    assert report.is_clean, report.problems
    if done.rows:
        assert not {"raw", "index", "summary"} & set(names_in(archive))
        assert names_in(archive, "fleet/g1") == ["index", "raw", "summary"]
        assert done.blocks_after == len(store_of(archive).view().blocks(Selection()))
        assert done.blocks_after != done.blocks_before
    assert rows(old.fleet("fleet")).equals(before)
    assert old.fleet("fleet").partitioning != scheme
    # Life goes on.
    fleet.append(batch(24 * 41, 24, 7))
    fleet.append(batch(3, 24, 3, 1))
    fleet.compact()
    again = rows(fleet)
    assert len(again) > len(before)
    assert archive.verify().is_clean
    fleet.repartition(pipeline.Partitioning("1 day", 2, landing_rows=8))
    pd.testing.assert_frame_equal(rows(fleet), again)
    assert archive.verify().is_clean
    assert archive.repair()["fleet"].is_clean


def test_to_what_it_is_already_does_nothing() -> None:
    archive, fleet = filled()
    tip = archive._repository.tip()
    assert fleet.repartition(fleet.partitioning) == RepartitionResult()
    assert archive._repository.tip() == tip


def test_landing_rows_alone_copy_nothing() -> None:
    archive, fleet = filled()
    done = fleet.repartition(replace(fleet.partitioning, landing_rows=0))
    assert (done.rows, done.commits) == (0, 1)
    assert fleet.partitioning.landing_rows == 0
    assert "raw" in names_in(archive)


def test_appends_that_were_planned_before_are_planned_again() -> None:
    archive, fleet = filled()
    store = store_of(archive)
    plain, view = store.view(), store.view()
    retries = archive._repository.retries
    fleet.repartition(SCHEMES[0])
    other = pipeline.Archive.open(archive.url).fleet("fleet")
    before = len(rows(fleet))
    table = batch(24 * 60, 24, 6)
    valid, rejects = validate(to_table(table), SCHEMA, earliest=GRID_START, latest=GRID_STOP)
    store.append(valid, rejects, view=view)
    assert archive._repository.retries == retries + 1
    assert len(rows(other)) == before + len(table["time"])
    assert archive.verify().is_clean
    assert sum(len(plain.rows(unit, Selection())) for unit in plain.units(Selection())) == before


@pytest.mark.parametrize("policy", ["keep_last", "keep_first", "keep_all"])
def test_what_others_append_meanwhile_is_there(policy: str) -> None:
    archive, fleet = filled(duplicates=policy)
    twin = memory_archive().create_fleet("fleet", SCHEMA, fleet.partitioning, duplicates=policy)
    twin.append(batch())
    twin.append(batch(24 * 20, 24 * 3, 3))
    began, stop, count = threading.Event(), threading.Event(), [0]

    def append() -> None:
        writer = pipeline.Archive.open(archive.url).fleet("fleet")
        while not stop.is_set() or count[0] < 3:
            writer.append(batch(24 * count[0], 48, 3 + count[0] % 5, 6))
            count[0] += 1
            began.set()

    thread = threading.Thread(target=append)
    thread.start()
    began.wait(60)
    try:
        repartition(store_of(archive), SCHEMES[0], rows_at_once=200)
        repartition(store_of(archive), SCHEMES[2])
    finally:
        stop.set()
        thread.join()
    for step in range(count[0]):
        twin.append(batch(24 * step, 48, 3 + step % 5, 6))
    pd.testing.assert_frame_equal(rows(fleet), rows(twin))
    assert archive.verify().is_clean


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], object]) -> list[int]:
    """Let `act` happen before each attempt to switch; return how many there were."""
    calls: list[int] = []
    switch = repartitioning._Run._switch

    def switching(run: Any, into: Store, limit: int | None) -> Any:
        return switch(run, into, limit)

    def commit(run: Any, change: Any) -> Any:
        if getattr(change, "__name__", "") == "<lambda>" and "limit" in change.__code__.co_freevars:
            calls.append(len(calls))
            act(calls[-1])
        return original(run, change)

    original = repartitioning._Run._commit
    monkeypatch.setattr(repartitioning._Run, "_switch", switching)
    monkeypatch.setattr(repartitioning._Run, "_commit", commit)
    return calls


def test_spans_that_others_rewrite_are_copied_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()
    writer = pipeline.Archive.open(archive.url).fleet("fleet")

    def act(number: int) -> None:
        if number == 0:
            writer.delete("d1", ("2024-01-05", "2024-01-07"))
        if number == 1:
            writer.compact()
        if number == 2:
            writer.append(batch(24 * 70, 48, 9))
        if number == 3:
            raise AssertionError

    calls = between(monkeypatch, act)
    done = fleet.repartition(SCHEMES[0])
    assert (calls, done.rounds) == ([0, 1, 2], 3)
    twin = memory_archive().create_fleet("fleet", SCHEMA, fleet.partitioning)
    twin.append(batch())
    twin.append(batch(24 * 20, 24 * 3, 3))
    twin.append(batch(24 * 70, 48, 9))
    twin.delete("d1", ("2024-01-05", "2024-01-07"))
    pd.testing.assert_frame_equal(rows(fleet), rows(twin))
    assert archive.verify().is_clean


def test_too_much_that_came_meanwhile_is_copied_before_the_last_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive, fleet = filled()
    monkeypatch.setattr(repartitioning, "_ROWS_IN_LAST", 10)
    calls = between(monkeypatch, lambda number: fleet.append(batch(24 * (50 + number), 24, 5)))
    before = len(rows(fleet))
    done = fleet.repartition(SCHEMES[0])
    assert done.rounds == len(calls) == repartitioning._PATIENT_ROUNDS + 1
    assert len(rows(fleet)) == before + len(calls) * 5 * 8
    assert archive.verify().is_clean


def test_it_gives_up_when_others_never_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()
    writer = pipeline.Archive.open(archive.url).fleet("fleet")
    between(
        monkeypatch,
        lambda at: writer.delete("d0", (f"2024-01-{at + 2:02}", f"2024-01-{at + 3:02}")),
    )
    before = fleet.partitioning
    with pytest.raises(ConflictError, match="when no maintenance runs"):
        fleet.repartition(SCHEMES[0])
    assert fleet.partitioning == before
    assert "g1" not in names_in(archive)
    assert archive.verify().is_clean


def test_another_run_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()
    other = pipeline.Archive.open(archive.url).fleet("fleet")
    begun: list[str] = []

    def act(_: int) -> None:
        if not begun:
            begun.append("")
            other.repartition(SCHEMES[2])

    between(monkeypatch, act)
    before = rows(fleet)
    with pytest.raises(ConflictError, match="changed by another writer"):
        fleet.repartition(SCHEMES[0])
    assert fleet.partitioning == SCHEMES[2]
    pd.testing.assert_frame_equal(rows(fleet), before)
    assert archive.verify().is_clean


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("commit", range(1, 6))
def test_killed_at_any_commit_it_is_done_again(
    commit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, fleet = filled()
    before, scheme = rows(fleet), fleet.partitioning
    monkeypatch.setattr(repartitioning, "_ROWS_PER_COMMIT", 500)
    count = [0]
    with monkeypatch.context() as patch:
        original = repartitioning._Run._commit

        def commits(run: Any, change: Any) -> Any:
            count[0] += 1
            if count[0] == commit:
                raise Killed
            return original(run, change)

        patch.setattr(repartitioning._Run, "_commit", commits)
        with pytest.raises(Killed):
            fleet.repartition(SCHEMES[0], rows_at_once=300)
    assert fleet.partitioning == scheme
    pd.testing.assert_frame_equal(rows(fleet), before)
    assert archive.verify().is_clean
    assert ("g1" in names_in(archive)) == (commit > 1)
    fleet.append(batch(24 * 50, 24, 2))
    before = rows(fleet)
    fleet.repartition(SCHEMES[3])
    pd.testing.assert_frame_equal(rows(fleet), before)
    assert archive.verify().is_clean


def test_maintenance_removes_what_a_killed_run_left(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()
    with monkeypatch.context() as patch:
        patch.setattr(repartitioning._Run, "_switch", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fleet.repartition(SCHEMES[0])
    assert "g1" in names_in(archive)
    now = datetime.now(UTC)
    assert drop_leftovers(archive._repository, "fleet", now - timedelta(hours=1)) == 0
    archive.maintain(safety="1 day")
    assert "g1" in names_in(archive)
    archive.maintain(history="0 s", safety="0 s", alone=True)
    assert "g1" not in names_in(archive)
    assert drop_leftovers(archive._repository, "fleet", now) == 0


def test_a_run_that_was_cleaned_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()
    later = datetime.now(UTC) + timedelta(hours=1)
    between(monkeypatch, lambda _: drop_leftovers(archive._repository, "fleet", later))
    with pytest.raises(ConflictError, match="was cleaned up"):
        fleet.repartition(SCHEMES[0])


@pytest.mark.parametrize("window", ["1 month", "1 hour", "1 year"])
def test_statistics_of_dropped_rows_are_kept(window: str) -> None:
    retention = {"raw": "10 days", "summaries": "60 days"}
    archive, fleet = filled(pipeline.Partitioning("1 day", 2, "1 hour", 8), retention=retention)
    apply_retention(archive._repository, "fleet", START + 30 * DAY)
    summary = "1 hour" if window == "1 hour" else "1 day"
    asked = fleet.aggregate(QUESTIONS, every="1 day")
    whole, before = fleet.aggregate(QUESTIONS), rows(fleet)
    fleet.repartition(pipeline.Partitioning(window, 3, summary))
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every="1 day"), asked)
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS), whole)
    pd.testing.assert_frame_equal(rows(fleet), before)
    with pytest.raises(InvalidInputError, match="were dropped by its retention"):
        fleet.aggregate(QUESTIONS, every="7 min")
    assert archive.verify().is_clean
    assert archive.repair()["fleet"].is_clean
    fleet.append(batch(24 * 5, 24, 2))
    assert fleet.quarantine().num_rows > 0
    # Nothing before its time is dropped of a window that has both.
    apply_retention(archive._repository, "fleet", START + 31 * DAY)
    assert rows(fleet)["time"].min() >= START + (20 if window != "1 hour" else 21) * DAY
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every="1 day"), asked)
    assert archive.verify().is_clean
    fleet.delete(time=("2024-01-02", "2024-01-04"))
    left = fleet.aggregate({"t": "count"}, every="1 day", time=("2024-01-01", "2024-01-06"))
    assert left["t_count"].values.astype(bool).any(axis=0).tolist() == [
        True,
        False,
        False,
        True,
        True,
    ]
    assert archive.verify().is_clean
    fleet.repartition(pipeline.Partitioning("1 day", 2, summary))
    assert archive.verify().is_clean
    xr.testing.assert_equal(
        fleet.aggregate({"t": "count"}, every="1 day", time=("2024-01-01", "2024-01-06")), left
    )


def test_statistics_that_are_deleted_meanwhile_stay_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive, fleet = filled(retention={"raw": "10 days"})
    apply_retention(archive._repository, "fleet", START + 30 * DAY)
    writer = pipeline.Archive.open(archive.url).fleet("fleet")

    def act(number: int) -> None:
        if number == 0:
            writer.delete("d1", ("2024-01-05", "2024-01-07"))

    between(monkeypatch, act)
    fleet.repartition(pipeline.Partitioning("1 month", 2, "1 day"))
    counts = fleet.aggregate(
        {"t": "count"}, every="1 day", devices="d1", time=("2024-01-04", "2024-01-08")
    )
    assert counts["t_count"].values.ravel().tolist() == [8, 0, 0, 8]
    assert archive.verify().is_clean


def test_rows_that_are_dropped_meanwhile_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled(retention={"raw": "10 days"})
    asked = fleet.aggregate(QUESTIONS, every="1 day")

    def act(number: int) -> None:
        if number == 0:
            apply_retention(archive._repository, "fleet", START + 30 * DAY)

    between(monkeypatch, act)
    fleet.repartition(pipeline.Partitioning("1 month", 2, "1 day"))
    assert rows(fleet)["time"].min() >= START + 20 * DAY
    xr.testing.assert_allclose(fleet.aggregate(QUESTIONS, every="1 day"), asked)
    assert archive.verify().is_clean


def test_periods_that_cannot_be_made_are_refused() -> None:
    archive, fleet = filled(retention={"raw": "10 days"})
    apply_retention(archive._repository, "fleet", START + 30 * DAY)
    with pytest.raises(InvalidInputError, match="give summary='1 day'"):
        fleet.repartition(pipeline.Partitioning("1 hour"))
    with pytest.raises(InvalidInputError, match=r"2024-01-21.*inside of a period of 1 month"):
        fleet.repartition(pipeline.Partitioning("1 month"))


def test_what_cannot_be_is_refused() -> None:
    archive, fleet = filled()
    with pytest.raises(InvalidInputError, match="by cannot be changed"):
        fleet.repartition(pipeline.Partitioning(by="site"))
    with pytest.raises(InvalidInputError, match="rows_at_once is 0"):
        fleet.repartition(SCHEMES[0], rows_at_once=0)
    with pytest.raises(InvalidInputError, match="old snapshot"):
        archive.at(archive._repository.tip()).fleet("fleet").repartition(SCHEMES[0])
    many = memory_archive().create_fleet("many", SCHEMA)
    many.set_tags({f"d{at}": {"site": "Oslo"} for at in range(66_000)})
    with pytest.raises(InvalidInputError, match="room for 65536 device blocks"):
        many.repartition(pipeline.Partitioning(devices_per_block=1))


def test_a_fleet_that_is_partitioned_by_a_tag_gets_other_windows() -> None:
    archive, fleet = filled(pipeline.Partitioning("1 day", 2, by="site", landing_rows=0))
    fleet.set_tags({"d1": {"site": "Oslo"}, "x": {"site": "Bergen"}})
    before = rows(fleet)
    with pytest.raises(InvalidInputError, match="devices_per_block cannot be changed"):
        fleet.repartition(pipeline.Partitioning("1 day", 3, by="site"))
    fleet.repartition(pipeline.Partitioning("1 month", 2, by="site"))
    pd.testing.assert_frame_equal(rows(fleet), before)
    assert set(rows_of(fleet.read(where={"site": "Oslo"}))["device"]) == {"d0", "d1"}
    fleet.append(batch(24 * 50, 24, 8), tags={"d7": {"site": "Bergen"}})
    assert archive.verify().is_clean


def test_a_damaged_block_leaves_the_fleet_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    archive, fleet = filled()

    def fail(*_: Any) -> Any:
        raise CorruptBlockError("fleet/raw/t: damaged")

    with monkeypatch.context() as patch:
        patch.setattr(FetchedBlocks, "decode_all", fail)
        with pytest.raises(CorruptBlockError):
            fleet.repartition(SCHEMES[0])
    assert "g1" not in names_in(archive)
    assert archive.verify().is_clean


def test_releases_that_know_no_generations_refuse_the_fleet() -> None:
    archive, fleet = filled()
    store = archive._repository.snapshot().store
    assert "generation" not in zarr.open_group(store, path="fleet", mode="r").attrs["partitioning"]  # type: ignore[operator]
    fleet.repartition(SCHEMES[0])
    store = archive._repository.snapshot().store
    said: Any = zarr.open_group(store, path="fleet", mode="r").attrs["partitioning"]
    assert said["generation"] == 1
    with pytest.raises(InvalidInputError, match="newer version"):
        pipeline.Partitioning.from_json(said)


def test_plain_zarr_finds_the_arrays_by_the_attribute() -> None:
    archive, fleet = filled()
    expected = rows(fleet)
    fleet.repartition(SCHEMES[1])
    store = archive._repository.snapshot().store
    said: Any = zarr.open_group(store, path="fleet", mode="r").attrs["partitioning"]
    root = f"fleet/g{said['generation']}"
    values: list[float] = []
    time = zarr.open_array(store, path=f"{root}/raw/t", mode="r")
    assert zarr.open_array(store, path=f"{root}/raw/mode", mode="r").attrs["flag_values"] == [0, 1]
    for window, block, slot in stored_chunks(store, f"{root}/raw/t"):
        first = slot * 65_536
        part: Any = time[window, block, first : first + 1000]
        values += part[~np.isnan(part)].tolist()
    assert sorted(values)[:5] == sorted(expected["t"])[:5]
    assert len(set(values)) >= len(expected)


def test_tables_of_both_grids_have_other_paths() -> None:
    archive, _ = filled()
    layout = store_of(archive).view().meta.layout
    moved = replace(layout, generation=4)
    tables: list[Callable[[Any], Table]] = [
        lambda one: one.index,
        lambda one: one.slots,
        lambda one: one.extent,
    ]
    for table in tables:
        assert table(layout).path.startswith("fleet/")
        assert table(moved).path == table(layout).path.replace("fleet/", "fleet/g4/")
    assert moved.state.path == layout.state.path
    assert moved.grid_paths == ("fleet/g4",)
