"""Compaction: what is merged, what answers stay, and what others do meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import pipeline
from pipeline.archive.block_index import BlockTable
from pipeline.archive.compacting import CompactionPolicy, Cut, Merge, plan_merges
from pipeline.archive.compaction import CommitSize, CompactionResult, compact
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import BLOCK_ROWS, INDEX_FIELDS
from pipeline.archive.locations import Location
from pipeline.archive.merging import prepare_merge
from pipeline.archive.preparing import Prepared
from pipeline.archive.rewriting import Rewrite
from pipeline.archive.transactions import Repository
from pipeline.errors import ConflictError, CorruptBlockError, InvalidInputError
from pipeline.partitioning.pruning import Selection
from tests.support import START, memory_archive, minutes, rows_of

SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("t", "float64"),
        pipeline.Channel("n", "int16"),
        pipeline.Channel("open", "bool"),
        pipeline.Channel("mode", "category"),
    ]
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEFAULT = CompactionPolicy()


def new_fleet(duplicates: str = "keep_last", **scheme: Any) -> tuple[pipeline.Fleet, FleetStore]:
    archive = memory_archive()
    partitioning = pipeline.Partitioning(**scheme)
    fleet = archive.create_fleet("fleet", SCHEMA, partitioning, duplicates=duplicates)
    return fleet, FleetStore(Repository.open(Location.parse(archive.url)), "fleet")


def batch(devices: Sequence[str], steps: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Return rows at some minutes, with missing values, bools and texts."""
    chance = np.random.default_rng(seed)
    n = len(steps)
    return {
        "device": list(devices),
        "time": minutes(*steps),
        "t": pa.array(chance.normal(size=n), mask=chance.random(n) < 0.2),
        "n": pa.array(chance.integers(-99, 99, n), pa.int16(), mask=chance.random(n) < 0.2),
        "open": pa.array(chance.random(n) < 0.5, mask=chance.random(n) < 0.2),
        "mode": pa.array([[None, "day", "night"][k] for k in chance.integers(0, 3, n)]),
    }


def disordered(fleet: pipeline.Fleet, batches: int = 15) -> None:
    """Append batches with repeated and late rows over three days."""
    chance = np.random.default_rng(3)
    for number in range(batches):
        n = int(chance.integers(1, 60))
        devices = [f"d{code}" for code in chance.integers(0, 9, n)]
        steps = chance.integers(0, 60, n) * 72
        fleet.append(batch(devices, steps.tolist(), number))


def wide(device: str, first: float, rows: int, value: float) -> dict[str, Any]:
    """Return `rows` rows of one device, one a millisecond."""
    return {
        "device": device,
        "time": minutes(first)[0] + np.arange(rows).astype("m8[ms]"),
        "t": value + np.arange(rows) / 8,
        "n": np.arange(rows) % 100,
        "open": np.arange(rows) % 2 == 0,
        "mode": pa.DictionaryArray.from_arrays(np.arange(rows) % 2, ["day", "night"]),
    }


def blocks_of(store: FleetStore) -> BlockTable:
    return store.view().blocks(Selection())


@pytest.mark.parametrize("duplicates", ["keep_last", "keep_first", "keep_all"])
@pytest.mark.parametrize("landing_rows", [0, 30, 4096])
def test_answers_stay_and_blocks_come_out_in_order(duplicates: str, landing_rows: int) -> None:
    fleet, store = new_fleet(duplicates, landing_rows=landing_rows, devices_per_block=4)
    disordered(fleet)
    before, latest = fleet.read().read_all(), fleet.latest()
    part = fleet.read(["d3", "d7"], (minutes(500)[0], minutes(2000)[0]), ["mode", "t"]).read_all()
    hours = fleet.aggregate({"t": ["count", "min", "first"], "mode": "last"}, every="1h")
    blocks = blocks_of(store)
    done = fleet.compact()
    assert fleet.read().read_all().equals(before)
    again = fleet.read(["d3", "d7"], (minutes(500)[0], minutes(2000)[0]), ["mode", "t"]).read_all()
    assert again.equals(part)
    assert fleet.latest().drop_attrs().equals(latest.drop_attrs())
    told = fleet.aggregate({"t": ["count", "min", "first"], "mode": "last"}, every="1h")
    assert told.drop_attrs().equals(hours.drop_attrs())
    assert all(unit.is_simple for unit in store.view().units(Selection()))
    found = blocks_of(store)
    assert (done.blocks_before, done.blocks_after) == (len(blocks), len(found))
    assert [done.bytes_before, done.bytes_after] == [blocks.bytes.sum(), found.bytes.sum()]
    assert done.duplicates == blocks.rows.sum() - found.rows.sum()
    assert (done.duplicates == 0) == (duplicates == "keep_all")
    assert found.rows.sum() == before.num_rows
    assert (done.windows, done.retries, done.skipped) == (3, 0, 0)
    assert len(found) <= done.partitions
    assert fleet.compact() == CompactionResult(
        windows=3,
        blocks_before=len(found),
        blocks_after=len(found),
        bytes_before=done.bytes_after,
        bytes_after=done.bytes_after,
    )


def test_rows_of_equal_device_and_time_stay_as_they_came() -> None:
    fleet, _ = new_fleet("keep_all")
    for number in range(5):
        fleet.append(batch(["a", "a", "b"], [1, 1, 1], number))
    before = fleet.read().read_all()
    assert fleet.compact().merges == 1
    assert fleet.read().read_all().equals(before)
    fleet.append(batch(["a", "b"], [1, 1], 9))
    before = fleet.read().read_all()
    assert fleet.compact().merges == 1
    assert fleet.read().read_all().equals(before)


def test_many_rows_become_full_blocks_of_their_devices() -> None:
    fleet, store = new_fleet(devices_per_block=2, landing_rows=100)
    for number in range(12):
        for device in "abc":
            fleet.append(wide(device, 60 * number, 12_000, number))
    before = fleet.read().read_all()
    done = fleet.compact()
    assert (done.merges, done.partitions, done.rows) == (2, 2, 36 * 12_000)
    found = blocks_of(store)
    assert found.device_block.tolist() == [1] * 5 + [2] * 3
    assert found.rows.min() > BLOCK_ROWS / 2
    assert found.by_device().in_order
    assert found.level.tolist() == [1] * 8
    assert fleet.read().read_all().equals(before)


@pytest.mark.parametrize("devices", ["a", "abcd"])
def test_a_partition_larger_than_what_is_held_at_once(devices: str) -> None:
    fleet, store = new_fleet(landing_rows=0)
    share = 40_000 // len(devices)
    for number in range(9):
        parts = [wide(device, 60 * (number % 5), share, number) for device in devices]
        names = [name for name in parts[0] if name not in ("device", "mode")]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in names}
        mode = pa.concat_arrays([part["mode"] for part in parts])
        fleet.append({**rows, "mode": mode, "device": np.repeat(list(devices), share)})
    before = fleet.read().read_all()
    most: list[int] = []

    def carry_out(view: FleetView, merges: Sequence[Merge]) -> Iterator[Prepared]:
        for merge in merges:
            blocks = merge.blocks
            most.extend(int(blocks.rows[cut.meets(blocks)].sum()) for cut in merge.cuts)
            yield prepare_merge(view, merge)

    policy = CompactionPolicy(rows_at_once=2 * BLOCK_ROWS)
    done = compact(store, policy, NOW, carry_out=carry_out)
    # Of several devices, runs in (device, time) order are made first.
    assert done.merges == {"a": 1, "abcd": 4}[devices] < len(most)
    assert max(most) <= 2 * policy.rows_at_once
    assert done.rows == 360_000 * len(devices[:2])
    found = blocks_of(store).by_device()
    assert found.in_order
    assert found.rows[:-1].tolist() == [BLOCK_ROWS] * (len(found) - 1)
    assert before.num_rows == found.rows.sum()
    assert fleet.read().read_all().equals(before)
    count = fleet.aggregate({"open": "count"}, every="1h")["open_count"]
    assert count.sum() == before.num_rows
    assert compact(store, policy, NOW).merges == 0


def test_landing_rows_beyond_what_is_held_at_once_go_to_their_devices_in_slices() -> None:
    fleet, store = new_fleet(devices_per_block=1, landing_rows=20_000)
    for number in range(12):
        for device in "ab":
            fleet.append(wide(device, 60 * number, 12_000, number))
    assert (blocks_of(store).device_block == 0).all()
    before = fleet.read().read_all()
    done = compact(store, CompactionPolicy(rows_at_once=BLOCK_ROWS), NOW, size=CommitSize(2))
    assert done.commits > done.merges / 2 > 1
    found = blocks_of(store)
    assert (found.device_block > 0).all()
    assert found.by_device().in_order
    assert fleet.read().read_all().equals(before)


@pytest.mark.parametrize("duplicates", ["keep_last", "keep_first"])
def test_landing_rows_are_not_moved_past_what_was_written_in_between(duplicates: str) -> None:
    fleet, store = new_fleet(duplicates, landing_rows=1000)
    n = 40_000
    fleet.append(wide("a", 0, 500, 1))
    fleet.append(wide("a", 0, n, 2))  # goes to the device's own block
    fleet.append(wide("b", 0, 500, 3))
    fleet.append(wide("a", 300, n, 4))
    before = fleet.read().read_all()
    expected = 1.0 if duplicates == "keep_first" else 2.0
    assert before["t"][0].as_py() == expected
    compact(store, CompactionPolicy(rows_at_once=BLOCK_ROWS), NOW)
    assert fleet.read().read_all().equals(before)
    assert (blocks_of(store).device_block == 1).all()


def test_late_rows_join_the_blocks_of_their_devices() -> None:
    fleet, store = new_fleet(landing_rows=100, devices_per_block=1)
    fleet.append(wide("a", 0, 5000, 1))
    fleet.append(wide("b", 0, 5000, 1))
    assert fleet.compact().merges == 0
    fleet.append(wide("b", 0, 50, 7))
    before = fleet.read().read_all()
    done = fleet.compact()
    assert (done.merges, done.duplicates) == (1, 50)
    found = blocks_of(store)
    assert found.rows.tolist() == [5000, 5000]
    assert found.level.tolist() == [0, 1]
    assert fleet.read().read_all().equals(before)


def test_few_rows_of_many_devices_share_sorted_landing_blocks() -> None:
    fleet, store = new_fleet(devices_per_block=1, landing_rows=100)
    names = [f"d{code}" for code in range(200)]
    for number in range(4):
        fleet.append(batch(names, [number] * 200, number))
    fleet.append(wide("d7", 100, 150, 3))
    before = fleet.read().read_all()
    fleet.compact()
    found = blocks_of(store)
    assert (found.device_block.tolist(), found.rows.tolist()) == ([0], [950])
    assert fleet.read().read_all().equals(before)


@pytest.mark.parametrize(
    ("policy", "merges"),
    [
        (CompactionPolicy(), 1),
        (CompactionPolicy(small_blocks=4), 1),
        (CompactionPolicy(overlap=4), 1),
        (CompactionPolicy(small_blocks=4, overlap=4), 0),
        (CompactionPolicy(small_blocks=3, overlap=4), 1),
    ],
)
def test_the_policy_says_what_is_left_alone(policy: CompactionPolicy, merges: int) -> None:
    fleet, store = new_fleet()
    for number in range(4):
        fleet.append(batch(["a", "b"], [number, number], number))
    assert compact(store, policy, NOW).merges == merges


def test_windows_have_to_be_old_enough() -> None:
    fleet, store = new_fleet()
    for day in range(3):
        for number in range(2):
            fleet.append(batch(["a"], [day * 1440 + number], number))
    hour = 3_600_000_000
    noon = datetime.fromtimestamp(START / 1e6 + 1.5 * 86_400, UTC)
    assert compact(store, CompactionPolicy(older_than=13 * hour), noon).windows == 0
    done = compact(store, CompactionPolicy(older_than=12 * hour), noon)
    assert (done.windows, done.merges) == (1, 1)
    assert fleet.compact(time=("2024-01-03", None)).windows == 1
    assert fleet.compact(older_than="1 day").merges == 1


@pytest.mark.parametrize("wrong", [{"small_blocks": -1}, {"overlap": 0}, {"rows_at_once": 0}])
def test_policies_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        CompactionPolicy(**wrong)


def test_an_old_snapshot_is_not_compacted() -> None:
    archive = memory_archive()
    archive.create_fleet("fleet", SCHEMA)
    old = archive.at(next(archive.history()).snapshot)
    with pytest.raises(InvalidInputError, match="old snapshot"):
        old.fleet("fleet").compact()


def test_readers_see_the_old_state_or_the_new() -> None:
    fleet, store = new_fleet()
    disordered(fleet)
    view, before = store.view(), fleet.read().read_all()
    lazy = fleet.to_xarray("d3")
    fleet.compact()
    assert len(view.blocks(Selection())) > len(blocks_of(store))
    rows = sum(len(view.rows(unit, Selection())) for unit in view.units(Selection()))
    assert rows == before.num_rows
    assert lazy["t"].values.tobytes() == fleet.to_xarray("d3")["t"].values.tobytes()


def test_appends_go_on_meanwhile_and_nothing_is_lost() -> None:
    fleet, store = new_fleet("keep_all", devices_per_block=2, landing_rows=20)
    failed: list[BaseException] = []

    def append(worker: int) -> None:
        try:
            for number in range(25):
                rows = batch([f"d{worker}"] * (30 if number % 5 == 0 else 2), [], 0)
                n = len(rows["device"])
                rows |= {key: rows[key] for key in ("device",)}
                values = worker * 10_000 + number * 100 + np.arange(n)
                fleet.append(
                    {
                        "device": rows["device"],
                        "time": minutes(*(number % 7 + np.arange(n))),
                        "t": values.astype(float),
                        "n": np.zeros(n),
                        "open": np.ones(n, bool),
                        "mode": ["x"] * n,
                    }
                )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=append, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    merges = 0
    while any(thread.is_alive() for thread in threads):
        merges += compact(store, DEFAULT, NOW).merges
    for thread in threads:
        thread.join()
    assert not failed
    assert merges > 0
    found = rows_of(fleet.read())
    expected = [
        worker * 10_000 + number * 100 + row
        for worker in range(3)
        for number in range(25)
        for row in range(30 if number % 5 == 0 else 2)
    ]
    assert sorted(found["t"]) == expected
    counted = fleet.aggregate({"t": ["count", "sum"]}, by=[])
    assert counted["t_count"] == len(expected)
    assert counted["t_sum"] == pytest.approx(sum(expected))


def test_a_stale_plan_is_made_again() -> None:
    fleet, store = new_fleet()
    for number in range(3):
        fleet.append(batch(["a"], [number], number))
    before = fleet.read().read_all()
    disturbed: list[Any] = []

    def carry_out(view: FleetView, merges: Sequence[Merge]) -> Iterator[Prepared]:
        encoded = [prepare_merge(view, merge) for merge in merges]
        if not disturbed:
            disturbed.append(
                store.rewrite(view, [Rewrite(merges[0].blocks, encoded[0])], kind="other")
            )
            fleet.append(batch(["a"], [0], 7))
        yield from encoded

    done = compact(store, DEFAULT, NOW, carry_out=carry_out)
    assert (done.retries, done.merges, done.commits, done.duplicates) == (1, 1, 1, 1)
    assert fleet.read().read_all().num_rows == before.num_rows
    assert len(blocks_of(store)) == 1


def test_writers_that_never_stop_changing_the_same_blocks() -> None:
    fleet, store = new_fleet()
    for number in range(3):
        fleet.append(batch(["a"], [number], number))

    def carry_out(view: FleetView, merges: Sequence[Merge]) -> Iterator[Prepared]:
        one = merges[0].blocks.take(np.array([0]))
        again = prepare_merge(view, Merge(one, (Cut(0, 9),), to_own=False))
        store.rewrite(view, [Rewrite(one, again, int(one.level[0]) + 1)], kind="other")
        yield from (prepare_merge(view, merge) for merge in merges)

    with pytest.raises(ConflictError, match="compact again later"):
        compact(store, DEFAULT, NOW, carry_out=carry_out)


def test_a_damaged_block_stops_it_and_stays() -> None:
    fleet, store = new_fleet()
    for number in range(3):
        fleet.append(batch(["a"], [number], number))
    view = store.view()
    merge = next(iter(plan_merges(view.blocks(Selection()), DEFAULT, {1})))
    wrong = merge.blocks.fields.copy()
    wrong[INDEX_FIELDS.index("rows")] = 7
    with pytest.raises(CorruptBlockError, match="index says 7"):
        prepare_merge(view, replace(merge, blocks=BlockTable(merge.blocks.places, wrong)))
    assert fleet.read().read_all().num_rows == 3


def table(*rows: dict[str, int]) -> BlockTable:
    """Return blocks of one window; fields that are not given are those of a small block."""
    usual = {"rows": 10, "time_max": 9, "device_max": 3, "schema_version": 1}
    every = [{"sequence": at, **usual, **row} for at, row in enumerate(rows)]
    fields = [[row.get(name, 0) for row in every] for name in INDEX_FIELDS]
    places = [[0, row.get("block", 1), at] for at, row in enumerate(every)]
    made = BlockTable(np.array(places, np.int64), np.array(fields, np.int64))
    return made.take(np.lexsort(made.places.T[::-1]))


def planned(blocks: BlockTable, policy: CompactionPolicy = DEFAULT) -> list[list[int]]:
    merges = plan_merges(blocks, policy, {1})
    return [sorted(merge.blocks.places[:, 2].tolist()) for merge in merges]


def test_partitions_are_planned_apart() -> None:
    far = {"block": 2, "device_min": 256, "device_max": 258}
    assert planned(table({}, {}, far, far)) == [[0, 1], [2, 3]]
    assert planned(table({}, {}, far)) == [[0, 1]]
    assert planned(table({"block": 0}, {}, far, far)) == [[0, 1], [2, 3]]
    assert planned(table({"block": 0, "device_max": 300}, {}, far, far)) == [[0, 1, 2, 3]]


def test_blocks_of_another_version_are_left_alone_with_what_hangs_on_them() -> None:
    old = {"schema_version": 7, "device_max": 0}
    later = {"time_min": 20, "time_max": 30}
    assert planned(table(old, {}, later, later)) == [[2, 3]]
    assert planned(table(old, {}, {})) == []
    assert planned(table({**old, "sequence": 3}, {}, later, {**later, "sequence": 3})) == []


def test_merged_blocks_do_not_take_the_place_of_others_in_between() -> None:
    full = {"rows": 60_000}
    policy = CompactionPolicy(rows_at_once=70_000)
    landing = {"block": 0, "rows": 10}
    assert planned(table(landing, landing, full, landing, full), policy) == [[0, 1], [3]]
    apart = {**full, "time_min": 20, "time_max": 30}
    assert planned(table(landing, landing, apart, landing, full), policy) == [[0, 1, 3]]
    batch_mate = {**apart, "sequence": 3}
    assert planned(table(landing, landing, batch_mate, landing, full), policy) == [[0, 1], [3]]


def test_cuts_of_a_merge_cover_its_rows_once() -> None:
    rows = [{"device_min": at, "device_max": at + 40, "rows": 5000} for at in range(0, 160, 10)]
    one = {"device_min": 90, "device_max": 90, "rows": 30_000}
    long = [{**one, "time_min": at, "time_max": at} for at in range(9)]
    (merge,) = plan_merges(table(*rows, *long), CompactionPolicy(rows_at_once=100_000), {1})
    assert len(merge.cuts) > 3
    devices, times = np.meshgrid(np.arange(200), np.arange(12))
    covered = np.zeros(devices.shape, int)
    for cut in merge.cuts:
        inside = (devices >= cut.first_code) & (devices < cut.last_code)
        covered += inside & (times >= cut.start) & (times < cut.stop)
    assert (covered[:, :190] == 1).all()
    assert (covered[:, 191:] == 0).all()
    assert sum(cut.first_code == cut.last_code - 1 == 90 for cut in merge.cuts) > 1


def test_a_commit_says_what_it_did() -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA)
    disordered(fleet, 5)
    rows = fleet.read().read_all().num_rows
    done = fleet.compact()
    commit = next(archive.history())
    assert commit.snapshot == done.snapshot
    assert commit.message == "compact fleet"
    assert commit.metadata["kind"] == "compact"
    assert commit.metadata["rows_after"] == rows
