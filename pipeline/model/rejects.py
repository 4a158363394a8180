"""Rows that cannot be stored as they are, kept whole with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Rejects"]


@dataclass(frozen=True, slots=True)
class Rejects:
    """Rejected rows on their way to quarantine.

    Parameters
    ----------
    records
        Each row whole: the raw line of a text file, or the row as a JSON object.
    reasons
        Why, one per record, in words a person can act on.
    source
        Where the rows came from, such as a file name; empty if unknown.
    """

    records: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    source: str = ""

    def __len__(self) -> int:
        return len(self.records)

    @classmethod
    def concat(cls, parts: Iterable[Rejects], source: str | None = None) -> Rejects:
        """Join `parts` in order; the source is the first non-empty one unless given."""
        kept = [part for part in parts if len(part)]
        records = tuple(record for part in kept for record in part.records)
        reasons = tuple(reason for part in kept for reason in part.reasons)
        found = next((part.source for part in kept if part.source), "")
        return cls(records, reasons, found if source is None else source)
