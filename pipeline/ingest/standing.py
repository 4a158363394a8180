"""Whether rows of a source are still to be stored, by where the archive says the source stands.

Several processes may read one source in turn, and one that was paused may wake up with rows that its
successor has read as well. Rows are stored by whoever begins exactly where the archive stands. All
others are left out, and their reader goes back to where the archive stands: rows that it alone has
come again, rows that another has stored do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.archive.positions import merge_positions
from pipeline.ingest.log import LogEntry

__all__ = ["fits", "still_due"]


def fits(known: Mapping[str, Any], expects: Mapping[str, Any]) -> bool:
    """Tell whether rows begin where the archive stands.

    Parameters
    ----------
    known
        Positions of the archive, in mappings of any depth. What it does not know yet fits to
        anything.
    expects
        Where the rows begin, of the same form.
    """
    return all(_fits(known.get(key), value) for key, value in expects.items())


def _fits(known: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        return fits(known if isinstance(known, Mapping) else {}, expected)
    return known is None or known == expected


def still_due(entries: Sequence[LogEntry], known: Mapping[str, Any]) -> list[LogEntry]:
    """Return the writes that begin where the archive stands.

    Parameters
    ----------
    entries
        In order; each may begin where the one before it ends.
    known
        Positions of the archive, by source.
    """
    due: list[LogEntry] = []
    reached = known
    for entry in entries:
        if not fits(reached, entry.note.expects):
            continue
        if entry.note.positions:
            reached = merge_positions([reached, entry.note.positions])
        due.append(entry)
    return due
