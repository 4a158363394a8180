"""Claims of writers on object stores (`pipeline.archive.turns`), as a branch beside the archive's."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import icechunk as ic

from pipeline.archive.transactions.storage import BRANCH

__all__ = ["BranchClaims", "despite_claims"]

_CLAIM: Final = "claim"
_ATTEMPTS: Final = 30


class BranchClaims:
    """Claims of writers as a branch of their own: making one fails if there is one."""

    def __init__(self, repository: ic.Repository) -> None:
        self._repository = repository

    def put(self) -> bool:
        """Put up a claim; False if there is one."""
        with suppress(ic.IcechunkError):
            self._repository.create_branch(_CLAIM, self._repository.lookup_branch(BRANCH))
            return True
        return False

    def seen(self) -> str | None:
        """Return what the claim that is up was put up on, None if there is none."""
        with suppress(ic.IcechunkError):
            return str(self._repository.lookup_branch(_CLAIM))
        return None

    def take_down(self) -> None:
        """Take the claim down, if there is one."""
        with suppress(ic.IcechunkError):
            self._repository.delete_branch(_CLAIM)


def despite_claims[T](work: Callable[[], T]) -> T:
    """Do what goes through all branches again if a claim is taken down in its midst."""
    for _ in range(_ATTEMPTS):
        try:
            return work()
        except ic.IcechunkError as error:
            if f"`{_CLAIM}`" not in str(error):
                raise
            time.sleep(random.uniform(0, 0.2))  # noqa: S311
    return work()
