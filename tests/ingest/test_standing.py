"""Rows of a source that several read are stored by the one who is at their turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.ingest.entries import Note
from pipeline.ingest.log import LogEntry
from pipeline.ingest.standing import Standing, standing, still_due
from tests.ingest.sinks import batch_of


def entry(sequence: int, begin: int, end: int, partition: str = "0") -> LogEntry:
    note = Note(positions={"k": {partition: end}}, expects={"k": {partition: begin}})
    return LogEntry(sequence, batch_of(list(range(begin, end))), note)


@pytest.mark.parametrize(
    ("known", "expects", "is_"),
    [
        ({}, {"k": {"0": 5}}, Standing.DUE),
        ({"k": {"0": 5}}, {"k": {"0": 5}}, Standing.DUE),
        ({"k": {"1": 9}}, {"k": {"0": 5}}, Standing.DUE),
        ({"k": {"0": 6}}, {"k": {"0": 5}}, Standing.STORED),
        ({"k": {"0": 4}}, {"k": {"0": 5}}, Standing.BEHIND),
        ({"k": {"0": 4, "1": 9}}, {"k": {"0": 5, "1": 8}}, Standing.STORED),
        ({"k": 3}, {"k": {"0": 5}}, Standing.DUE),
        ({"k": {"0": 5}}, {}, Standing.DUE),
    ],
)
def test_positions_are_compared(known: dict, expects: dict, is_: Standing) -> None:  # type: ignore[type-arg]
    assert standing(known, expects) is is_


def test_each_write_begins_where_the_one_before_ends() -> None:
    entries = [entry(1, 0, 4), entry(2, 4, 6), entry(3, 0, 3, "1"), entry(4, 6, 9)]
    assert still_due(entries, {}) == entries
    assert still_due(entries, {"k": {"0": 4}}) == entries[1:]
    assert still_due(entries, {"k": {"0": 9, "1": 3}}) == []


def test_a_gap_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InvalidInputError, match="brought back to an older state; open the stream"):
        still_due([entry(1, 10, 12)], {"k": {"0": 4}})


def test_writes_without_positions_are_always_due() -> None:
    plain = LogEntry(1, batch_of([1]), Note())
    assert still_due([plain], {"k": {"0": 4}}) == [plain]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_readers_that_overlap_store_every_row_once(sizes: list[int], data: st.DataObject) -> None:
    """Two readers of the same messages, cut into different batches, commit in any order."""
    total, known, stored = sum(sizes), 0, []
    readers = [0, 0]
    while known < total:
        reader = data.draw(st.integers(0, 1))
        begin = readers[reader] if data.draw(st.booleans()) else known
        end = min(total, begin + data.draw(st.integers(1, 5)))
        readers[reader] = end
        if begin >= end or begin > known:
            continue
        for one in still_due([entry(1, begin, end)], {"k": {"0": known}} if known else {}):
            stored += one.rows.column(2).to_pylist()
            known = end
    assert stored == list(range(total))
