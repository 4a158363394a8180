"""A writer that keeps losing gets its turn, and a claim that was left behind does not stay."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from pipeline.archive.turns import Turn, take_turn


@dataclass
class Board:
    """Claims that tell what was done with them."""

    claim: str | None = None
    looks: int = 0
    gone_after: int | None = None
    done: list[str] = field(default_factory=list)

    def put(self) -> bool:
        self.done.append("put")
        if self.claim is not None:
            return False
        self.claim = "own"
        return True

    def seen(self) -> str | None:
        self.looks += 1
        if self.gone_after is not None and self.looks > self.gone_after:
            self.claim = None
        return self.claim

    def take_down(self) -> None:
        self.done.append("take down")
        self.claim = None


def test_nobody_waits_without_a_claim() -> None:
    board = Board()
    with take_turn(board) as turn:
        assert turn is not None
        turn.wait(0)
        turn.wait(2)
    assert (board.looks, board.done) == (2, [])


def test_after_some_losses_a_claim_is_put_up_and_taken_down_in_the_end() -> None:
    board = Board()

    def fail() -> None:
        with take_turn(board) as turn:
            assert turn is not None
            turn.wait(3)
            assert board.claim == "own"
            turn.wait(4)
            assert board.looks == 0
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert board.done == ["put", "take down"]


def test_others_wait_until_the_claim_is_gone() -> None:
    board = Board("another's", gone_after=3)
    turn = Turn(board)
    turn.wait(5)
    assert board.looks == 4
    assert not turn.holds
    assert board.done == ["put"]


def test_a_claim_that_stays_is_taken_down() -> None:
    board = Board("dead")
    Turn(board, patience=0.2).wait(0)
    assert board.done == ["take down"]
    assert board.claim is None


def test_without_a_place_for_claims_there_are_no_turns() -> None:
    with take_turn(None) as turn:
        assert turn is None
