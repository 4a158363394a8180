"""Rows of a source that several read are stored by the one who is at their turn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.entries import Note
from pipeline.ingest.log import LogEntry
from pipeline.ingest.standing import fits, still_due
from tests.ingest.sinks import batch_of


def entry(sequence: int, begin: int, end: int, partition: str = "0") -> LogEntry:
    note = Note(positions={"k": {partition: end}}, expects={"k": {partition: begin}})
    return LogEntry(sequence, batch_of(list(range(begin, end))), note)


@pytest.mark.parametrize(
    ("known", "expects", "is_so"),
    [
        ({}, {"k": {"0": 5}}, True),
        ({"k": {"0": 5}}, {"k": {"0": 5}}, True),
        ({"k": {"1": 9}}, {"k": {"0": 5}}, True),
        ({"k": {"0": 6}}, {"k": {"0": 5}}, False),
        ({"k": {"0": 4}}, {"k": {"0": 5}}, False),
        ({"k": {"0": 5, "1": 9}}, {"k": {"0": 5, "1": 8}}, False),
        ({"k": 3}, {"k": {"0": 5}}, True),
        ({"k": {"0": 5}}, {}, True),
    ],
)
def test_rows_fit_where_they_begin(
    known: dict[str, Any], expects: dict[str, Any], is_so: bool
) -> None:
    assert fits(known, expects) is is_so


def test_each_write_begins_where_the_one_before_ends() -> None:
    entries = [entry(1, 0, 4), entry(2, 4, 6), entry(3, 0, 3, "1"), entry(4, 6, 9)]
    assert still_due(entries, {}) == entries
    assert still_due(entries, {"k": {"0": 4}}) == entries[1:]
    assert still_due(entries, {"k": {"0": 9, "1": 3}}) == []


def test_writes_without_positions_are_always_due() -> None:
    plain = LogEntry(1, batch_of([1]), Note())
    assert still_due([plain], {"k": {"0": 4}}) == [plain]


@given(st.lists(st.integers(0, 3), max_size=40), st.data())
def test_readers_that_overlap_store_every_row_once(turns: list[int], data: st.DataObject) -> None:
    """Two readers read ahead and commit in any order; one that is left out goes back."""
    known, stored = 0, list[int]()
    readers, waiting = [0, 0], [list[LogEntry](), list[LogEntry]()]
    for turn in [*turns, 1, 3, 1, 3]:
        reader, commits = divmod(turn, 2)
        if not commits:
            begin = readers[reader]
            readers[reader] = begin + data.draw(st.integers(1, 5))
            waiting[reader].append(entry(1, begin, readers[reader]))
            continue
        entries, waiting[reader] = waiting[reader], []
        due = still_due(entries, {"k": {"0": known}})
        for one in due:
            stored += one.rows.column(2).to_pylist()
            known = one.note.positions["k"]["0"]
        if len(due) < len(entries):
            readers[reader] = known
    assert stored == list(range(known))
