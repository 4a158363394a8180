"""Positions of imports among those of a fleet's sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.archive.positions import merge_positions
from pipeline.jobs.positions import Imported, find_imported, position_of
from pipeline.model.ports import Intake


def merged(*commits: dict[str, Any]) -> dict[str, Any]:
    """Return the positions of commits, the oldest first."""
    return merge_positions(commits)


def test_fragments_of_all_commits_are_gathered() -> None:
    positions = merged(
        Imported(frozenset({"a", "b"}), {"d": 2, "e": 1}).to_positions("f"),
        Imported(frozenset({"c"}), {"d": 5}).to_positions("f"),
    )
    assert find_imported(positions, "f") == Imported(frozenset({"a", "b", "c"}), {"d": 5, "e": 1})


def test_a_fragment_that_was_finished_is_not_partial() -> None:
    positions = merged(
        Imported(partial={"a": 3}).to_positions("f"),
        Imported(frozenset({"a"})).to_positions("f"),
    )
    assert find_imported(positions, "f") == Imported(frozenset({"a"}))


def test_other_sources_do_not_count() -> None:
    positions = merged(
        Imported(frozenset({"b"})).to_positions("g"), {"kafka": {"0": 17}}, {"kafka": {"1": 3}}
    )
    assert find_imported(positions, "f") == Imported()
    assert positions["kafka"] == {"0": 17, "1": 3}


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
