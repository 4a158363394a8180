from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.archive.layout import INDEX_FIELDS
from pipeline.xarray_engine.row_plan import RowPlan, Run, chunk_sizes


def blocks_of(rows: list[int]) -> BlockTable:
    fields = np.zeros((len(INDEX_FIELDS), len(rows)), np.int64)
    fields[INDEX_FIELDS.index("rows")] = rows
    return BlockTable(np.zeros((len(rows), 3), np.int64), fields)


Picked = tuple[BlockTable, list[Run]]


@st.composite
def picks(draw: st.DrawFn) -> Picked:
    """Draw blocks and runs over their rows: side by side, repeated, or in any order."""
    blocks = blocks_of(draw(st.lists(st.integers(1, 9), min_size=1, max_size=12)))
    stored = int(blocks.rows.sum())
    runs = []
    for _ in range(draw(st.integers(0, 6))):
        base = draw(st.integers(0, stored - 1))
        places = st.lists(st.integers(0, stored - 1 - base), max_size=20)
        order = draw(st.none() | places.map(lambda found: np.array(found, np.int32)))
        length = draw(st.integers(0, stored - base)) if order is None else len(order)
        runs.append(Run(base, length, order))
    return blocks, runs


def stored_rows(runs: list[Run]) -> NDArray[np.int64]:
    found = [r.base + (np.arange(r.length) if r.order is None else r.order) for r in runs]
    return np.concatenate([np.zeros(0, np.int64), *found])


def fetched(plan: RowPlan, rows: range | NDArray[Any], limit: int) -> NDArray[np.int64]:
    """Follow the steps as a reader does, where a block holds the numbers of its stored rows."""
    answer = np.full(len(rows), -1)
    for step in plan.steps(plan.locate(rows), limit):
        runs = [np.arange(plan.starts[at], plan.starts[at + 1]) for at in step.blocks]
        answer[step.target] = np.concatenate(runs)[step.source]
    return answer


@given(picks(), st.data(), st.integers(1, 40))
def test_any_slice_brings_the_rows_that_were_picked(
    picked: Picked, data: st.DataObject, limit: int
) -> None:
    plan, expected = RowPlan.of(*picked), stored_rows(picked[1])
    start = data.draw(st.integers(0, len(expected)))
    stop = data.draw(st.integers(start, len(expected)))
    step = data.draw(st.integers(1, 3))
    assert len(plan) == len(expected)
    np.testing.assert_array_equal(
        fetched(plan, range(start, stop, step), limit), expected[start:stop:step]
    )


@given(
    picks().filter(lambda picked: len(stored_rows(picked[1])) > 0), st.data(), st.integers(1, 40)
)
def test_any_ascending_index_brings_the_rows_that_were_picked(
    picked: Picked, data: st.DataObject, limit: int
) -> None:
    plan, expected = RowPlan.of(*picked), stored_rows(picked[1])
    index = data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=30).map(sorted))
    rows = np.array(index, np.int64)
    np.testing.assert_array_equal(fetched(plan, rows, limit), expected[rows])


def test_only_needed_blocks_are_fetched_and_no_fetch_exceeds_its_limit_by_more_than_a_block() -> (
    None
):
    plan = RowPlan.of(blocks_of([10] * 8), [Run(0, 80)])
    steps = list(plan.steps(plan.locate(range(15, 58)), limit=20))
    assert [step.blocks.tolist() for step in steps] == [[1, 2], [3, 4], [5]]
    steps = list(plan.steps(plan.locate(np.array([3, 71])), limit=20))
    assert [step.blocks.tolist() for step in steps] == [[0, 7]]


def test_rows_that_stand_side_by_side_are_found_without_an_array() -> None:
    plan = RowPlan.of(blocks_of([4, 4, 6]), [Run(0, 4), Run(4, 4), Run(8, 6)])
    assert plan.locate(range(2, 11)) == slice(2, 11)


@pytest.mark.parametrize(
    ("edges", "rows", "sizes"),
    [
        ([0, 5, 10, 15, 20], 10, (10, 10)),
        ([0, 5, 10, 15, 20], 9, (5, 5, 5, 5)),
        ([0, 3, 40, 45], 10, (3, 37, 5)),
        ([0, 7], 100, (7,)),
        ([0], 10, ()),
    ],
)
def test_chunks_are_cut_where_it_costs_nothing(
    edges: list[int], rows: int, sizes: tuple[int, ...]
) -> None:
    assert chunk_sizes(np.array(edges), rows) == sizes


@given(picks(), st.data())
def test_rows_are_found_again_by_what_is_stored(picked: Picked, data: st.DataObject) -> None:
    blocks, runs = picked
    # No stored row may stand twice: what the runs before brought is taken out of an ordered run.
    seen: set[int] = set()
    distinct: list[Run] = []
    for run in runs:
        places = dict.fromkeys(stored_rows([run]).tolist())
        fresh = np.array([place for place in places if place not in seen], np.int64)
        seen |= set(fresh.tolist())
        plain = run.order is None and len(fresh) == run.length
        distinct.append(run if plain else Run(0, len(fresh), fresh))
    plan = RowPlan.of(blocks, [run for run in distinct if run.length])
    expected = stored_rows(distinct)
    wanted = data.draw(st.sets(st.integers(0, int(blocks.rows.sum()) - 1)).map(sorted))
    stored = np.array(wanted, np.int64)
    rows, at = plan.rows_of(stored)
    np.testing.assert_array_equal(rows, np.flatnonzero(np.isin(expected, stored)))
    np.testing.assert_array_equal(expected[rows], stored[at])


def test_chunks_are_cut_inside_of_large_partitions_only() -> None:
    edges, partitions = np.array([0, 4, 8, 12, 15, 18, 30]), np.array([0, 12, 15, 30])
    assert chunk_sizes(edges, 8, partitions) == (8, 7, 3, 12)
    assert chunk_sizes(edges, 100, partitions) == (30,)
