"""What others do while a fleet is partitioned anew, and runs that are killed or taken over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
import xarray as xr
from zarr.abc.store import Store

import pipeline
from pipeline.archive import repartitioning
from pipeline.archive.leftover_grids import drop_leftovers
from pipeline.archive.repartitioning import repartition
from pipeline.archive.thinning import apply_retention
from pipeline.errors import ConflictError
from pipeline.model.tables import to_table
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.validation import validate
from tests.archive.repartitioned import (
    DAY,
    QUESTIONS,
    SCHEMA,
    SCHEMES,
    batch,
    filled,
    names_in,
    rows,
    store_of,
)
from tests.support import START, memory_archive


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
        repartition(store_of(archive), SCHEMES[0], rows_at_once=100)
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
    assert len(rows(fleet)) == before + len(calls) * 5 * 4
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
    monkeypatch.setattr(repartitioning, "_ROWS_PER_COMMIT", 250)
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
            fleet.repartition(SCHEMES[0], rows_at_once=150)
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
    assert counts["t_count"].values.ravel().tolist() == [4, 0, 0, 4]
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
