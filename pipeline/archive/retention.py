"""How long a fleet keeps rows and statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import InvalidInputError
from pipeline.model.durations import parse_duration
from pipeline.partitioning.windows import GRID_START, WindowLength

__all__ = ["TOO_OLD", "Retention"]

TOO_OLD = "older than the retention of raw rows"
"""Why a row goes to quarantine whose window has been dropped: its statistics must not change."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept for how long, and what has been dropped already.

    Parameters
    ----------
    raw, summaries
        Ages in microseconds; None keeps them for ever. Whole windows are dropped, once all of a
        window is older.
    raw_from, summaries_from
        Microseconds since 1970-01-01 UTC: rows and statistics before are dropped, or about to be.
        They only ever grow.

    Raises
    ------
    InvalidInputError
        If statistics are to be dropped before the rows they are about.
    """

    raw: int | None = None
    summaries: int | None = None
    raw_from: int = GRID_START
    summaries_from: int = GRID_START

    def __post_init__(self) -> None:
        if self.summaries is not None and (self.raw is None or self.summaries < self.raw):
            msg = (
                "summaries have to be kept at least as long as the raw rows that they are about; "
                "give raw=, and a longer age for summaries"
            )
            raise InvalidInputError(msg)

    @classmethod
    def parse(cls, raw: Any = None, summaries: Any = None) -> Retention:
        """Return a retention from durations such as ``"90 days"``; None keeps for ever.

        Raises
        ------
        InvalidInputError
            If one is no duration, or summaries would go before the rows.
        """
        ages = [None if age is None else parse_duration(age) for age in (raw, summaries)]
        return cls(ages[0], ages[1])

    def asked(self, other: Retention) -> Retention:
        """Return this with the ages of `other`: what is dropped stays so."""
        return replace(self, raw=other.raw, summaries=other.summaries)

    def advanced(self, now: int, window: WindowLength) -> Retention:
        """Return this with the bounds that the ages give at a moment.

        Parameters
        ----------
        now
            Microseconds since 1970-01-01 UTC.
        window
            The fleet's window length.
        """

        def bound(age: int | None, reached: int) -> int:
            if age is None or now - age <= GRID_START:
                return reached
            return max(reached, window.start(window.number(now - age)))

        return replace(
            self,
            raw_from=bound(self.raw, self.raw_from),
            summaries_from=bound(self.summaries, self.summaries_from),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        names = ("raw", "summaries", "raw_from", "summaries_from")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Retention:
        """Read what `to_json` wrote; nothing was dropped of a fleet that has none."""
        return cls() if data is None else cls(**data)
