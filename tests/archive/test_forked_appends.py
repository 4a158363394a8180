"""Appends through forks: as if the job itself had written, whatever others do meanwhile."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pipeline
from pipeline.archive import forked_appends
from pipeline.archive.appending import AppendPlan, AppendResult
from pipeline.archive.chunk_io import put_many
from pipeline.archive.fleet_store import FleetStore, prepare_planned
from pipeline.archive.forked_appends import put_blocks
from pipeline.archive.layout import FleetLayout
from pipeline.archive.locations import Location
from pipeline.archive.preparing import Prepared
from pipeline.archive.transactions import Fork, Repository
from pipeline.errors import ConflictError, DuplicateRowsError
from pipeline.model.batches import Column, RecordBatch
from tests.support import MINUTE, START, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64")])
DAY = 1440


def batch(device: str, *minutes: float, value: float = 1.0) -> RecordBatch:
    time = START + (np.array(minutes) * MINUTE).astype(np.int64)
    index = np.zeros(len(time), np.int32)
    return RecordBatch((device,), index, time, {"t": Column(float(value) + np.arange(len(time)))})


@dataclass
class Elsewhere:
    """Writers that get and give everything pickled, as processes do."""

    batches: Sequence[RecordBatch]
    layout: FleetLayout
    before_commit: Callable[[], object] = lambda: None
    times: int = 1
    encodings: int = 0
    puts: int = 0
    _prepared: list[Prepared] = field(default_factory=list)

    def prepare(self, plan: AppendPlan) -> Sequence[Prepared]:
        self.encodings += 1
        self._prepared = [prepare_planned(batch, plan) for batch in self.batches]
        return [part.without_payloads() for part in self._prepared]

    def put(self, slots: Sequence[tuple[int, ...]], fork: Callable[[], Fork]) -> Sequence[Fork]:
        self.puts += 1
        forks = []
        for first in range(0, len(self._prepared), 2):  # two batches in every process
            some = slice(first, first + 2)
            mine: Fork = pickle.loads(pickle.dumps(fork()))
            put_blocks(self._prepared[some], self.layout, mine, slots[some])
            forks.append(pickle.loads(pickle.dumps(mine)))
        if self.times:
            self.times -= 1
            self.before_commit()
        return [Fork.join(forks[:2]), *forks[2:]]


@pytest.fixture
def store(tmp_path: Path) -> FleetStore:
    archive = pipeline.Archive.create(tmp_path / "archive")
    archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning("1 day", 1, landing_rows=0))
    store = FleetStore(Repository.open(Location.parse(archive.url)), "fleet")
    store.append(batch("a", 0))
    return store


def append(store: FleetStore, writers: Elsewhere) -> AppendResult:
    devices = [name for part in writers.batches for name in part.devices]
    return store.append_forked(devices, {}, writers, [], positions={"x": 1})


def writers(store: FleetStore, *batches: RecordBatch, **told: object) -> Elsewhere:
    return Elsewhere(batches, store.view().meta.layout, **told)  # type: ignore[arg-type]


def fleet(store: FleetStore) -> pipeline.Fleet:
    return pipeline.Archive.open(store.repository.location.path).fleet("fleet")


def frame(store: FleetStore) -> pd.DataFrame:
    """Return all rows, after checking that the summaries agree with them."""
    rows = rows_of(fleet(store).read())
    answer = fleet(store).aggregate({"t": ["count", "sum"]}, by=[])
    assert answer["t_count"] == len(rows)
    assert answer["t_sum"] == pytest.approx(rows["t"].sum())
    return rows


def test_it_stores_what_an_ordinary_append_stores(store: FleetStore, tmp_path: Path) -> None:
    parts = [batch("a", 1, 2, DAY + 3), batch("b", 5), batch("c", 7, 2 * DAY)]
    result = append(store, writers(store, *parts))
    assert (result.rows, result.blocks, result.late) == (6, 5, 0)
    newest = next(store.repository.history())
    assert newest.snapshot == result.snapshot
    assert newest.metadata["positions"] == {"x": 1}
    archive = pipeline.Archive.create(tmp_path / "other")
    archive.create_fleet("fleet", SCHEMA, pipeline.Partitioning("1 day", 1, landing_rows=0))
    other = FleetStore(Repository.open(Location.parse(archive.url)), "fleet")
    for part in [batch("a", 0), *parts]:
        other.append(part)
    pd.testing.assert_frame_equal(frame(store), frame(other))


def test_blocks_are_put_again_if_slots_were_taken(store: FleetStore) -> None:
    other = FleetStore(Repository.open(store.repository.location), "fleet")
    # Device and partition of the first part: its slot is gone; devices are known already.
    part = writers(
        store,
        batch("a", 1, 2),
        batch("a", DAY + 1),
        batch("a", 2 * DAY + 1),
        before_commit=lambda: other.append(batch("a", 10, value=50)),
    )
    append(store, part)
    assert part.puts == 2
    assert part.encodings == 1
    assert store.repository.retries == 1
    assert frame(store)["t"].tolist() == [1.0, 1.0, 2.0, 50.0, 1.0, 1.0]


def test_a_writer_of_other_partitions_is_in_nobodys_way(store: FleetStore) -> None:
    other = FleetStore(Repository.open(store.repository.location), "fleet")
    part = writers(
        store, batch("a", 1), before_commit=lambda: other.append(batch("a", 5 * DAY, value=9))
    )
    append(store, part)
    assert part.puts == 1
    assert store.repository.retries == 0
    assert frame(store)["t"].tolist() == [1.0, 1.0, 9.0]


def test_late_rows_and_repeated_ones_agree_with_the_summaries(store: FleetStore) -> None:
    append(store, writers(store, batch("a", 20, value=5)))
    result = append(store, writers(store, batch("a", 10, 20, value=7)))
    assert result.late == 1
    assert frame(store)["t"].tolist() == [1.0, 7.0, 8.0]


def test_new_devices_of_another_writer_mean_new_codes(
    store: FleetStore, caplog: pytest.LogCaptureFixture
) -> None:
    other = FleetStore(Repository.open(store.repository.location), "fleet")
    part = writers(store, batch("b", 1), before_commit=lambda: other.append(batch("z", 3, value=9)))
    append(store, part)
    assert part.encodings == 2
    assert fleet(store).devices == ["a", "z", "b"]
    assert sorted(zip(frame(store)["device"], frame(store)["t"], strict=True)) == [
        ("a", 1.0), ("b", 1.0), ("z", 9.0),
    ]  # fmt: skip
    assert "encoding anew" in caplog.text


def test_it_gives_up_on_writers_that_are_always_faster(
    store: FleetStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(forked_appends, "_ATTEMPTS", 3)
    other = FleetStore(Repository.open(store.repository.location), "fleet")
    minutes = iter(range(100, 200))
    part = writers(
        store,
        batch("a", 1),
        before_commit=lambda: other.append(batch("a", next(minutes), value=0)),
        times=3,
    )
    with pytest.raises(ConflictError, match="3 attempts to place blocks of 'append to fleet'"):
        append(store, part)
    assert frame(store)["t"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert caplog.text.count("putting them again") == 3


def test_refused_duplicates_store_nothing(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    archive.create_fleet("fleet", SCHEMA, duplicates="error")
    store = FleetStore(Repository.open(Location.parse(archive.url)), "fleet")
    store.append(batch("a", 0))
    before = store.repository.tip()
    with pytest.raises(DuplicateRowsError):
        append(store, writers(store, batch("a", 0)))
    assert store.repository.tip() == before


def test_what_is_never_committed_is_seen_by_nobody(store: FleetStore) -> None:
    def die() -> None:
        raise KeyboardInterrupt

    before = store.repository.tip()
    with pytest.raises(KeyboardInterrupt):
        append(store, writers(store, batch("a", 1), batch("b", 2), before_commit=die))
    assert store.repository.tip() == before
    assert len(frame(store)) == 1
    append(store, writers(store, batch("a", 1)))
    assert len(frame(store)) == 2


def test_forks_that_are_joined_stay_as_they_are(store: FleetStore) -> None:
    path = store.view().meta.layout.raw_path("t")
    transaction = store.repository.begin()
    assert transaction.base == store.repository.tip()
    one, two = transaction.fork(), transaction.fork()
    put_many(one.store, {f"{path}/c/9/9/0": b"one"})
    put_many(two.store, {f"{path}/c/9/9/1": b"two"})
    both = Fork.join([one, two])
    status = [fork.session.status() for fork in (one, two, both)]
    chunks = [sum(map(len, one.updated_chunks.values())) for one in status]
    assert chunks == [1, 1, 2]


def test_every_commit_is_logged(store: FleetStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "pipeline.archive"):
        result = append(store, writers(store, batch("a", 1)))
    assert f"append to fleet: snapshot {result.snapshot}" in caplog.text
