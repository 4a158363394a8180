"""Positions of imports in the archive's history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.archive.transactions import Commit
from pipeline.jobs.positions import Imported, find_imported, position_of
from pipeline.model.ports import Intake


def commit(fleet: str, fingerprint: str, imported: Imported) -> Commit:
    metadata = {"fleet": fleet, "positions": imported.to_positions(fingerprint)}
    return Commit("id", datetime(2025, 1, 1, tzinfo=UTC), "append", metadata)


def other(**metadata: Any) -> Commit:
    return Commit("id", datetime(2025, 1, 1, tzinfo=UTC), "other", metadata)


def test_fragments_of_all_commits_are_gathered() -> None:
    history = [
        commit("rooms", "f", Imported(frozenset({"c"}), {"d": 2})),
        commit("rooms", "f", Imported(frozenset({"a", "b"}), {"d": 5, "e": 1})),
    ]
    assert find_imported(history, "rooms", "f") == Imported(
        frozenset({"a", "b", "c"}), {"d": 5, "e": 1}
    )


def test_a_fragment_that_was_finished_is_not_partial() -> None:
    history = [
        commit("rooms", "f", Imported(frozenset({"a"}))),
        commit("rooms", "f", Imported(partial={"a": 3})),
    ]
    assert find_imported(history, "rooms", "f") == Imported(frozenset({"a"}))


def test_other_fleets_sources_and_commits_do_not_count() -> None:
    history = [
        commit("halls", "f", Imported(frozenset({"a"}))),
        commit("rooms", "g", Imported(frozenset({"b"}))),
        other(),
        other(fleet="rooms"),
        other(fleet="rooms", positions={"kafka": {"0": 17}}),
    ]
    assert find_imported(history, "rooms", "f") == Imported()


@dataclass
class Piece:
    name: str
    state: str = ""

    def read(self) -> Iterator[Intake]:
        yield from ()


def test_a_position_is_the_name_and_the_state_that_was_listed() -> None:
    assert position_of(Piece("a")) == "a"
    before, after = Piece("a", "5-x"), Piece("a", "5-y")
    assert position_of(before) == "a@5-x"
    imported = Imported(frozenset({position_of(before)}))
    assert imported.holds_other(after)
    assert not imported.holds_other(before)
    assert not imported.holds_other(Piece("b", "5-x"))
