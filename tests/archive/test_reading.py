"""Reading units, and blocks that are not what the index says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from zarr.abc.store import Store

import pipeline
from pipeline.archive import fetched_blocks
from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_reader import read_block_columns
from pipeline.archive.chunk_io import chunk_key, put_many
from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import INDEX_FIELDS
from pipeline.archive.locations import Location
from pipeline.archive.read_units import ReadUnit, joined_units, read_units
from pipeline.archive.transactions import Repository
from pipeline.codecs.block import encode_block
from pipeline.errors import CorruptBlockError
from pipeline.partitioning.pruning import Selection
from pipeline.partitioning.scheme import Partitioning
from tests.support import memory_archive, minutes, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("n", "int16")])


def filled() -> tuple[pipeline.Archive, Repository, FleetView]:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", SCHEMA, Partitioning(landing_rows=0))
    fleet.append({"device": "a", "time": minutes(0, 1), "t": [1.0, 2.0], "n": [1, 2]})
    repository = Repository.open(Location.parse(archive.url))
    return archive, repository, FleetStore(repository, "fleet").view()


def overwrite(repository: Repository, view: FleetView, column: str, values: NDArray[Any]) -> None:
    place = view.blocks(Selection.of()).places[0].tolist()
    key = chunk_key(view.meta.layout.raw_path(column), place)

    def change(store: Store) -> None:
        put_many(store, {key: encode_block(values)})

    repository.commit(change, "overwrite a block")


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros(2, np.float32)], ids=["rows", "dtype"])
def test_a_block_that_the_index_does_not_describe_is_corrupt(values: NDArray[Any]) -> None:
    archive, repository, view = filled()
    overwrite(repository, view, "t", values)
    with pytest.raises(CorruptBlockError, match=r"fleet/raw/t/c/.* the index says 2 of float64"):
        archive.fleet("fleet").read().read_all()


def test_a_channel_without_a_chunk_is_missing() -> None:
    _, _, view = filled()
    blocks = view.blocks(Selection.of())
    columns = read_block_columns(
        view.store,
        view.meta.layout,
        blocks,
        [("later", np.dtype(np.int16)), ("n", np.dtype(np.int16))],
    )
    assert columns[0].valid is not None
    assert not columns[0].valid.any()
    assert columns[1].values.tolist() == [1, 2]


def test_no_blocks_have_empty_columns() -> None:
    _, _, view = filled()
    none = view.blocks(Selection.of(codes=[]))
    assert len(none) == 0
    column = read_block_columns(view.store, view.meta.layout, none, [("t", np.dtype(float))])[0]
    assert column.values.shape == (0,)
    with pytest.raises(AttributeError):
        _ = none.colour


def table(*blocks: tuple[int, int, int, int, int, int]) -> BlockTable:
    """Return blocks of (device block, device_min, device_max, time_min, time_max, sequence)."""
    fields = np.zeros((len(INDEX_FIELDS), len(blocks)), np.int64)
    names = ("device_min", "device_max", "time_min", "time_max", "sequence")
    for at, (_, *values) in enumerate(blocks):
        for name, value in zip(names, values, strict=True):
            fields[INDEX_FIELDS.index(name), at] = value
        fields[INDEX_FIELDS.index("rows"), at] = 600_000
    places = np.array([[7, block[0], at] for at, block in enumerate(blocks)], np.int64)
    return BlockTable(places.reshape(-1, 3), fields)


def test_units_share_no_device_and_time_and_cover_all_blocks() -> None:
    scheme = Partitioning(devices_per_block=10)
    blocks = table(
        (0, 3, 25, 0, 9, 5), (1, 0, 9, 0, 9, 1), (2, 10, 19, 0, 9, 1), (3, 20, 29, 0, 9, 2)
    )
    units = list(read_units(blocks, scheme))
    edges = [(unit.first_code, unit.last_code) for unit in units]
    assert edges[0][0] == 0
    assert all(one[1] == two[0] for one, two in pairwise(edges))
    assert edges[-1][1] > 29
    for unit in units:
        assert unit.window == 7
        assert unit.blocks.sequence.tolist() == sorted(unit.blocks.sequence.tolist())
        assert 0 in unit.blocks.device_block
    assert {block for unit in units for block in unit.blocks.device_block.tolist()} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("blocks", "simple"),
    [
        ([(1, 0, 5, 0, 9, 1)], True),
        ([(1, 0, 5, 0, 9, 1), (1, 5, 9, 0, 9, 1)], True),
        ([(1, 0, 5, 0, 9, 1), (1, 0, 5, 10, 19, 2)], True),
        ([(1, 0, 5, 0, 9, 1), (1, 0, 5, 9, 19, 2)], False),
        ([(1, 0, 5, 0, 9, 1), (1, 6, 9, 5, 19, 2)], True),
        ([(1, 0, 5, 0, 99, 1), (1, 6, 9, 5, 19, 2), (1, 4, 4, 50, 60, 3)], False),
    ],
)
def test_a_unit_is_simple_when_no_row_can_be_twice(
    blocks: list[tuple[int, int, int, int, int, int]], simple: bool
) -> None:
    assert ReadUnit(table(*blocks), 0, 100).is_simple is simple
    assert not ReadUnit(table(*blocks), 1, 100).is_simple


def test_rows_of_a_channel_can_be_read_later() -> None:
    archive, _, view = filled()
    archive.fleet("fleet").append({"device": "a", "time": minutes(0), "t": [9.0], "n": [9]})
    view = FleetStore(Repository.open(Location.parse(archive.url)), "fleet").view()
    unit = next(iter(view.units(Selection.of())))
    rows = view.rows(unit, Selection.of())
    assert view.channel(rows, "t").values.tolist() == [9.0, 2.0]
    assert rows_of(archive.fleet("fleet").read())["n"].tolist() == [9, 2]


@pytest.mark.parametrize(
    ("blocks", "in_order"),
    [
        ([(1, 0, 3, 0, 9, 1), (1, 4, 9, 0, 9, 2)], True),
        ([(1, 0, 3, 0, 9, 1), (1, 3, 9, 0, 9, 1)], True),
        ([(1, 0, 3, 0, 9, 1), (1, 3, 9, 0, 9, 2)], False),
        ([(1, 0, 3, 0, 9, 1), (1, 3, 9, 10, 19, 2)], True),
        ([(1, 0, 3, 0, 9, 1), (1, 3, 9, 9, 19, 2)], False),
        ([(1, 0, 3, 0, 9, 1), (1, 2, 9, 10, 19, 2)], False),
    ],
)
def test_blocks_in_order_are_read_one_by_one(
    blocks: list[tuple[int, int, int, int, int, int]], in_order: bool
) -> None:
    assert table(*blocks).in_order is in_order
    assert ReadUnit(table(*blocks), 0, 100).is_ordered is in_order
    assert table(*reversed(blocks)).by_device().in_order is in_order


def windows(*numbers: int) -> BlockTable:
    """Return a block of 600,000 rows of the same devices and commit in each of some windows."""
    found = table(*((1, 3, 9, 0, 9, 1) for _ in numbers))
    places = found.places.copy()
    places[:, 0] = numbers
    return BlockTable(places, found.fields)


@pytest.mark.parametrize(
    ("numbers", "in_order"), [((7, 8, 9), True), ((7, 9, 8), False), ((7, 8, 8), False)]
)
def test_blocks_of_later_windows_come_later(numbers: tuple[int, ...], in_order: bool) -> None:
    assert windows(*numbers).in_order is in_order


def test_neighbours_are_joined_where_rows_need_not_be_merged() -> None:
    scheme = Partitioning(devices_per_block=10)
    both = BlockTable.concat([windows(1, 2, 3), windows(4, 4), windows(5, 6)])
    units = list(read_units(both, scheme))
    assert [unit.is_ordered for unit in units] == [True, True, True, False, True, True]
    joined = list(joined_units(units, 1_200_000))
    assert [unit.blocks.window.tolist() for unit in joined] == [[1, 2], [3], [4, 4], [5, 6]]
    assert [unit.window for unit in joined] == [1, 3, 4, 5]
    assert list(joined_units([], 10)) == []


def test_a_few_devices_of_many_windows_are_read_together() -> None:
    fleet = memory_archive().create_fleet("fleet", SCHEMA, Partitioning("1 hour", landing_rows=0))
    chance = np.random.default_rng(5)
    times = minutes(*range(0, 600, 7))
    for device in "abcde":
        values = chance.normal(size=len(times))
        fleet.append({"device": device, "time": times, "t": values, "n": range(len(times))})
    fleet.compact()
    # A window whose rows have to be merged, some of them anew.
    late = {"device": ["b", "a", "e"], "time": minutes(259, 260, 261)}
    fleet.append(late | {"t": [9.0, 9.0, 9.0], "n": [900, 901, 902]})
    every = rows_of(fleet.read())
    assert len(every) == 5 * len(times) + 2
    for devices in (["b"], ["e", "a"], None):
        for where, match in ((None, every["t"] > -99), ({"t": "> 0.5"}, every["t"] > 0.5)):
            time = (minutes(30)[0], minutes(500)[0])
            whole = every if devices is None else every[every["device"].isin(devices)]
            inside = (whole["time"] >= int(time[0].astype("i8"))) & (
                whole["time"] < int(time[1].astype("i8"))
            )
            expected = whole[inside & match[whole.index]].reset_index(drop=True)
            reader = fleet.read(devices, time, where=where)
            found = rows_of(reader)
            pd.testing.assert_frame_equal(found, expected)
    table = fleet.read("b").read_all()
    assert len(table["t"].chunks) == 3


def test_a_snapshot_is_loaded_once_and_its_ends_are_looked_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive, repository, _ = filled()
    fleet, store = archive.fleet("fleet"), FleetStore(repository, "fleet")
    view = store.view()
    assert store.view() is view
    asked: list[int] = []
    bounds = FleetView._window_bounds

    def note(self: FleetView, window: int) -> tuple[int, int]:
        asked.append(window)
        return bounds(self, window)

    monkeypatch.setattr(FleetView, "_window_bounds", note)
    windows = view.windows(Selection(0, 1 << 61))
    assert view.time_bounds(windows) == view.time_bounds(windows)
    assert asked == windows
    fleet.append({"device": "a", "time": minutes(5), "t": [3.0], "n": [3]})
    after = store.view()
    assert after is not view
    assert after.time_bounds(windows)[1] == view.time_bounds(windows)[1] + 4 * 60_000_000
    assert store.view(view.snapshot).time_bounds(windows) == view.time_bounds(windows)


@pytest.mark.parametrize(("rows", "alone"), [(600_000, False), (1000, True)])
def test_small_blocks_are_decoded_by_one_thread(
    rows: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def threads(function: Callable[[int], int], arguments: Sequence[int]) -> list[int]:
        asked.extend(arguments)
        return [function(argument) for argument in arguments]

    monkeypatch.setattr(fetched_blocks, "in_threads", threads)
    blocks = windows(1, 2)
    blocks.rows[:] = rows
    fetched = FetchedBlocks(blocks, [], [], [])
    assert fetched.each(lambda at: 2 * at, [1, 2, 3]) == [2, 4, 6]
    assert (asked == []) is alone
    assert FetchedBlocks(windows(), [], [], []).each(lambda at: at, [5]) == [5]
