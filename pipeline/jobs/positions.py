"""Which fragments of a source a fleet holds already.

Every commit of an import writes down the positions it stored, so rows and positions become visible
together; they stay when the history is expired. A job that was killed goes on where its last
commit ended, and one that is run again stores nothing twice. A position is the fragment's name
and, for a file, what it was when the source listed it: size and time of change of a local one,
size and entity tag of an object. A file that has changed is not taken for the one that was
imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.model.ports import Fragment

__all__ = ["Imported", "find_imported", "position_of"]

_KEY: Final = "import"


@dataclass(frozen=True, slots=True)
class Imported:
    """Fragments of one source.

    Parameters
    ----------
    done
        Positions of those that are stored as a whole.
    partial
        Pieces that are stored of the others, by position.
    """

    done: frozenset[str] = frozenset()
    partial: Mapping[str, int] = field(default_factory=dict)

    def holds_other(self, fragment: Fragment) -> bool:
        """Tell whether rows of the fragment are stored, but of its file as it was before."""
        known = [*self.done, *self.partial]
        started = any(one.startswith(f"{fragment.name}@") for one in known)
        return started and position_of(fragment) not in known

    def to_positions(self, fingerprint: str) -> dict[str, Any]:
        """Return what a commit that stores these fragments has to carry."""
        return {_KEY: {fingerprint: {"done": sorted(self.done), "partial": dict(self.partial)}}}


def position_of(fragment: Fragment) -> str:
    """Return the position that a commit records for a fragment."""
    state = getattr(fragment, "state", "")
    return f"{fragment.name}@{state}" if state else fragment.name


def find_imported(positions: Mapping[str, Any], fingerprint: str) -> Imported:
    """Return what positions say that a fleet holds of a source.

    Parameters
    ----------
    positions
        Of all sources of the fleet, see `pipeline.archive.positions.positions_of`.
    fingerprint
        Of the source.
    """
    found = positions.get(_KEY, {}).get(fingerprint, {})
    done = frozenset(found.get("done", ()))
    partial = {name: taken for name, taken in found.get("partial", {}).items() if name not in done}
    return Imported(done, partial)
