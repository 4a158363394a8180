"""What a verification finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

__all__ = ["FleetFindings", "Problem", "VerifyReport"]

_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it has to be.

    Parameters
    ----------
    kind
        ``corrupt``, ``missing``, ``index``, ``order``, ``bounds``, ``summary``, ``counter``,
        ``devices``, ``orphan``, ``quarantine``, ``rollup`` or ``history``.
    place
        Where: a chunk's key, or the name of a table.
    message
        What is wrong.
    """

    kind: str
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class FleetFindings:
    """What was verified of a fleet, or of a part of it, and what is wrong.

    Parameters
    ----------
    blocks, rows, bytes
        Blocks that were read, their rows and encoded bytes.
    cells
        Statistics of a device and period that were compared with the rows.
    counts
        Number of problems of each kind.
    problems
        The first thousand of them.
    """

    blocks: int = 0
    rows: int = 0
    bytes: int = 0
    cells: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(
        cls,
        problems: Iterable[Problem],
        *,
        blocks: int = 0,
        rows: int = 0,
        bytes: int = 0,
        cells: int = 0,
    ) -> FleetFindings:
        """Return findings with their problems counted."""
        listed: list[Problem] = []
        counts: Counter[str] = Counter()
        for problem in problems:
            counts[problem.kind] += 1
            if len(listed) < _LISTED:
                listed.append(problem)
        return cls(blocks, rows, bytes, cells, dict(counts), tuple(listed))

    def joined(self, other: FleetFindings) -> FleetFindings:
        """Return the findings of two parts as those of both."""
        counts = Counter(dict(self.counts))
        counts.update(dict(other.counts))
        return FleetFindings(
            self.blocks + other.blocks,
            self.rows + other.rows,
            self.bytes + other.bytes,
            self.cells + other.cells,
            dict(counts),
            (self.problems + other.problems)[:_LISTED],
        )

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was verified of an archive.

    Parameters
    ----------
    snapshot
        The snapshot that was read.
    fleets
        Findings by fleet.
    history
        Problems of the history: older states that cannot be opened.
    """

    snapshot: str
    fleets: Mapping[str, FleetFindings]
    history: FleetFindings = field(default_factory=FleetFindings)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong anywhere."""
        return all(found.is_clean for found in (self.history, *self.fleets.values()))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, of each fleet the first thousand."""
        parts = (self.history, *self.fleets.values())
        return tuple(problem for found in parts for problem in found.problems)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "snapshot": self.snapshot,
            "clean": self.is_clean,
            "history": asdict(self.history),
            "fleets": {name: asdict(found) for name, found in self.fleets.items()},
        }
