"""Whether rows of a source are still to be stored, by where the archive says the source stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from pipeline.archive.positions import merge_positions
from pipeline.errors import InvalidInputError
from pipeline.ingest.log import LogEntry

__all__ = ["Standing", "standing", "still_due"]


class Standing(Enum):
    """How the archive's positions compare to those that rows begin at."""

    DUE = "due"
    STORED = "stored"
    BEHIND = "behind"


def standing(known: Mapping[str, Any], expects: Mapping[str, Any]) -> Standing:
    """Compare positions that are numbers, in mappings of any depth.

    Parameters
    ----------
    known
        Of the archive. What it does not know yet fits to anything.
    expects
        Where rows begin.

    Returns
    -------
    Standing
        ``STORED`` if the archive is further anywhere, else ``BEHIND`` if it is not there yet.
    """
    found = {_compared(known.get(key), value) for key, value in expects.items()}
    for worst in (Standing.STORED, Standing.BEHIND):
        if worst in found:
            return worst
    return Standing.DUE


def _compared(known: Any, expected: Any) -> Standing:
    if isinstance(expected, Mapping):
        return standing(known if isinstance(known, Mapping) else {}, expected)
    if known is None or known == expected:
        return Standing.DUE
    return Standing.STORED if known > expected else Standing.BEHIND


def still_due(entries: Sequence[LogEntry], known: Mapping[str, Any]) -> list[LogEntry]:
    """Return the writes that the archive does not have from another reader of their source.

    Parameters
    ----------
    entries
        In order; each may begin where the one before it ends.
    known
        Positions of the archive, by source.

    Raises
    ------
    InvalidInputError
        If the archive is behind the point where rows begin: rows between are missing.
    """
    due: list[LogEntry] = []
    reached = known
    for entry in entries:
        note = entry.note
        stands = standing(reached, note.expects)
        if stands is Standing.STORED:
            continue
        if stands is Standing.BEHIND:
            msg = (
                f"rows begin at {dict(note.expects)}, but the archive has those before only up to "
                f"{_named(reached, note.expects)}: it was brought back to an older state; open "
                "the stream again, and its sources go on from there"
            )
            raise InvalidInputError(msg)
        if note.positions:
            reached = merge_positions([reached, note.positions])
        due.append(entry)
    return due


def _named(known: Mapping[str, Any], sources: Iterable[str]) -> dict[str, Any]:
    return {source: known.get(source) for source in sources}
