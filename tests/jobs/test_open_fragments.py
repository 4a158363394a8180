"""Fragments that are read by one task after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.jobs import open_fragments
from pipeline.jobs.open_fragments import keep_open, open_at
from pipeline.model.ports import Intake


@dataclass
class Counting:
    """A fragment of five pieces that counts how often it is read from its beginning."""

    name: str = "counting"
    reads: list[int] = field(default_factory=list)

    def read(self) -> Iterator[Intake]:
        self.reads.append(1)
        for at in range(5):
            yield Intake(pa.table({"at": [at]}))


def numbers(pieces: Iterator[Intake]) -> list[int]:
    return [piece.table["at"][0].as_py() for piece in pieces]


def test_a_fragment_that_was_left_open_goes_on() -> None:
    fragment = Counting()
    pieces = open_at("run", fragment, 0)
    next(pieces)
    next(pieces)
    keep_open("run", fragment, 2, pieces)
    assert numbers(open_at("run", fragment, 2)) == [2, 3, 4]
    assert len(fragment.reads) == 1


def test_elsewhere_it_is_read_again_and_what_was_taken_is_skipped() -> None:
    fragment = Counting()
    keep_open("run", fragment, 2, iter(()))
    assert numbers(open_at("other run", fragment, 2)) == [2, 3, 4]
    assert numbers(open_at("run", fragment, 3)) == [3, 4]
    assert numbers(open_at("run", fragment, 0)) == [0, 1, 2, 3, 4]
    assert numbers(open_at("run", fragment, 9)) == []


def test_few_are_kept() -> None:
    for at in range(200):
        keep_open("many", Counting(f"fragment {at}"), 1, iter(()))
    assert len(open_fragments._open) <= 64
    assert numbers(open_at("many", Counting("fragment 199"), 1)) == []
    assert numbers(open_at("many", Counting("fragment 0"), 1)) == [1, 2, 3, 4]
