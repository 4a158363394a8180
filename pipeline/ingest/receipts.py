"""What a writer gets for a write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pipeline.ingest.policies import Durability
from pipeline.model.choices import choice

__all__ = ["Keeper", "Receipt"]


class Keeper(Protocol):
    """Knows what has become of a write."""

    def durability_of(self, position: int) -> Durability:
        """Return where the rows of a write are by now."""
        ...

    def wait_for(self, position: int, level: Durability, timeout: float | None) -> None:
        """Wait until the rows of a write are there."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """A write that was taken.

    Parameters
    ----------
    rows
        Rows taken.
    quarantined
        Rows that go to quarantine instead.
    late
        Rows taken that are older than their device's watermark.
    restamped
        Rows taken under the time of their receipt.
    position
        The number of the write in its stream.
    """

    rows: int
    quarantined: int
    late: int
    restamped: int
    position: int
    _keeper: Keeper = field(repr=False, compare=False)

    @property
    def durable(self) -> str:
        """Where the rows are by now: ``"none"`` (in memory), ``"log"`` or ``"commit"``."""
        return self._keeper.durability_of(self.position).value

    def wait(self, level: str | Durability = "commit", timeout: float | None = None) -> None:
        """Wait until the rows are in the log or in the archive; the latter is hurried on.

        Parameters
        ----------
        level
            ``"log"`` or ``"commit"``; without a log both mean the commit.
        timeout
            Seconds; None for no limit.

        Raises
        ------
        StorageError
            If the log could not be written, or the stream gave up on the archive.
        TimeoutError
            If it takes longer.
        """
        self._keeper.wait_for(self.position, choice(Durability, level, "level="), timeout)
