"""Turns of writers on storage without locks, so that a slow writer is not overtaken for ever.

Commits to an object store are conditional: whoever finds the newest state changed begins again. A
writer of long changes would never be done beside one that commits ten times a second. So a writer
that has lost a few times puts up a claim, of which there is one at a time, and every other writer
waits before its next commit until the claim is gone. A claim that nobody takes down, because its
holder was killed, is taken down by the first who has seen it for long enough.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

__all__ = ["Claims", "Turn", "take_turn"]

_LOST: Final = 3
_PAUSE: Final = 0.05
_PATIENCE: Final = 30.0


class Claims(Protocol):
    """Where the claim is put up."""

    def put(self) -> bool:
        """Put up a claim; False if there is one."""
        ...

    def seen(self) -> str | None:
        """Return what tells the claim that is up from others, None if there is none."""
        ...

    def take_down(self) -> None:
        """Take the claim down, if there is one."""
        ...


@dataclass(slots=True)
class Turn:
    """One writer's way to its commit.

    Parameters
    ----------
    claims
        Where the claim is put up.
    patience
        Seconds after which a claim that stays is taken for one that was left behind.
    """

    claims: Claims
    patience: float = _PATIENCE
    holds: bool = field(default=False, init=False)

    def wait(self, attempt: int) -> None:
        """Wait until nobody else's claim is up; put one up if attempts were lost before.

        Parameters
        ----------
        attempt
            How many attempts have failed.
        """
        if self.holds:
            return
        if attempt >= _LOST and self.claims.put():
            self.holds = True
            return
        seen, since = None, 0.0
        while (claim := self.claims.seen()) is not None:
            if claim != seen:
                seen, since = claim, time.monotonic()
            elif time.monotonic() - since > self.patience:
                self.claims.take_down()
                return
            time.sleep(random.uniform(0.5, 1.5) * _PAUSE)  # noqa: S311


@contextmanager
def take_turn(claims: Claims | None) -> Iterator[Turn | None]:
    """Yield a turn whose claim is taken down in the end; None without a place for claims."""
    if claims is None:
        yield None
        return
    turn = Turn(claims)
    try:
        yield turn
    finally:
        if turn.holds:
            claims.take_down()
