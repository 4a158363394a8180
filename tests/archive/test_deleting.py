"""Deleted rows are gone, from rows and statistics, and everything else is as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pipeline
from pipeline.archive.deleting import DeleteResult, delete_rows
from pipeline.archive.expiry import forget
from pipeline.archive.thinning import apply_retention
from pipeline.errors import ConflictError, InvalidInputError, NotFoundError
from pipeline.partitioning.pruning import Selection
from tests.support import START, memory_archive, rows_of

DAY = 86_400_000_000
SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("mode", "category")])
STATISTICS = {"t": ["count", "sum", "min", "max", "std", "first", "last"], "mode": "last"}


def filled(
    archive: pipeline.Archive, duplicates: str = "keep_last", summary: str = "1 day"
) -> pipeline.Fleet:
    """Fill a fleet with overlapping batches, large and small."""
    partitioning = pipeline.Partitioning("1 day", 2, summary, landing_rows=30)
    fleet = archive.create_fleet("rooms", SCHEMA, partitioning, duplicates=duplicates)
    chance = np.random.default_rng(1)
    for rows, devices in ((600, 5), (60, 4), (100, 1), (200, 3)):
        time = START + chance.integers(0, 5 * 24, rows * devices) * DAY // 24
        fleet.append(
            {
                "device": np.repeat([f"d{at}" for at in range(devices)], rows),
                "time": time.astype("M8[us]"),
                "t": chance.normal(size=rows * devices),
                "mode": chance.choice(["on", "off"], rows * devices),
            },
            tags={"d1": {"site": "north"}},
        )
    return fleet


def frame_without(before: pd.DataFrame, devices: list[str] | None, start: int, stop: int) -> Any:
    gone = (before["time"] >= start) & (before["time"] < stop)
    if devices is not None:
        gone &= before["device"].isin(devices)
    return before[~gone].reset_index(drop=True)


@pytest.mark.parametrize(
    ("devices", "hours", "summary", "duplicates"),
    [
        (["d1"], None, "1 day", "keep_last"),
        (["d0", "d3"], None, "1 hour", "keep_all"),
        (None, (24, 72), "1 day", "keep_first"),
        (None, (30, 50), "1 hour", "keep_last"),
        (["d2"], (7, 31), "1 day", "keep_all"),
        (["d4", "d1"], (0, 1000), "1 hour", "keep_first"),
        (None, (None, None), "1 day", "keep_last"),
    ],
)
def test_what_is_left_is_what_was_not_deleted(
    devices: list[str] | None, hours: Any, summary: str, duplicates: str
) -> None:
    archive = memory_archive()
    fleet = filled(archive, duplicates, summary)
    before = rows_of(fleet.read())
    start, stop = (-(2**62), 2**62)
    time: Any = None
    if hours is not None:
        time = tuple(
            None if at is None else np.datetime64(START + at * DAY // 24, "us") for at in hours
        )
        start, stop = (
            bound if at is None else START + at * DAY // 24
            for at, bound in zip(hours, (start, stop), strict=True)
        )
    done = fleet.delete(devices, time)
    left = rows_of(fleet.read())
    expected = frame_without(before, devices, start, stop)
    pd.testing.assert_frame_equal(left, expected, check_dtype=False, check_categorical=False)
    assert done.rows >= len(before) - len(left) > 0
    assert archive.verify().is_clean
    assert fleet.devices == [f"d{at}" for at in range(5)]
    assert fleet.tags["d1"] == {"site": "north"}
    again = fleet.delete(devices, time)
    assert again == DeleteResult()
    if len(expected):
        same = expected.groupby("device")["t"].sum()
        answer = fleet.aggregate({"t": "sum"})["t_sum"].to_series()
        np.testing.assert_allclose(answer[same.index], same, rtol=1e-9)


def test_an_older_row_does_not_come_back_when_the_newer_is_deleted() -> None:
    fleet = filled(memory_archive())
    at = np.array([START], "M8[us]")
    for value in (1.0, 2.0):
        fleet.append({"device": ["x"], "time": at, "t": [value]})
    fleet.delete("x")
    assert rows_of(fleet.read("x")).empty
    assert fleet.aggregate({"t": "count"}, devices="x")["t_count"].values.tolist() == [0]
    assert np.isnat(fleet.latest("x")["time"].values[0])
    fleet.append({"device": ["x"], "time": at, "t": [3.0]})
    assert rows_of(fleet.read("x"))["t"].tolist() == [3.0]


def test_after_expiry_nothing_of_the_rows_is_left_on_the_disk(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "x")
    fleet = archive.create_fleet("rooms", SCHEMA)
    secret = 1234.56789012345
    count = 5000
    chance = np.random.default_rng(0)
    fleet.append(
        {
            "device": np.repeat(["a", "b"], count),
            "time": (START + np.tile(np.arange(count), 2) * 1000).astype("M8[us]"),
            "t": np.concatenate([chance.normal(size=count), np.full(count, secret)]),
        }
    )
    before = next(archive.history()).snapshot
    fleet.delete("b")
    assert rows_of(archive.at(before).fleet("rooms").read("b"))["t"].tolist() == [secret] * count
    chunks = {path.name for path in (tmp_path / "x" / "chunks").iterdir()}
    forget(archive._repository, datetime.now(UTC), timedelta(0), timedelta(0), alone=True)
    left = {path.name for path in (tmp_path / "x" / "chunks").iterdir()}
    assert left < chunks
    with pytest.raises(NotFoundError):
        pipeline.Archive.open(tmp_path / "x").at(before)
    assert rows_of(fleet.read()).shape[0] == count
    assert archive.verify().is_clean


def test_statistics_whose_rows_were_dropped_go_with_the_device() -> None:
    archive = memory_archive()
    fleet = filled(archive, summary="1 hour")
    fleet.set_retention("1 day")
    apply_retention(archive._repository, "rooms", START + 4 * DAY)
    count = fleet.aggregate({"t": "count"}, every="1h")["t_count"]
    half = np.datetime64(START + DAY // 2 + 5, "us")
    done = fleet.delete("d1", time=(half, None))
    after = fleet.aggregate({"t": "count"}, every="1h")["t_count"]
    # The hour that the range cuts goes as a whole, since its rows are not there to tell.
    cut = np.datetime64(START + DAY // 2, "us")
    kept = count.where((count["device"] != "d1") | (count["time"] < cut), 0)
    xr.testing.assert_equal(after, kept.reindex_like(after))
    assert done.cells > 24
    assert done.windows == 5
    assert archive.verify().is_clean
    assert fleet.delete("d1", time=(half, None)) == DeleteResult()


def test_deleting_everything_has_to_be_said() -> None:
    archive = memory_archive()
    fleet = filled(archive)
    with pytest.raises(InvalidInputError, match="deletes all rows"):
        fleet.delete()
    with pytest.raises(NotFoundError, match="nobody"):
        fleet.delete("nobody")
    old = archive.at(next(archive.history()).snapshot).fleet("rooms")
    with pytest.raises(InvalidInputError, match="without at"):
        old.delete("d1")


def test_rows_appended_meanwhile_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = memory_archive()
    fleet = filled(archive)
    store = fleet._store
    real, calls = store.rewrite, []

    def late(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            time = np.array([START + 5], "M8[us]")
            archive.fleet("rooms").append({"device": ["d1"], "time": time, "t": [7.0]})
        if len(calls) == 2:
            archive.fleet("rooms").compact()
        return real(*arguments, **options)

    monkeypatch.setattr(store, "rewrite", late)
    delete_rows(store, Selection.of(None, None, [1]))
    # The compaction changed the blocks of the second window, so it was planned again.
    assert len(calls) == 6
    assert rows_of(fleet.read("d1"))["t"].tolist() == [7.0]
    assert fleet.aggregate({"t": "sum"}, devices="d1")["t_sum"].values.tolist() == [7.0]
    assert archive.verify().is_clean


def test_it_gives_up_when_others_are_always_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.archive.fleet_state import StalePlanError

    fleet = filled(memory_archive())

    def never(*_: Any, **__: Any) -> Any:
        raise StalePlanError

    monkeypatch.setattr(fleet._store, "rewrite", never)
    with pytest.raises(ConflictError, match="delete again later"):
        fleet.delete("d1")


def test_statistics_agree_with_a_fleet_that_never_had_the_rows() -> None:
    fleet = filled(memory_archive())
    fleet.delete(["d1", "d2"], time=("2024-01-02", "2024-01-04"))
    left = fleet.read().read_all()
    twin = memory_archive().create_fleet("rooms", SCHEMA, fleet.partitioning)
    twin.append(left)
    answers = [one.aggregate(STATISTICS, every="1 day") for one in (fleet, twin)]
    xr.testing.assert_allclose(*(answer.drop_attrs() for answer in answers))


def test_statistics_of_several_dropped_windows_are_deleted() -> None:
    archive = memory_archive()
    fleet = filled(archive)
    fleet.set_retention("1 day")
    apply_retention(archive._repository, "rooms", START + 6 * DAY)
    fleet.delete("d0", ("2024-01-02", "2024-01-04"))
    counts = fleet.aggregate({"t": "count"}, "1 day", "d0", ("2024-01-01", "2024-01-05"))
    assert (counts["t_count"].values.ravel() > 0).tolist() == [True, False, False, True]
