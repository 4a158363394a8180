"""Blocks are replaced by others in one commit, and nothing else is lost or changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from zarr.core.sync import sync

import pipeline
from pipeline.archive.block_index import BlockTable
from pipeline.archive.fleet_state import StalePlanError
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import INDEX_FIELDS
from pipeline.archive.locations import Location
from pipeline.archive.preparing import Prepared, prepare_stored
from pipeline.archive.read_units import ReadUnit
from pipeline.archive.rewriting import Rewrite, cells_of, needs_also
from pipeline.archive.summary_tables import Cells
from pipeline.archive.transactions import Repository
from pipeline.errors import StorageError
from pipeline.partitioning.pruning import Selection
from tests.support import memory_archive, minutes, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("n", "int16")])
EVERYTHING = Selection.of()


def new_fleet(
    partitioning: pipeline.Partitioning | None = None, duplicates: str = "keep_last"
) -> tuple[pipeline.Fleet, FleetStore]:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA, partitioning, duplicates=duplicates)
    return fleet, FleetStore(Repository.open(Location.parse(archive.url)), "fleet")


def batch(device: str | Sequence[str], steps: Sequence[float], value: float) -> dict[str, Any]:
    n = len(steps)
    devices = [device] * n if isinstance(device, str) else list(device)
    return {
        "device": devices,
        "time": minutes(*steps),
        "t": value + np.arange(n) / 8,
        "n": np.arange(n),
    }


def merged(view: FleetView, blocks: BlockTable) -> Prepared:
    """Return the rows of blocks of one window, duplicates resolved, as new blocks."""
    unit = ReadUnit(blocks.as_written(), 0, 1 << 31)
    rows = view.rows(unit, EVERYTHING, view.meta.schema.names)
    return prepare_stored(rows.codes, rows.time, rows.columns, view.meta)


def without(view: FleetView, blocks: BlockTable, code: int) -> tuple[Prepared, Cells]:
    """Return the rows of one block without a device's, and the cells that changes."""
    rows = view.rows(ReadUnit(blocks, 0, 1 << 31), EVERYTHING, view.meta.schema.names)
    kept = np.flatnonzero(rows.codes != code)
    columns = {name: column.take(kept) for name, column in rows.columns.items()}
    gone = rows.time[rows.codes == code]
    periods = np.unique(view.meta.scheme.summary_length.numbers(gone))
    cells = Cells(np.full(len(periods), code), periods)
    return prepare_stored(rows.codes[kept], rows.time[kept], columns, view.meta), cells


def answers(fleet: pipeline.Fleet) -> Any:
    statistics = {name: ["count", "min", "max", "sum", "first", "last", "std"] for name in "tn"}
    return fleet.aggregate(statistics, every="1h").compute(), fleet.latest().compute()


def assert_same_answers(one: Any, two: Any) -> None:
    for before, after in zip(one, two, strict=True):
        # The snapshot's id is an attribute.
        before.attrs, after.attrs = {}, {}
        np.testing.assert_array_equal(before["device"], after["device"])
        for name in before.variables:
            if before[name].dtype.kind == "f":
                np.testing.assert_allclose(before[name], after[name], rtol=1e-12, atol=1e-12)
            else:
                np.testing.assert_array_equal(before[name], after[name])


def raw_chunks(view: FleetView) -> set[str]:
    async def keys() -> list[str]:
        return [key async for key in view.store.list_prefix("fleet/raw/") if "/c/" in key]

    return {key.rsplit("/c/", 1)[1] for key in sync(keys())}


def used_slots(view: FleetView) -> int:
    """Return the slots in use as the table that bounds index reads has them, over all windows."""
    chunks = view.meta.layout.slots.read(view.store, [(at,) for at in range(8)])
    return int(sum(chunk.sum() for chunk in chunks.values()))


def test_a_rewrite_keeps_answers_and_frees_slots_and_chunks() -> None:
    fleet, store = new_fleet()
    for step in range(20):
        fleet.append(batch(["a", "b"], [step, step + 0.5], step))
    fleet.append(batch("a", [3, 3.5], 100))
    before, told = rows_of(fleet.read()), answers(fleet)
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    assert len(blocks) == 21 == used_slots(view)
    rewrite = Rewrite(blocks, merged(view, blocks), level=1)
    done = store.rewrite(view, [rewrite], kind="compact")
    assert (done.blocks_before, done.blocks_after) == (21, 1)
    assert (done.rows_before, done.rows_after) == (42, len(before))
    assert done.bytes_after < done.bytes_before == blocks.bytes.sum()
    assert rows_of(fleet.read()).equals(before)
    assert_same_answers(answers(fleet), told)
    after = store.view()
    found = after.blocks(EVERYTHING)
    assert (found.sequence.tolist(), found.level.tolist()) == ([20], [1])
    assert used_slots(after) == 1
    assert raw_chunks(after) == {"/".join(map(str, found.places[0].tolist()))}
    commit = next(store.repository.history())
    assert commit.metadata["kind"] == "compact"
    assert commit.metadata["rows_after"] == len(before)
    assert commit.snapshot == done.snapshot


@pytest.mark.parametrize(("duplicates", "kept"), [("keep_last", 3.0), ("keep_first", 1.0)])
def test_new_blocks_keep_their_place_among_later_ones(duplicates: str, kept: float) -> None:
    fleet, store = new_fleet(duplicates=duplicates)
    fleet.append(batch("a", [0], 1))
    fleet.append(batch("a", [0], 2))
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    rewrite = Rewrite(blocks, merged(view, blocks))
    fleet.append(batch("a", [0], 3))  # after the plan, before the commit
    done = store.rewrite(view, [rewrite], kind="compact")
    assert (done.rows_before, done.rows_after) == (2, 1)
    assert rows_of(fleet.read())["t"].tolist() == [kept]
    assert fleet.aggregate({"t": ["count", "sum"]})["t_sum"].values.tolist() == [kept]
    assert fleet.latest()["t"].values.tolist() == [kept]


def test_blocks_that_are_gone_or_changed_make_the_plan_stale() -> None:
    fleet, store = new_fleet()
    for step in range(3):
        fleet.append(batch("a", [step], step))
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    rewrite = Rewrite(blocks, merged(view, blocks))
    store.rewrite(view, [rewrite], kind="compact")
    fleet.append(batch("a", [5], 5))  # takes the slot of one that was removed
    tip, before = store.repository.tip(), rows_of(fleet.read())
    with pytest.raises(StalePlanError, match="changed by another writer"):
        store.rewrite(view, [rewrite], kind="compact")
    assert store.repository.tip() == tip
    assert rows_of(fleet.read()).equals(before)


def test_a_fleet_defined_otherwise_makes_the_plan_stale() -> None:
    fleet, store = new_fleet()
    fleet.append(batch("a", [0], 0))
    view = store.view()
    other, other_store = new_fleet(pipeline.Partitioning("1 month"))
    other.append(batch("a", [0], 0))
    rewrite = Rewrite(view.blocks(EVERYTHING))
    with pytest.raises(StalePlanError, match="partitioning"):
        other_store.rewrite(view, [rewrite], kind="delete")


def test_deleting_blocks_clears_their_cells_and_leaves_the_others() -> None:
    scheme = pipeline.Partitioning("1 day", summary="1 hour", landing_rows=0, devices_per_block=1)
    fleet, store = new_fleet(scheme)
    fleet.append(batch(["a", "b"], [0, 1], 1))
    fleet.append(batch(["a", "b"], [1500, 1501], 2))
    view = store.view()
    first = view.blocks(Selection.of(None, int(minutes(60)[0].astype(int))))
    cells = cells_of(view.store, view.meta.layout, first)
    assert len(cells) == 2
    done = store.rewrite(view, [Rewrite(first)], cells, kind="retention")
    assert (done.blocks_after, done.rows_after, done.bytes_after) == (0, 0, 0)
    assert rows_of(fleet.read())["t"].tolist() == [2.0, 2.125]
    told = fleet.aggregate({"t": ["count", "min"]})
    assert told["t_count"].values.tolist() == [1, 1]
    assert told["t_min"].values.tolist() == [2.0, 2.125]
    view = store.view()
    cells = cells_of(view.store, view.meta.layout, view.blocks(EVERYTHING))
    store.rewrite(view, [Rewrite(view.blocks(EVERYTHING))], cells, kind="retention")
    assert rows_of(fleet.read()).empty
    assert fleet.aggregate({"t": "count"})["t_count"].values.tolist() == [0, 0]
    assert np.isnat(fleet.latest()["time"].values).all()
    assert raw_chunks(store.view()) == set()
    assert used_slots(store.view()) == 0
    fleet.append(batch("b", [2], 7))
    assert rows_of(fleet.read())["t"].tolist() == [7.0]


def test_a_device_can_be_taken_out_block_by_block() -> None:
    scheme = pipeline.Partitioning("1 day", summary="1 hour", landing_rows=0)
    fleet, store = new_fleet(scheme)
    for step in range(5):
        fleet.append(batch(["a", "b", "c"], [50 * step, 50 * step + 1, 50 * step + 2], step))
    before = rows_of(fleet.read())
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    places = blocks.places.tolist()
    rewrites, cells = [], []
    for at in range(len(blocks)):
        one = blocks.take(np.array([at]))
        prepared, changed = without(view, one, 1)
        rewrites.append(Rewrite(one, prepared))
        cells.append(changed)
    store.rewrite(view, rewrites, Cells.union(cells), kind="delete_device")
    left = before[before["device"] != "b"].reset_index(drop=True)
    assert rows_of(fleet.read()).equals(left)
    counts = fleet.aggregate({"t": "count"}, every="1h")["t_count"]
    assert counts.sel(device="b").values.sum() == 0
    assert counts.sel(device="a").values.sum() == 5
    found = store.view().blocks(EVERYTHING)
    assert found.places.tolist() == places
    assert found.sequence.tolist() == blocks.sequence.tolist()


def test_changed_cells_count_rows_that_came_meanwhile() -> None:
    fleet, store = new_fleet()
    fleet.append(batch("a", [0, 1], 1))
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    cells = cells_of(view.store, view.meta.layout, blocks)
    fleet.append(batch(["a", "b"], [2, 2], 5))
    store.rewrite(view, [Rewrite(blocks)], cells, kind="delete")
    assert rows_of(fleet.read())["t"].tolist() == [5.0, 5.125]
    told = fleet.aggregate({"t": ["count", "first"]})
    assert told["t_count"].values.tolist() == [1, 1]
    assert told["t_first"].values.tolist() == [5.0, 5.125]


def test_free_slots_are_used_again_lowest_first() -> None:
    fleet, store = new_fleet()
    for step in range(19):
        fleet.append(batch("a", [step], step))
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    some = blocks.take(np.isin(blocks.places[:, 2], [2, 9, 18]))
    store.rewrite(view, [Rewrite(some)], kind="delete")
    assert used_slots(store.view()) == 18
    for step in range(30, 33):
        fleet.append(batch("a", [step], step))
    found = store.view().blocks(EVERYTHING)
    assert found.places[:, 2].tolist() == list(range(19))
    order = np.argsort(found.sequence)
    assert found.places[order[-3:], 2].tolist() == [2, 9, 18]
    values = rows_of(fleet.read())["t"].tolist()
    assert values == [
        step for step in range(33) if step not in (2, 9, 18) and step not in range(19, 30)
    ]


def test_blocks_of_one_batch_come_out_in_order_from_slots_between_others() -> None:
    scheme = pipeline.Partitioning(landing_rows=0)
    fleet, store = new_fleet(scheme, duplicates="keep_all")
    for step in range(4):
        fleet.append(batch("a", [2000 + step], step))  # the day after
        fleet.append(batch("a", [step], step))
    view = store.view()
    day = view.blocks(EVERYTHING)
    day = day.take(day.window == day.window.min())
    store.rewrite(view, [Rewrite(day.take(np.isin(day.places[:, 2], [0, 2])))], kind="delete")
    n = 150_000
    rows = {
        "device": "a",
        "time": np.repeat(minutes(100)[0] + np.arange(n // 2).astype("m8[ms]"), 2),
        "t": np.arange(n) / 2,
        "n": np.zeros(n),
    }
    fleet.append(rows)
    found = store.view().blocks(EVERYTHING)
    new = found.take(found.rows > 1)
    assert new.places[:, 2].tolist() == [0, 2, 4]
    values = rows_of(fleet.read(time=(minutes(99)[0], minutes(1000)[0])))["t"]
    np.testing.assert_array_equal(values, rows["t"])


def test_a_full_partition_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.archive.layout._SLOTS", 8)
    fleet, store = new_fleet()
    for step in range(8):
        fleet.append(batch("a", [step], step))
    with pytest.raises(StorageError, match=r"fleet\.compact\(\)"):
        fleet.append(batch("a", [9], 9))
    view = store.view()
    blocks = view.blocks(EVERYTHING)
    store.rewrite(view, [Rewrite(blocks, merged(view, blocks))], kind="compact")
    fleet.append(batch("a", [9], 9))
    assert len(rows_of(fleet.read())) == 9


def table(*rows: tuple[int, int, int, int, int]) -> BlockTable:
    """Return blocks from (time_min, time_max, device_min, device_max, sequence)."""
    fields = np.zeros((len(INDEX_FIELDS), len(rows)), np.int64)
    fields[INDEX_FIELDS.index("rows")] = 1
    for at, name in enumerate(("time_min", "time_max", "device_min", "device_max", "sequence")):
        fields[INDEX_FIELDS.index(name)] = [row[at] for row in rows]
    places = np.stack([np.zeros(len(rows), int), np.zeros(len(rows), int), np.arange(len(rows))])
    return BlockTable(places.T, fields)


@pytest.mark.parametrize(
    ("others", "along"),
    [
        ([(5, 15, 0, 0, 2)], [True]),
        ([(10, 15, 0, 0, 2)], [True]),
        ([(11, 15, 0, 0, 2)], [False]),
        ([(5, 15, 1, 4, 2)], [False]),
        ([(11, 15, 0, 3, 1)], [True]),
        ([(11, 15, 1, 3, 1)], [False]),
        ([(5, 15, 0, 3, 2), (14, 20, 3, 3, 3), (30, 40, 0, 9, 4)], [True, True, False]),
    ],
)
def test_what_has_to_be_rewritten_along(
    others: list[tuple[int, int, int, int, int]], along: list[bool]
) -> None:
    blocks = table((0, 10, 0, 0, 1), *others)
    chosen = np.zeros(len(blocks), np.bool_)
    chosen[0] = True
    assert needs_also(blocks, chosen).tolist() == [True, *along]
    assert chosen.sum() == 1


def test_no_cells_of_no_blocks() -> None:
    _, store = new_fleet()
    view = store.view()
    assert len(cells_of(view.store, view.meta.layout, view.blocks(EVERYTHING))) == 0
